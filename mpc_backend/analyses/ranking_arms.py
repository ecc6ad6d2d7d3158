"""Treatments of a ranking as a physician reads them: estimates, risks, what cannot be ruled out. Made in the clear from
released numbers, and made again where a treatment is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.effect_ratios import e_value, e_value_of_limit, ratio, wald
from mpc_backend.analyses.ranking_contrasts import Balance, comparable
from mpc_backend.analyses.ranking_intervals import Arms, not_ruled_out, shrunken

NINETY_FIVE = 1.959963984540054
"""The normal quantile of a 95 % interval."""
CONFIDENCE = 0.95
CONFOUNDED = "treatments differ in an outcome that none should change: confounding is likely"
NOT_DISTINGUISHABLE = "no treatment distinguishable"
FEW_TO_TELL = "too few failures to tell a risk"


class OutcomeEstimate(BaseModel):
    """Harm or the negative control on one treatment: standardised restricted mean time without it, in the study's unit.

    ``why_not``: why there is no number; all are then None.
    """

    model_config = ConfigDict(frozen=True)

    estimate: float | None = None
    standard_error: float | None = None
    lower: float | None = None
    upper: float | None = None
    effective_size: int | None = None
    fewer_than_ten_events: bool | None = None
    why_not: str | None = None


class RiskEstimate(BaseModel):
    """Standardised risk of failure before tau on one treatment, and its ratio to that of ``reference``, the first treatment of
    the order whose risk is told.

    The E-value of the ratio, and of its limit nearer to 1: the least association with both treatment and outcome, as a risk
    ratio each, by which an unmeasured confounder could explain it away. ``why_not``: why a number is missing; the reference
    itself has no ratio and no reason.
    """

    model_config = ConfigDict(frozen=True)

    risk: float | None = None
    standard_error: float | None = None
    reference: str | None = None
    ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    e_value: float | None = None
    e_value_limit: float | None = None
    why_not: str | None = None

    def against(self, name: str, base: RiskEstimate) -> RiskEstimate:
        """With the ratio to the risk ``base`` of the treatment ``name``; to itself there is none."""
        if self.risk is None or self.standard_error is None:
            return RiskEstimate(why_not=FEW_TO_TELL)
        told = RiskEstimate(risk=self.risk, standard_error=self.standard_error)
        if base is self or base.risk is None or base.standard_error is None:
            return told
        mine = wald(self.risk, self.standard_error, CONFIDENCE)
        found = ratio(mine, wald(base.risk, base.standard_error, CONFIDENCE), CONFIDENCE)
        if found is None:
            return told.model_copy(update={"reference": name, "why_not": "a risk is 0"})
        return RiskEstimate(
            risk=self.risk,
            standard_error=self.standard_error,
            reference=name,
            ratio=found.estimate,
            lower=found.lower,
            upper=found.upper,
            e_value=e_value(found.estimate),
            e_value_limit=e_value_of_limit(found),
        )


class ArmEstimate(BaseModel):
    """One supported treatment. Times in the study's unit; ``size`` a band of comparable patients.

    ``shrunken`` orders the list; ``estimate`` is the standardised restricted mean itself. ``harm``, ``control``: None where
    the study names no such outcome. ``risk``: of failure before tau, and its ratio to another's.
    """

    model_config = ConfigDict(frozen=True)

    treatment: str
    estimate: float
    standard_error: float
    lower: float
    upper: float
    shrunken: float
    size: tuple[int, int]
    effective_size: int
    fewer_than_ten_failures: bool
    cannot_be_ruled_out: bool
    harm: OutcomeEstimate | None = None
    control: OutcomeEstimate | None = None
    risk: RiskEstimate = RiskEstimate(why_not=FEW_TO_TELL)


class NegativeControl(BaseModel):
    """Whether treatments differ in an outcome that none should change. ``distinguishable``: None where fewer than two
    treatments show it. It decides nothing else."""

    model_config = ConfigDict(frozen=True)

    measure: str
    distinguishable: bool | None
    verdict: str


class HiddenArm(BaseModel):
    """A treatment without a number, and why."""

    model_config = ConfigDict(frozen=True)

    treatment: str
    reason: str


def ranked(
    arms: Sequence[ArmEstimate], tau: int, alpha: float, balance: Balance | None = None
) -> list[ArmEstimate]:
    """Intervals, the set that cannot be ruled out as best and shrunken values; best shrunken value first.

    Treatments between which a covariate is out of balance cannot rule each other out."""
    if not arms:
        return []
    numbers = Arms(
        np.array([arm.estimate for arm in arms]) / tau,
        np.array([arm.standard_error for arm in arms]) / tau,
        np.array([arm.effective_size for arm in arms], dtype=np.float64),
        np.array([arm.fewer_than_ten_failures for arm in arms]),
    )
    lower, upper = numbers.interval(NINETY_FIVE)
    counts = comparable([arm.treatment for arm in arms], balance)
    best, drawn = not_ruled_out(numbers, alpha, counts), shrunken(numbers)
    complete = [
        arm.model_copy(
            update={
                "lower": float(lower[index] * tau),
                "upper": float(upper[index] * tau),
                "shrunken": float(drawn[index] * tau),
                "cannot_be_ruled_out": bool(best[index]),
            }
        )
        for index, arm in enumerate(arms)
    ]
    order = sorted(complete, key=lambda arm: (-arm.shrunken, -arm.estimate, arm.treatment))
    first = next((arm for arm in order if arm.risk.risk is not None), order[0])
    return [arm.model_copy(update={"risk": arm.risk.against(first.treatment, first.risk)}) for arm in order]


def conclusion(arms: Sequence[ArmEstimate]) -> dict[str, Any]:
    """The set that cannot be ruled out as best, and the sentence that says what it means."""
    best = [arm.treatment for arm in arms if arm.cannot_be_ruled_out]
    if len(arms) < 2:
        verdict = "fewer than two treatments can be compared for this patient"
    elif len(best) == len(arms):
        verdict = NOT_DISTINGUISHABLE
    else:
        verdict = f"{len(best)} of {len(arms)} comparable treatments cannot be ruled out as best"
    return {"cannot_be_ruled_out": best, "verdict": verdict}


def negative_control(
    measure: str, arms: Sequence[ArmEstimate], tau: int, alpha: float, balance: Balance | None
) -> NegativeControl:
    """The verdict by the rule that rules treatments out: all pairs, as far as their contrasts count, at ``alpha`` together."""
    known = [arm for arm in arms if arm.control is not None and arm.control.estimate is not None]
    if len(known) < 2:
        verdict = "the negative control cannot be judged: fewer than two treatments show it"
        return NegativeControl(measure=measure, distinguishable=None, verdict=verdict)
    numbers = Arms(
        np.array([arm.control.estimate for arm in known if arm.control]) / tau,
        np.array([arm.control.standard_error for arm in known if arm.control]) / tau,
        np.array([arm.control.effective_size for arm in known if arm.control], dtype=np.float64),
        np.array([arm.control.fewer_than_ten_events for arm in known if arm.control], dtype=bool),
    )
    counts = comparable([arm.treatment for arm in known], balance)
    differs = not bool(not_ruled_out(numbers, alpha, counts).all())
    verdict = CONFOUNDED if differs else "treatments do not differ distinguishably in the negative control"
    return NegativeControl(measure=measure, distinguishable=differs, verdict=verdict)
