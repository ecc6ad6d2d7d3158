"""Cox regression of shared rows whose order and owner do not matter: sorted on shares, then the code for hospitals' rows."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from mpc_backend.analyses.base import Outputs
from mpc_backend.analyses.cox_fit import CoxFit, CoxSums, fit
from mpc_backend.analyses.cox_parameters import CoxParameters, Ties
from mpc_backend.analyses.cox_released import secret_numbers, sound
from mpc_backend.analyses.cox_residuals import log_likelihood, robust_middle
from mpc_backend.analyses.cox_risk import RESULT_SCALE, consistent_sum, information, risk_sets, score
from mpc_backend.analyses.cox_rows import CoxRows, crossed
from mpc_backend.analyses.cox_tables import PART_SCALE, X_BITS, X_SCALE
from mpc_backend.operations import concatenate, divide, sort, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

ITERATIONS = 8
BETA_SCALE = 28


def cox(
    session: Session,
    time: SecretInt,
    event: SecretInt | SecretBits,
    x: SecretFixed,
    *,
    ties: Ties = "efron",
    iterations: int = ITERATIONS,
) -> Outputs:
    """Coefficients of covariates x (n, p) for times and events (n,), each row a person.

    ``coef``, ``se``, ``robust_se`` (p,), ``tests`` (3,) Wald, score and likelihood ratio, ``sound`` () whether numbers kept
    their range and covariates do not determine one another. Covariates lie within 100 of their mean, with standard
    deviations between about a tenth and ten: scale them before they are shared. Opened: a random permutation, to sort.
    """
    failed = event.to_int(64) if isinstance(event, SecretBits) else event.widened(64).with_bits(2)
    rows = _sorted(time, failed, _centred(x), ties)
    parameters = _parameters(x.shape[1], ties, iterations)
    sums = _at_zero(rows, failed)
    found = fit(session, parameters, rows, sums)
    likelihood, middle = log_likelihood(rows, sums, found), robust_middle(rows, found, shared_ids=True)
    numbers = secret_numbers(parameters, sums, found, likelihood, middle, None)
    return {
        "coef": numbers.coef,
        "se": numbers.error,
        "robust_se": numbers.robust,
        "tests": numbers.chi2,
        "sound": sound(found) & ~numbers.deficient,
    }


def _parameters(p: int, ties: Ties, iterations: int) -> CoxParameters:
    given = {
        "covariates": [{"variable": f"x{place}", "scale": 1.0} for place in range(p)],
        "ties": ties,
        "ph": False,
        "iterations": iterations,
    }
    return CoxParameters.model_validate(given)


def _centred(x: SecretFixed) -> SecretFixed:
    """Covariates from their mean, at the scale of hospitals' rows."""
    own = x.rescaled(X_SCALE)
    return (own - (own.sum(0) * (1.0 / len(own)))[None]).with_bits(X_BITS)


def _sorted(time: SecretInt, event: SecretInt, x: SecretFixed, ties: Ties) -> CoxRows:
    """Rows from the last time to the first, deaths after censorings of the same time, with what ties need."""
    columns = [time, event, *(x[:, place] for place in range(x.shape[1]))]
    moved = sort([time, event], columns, descending=[True, False])
    late, failed = cast("SecretInt", moved[0]), cast("SecretInt", moved[1]).with_bits(2)
    covariates = stack([cast("SecretFixed", column) for column in moved[2:]], axis=1).with_bits(X_BITS)
    same = (late[1:] == late[:-1]).to_int(64) * failed[1:] * failed[:-1]
    tied = concatenate([failed[:1] * 0, same]).with_bits(2)
    n = len(failed)
    bare = CoxRows((n,), covariates, failed, failed, tied, covariates[:, 0], None, None, None, None, None)
    whole = SecretFixed(failed.protocol, failed.shares, 0, 2)
    total, after = (
        SecretInt(each.protocol, each.shares[:, :, 0], bare.size_bits + 2)
        for each in bare.tied_sums(whole[:, None])
    )
    size = (total + 1 - failed).with_bits(
        bare.size_bits + 2
    )  # 1 where nobody dies: the share is not asked for
    before = (total - after - failed).with_bits(bare.size_bits + 2)
    wide = stack([failed, before]).with_bits(bare.size_bits + 2)
    parts = divide(wide, stack([size, size]), PART_SCALE, quotient_bits=1)
    share, part = parts[0], parts[1]
    ends = failed - concatenate([tied[1:], tied[:1] * 0])
    deaths = failed if ties == "efron" else (ends * total).with_bits(bare.size_bits + 2)
    narrow = PART_SCALE + 2
    return CoxRows(
        (n,), covariates, deaths, failed, tied, share.with_bits(narrow),
        part.with_bits(narrow) if ties == "efron" else None, None, None, None, None,
    )  # fmt: skip


def _at_zero(rows: CoxRows, event: SecretInt) -> CoxSums:
    """What hospitals would have worked out alone, on shares: everything with all coefficients zero."""
    events = event.sum().with_bits(rows.size_bits + 2)
    event_x = crossed(rows.x, rows.event).rescaled(RESULT_SCALE)
    zero = SecretFixed(event.protocol, event_x.shares * np.uint64(0), BETA_SCALE, 2)
    sets = risk_sets(rows, zero)
    u = score(rows, event_x, sets.expected)
    found = information(rows, sets.expected, sets.counted, sets.mean)
    nothing = SecretFixed(event.protocol, events.shares * np.uint64(0), RESULT_SCALE, 2)
    sums = CoxSums(events * 0 + rows.count, events, event_x, u, found, nothing, found, u)
    at_zero = CoxFit(zero, sets, u, found, consistent_sum(rows, sets, events))
    return replace(sums, null_likelihood=log_likelihood(rows, sums, at_zero))
