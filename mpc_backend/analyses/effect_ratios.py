"""Ratios of two estimates with their intervals, and the E-value of a risk ratio. In the clear."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.distributions import normal_reach


class Estimate(BaseModel):
    """A number with its robust standard error and interval."""

    model_config = ConfigDict(frozen=True)

    estimate: float
    se: float
    lower: float
    upper: float


def wald(estimate: float, se: float, confidence: float) -> Estimate:
    """estimate +- z se."""
    reach = normal_reach(confidence) * se
    return Estimate(estimate=estimate, se=se, lower=estimate - reach, upper=estimate + reach)


def ratio(mine: Estimate, base: Estimate, confidence: float) -> Estimate | None:
    """mine / base by the delta method on the logarithm, of independent numbers; None unless both are positive. ``se`` is
    that of the logarithm."""
    if mine.estimate <= 0 or base.estimate <= 0:
        return None
    value = mine.estimate / base.estimate
    se = math.hypot(mine.se / mine.estimate, base.se / base.estimate)
    spread = math.exp(normal_reach(confidence) * se)
    return Estimate(estimate=value, se=se, lower=value / spread, upper=value * spread)


def e_value(risk_ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)) for RR >= 1, of 1 / RR below: the least association with both treatment and outcome, as a risk
    ratio each, by which an unmeasured confounder could explain it away (VanderWeele and Ding, Ann. Intern. Med. 167, 2017)."""
    above = max(risk_ratio, 1 / risk_ratio)
    return above + math.sqrt(above * (above - 1))


def e_value_of_limit(risks: Estimate) -> float:
    """The E-value of the limit nearer to 1; 1 where the interval holds 1."""
    if risks.lower <= 1 <= risks.upper:
        return 1.0
    return e_value(risks.lower if risks.estimate > 1 else risks.upper)
