"""What a Cox regression answers: coefficients with errors, tests, and why something is missing."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.distributions import chi_square_tail, normal_reach, wald_p

LARGEST_SHOWN = 10.0
"""A coefficient beyond this, per scale of its covariate, is not estimable."""
LARGEST_ERROR = 5.0
"""Nor is one with a larger standard error: its information has gone, as it does when the likelihood has no maximum."""
LARGEST_STEP = 0.002
"""Nor one that the next Newton step would still move further."""
LARGEST_LOGARITHM = 700.0
EVENTS_PER_TERM = 10
FEW_EVENTS = (
    f"Cox regression: fewer than {EVENTS_PER_TERM} events for each coefficient; its numbers are unreliable."
)
FEW_EVENTS_SHOWN = (
    f"Cox regression: fewer than {EVENTS_PER_TERM} events for each coefficient by the numbers of events shown for the arms; "
    "its numbers are unreliable."
)
NOT_ESTIMABLE = "not estimable: no finite hazard ratio fits best (separation), or the steps were too few"
UNBOUNDED = (
    "Cox regression: a coefficient has no finite estimate; the others, robust errors above all, are those where the steps "
    "ended, close to what they tend to."
)
CONSTANT = "not estimable: the covariate is constant within every stratum"
ALIASED = "not estimable: the covariate is a linear combination of those before it"
NO_EVENTS = "not estimable: no events"
DETERMINED = (
    "not estimable: covariates determine one another, or are constant, or linear predictors lie beyond 10"
)
OUT_OF_RANGE = "not estimable: linear predictors beyond 10, so that hazards differ by more than e^10 from their stratum's"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class CoxTerm(_Frozen):
    """One coefficient: log hazard ratio per unit with model and robust standard errors, hazard ratio with its limits and p.

    Limits and p come from the robust error where persons are clustered, else from the model's. None: not estimable, or
    withheld; ``why`` says which.
    """

    name: str
    coef: float | None = None
    se: float | None = None
    robust_se: float | None = None
    hr: float | None = None
    lower: float | None = None
    upper: float | None = None
    p: float | None = None
    why: str | None = None


class CoxTests(_Frozen):
    """Chi-square statistics of the hypothesis that all coefficients are zero, on ``df`` degrees of freedom.

    Wald's uses the robust variance where persons are clustered, as R does.
    """

    wald: float | None = None
    score: float | None = None
    lr: float | None = None
    df: int


class ChiSquare(_Frozen):
    """A chi-square test."""

    chi2: float
    df: int
    p: float


class CoxResult(_Frozen):
    """One fitted model; ``n`` and ``events`` None where withheld."""

    ties: Literal["efron", "breslow"]
    n: int | None
    events: int | None
    stratified_by: str
    clustered: bool
    terms: list[CoxTerm]
    tests: CoxTests | None = None
    ph: ChiSquare | None = None


def estimated(
    name: str, coef: float, se: float, robust_se: float, *, clustered: bool, confidence: float
) -> CoxTerm:
    """A term with what follows from coefficient and errors."""
    z = normal_reach(confidence)
    used = robust_se if clustered else se
    return CoxTerm(
        name=name, coef=coef, se=se, robust_se=robust_se, hr=ratio(coef),
        lower=ratio(coef - z * used), upper=ratio(coef + z * used),
        p=wald_p(coef, used),
    )  # fmt: skip


def ratio(logarithm: float) -> float | None:
    """e to the power of a logarithm; None beyond what a number can hold, as of a unit far wider than the covariate."""
    return math.exp(logarithm) if logarithm < LARGEST_LOGARITHM else None


def chi_square(statistic: float, df: int) -> ChiSquare:
    """A test from its statistic, which rounding may have brought below zero."""
    value = max(statistic, 0.0)
    return ChiSquare(chi2=value, df=df, p=chi_square_tail(value, df))
