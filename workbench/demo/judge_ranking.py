"""Judges the ranking example: who is shown and who is not, every number shown, and what is concluded from them.

Restricted means, errors, sizes and bands are compared with the pooled ones. What a recipient's program makes of
them in the clear (limits, shrunken values, the set that may be best) is made here once more, of the same released
numbers and by formulae of our own: an effective size is released in steps of 5, so pooled ones would say little.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from mpc_backend.analyses.ranking_arms import ArmEstimate
from mpc_backend.analyses.ranking_result import RankingResult
from workbench.demo.earlier import TOO_CLOSE, Earlier, Persons
from workbench.demo.intervals import Ranked, drawn_together, may_be_best
from workbench.demo.judge import ROUNDING, Check
from workbench.demo.judge_comparability import judge_balance, judge_ratios, judge_risk
from workbench.demo.similar import (
    LADDER,
    LEAST_INFORMATION,
    MINIMUM_SUPPORT,
    SMALLEST,
    ArmTruth,
    Similar,
    marker_columns,
)
from workbench.demo.vocabulary import REGIMENS

RANKED: Final = 0.05 + 0.01
RANKED_ERROR: Final = 0.005 + 0.01
"""Tolerances: half a unit of the last released digit, and room for fixed-point arithmetic."""
COARSE: Final = 0.05
"""Largest relative error of a number that is rounded to two significant digits."""
DERIVED: Final = 1e-6
"""Months; for two ways to compute one formula of the same numbers."""
ALPHA: Final = 0.05


def judge_ranking(
    similar: Similar, facts: dict[str, object], result: RankingResult, earlier: Earlier | None = None
) -> list[Check]:
    """The tier, who is shown and who is not and why, every number shown, and the conclusions. ``earlier``: what the same
    physician was told before, to which this answer is added; None: nothing."""
    number, members = similar.first_tier(facts)
    tier = LADDER[number].name if number < len(LADDER) else None
    large = {_name(arm): truth for arm, truth in similar.arms(members).items()}
    states = {_name(arm): "too few comparable patients" for arm in range(REGIMENS)}
    states |= {name: _state(truth) for name, truth in large.items()}
    told = earlier or Earlier()
    near = _withheld(told, similar, members, states)
    shown = sorted(name for name, state in states.items() if state == "shown")
    reasons = {name: state for name, state in states.items() if state != "shown"}
    total = None if near else _total(int(members.sum()), similar.left(members), len(reasons))
    told.tell(members, {arm for arm in range(REGIMENS) if _name(arm) in shown}, total=total is not None)
    missing = sorted(name for name in (*marker_columns(), "age", "stage") if facts.get(name) is None)
    checks = [
        Check("tier", tier, result.tier),
        Check("what the tier relaxes", _relaxed(number), result.relaxed),
        Check("facts not matched on", missing, sorted(result.not_matched_on)),
        Check("treatments shown", shown, sorted(arm.treatment for arm in result.arms)),
        Check(
            "treatments withheld, and why",
            reasons,
            {arm.treatment: arm.reason.partition(":")[0] for arm in result.hidden},
        ),
        Check("number of treatments withheld", len(reasons), result.hidden_count),
        Check("comparable patients", total, result.total),
    ]
    for arm in result.arms:
        if arm.treatment in large:
            checks += _judge_treatment(large[arm.treatment], arm)
            checks += judge_risk(large[arm.treatment], arm)
    checks += judge_balance(similar, members, shown, result)
    return [*checks, *judge_ratios(result), *_judge_conclusions(result)]


def _withheld(earlier: Earlier, similar: Similar, members: Persons, states: dict[str, str]) -> bool:
    """Change the states of treatments that would be shown but for an earlier answer; and whether the total is withheld too."""
    for arm in range(REGIMENS):
        if states[_name(arm)] == "shown" and earlier.close(similar, members, arm):
            states[_name(arm)] = TOO_CLOSE
    return earlier.total_close(similar, members)


def _relaxed(number: int) -> list[str]:
    """What a tier relaxes against the first, in words."""
    if number >= len(LADDER):
        return []
    first, used = LADDER[0], LADDER[number]
    words = {
        f"up to {used.distance} markers may differ instead of {first.distance}": used.distance
        != first.distance,
        f"age within {used.years} years instead of within {first.years} years": used.years != first.years,
        "stage need not agree": first.same_stage and not used.same_stage,
    }
    return [word for word, said in words.items() if said]


def _name(arm: int) -> str:
    return f"regimen {arm + 1:03d}"


def _state(truth: ArmTruth) -> str:
    if truth.persons < MINIMUM_SUPPORT or truth.persons_left < SMALLEST:
        return "too few comparable patients"
    if not truth.overlap:
        return "no overlap"
    if truth.at_tau_left < SMALLEST or not truth.finished:
        return "follow-up too short"
    if truth.information < LEAST_INFORMATION:
        return "too few comparable patients"
    return "shown" if truth.even.persons else "one patient would weigh too much in the adjusted mean"


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
    coarse = truth.events_left < SMALLEST or not truth.even.events
    rounding = COARSE * truth.error / 2 if coarse else 0.0
    yield Check(f"{name}: standard error", truth.error, arm.standard_error, RANKED_ERROR + rounding)
    yield Check(f"{name}: fewer than ten failures", truth.events < 10, arm.fewer_than_ten_failures)
    span = 2 * COARSE * truth.information if coarse else 0.0
    yield Check(f"{name}: effective size", truth.information, float(arm.effective_size), 5.5 + span)


def _judge_conclusions(result: RankingResult) -> Iterator[Check]:
    """Limits, shrunken values, order, and the set that cannot be ruled out as best."""
    arms = [
        Ranked(arm.estimate, arm.standard_error, float(arm.effective_size), arm.fewer_than_ten_failures)
        for arm in result.arms
    ]
    places = {arm.treatment: place for place, arm in enumerate(result.arms)}
    pairs = [] if result.balance is None else result.balance.withheld
    withheld = {frozenset(places[name] for name in pair) for pair in pairs}
    best = [] if not arms else may_be_best(arms, ALPHA, withheld)
    shrunken = [] if not arms else drawn_together(arms)
    for arm, numbers, drawn, may in zip(result.arms, arms, shrunken, best, strict=True):
        lower, upper = numbers.interval()
        yield Check(f"{arm.treatment}: lower limit", lower, arm.lower, DERIVED)
        yield Check(f"{arm.treatment}: upper limit", upper, arm.upper, DERIVED)
        yield Check(f"{arm.treatment}: shrunken mean", drawn, arm.shrunken, DERIVED)
        yield Check(f"{arm.treatment}: may be best", may, arm.cannot_be_ruled_out)
    left = [arm.treatment for arm, may in zip(result.arms, best, strict=True) if may]
    yield Check("best shrunken mean first", True, _falls(shrunken))
    yield Check("cannot be ruled out as best", left, result.cannot_be_ruled_out)
    yield Check("verdict", _verdict(len(left), len(arms)), result.verdict)


def _falls(values: list[float]) -> bool:
    return all(later <= earlier + DERIVED for earlier, later in pairwise(values))


def _verdict(left: int, arms: int) -> str:
    if arms < 2:
        return "fewer than two treatments can be compared for this patient"
    if left == arms:
        return "no treatment distinguishable"
    return f"{left} of {arms} comparable treatments cannot be ruled out as best"
