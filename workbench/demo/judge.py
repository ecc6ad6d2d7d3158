"""Whether an answer computed on shares agrees with the pooled cleartext answer under the same disclosure rules.

The rules are restated here on plain integers. What the rules decide (which numbers are shown, which are
withheld and why) and every rounded count must be equal; a released real number may differ from the pooled
one by its rounding and by the last places of fixed-point arithmetic, nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.ranking_result import ArmEstimate, RankingResult
from mpc_backend.analyses.survival_result import ArmSurvival, Curve, SurvivalResult
from workbench.demo import curves
from workbench.demo.curves import TAU
from workbench.demo.population import Population
from workbench.demo.similar import LADDER, LEAST_INFORMATION, MINIMUM_SUPPORT, SMALLEST, ArmTruth, Similar
from workbench.demo.truth import ARMS, Comparison, attrition

ROUNDING: Final = 10
TIMES: Final = (0, 6, 12, 18, 24)
"""The times of the at-risk table of the survival example."""

CURVE: Final = 0.0005 + 0.0005
CURVE_ERROR: Final = 0.00005 + 0.0004
MEAN: Final = 0.005 + 0.003
MEAN_ERROR: Final = 0.0005 + 0.003
CHI_SQUARE: Final = 0.0005 + 0.01
RANKED: Final = 0.05 + 0.01
RANKED_ERROR: Final = 0.005 + 0.01
"""Tolerances: half a unit of the last released digit, and room for fixed-point arithmetic."""
COARSE: Final = 0.05
"""Largest relative error of a number that is rounded to two significant digits."""


@dataclass(frozen=True)
class Check:
    """One comparison: what, the pooled value, the answer's value, and the tolerance (None: must be equal)."""

    what: str
    pooled: object
    answer: object
    tolerance: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the two are equal, or within the tolerance."""
        if self.tolerance is None:
            return self.pooled == self.answer
        if not isinstance(self.pooled, float) or not isinstance(self.answer, float):
            return False
        return abs(self.pooled - self.answer) <= self.tolerance

    def __str__(self) -> str:
        within = "equal" if self.tolerance is None else f"within {self.tolerance:g}"
        return f"{self.what}: pooled {_short(self.pooled)}, answer {_short(self.answer)} ({within})"


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def release(counts: Sequence[int]) -> list[int | None]:
    """A chain of nested counts as it may be shown: rounded, or None where it is withheld.

    Withheld is what is below `SMALLEST`, and what lies closer than that to the last number shown.
    """
    shown: list[int | None] = []
    last: int | None = None
    for count in counts:
        visible = count >= SMALLEST and (last is None or abs(count - last) >= SMALLEST)
        shown.append((count + ROUNDING // 2) // ROUNDING * ROUNDING if visible else None)
        last = count if visible else last
    return shown


# ---- count


def judge_count(population: Population, result: CountResult) -> list[Check]:
    """Every step of the attrition."""
    steps = attrition(population)
    pooled = release([len(population.persons), *(count for _, count in steps)])
    answer = [result.population.value, *(step.count.value for step in result.steps)]
    labels = ["population", *(label for label, _ in steps)]
    checks = [Check("number of steps", len(pooled), len(answer))]
    if len(pooled) == len(answer):
        checks += [Check(*each) for each in zip(labels, pooled, answer, strict=True)]
    return checks


# ---- survival


def judge_survival(pooled: Comparison, result: SurvivalResult) -> list[Check]:
    """Tables, curves, restricted means and tests of both arms."""
    checks = [Check("arms", list(ARMS), [arm.arm for arm in result.arms])]
    if not checks[0].agrees:
        return checks
    for number, arm in enumerate(result.arms):
        checks += _judge_arm(pooled, number, arm)
    for name, test in (("log_rank", result.log_rank), ("stratified_log_rank", result.stratified_log_rank)):
        chi2 = float("nan") if test is None else test.chi2
        checks.append(
            Check(f"{name.replace('_', ' ')} chi-square", getattr(pooled, name)[0], chi2, CHI_SQUARE)
        )
    return checks


def _judge_arm(pooled: Comparison, number: int, arm: ArmSurvival) -> Iterator[Check]:
    crude, adjusted = pooled.crude[number], pooled.adjusted[number]
    censored = _censored(crude)
    failed = crude.events.cumsum()
    times = [*TIMES, TAU]
    columns = {
        "at risk": (
            release(crude.at_risk[[0, *TIMES]].tolist())[1:],
            [row.at_risk.value for row in arm.table],
        ),
        "events": (release(failed[times].tolist())[:-1], [row.events.value for row in arm.table]),
        "censored": (release(censored[times].tolist())[:-1], [row.censored.value for row in arm.table]),
    }
    for name, (expected, found) in columns.items():
        yield Check(f"{arm.arm}: {name} at {', '.join(map(str, TIMES))}", expected, found)
    persons = release(crude.at_risk[:1].tolist())[0]
    yield Check(f"{arm.arm}: persons", persons, arm.n.value)
    yield from _judge_curve(f"{arm.arm}, adjusted", crude, adjusted, arm.curve)
    if arm.crude is None:
        yield Check(f"{arm.arm}: crude curve", "shown", "absent")
    else:
        alone = curves.standardise([crude], np.ones(1))
        yield from _judge_curve(f"{arm.arm}, crude", crude, alone, arm.crude)


def _censored(curve: curves.Curve) -> curves.Ints:
    """Persons censored up to each month."""
    gone = curve.at_risk[:1] - np.append(curve.at_risk[1:], 0)
    return gone - curve.events.cumsum()


def _judge_curve(
    label: str, counts: curves.Curve, truth: curves.Standardised, found: Curve
) -> Iterator[Check]:
    failed, risk = counts.events.cumsum(), counts.at_risk
    steps = [
        month
        for month in range(1, TAU + 1)
        if failed[month] // SMALLEST > failed[month - 1] // SMALLEST and risk[month] >= SMALLEST
    ]
    yield Check(f"{label}: months with a visible step", steps, [point.time for point in found.steps[1:]])
    for point in found.steps[1:]:
        yield Check(f"{label}: S({point.time})", float(truth.survival[point.time]), point.estimate, CURVE)
        error = float(truth.standard_error[point.time])
        yield Check(f"{label}: error of S({point.time})", error, point.se, CURVE_ERROR)
    why = _withheld(counts)
    if why is not None or found.rmst is None:
        told = (found.why_not or "shown").partition(";")[0] if found.rmst is None else "shown"
        yield Check(f"{label}: restricted mean", why or "shown", told)
        return
    yield Check(f"{label}: restricted mean, months", truth.mean, found.rmst.estimate, MEAN)
    yield Check(f"{label}: error of the restricted mean", truth.mean_error, found.rmst.se, MEAN_ERROR)


def _withheld(counts: curves.Curve) -> str | None:
    """Why an arm has no restricted mean: too few persons, followed to TAU, or with an event before it."""
    if counts.at_risk[0] < SMALLEST:
        return f"fewer than {SMALLEST} persons"
    if counts.at_risk[TAU] < SMALLEST:
        return "follow-up too short"
    return f"fewer than {SMALLEST} events" if counts.events[:TAU].sum() < SMALLEST else None


# ---- ranking


def judge_ranking(similar: Similar, facts: dict[str, object], result: RankingResult) -> list[Check]:
    """The tier, who is shown and who is not and why, and every number shown."""
    number, members = similar.first_tier(facts)
    tier = LADDER[number].name if number < len(LADDER) else None
    arms = {_name(arm): truth for arm, truth in similar.arms(members).items()}
    shown = {name for name, truth in arms.items() if _state(truth) == "shown"}
    reasons = {name: _state(truth) for name, truth in arms.items() if name not in shown}
    hidden = {arm.treatment: arm.reason for arm in result.hidden}
    told = {name: hidden[name].partition(":")[0] for name in reasons if name in hidden}
    checks = [
        Check("tier", tier, result.tier),
        Check("treatments shown", sorted(shown), sorted(arm.treatment for arm in result.arms)),
        Check("large treatments withheld, and why", reasons, told),
        Check(
            "comparable patients",
            _total(int(members.sum()), similar.left(members), len(result.hidden)),
            result.total,
        ),
    ]
    for arm in result.arms:
        if arm.treatment in arms:
            checks += _judge_treatment(arms[arm.treatment], arm)
    return checks


def _name(arm: int) -> str:
    return f"regimen {arm + 1:03d}"


def _state(truth: ArmTruth) -> str:
    if truth.persons < MINIMUM_SUPPORT or truth.persons_left < SMALLEST:
        return "too few comparable patients"
    if not truth.overlap:
        return "no overlap"
    if truth.at_tau_left < SMALLEST or not truth.finished:
        return "follow-up too short"
    return "shown" if truth.information >= LEAST_INFORMATION else "too few comparable patients"


def _total(persons: int, left: int, hidden: int) -> tuple[int, int] | None:
    if hidden == 1 or left < SMALLEST:
        return None
    return _band(persons)


def _band(persons: int) -> tuple[int, int]:
    low = persons // ROUNDING * ROUNDING
    return low, low + ROUNDING - 1


def _judge_treatment(truth: ArmTruth, arm: ArmEstimate) -> Iterator[Check]:
    name = arm.treatment
    yield Check(f"{name}: patients", _band(truth.persons), tuple(arm.size))
    yield Check(f"{name}: restricted mean, months", truth.mean, arm.estimate, RANKED)
    coarse = truth.events_left < SMALLEST
    rounding = COARSE * truth.error / 2 if coarse else 0.0
    yield Check(f"{name}: standard error", truth.error, arm.standard_error, RANKED_ERROR + rounding)
    yield Check(f"{name}: fewer than ten failures", truth.events < 10, arm.fewer_than_ten_failures)
    span = 2 * COARSE * truth.information if coarse else 0.0
    yield Check(f"{name}: effective size", truth.information, float(arm.effective_size), 5.5 + span)
