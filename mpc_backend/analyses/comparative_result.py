"""What a comparison of two treatments answers: arms, contrasts, balance, positivity, E-value, negative control."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cells import Cell
from mpc_backend.analyses.distributions import wald_p
from mpc_backend.analyses.effect_ratios import Estimate, e_value, e_value_of_limit, ratio, wald


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class WeightedArm(_Frozen):
    """One arm under the weights: persons, events before tau and effective size; restricted mean and risk of failure at tau.

    ``extreme``: persons with a score beyond the truncation. ``curve``: weighted survival by time, in exact release alone.
    """

    arm: str
    n: Cell
    events: Cell
    extreme: Cell | None
    effective_size: tuple[int, int] | None
    rmst: Estimate | None
    risk: Estimate | None
    curve: list[float] | None = None
    why_not: str | None = None


class EffectContrast(_Frozen):
    """Treatment against comparator: difference and ratio of restricted means, difference and ratio of risks at tau.

    ``p`` is that of the difference of means, None where its standard error is 0.

    The E-value of the risk ratio, and of its limit nearer to 1: the least association with both treatment and outcome, as
    a risk ratio each, by which an unmeasured confounder could explain it away (VanderWeele and Ding 2017).
    """

    arm: str
    reference: str
    tau: int
    rmst_difference: Estimate
    p: float | None
    rmst_ratio: Estimate | None
    risk_difference: Estimate
    risk_ratio: Estimate | None
    e_value: float | None
    e_value_limit: float | None


class CovariateBalance(_Frozen):
    """Standardised difference of one covariate column, treatment less comparator, before and after weighting."""

    covariate: str
    in_score: bool
    before: float | None
    after: float | None


class Positivity(_Frozen):
    """Scores below ``limit`` or above 1 - limit: the share of persons in each arm, from rounded counts; None where hidden."""

    limit: float
    share: dict[str, float | None]


class Compared(_Frozen):
    """One outcome."""

    outcome: str
    arms: list[WeightedArm]
    contrast: EffectContrast | None


class ComparativeResult(Result):
    """The answer of one comparison; ``label`` says what was adjusted for, or that nothing was."""

    kind: Literal["comparative_effectiveness"] = "comparative_effectiveness"
    estimand: str
    label: str
    weights: str
    unit: str
    tau: int
    confidence: float
    primary: Compared
    negative_control: Compared | None
    balance: list[CovariateBalance]
    positivity: Positivity | None
    release: str


def contrast(arms: list[WeightedArm], tau: int, confidence: float) -> EffectContrast | None:
    """The second arm against the first; weights are taken as known, so that arms are independent."""
    base, mine = arms
    if base.rmst is None or mine.rmst is None or base.risk is None or mine.risk is None:
        return None
    difference, se = mine.rmst.estimate - base.rmst.estimate, math.hypot(mine.rmst.se, base.rmst.se)
    risks = ratio(mine.risk, base.risk, confidence)
    return EffectContrast(
        arm=mine.arm,
        reference=base.arm,
        tau=tau,
        rmst_difference=wald(difference, se, confidence),
        p=wald_p(difference, se),
        rmst_ratio=ratio(mine.rmst, base.rmst, confidence),
        risk_difference=wald(
            mine.risk.estimate - base.risk.estimate, math.hypot(mine.risk.se, base.risk.se), confidence
        ),
        risk_ratio=risks,
        e_value=None if risks is None else e_value(risks.estimate),
        e_value_limit=None if risks is None else e_value_of_limit(risks),
    )
