"""The Cox part of a survival analysis: what is computed on shares, and the result made of what was opened."""

from __future__ import annotations

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Inputs, Opened, Outputs, Released, Suppressed
from mpc_backend.analyses.cells import ReleasedCount
from mpc_backend.analyses.cox_exact import exact_cox, exact_outputs
from mpc_backend.analyses.cox_fit import fit, gathered_sums
from mpc_backend.analyses.cox_opened import released_cox
from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.analyses.cox_released import counts, released_outputs
from mpc_backend.analyses.cox_residuals import log_likelihood, robust_middle, time_test
from mpc_backend.analyses.cox_result import (
    EVENTS_PER_TERM,
    FEW_EVENTS,
    FEW_EVENTS_SHOWN,
    NOT_ESTIMABLE,
    UNBOUNDED,
    CoxResult,
)
from mpc_backend.analyses.cox_rows import CoxRows, gathered_rows
from mpc_backend.analyses.cox_tables import PART_SCALE
from mpc_backend.analyses.secret_curves import fractions, hazards
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.analyses.survival_result import SurvivalResult
from mpc_backend.operations import concatenate, join
from mpc_backend.session import Session
from mpc_backend.values import SecretFixed, SecretInt

COUNT_BITS = 29


def cox_outputs(
    session: Session, parameters: SurvivalParameters, cox: CoxParameters, released: Released, inputs: Inputs
) -> Outputs:
    """What is opened of a Cox regression under the policy."""
    rows, sums = gathered_rows(cox, inputs["cox_rows"]), gathered_sums(cox, inputs["cox_sums"])
    found = fit(session, cox, rows, sums)
    likelihood, middle = log_likelihood(rows, sums, found), robust_middle(rows, found, cox.shared_ids)
    time = time_test(rows, found, _early(rows, inputs), sums.events) if cox.ph else None
    session.progress("Cox regression: errors and tests", 0.9)
    if released.policy.release == "exact":
        return exact_outputs(sums, found, likelihood, middle, time)
    counted = counts(cox, released, inputs["cox_sums"])
    return released_outputs(cox, released, counted, sums, found, likelihood, middle, time)


def _early(rows: CoxRows, inputs: Inputs) -> SecretFixed:
    """1 - S(t-) at each row (n,), S the Kaplan-Meier curve of all rows: a single hospital knows it, several look it up."""
    assert rows.early is not None and rows.bin is not None
    tables = list(inputs["cox_times"].values())
    if len(tables) == 1:
        return rows.early
    deaths, exits = (_total([table[name] for table in tables]) for name in ("deaths", "exits"))
    at_risk = exits[::-1].cumsum(0)[::-1].with_bits(COUNT_BITS)
    (hazard,) = fractions([(deaths.with_bits(COUNT_BITS), at_risk)])
    survival = hazards(hazard, hazard).survival
    before = concatenate([survival[:1] * 0 + 1.0, survival[:-1]]).rescaled(PART_SCALE)
    bins = _grid_keys(survival)
    _, (found,) = join([rows.bin.with_bits(bins.bits)], [bins], [before])
    assert isinstance(found, SecretFixed)
    return (1.0 - found).with_bits(PART_SCALE + 2)


def _grid_keys(curve: SecretFixed) -> SecretInt:
    """The times of the grid as a key."""
    width = len(curve).bit_length() + 1
    zero = SecretInt(curve.protocol, curve.shares * np.uint64(0), 1)
    return (zero + np.arange(len(curve))).with_bits(width)


def _total(parts: list[object]) -> SecretInt:
    total: SecretInt | None = None
    for part in parts:
        assert isinstance(part, SecretInt)
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(-1)


def with_cox(
    result: SurvivalResult, parameters: SurvivalParameters, policy: DisclosurePolicy, opened: Opened
) -> SurvivalResult:
    """The result of a survival analysis with its Cox regression; what that lacks stands among the suppressed."""
    assert parameters.cox is not None
    by = "hospital and declared strata" if parameters.strata_count > 1 else "hospital"
    if policy.release == "exact":
        found = exact_cox(parameters.cox, by, parameters.confidence, opened)
        few = found.events is not None and found.events < EVENTS_PER_TERM * len(found.terms)
        warning = [FEW_EVENTS] if few else []
    else:
        found = released_cox(parameters.cox, policy, by, parameters.confidence, opened)
        warning = [FEW_EVENTS_SHOWN] if _few_shown(result, found) else []
    if any(term.why == NOT_ESTIMABLE for term in found.terms) and any(
        term.coef is not None for term in found.terms
    ):
        warning.append(UNBOUNDED)
    missing = [
        Suppressed(what=f"Cox regression: {term.name}", why=term.why) for term in found.terms if term.why
    ]
    return result.model_copy(
        update={
            "cox": found,
            "suppressed": [*result.suppressed, *missing],
            "notes": [*result.notes, *warning],
        }
    )


def _few_shown(result: SurvivalResult, found: CoxResult) -> bool:
    """Whether the events shown for the arms, rounded and none of those withheld, are few for the coefficients shown: what is
    shown anyway decides, so that the warning tells nothing more."""
    events = sum(arm.events.value for arm in result.arms if isinstance(arm.events, ReleasedCount))
    estimated = any(term.coef is not None for term in found.terms)
    return estimated and events < EVENTS_PER_TERM * len(found.terms)
