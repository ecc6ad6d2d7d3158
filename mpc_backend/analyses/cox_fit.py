"""Fitting a Cox regression on shares: Newton steps, their number fixed and public, no iterate opened.

The start is where the hospitals' own quadratic expansions have their common maximum, so that few steps are left. A small
ridge in each step keeps the system solvable whatever the data are; it slows a step and does not move its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.analyses.cox_risk import (
    RESULT_SCALE,
    RiskSets,
    consistent_sum,
    information,
    risk_sets,
    score,
)
from mpc_backend.analyses.cox_rows import CoxRows
from mpc_backend.analyses.cox_tables import LARGEST_COEFFICIENT
from mpc_backend.operations import maximum, minimum
from mpc_backend.operations.linear import damped_inverse
from mpc_backend.session import Session
from mpc_backend.values import SecretFixed, SecretInt, SecretValue

BETA_SCALE = 28
BETA_BITS = BETA_SCALE + 6
RIDGE, FLOOR = 2.0**-10, 2.0**-8
"""Added to the diagonal in each step: a share of the information at zero, and a little in any case."""
STEP_BITS = 12
"""A step lies below 2^12 standard errors."""


@dataclass(frozen=True)
class CoxSums:
    """What hospitals worked out alone, added up, as in `cox_tables.sums_spec`: vectors (p,), matrices (p, p), the rest ()."""

    persons: SecretInt
    events: SecretInt
    event_x: SecretFixed
    null_score: SecretFixed
    null_information: SecretFixed
    null_likelihood: SecretFixed
    own_information: SecretFixed
    own_target: SecretFixed


def gathered_sums(cox: CoxParameters, sites: Mapping[str, Mapping[str, SecretValue]]) -> CoxSums:
    """The sums over hospitals; free."""
    p = len(cox.terms)

    def real(name: str, *shape: int) -> SecretFixed:
        parts = [table[name] for table in sites.values()]
        total: SecretFixed | None = None
        for part in parts:
            assert isinstance(part, SecretFixed)
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(shape)

    def whole(name: str) -> SecretInt:
        total: SecretInt | None = None
        for table in sites.values():
            part = table[name]
            assert isinstance(part, SecretInt)
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(())

    return CoxSums(
        whole("persons"), whole("events"), real("event_x", p), real("null_score", p),
        real("null_information", p, p), real("null_likelihood"), real("own_information", p, p), real("own_target", p),
    )  # fmt: skip


@dataclass(frozen=True)
class CoxFit:
    """Coefficients (p,) per scale, and the risk sets, score (p,) and information (p, p) there.

    ``excess``: sum of expected minus observed deaths (), which is 0 as long as every number kept its range.
    """

    beta: SecretFixed
    sets: RiskSets
    score: SecretFixed
    information: SecretFixed
    excess: SecretFixed


def fit(session: Session, cox: CoxParameters, rows: CoxRows, sums: CoxSums) -> CoxFit:
    """The coefficients after ``cox.iterations`` - 1 steps on shares; the last pass finds everything at them."""
    p = len(cox.terms)
    ridge = _ridge(sums, p)
    width = RESULT_SCALE + rows.size_bits + 7
    beta = _step(sums.own_information.with_bits(width) + ridge, sums.own_target, width)
    beta = _held(beta)
    for number in range(cox.iterations - 1):
        found = _at(rows, sums, beta)
        beta = _held(beta + _step(found.information + ridge, found.score, width))
        session.progress(f"Cox regression, step {number + 1}", 0.2 + 0.6 * (number + 1) / cox.iterations)
    return _at(rows, sums, beta)


def _at(rows: CoxRows, sums: CoxSums, beta: SecretFixed) -> CoxFit:
    sets = risk_sets(rows, beta)
    return CoxFit(
        beta,
        sets,
        score(rows, sums.event_x, sets.expected),
        information(rows, sets.expected, sets.counted, sets.mean),
        consistent_sum(rows, sets, sums.events),
    )


def _ridge(sums: CoxSums, p: int) -> SecretFixed:
    """The ridge as a diagonal matrix (p, p)."""
    share = (sums.null_information * RIDGE).rescaled(RESULT_SCALE)
    return share * np.eye(p, dtype=np.int64) + FLOOR * np.eye(p)


def _step(matrix: SecretFixed, right: SecretFixed, width: int) -> SecretFixed:
    return damped_inverse(matrix.with_bits(width)).solve(right, BETA_SCALE, STEP_BITS)


def _held(beta: SecretFixed) -> SecretFixed:
    """Coefficients no further than `LARGEST_COEFFICIENT` from zero, where products with covariates keep their range."""
    wide = beta.with_bits(BETA_BITS + 12)
    return maximum(minimum(wide, LARGEST_COEFFICIENT), -LARGEST_COEFFICIENT).with_bits(BETA_BITS)
