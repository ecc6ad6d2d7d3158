"""What a survival analysis answers: curves, at-risk table, medians, restricted means and tests, with labels."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cells import Cell
from mpc_backend.analyses.cox_result import CoxResult
from mpc_backend.analyses.distributions import chi_square_tail, normal_reach, wald_p
from mpc_backend.analyses.log_rank_scores import LogRank


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class CurvePoint(_Frozen):
    """S(time) with its interval; None where it is undefined (no event yet, or nobody left)."""

    time: int
    estimate: float
    se: float | None
    lower: float | None
    upper: float | None


class TableRow(_Frozen):
    """The at-risk table at one time: at risk just before it, cumulative events and censorings up to it."""

    time: int
    at_risk: Cell
    events: Cell
    censored: Cell


class Median(_Frozen):
    """Median time; None where the curve or its limit does not reach one half."""

    estimate: float | None
    lower: float | None
    upper: float | None


class RestrictedMean(_Frozen):
    """Mean time up to tau."""

    tau: int
    estimate: float
    se: float


class Curve(_Frozen):
    """One Kaplan-Meier curve: ``steps`` to draw, ``label`` what it is. ``cut_at``: nothing is shown after this time."""

    label: str
    steps: list[CurvePoint]
    cut_at: int | None
    median: Median | None
    rmst: RestrictedMean | None
    why_not: str | None = None


class ArmSurvival(_Frozen):
    """One arm: counts, the main curve, and the crude one where the main one is standardised."""

    arm: str
    n: Cell
    events: Cell
    curve: Curve
    crude: Curve | None
    table: list[TableRow]


class Contrast(_Frozen):
    """Restricted mean of ``arm`` against ``reference``: difference and ratio with intervals and p, None where se is 0."""

    arm: str
    reference: str
    tau: int
    difference: float
    se: float
    lower: float
    upper: float
    p: float | None
    ratio: float | None
    ratio_lower: float | None
    ratio_upper: float | None


class Test(_Frozen):
    """A chi-square test; ``rho`` the weight of G^rho."""

    chi2: float
    df: int
    p: float
    rho: float = 0.0
    stratified_by: str


class SurvivalResult(Result):
    """The answer of one survival analysis."""

    kind: Literal["survival"] = "survival"
    estimand: str
    unit: str
    horizon: int
    confidence: float
    arms: list[ArmSurvival]
    rmst_contrasts: list[Contrast]
    log_rank: Test | None = None
    stratified_log_rank: Test | None = None
    weighted_log_rank: Test | None = None
    cox: CoxResult | None = None
    release: str


def contrast(
    arm: str, reference: str, mean: RestrictedMean, base: RestrictedMean, confidence: float
) -> Contrast:
    """Difference (Wald) and ratio (Wald on the logarithm, delta method) of two independent restricted means."""
    z = normal_reach(confidence)
    difference, se = mean.estimate - base.estimate, math.hypot(mean.se, base.se)
    ratio = lower = upper = None
    if mean.estimate > 0 and base.estimate > 0:
        ratio = mean.estimate / base.estimate
        spread = math.exp(z * math.hypot(mean.se / mean.estimate, base.se / base.estimate))
        lower, upper = ratio / spread, ratio * spread
    return Contrast(
        arm=arm, reference=reference, tau=mean.tau, difference=difference, se=se,
        lower=difference - z * se, upper=difference + z * se, p=wald_p(difference, se),
        ratio=ratio, ratio_lower=lower, ratio_upper=upper,
    )  # fmt: skip


def test_of(result: LogRank | None, rho: float, stratified_by: str) -> Test | None:
    """The released form of a log-rank test."""
    if result is None:
        return None
    return Test(chi2=result.chi2, df=result.df, p=result.p, rho=rho, stratified_by=stratified_by)


def p_value(statistic: float, df: int) -> float:
    """Upper tail of the chi-square distribution."""
    return chi_square_tail(statistic, df)


def number(value: float | np.floating) -> float | None:
    """A finite float, or None."""
    return float(value) if np.isfinite(value) else None
