"""Judges what a ranking says of comparability: balance between regimens, risks of failure, and E-values.

Balance and risks are held against the pooled ones. Ratios and E-values are made once more of the released risks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, hypot, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.ranking_arms import ArmEstimate, RiskEstimate
from mpc_backend.analyses.ranking_result import RankingResult
from workbench.demo.comparability import alike, levels
from workbench.demo.intervals import Z
from workbench.demo.judge import ROUNDING, Check
from workbench.demo.similar import SMALLEST, ArmTruth, Similar

RISK: Final = 0.0001
"""Room for fixed-point arithmetic beside half a step of the risk."""
STEP_PERSONS: Final = 5
"""A step of a risk is worth so many patients, in the middle of the band that is told."""
RISK_ERROR: Final = 0.055
"""Relative: a variance of two significant digits, rounded up within them."""
DERIVED: Final = 1e-6


def judge_balance(
    similar: Similar, members: NDArray[np.bool_], shown: Sequence[str], result: RankingResult
) -> Iterator[Check]:
    """The covariates judged, and the verdict on each two of the regimens ``shown`` by name."""
    found = alike(similar, members, [_number(name) for name in shown])
    if result.balance is None:
        yield Check("balance is judged", True, False)
        return
    yield Check("covariates judged", list(levels(similar)), result.balance.covariates)
    yield Check("covariates out of balance", found.covariates, result.balance.out_of_balance)
    for what, pairs, told in (
        ("contrasts withheld", found.apart, result.balance.withheld),
        ("contrasts that cannot be judged", found.unjudged, result.balance.not_judged),
    ):
        yield Check(what, pairs, [(_number(one), _number(other)) for one, other in told])


def _number(name: str) -> int:
    """The 0-based regimen of a name."""
    return int(name.removeprefix("regimen ")) - 1


def judge_risk(truth: ArmTruth, arm: ArmEstimate) -> Iterator[Check]:
    """Whether the risk is told, the risk and its error."""
    told = truth.events_left >= SMALLEST and truth.even.events
    yield Check(f"{arm.treatment}: risk told", told, arm.risk.risk is not None)
    if told:
        step = STEP_PERSONS / (truth.persons // ROUNDING * ROUNDING + ROUNDING // 2)
        error = hypot(truth.risk_error, step / sqrt(12))
        room = RISK_ERROR * error + 0.0001
        yield Check(f"{arm.treatment}: risk of failure", truth.risk, arm.risk.risk, step * 0.501 + RISK)
        yield Check(f"{arm.treatment}: error of the risk", error, arm.risk.standard_error, room)


def judge_ratios(result: RankingResult) -> Iterator[Check]:
    """Ratios to the risk of the first regimen that shows one, and their E-values, of the released risks."""
    told = [arm for arm in result.arms if arm.risk.risk is not None]
    for arm in result.arms:
        compared = bool(told) and arm.risk.risk is not None and arm.treatment != told[0].treatment
        expected = _ratio(arm.risk, told[0].risk) if compared else {}
        base = told[0].treatment if compared else None
        yield Check(f"{arm.treatment}: reference of the ratio of risks", base, arm.risk.reference)
        for name in ("ratio", "lower", "upper", "e_value", "e_value_limit"):
            found = getattr(arm.risk, name)
            if name in expected:
                yield Check(f"{arm.treatment}: {name} of risks", expected[name], found, DERIVED)
            else:
                yield Check(f"{arm.treatment}: {name} of risks", None, found)


def _ratio(mine: RiskEstimate, base: RiskEstimate) -> dict[str, float]:
    if not (mine.risk and base.risk and mine.standard_error is not None and base.standard_error is not None):
        return {}
    ratio = mine.risk / base.risk
    factor = exp(Z * hypot(mine.standard_error / mine.risk, base.standard_error / base.risk))
    lower, upper = ratio / factor, ratio * factor
    nearer = 1.0 if lower <= 1 <= upper else lower if ratio > 1 else upper
    return {
        "ratio": ratio,
        "lower": lower,
        "upper": upper,
        "e_value": _e_value(ratio),
        "e_value_limit": _e_value(nearer),
    }


def _e_value(ratio: float) -> float:
    away = max(ratio, 1 / ratio)
    return away + sqrt(away**2 - away)
