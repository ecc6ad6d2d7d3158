"""What competing risks answer: cumulative incidence and time lost by cause and arm, contrasts and tests, with labels."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cells import Cell
from mpc_backend.analyses.distributions import normal_reach, wald_p
from mpc_backend.analyses.survival_result import CurvePoint, Test


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Risk(_Frozen):
    """Probability of having failed of a cause by ``time``; the interval is undefined where nobody has, or all have."""

    time: int
    estimate: float
    se: float
    lower: float | None
    upper: float | None


class TimeLost(_Frozen):
    """Mean time lost to a cause up to ``tau``: the area under its cumulative incidence."""

    tau: int
    estimate: float
    se: float


class CauseCurve(_Frozen):
    """One cause in one arm: ``steps`` to draw, and the numbers at tau. ``cut_at``: nothing is shown after this time."""

    cause: str
    label: str
    events: Cell
    steps: list[CurvePoint]
    cut_at: int | None
    at_tau: Risk | None
    time_lost: TimeLost | None
    why_not: str | None = None


class CompetingRow(_Frozen):
    """The at-risk table at one time: at risk just before it, cumulative events of each cause and censorings up to it."""

    time: int
    at_risk: Cell
    events: dict[str, Cell]
    censored: Cell


class CompetingArm(_Frozen):
    """One arm: its persons, a curve for each cause, and the at-risk table."""

    arm: str
    n: Cell
    causes: list[CauseCurve]
    table: list[CompetingRow]


class CauseContrast(_Frozen):
    """``arm`` less ``reference`` at tau: ``risk``, a difference of probabilities, or ``time_lost``. Wald interval; ``p`` is
    None where ``se`` is 0."""

    cause: str
    measure: Literal["risk", "time_lost"]
    arm: str
    reference: str
    tau: int
    difference: float
    se: float
    lower: float
    upper: float
    p: float | None


class CompetingResult(Result):
    """The answer of one analysis of competing risks; ``log_rank``: the cause-specific test of each cause."""

    kind: Literal["competing_risks"] = "competing_risks"
    estimand: str
    unit: str
    horizon: int
    confidence: float
    causes: list[str]
    arms: list[CompetingArm]
    contrasts: list[CauseContrast]
    log_rank: dict[str, Test | None]
    release: str


def contrasts(arms: list[CompetingArm], confidence: float) -> list[CauseContrast]:
    """Every arm against the first, for each cause and measure that both show."""
    found = []
    for arm in arms[1:]:
        for mine, base in zip(arm.causes, arms[0].causes, strict=True):
            if mine.at_tau and base.at_tau:
                found.append(_contrast("risk", arm, mine, mine.at_tau, arms[0], base.at_tau, confidence))
            if mine.time_lost and base.time_lost:
                lost = mine.time_lost, base.time_lost
                found.append(_contrast("time_lost", arm, mine, lost[0], arms[0], lost[1], confidence))
    return found


def _contrast(
    measure: Literal["risk", "time_lost"],
    arm: CompetingArm,
    curve: CauseCurve,
    mine: Risk | TimeLost,
    reference: CompetingArm,
    base: Risk | TimeLost,
    confidence: float,
) -> CauseContrast:
    """Difference of two independent estimates."""
    difference, se = mine.estimate - base.estimate, math.hypot(mine.se, base.se)
    reach = normal_reach(confidence) * se
    return CauseContrast(
        cause=curve.cause, measure=measure, arm=arm.arm, reference=reference.arm,
        tau=mine.time if isinstance(mine, Risk) else mine.tau, difference=difference, se=se,
        lower=difference - reach, upper=difference + reach, p=wald_p(difference, se),
    )  # fmt: skip
