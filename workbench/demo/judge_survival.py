"""Judges the survival example: tables, curves, medians, restricted means, their contrast and the tests.

A number that the answer makes of released ones (a limit, a contrast, p) is made here of pooled ones by a formula
of our own; its tolerance is how far it can move when each number behind it is off by that number's tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf
from typing import Final

import numpy as np

from mpc_backend.analyses.survival_result import ArmSurvival, Curve, CurvePoint, SurvivalResult, Test
from workbench.demo import curves
from workbench.demo.curves import TAU
from workbench.demo.intervals import chi_square_p, difference, half_time, log_log_band, log_log_limit
from workbench.demo.judge import Check, judge_counts, reach, release
from workbench.demo.similar import SMALLEST
from workbench.demo.truth import ARMS, Comparison

TIMES: Final = (0, 6, 12, 18, 24)
"""The times of the at-risk table of the survival example; the last is its horizon."""

CURVE: Final = 0.001
CURVE_ERROR: Final = 0.00005 + 0.0004
ERROR_DIGITS: Final = 0.025
"""Of an error whose square has two significant digits."""
LIMIT: Final = 1e-6
MEAN: Final = 0.005 + 0.003
MEAN_ERROR: Final = 0.0005 + 0.003
CHI_SQUARE: Final = 0.0005 + 0.01
"""Tolerances: half a unit of the last released digit, and room for fixed-point arithmetic."""
STEPS: Final = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
STEP_PERSONS: Final = 5
"""Heights are multiples of the smallest of these steps that is worth so many of the persons shown."""
NEVER: Final = 2.0 * TAU
"""Stands for a median that is not reached."""


def judge_survival(pooled: Comparison, result: SurvivalResult) -> list[Check]:
    """Tables, curves, restricted means, their contrast and the tests of both arms."""
    checks = [Check("arms", list(ARMS), [arm.arm for arm in result.arms])]
    if not checks[0].agrees:
        return checks
    for number, arm in enumerate(result.arms):
        checks += _judge_arm(pooled, number, arm)
    return [*checks, *_judge_contrast(pooled, result), *_judge_tests(pooled, result)]


def _judge_arm(pooled: Comparison, number: int, arm: ArmSurvival) -> Iterator[Check]:
    crude, adjusted = pooled.crude[number], pooled.adjusted[number]
    times = list(TIMES)
    yield Check(f"{arm.arm}: times of the table", times, [row.time for row in arm.table])
    risk = [int(crude.at_risk[0]), *crude.at_risk[times].tolist()]
    yield from judge_counts(
        f"{arm.arm}: persons, at risk", risk, [arm.n, *(row.at_risk for row in arm.table)]
    )
    last_first = arm.table[::-1]
    failed = crude.events.cumsum()[times[::-1]].tolist()
    yield from judge_counts(f"{arm.arm}: events, last first", failed, [row.events for row in last_first])
    yield Check(f"{arm.arm}: all events", last_first[0].events, arm.events)
    censored = _censored(crude)[times[::-1]].tolist()
    yield from judge_counts(
        f"{arm.arm}: censored, last first", censored, [row.censored for row in last_first]
    )
    yield from _judge_curve(f"{arm.arm}, adjusted", crude, adjusted, arm.curve)
    if arm.crude is None:
        yield Check(f"{arm.arm}: crude curve", "shown", "absent")
    else:
        alone = curves.standardise([crude], np.ones(1))
        yield from _judge_curve(f"{arm.arm}, crude", crude, alone, arm.crude)


def _censored(curve: curves.Curve) -> curves.Ints:
    """Persons censored up to each month."""
    gone = curve.at_risk[:1] - np.append(curve.at_risk[1:], 0)
    return np.asarray(gone - curve.events.cumsum())


def _judge_curve(
    label: str, counts: curves.Curve, truth: curves.Standardised, found: Curve
) -> Iterator[Check]:
    failed, risk = counts.events.cumsum(), counts.at_risk
    followed = [month for month in range(TAU + 1) if risk[month] >= SMALLEST]
    start = [(0, 1.0)] if followed else []
    steps = _visible(failed, followed[1:])
    yield Check(f"{label}: start of the curve", start, [(one.time, one.estimate) for one in found.steps[:1]])
    yield Check(f"{label}: months with a visible step", steps, [point.time for point in found.steps[1:]])
    yield Check(f"{label}: end of the curve", followed[-1] if followed else None, found.cut_at)
    step = _step(int(risk[0]))
    for point in found.steps[1:]:
        yield from _judge_point(label, truth, point, step)
    yield from _judge_median(label, counts, truth, found)
    why = _withheld(counts)
    if why is not None or found.rmst is None:
        told = (found.why_not or "no reason").partition(";")[0] if found.rmst is None else "shown"
        yield Check(f"{label}: restricted mean", why or "shown", told)
        return
    yield Check(f"{label}: restricted mean, months", truth.mean, found.rmst.estimate, MEAN)
    yield Check(f"{label}: error of the restricted mean", truth.mean_error, found.rmst.se, MEAN_ERROR)


def _visible(failed: curves.Ints, months: list[int]) -> list[int]:
    """Months by which enough events have come since the last one of which this is true."""
    found: list[int] = []
    for month in months:
        if failed[month] - (failed[found[-1]] if found else 0) >= SMALLEST:
            found.append(month)
    return found


def _step(persons: int) -> float:
    """What heights are multiples of, from the number of persons as it is shown."""
    shown = release([persons])[0]
    return min(
        (step for step in STEPS if isinstance(shown, int) and round(shown * step, 6) >= STEP_PERSONS),
        default=STEPS[0],
    )


def _judge_point(label: str, truth: curves.Standardised, point: CurvePoint, step: float) -> Iterator[Check]:
    """Limits follow from the height and the error that are told."""
    survival, error = float(truth.survival[point.time]), float(truth.standard_error[point.time])
    yield Check(f"{label}: S({point.time})", survival, point.estimate, step / 2 + CURVE)
    nearest = round(point.estimate / step) * step
    yield Check(f"{label}: S({point.time}) as a multiple of {step}", nearest, point.estimate, LIMIT)
    yield Check(f"{label}: error of S({point.time})", error, point.se, CURVE_ERROR + ERROR_DIGITS * error)
    if not 0 < point.estimate < 1 or point.se is None:
        yield Check(f"{label}: limits of S({point.time}) left out", True, point.lower is None)
        return
    for name, side, told in (("lower", -1, point.lower), ("upper", 1, point.upper)):
        limit = log_log_limit(point.estimate, point.se, side)
        yield Check(f"{label}: {name} limit of S({point.time})", limit, told, LIMIT)


def _judge_median(
    label: str, counts: curves.Curve, truth: curves.Standardised, found: Curve
) -> Iterator[Check]:
    """Median and limits in months; `NEVER` for one that is not reached."""
    shown = counts.at_risk[0] >= SMALLEST and counts.events.sum() >= SMALLEST
    yield Check(f"{label}: median shown", bool(shown), found.median is not None)
    if not shown or found.median is None:
        return
    survival, errors = truth.survival, truth.standard_error
    for name, curve in (
        ("estimate", survival),
        ("lower", log_log_band(survival, errors, -1)),
        ("upper", log_log_band(survival, errors, 1)),
    ):
        told = getattr(found.median, name)
        month, off = reach(lambda shift, curve=curve: _months(half_time(curve + shift, TAU)), (0.0, CURVE))
        yield Check(f"{label}: median, {name}", month, NEVER if told is None else told, off)


def _months(time: float) -> float:
    return NEVER if isinf(time) else time


def _withheld(counts: curves.Curve) -> str | None:
    """Why an arm has no restricted mean: too few persons, followed to TAU, or with an event before it."""
    if counts.at_risk[0] < SMALLEST:
        return f"fewer than {SMALLEST} persons"
    if counts.at_risk[TAU] < SMALLEST:
        return "follow-up too short"
    return f"fewer than {SMALLEST} events" if counts.events[:TAU].sum() < SMALLEST else None


def _judge_contrast(pooled: Comparison, result: SurvivalResult) -> Iterator[Check]:
    """The second arm against the first: difference, ratio, intervals and p."""
    shown = all(_withheld(curve) is None for curve in pooled.crude)
    expected = [(ARMS[1], ARMS[0], TAU)] if shown else []
    told = [(one.arm, one.reference, one.tau) for one in result.rmst_contrasts]
    yield Check("contrasts", expected, told)
    if not shown or told != expected:
        return
    base, other = pooled.adjusted
    numbers = [
        (other.mean, MEAN),
        (other.mean_error, MEAN_ERROR),
        (base.mean, MEAN),
        (base.mean_error, MEAN_ERROR),
    ]
    for name in difference(*(number for number, _ in numbers)):
        value, off = reach(lambda *four, name=name: difference(*four)[name], *numbers)
        yield Check(f"contrast: {name}", value, getattr(result.rmst_contrasts[0], name), off)


def _judge_tests(pooled: Comparison, result: SurvivalResult) -> Iterator[Check]:
    """Both log-rank tests, shown where each arm has enough persons and enough events."""
    shown = min(*pooled.persons, *pooled.events) >= SMALLEST
    tests = (
        ("log-rank", "hospital", pooled.log_rank, result.log_rank),
        (
            "stratified log-rank",
            "hospital and declared strata",
            pooled.stratified_log_rank,
            result.stratified_log_rank,
        ),
    )
    for name, strata, (statistic, _), test in tests:
        yield Check(f"{name} shown", shown, test is not None)
        if shown and test is not None:
            yield from _judge_test(name, strata, statistic, test)
    yield Check("weighted log-rank", None, result.weighted_log_rank)


def _judge_test(name: str, strata: str, statistic: float, test: Test) -> Iterator[Check]:
    yield Check(f"{name}: df, weight, strata", (1, 0.0, strata), (test.df, test.rho, test.stratified_by))
    yield Check(f"{name}: chi-square", statistic, test.chi2, CHI_SQUARE)
    p, off = reach(chi_square_p, (statistic, CHI_SQUARE))
    yield Check(f"{name}: p", p, test.p, off)
