"""`tessera try survival`: Kaplan-Meier, restricted means and log-rank tests by arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.cells import HiddenCount, ReleasedCount
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import Unit, coarsen, column
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.survival_result import ArmSurvival, Contrast, CurvePoint, SurvivalResult
from mpc_backend.try_.data import by_site, complete, levels, outcome_columns
from mpc_backend.try_.running import Answer, Setting, answer

MOST_ARMS = 12
MOST_STRATA = 20
MOST_TIMES = 12
"""Times of the at-risk table that fit into a line."""


@dataclass(frozen=True)
class SurvivalChoice:
    """The options of the command; ``times`` and ``tau`` count units of ``grid``."""

    time: str
    event: str
    arm: str
    strata: tuple[str, ...]
    times: tuple[int, ...]
    tau: int | None
    rho: float
    unit: Unit
    grid: Unit
    site: str | None


def survival(frame: pd.DataFrame, choice: SurvivalChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing time, event or arm do not count.

    ``strata`` add the stratified test, among the persons whose strata are known; everything else is as without them.
    """
    done = _run(frame, replace(choice, strata=()), setting)
    if not choice.strata:
        return done
    stratified = _run(frame, choice, setting)
    assert isinstance(done.result, SurvivalResult) and isinstance(stratified.result, SurvivalResult)
    test: dict[str, Any] = {"stratified_log_rank": stratified.result.stratified_log_rank}
    test["suppressed"] = [
        *done.result.suppressed,
        *(each for each in stratified.result.suppressed if each.what == "stratified_log_rank"),
    ]
    return Answer(done.result.model_copy(update=test), done.protocol, done.seconds + stratified.seconds)


def _run(frame: pd.DataFrame, choice: SurvivalChoice, setting: Setting) -> Answer:
    ready = pd.DataFrame(
        {"arm": column(frame, choice.arm), **outcome_columns(frame, choice.time, choice.event)}
    )
    names = [f"stratum{number}" for number in range(len(choice.strata))]
    for name, source in zip(names, choice.strata, strict=True):
        ready[name] = column(frame, source)
    known = complete(ready)
    if known.empty:
        raise LocalDataError("no row knows its time, event, arm and strata")
    strata = [
        {"variable": name, "levels": list(levels(frame, source, MOST_STRATA))}
        for name, source in zip(names, choice.strata, strict=True)
    ]
    parameters = parse_parameters(
        "survival",
        {
            "outcome": "outcome", "arm": "arm", "arms": list(levels(frame, choice.arm, MOST_ARMS)),
            "strata": strata, "adjust": False, "rho": choice.rho, "time_unit": choice.unit, "unit": choice.grid,
            "times": list(choice.times), **_ends(known, choice),
        },
    )  # fmt: skip
    return answer(analysis("survival"), parameters, setting, by_site(ready, frame, choice.site))


def _ends(known: pd.DataFrame, choice: SurvivalChoice) -> dict[str, int]:
    """Horizon: the longest follow-up, or further if asked for. tau: as asked, else the shortest arm's follow-up."""
    grid = coarsen(known["outcome_time"].to_numpy(dtype=np.int64), choice.unit, choice.grid)
    last = pd.Series(grid).groupby(known["arm"].to_numpy()).max()
    tau = choice.tau if choice.tau is not None else max(1, int(last.min()))
    return {"horizon": max(1, int(last.max()), tau, *choice.times), "tau": tau}


def as_json(result: SurvivalResult) -> dict[str, Any]:
    """The JSON form (docs/analyses/try.md)."""
    tests = {
        name: None if test is None else {"chi2": test.chi2, "df": test.df, "p": test.p}
        for name, test in (("log_rank", result.log_rank), ("stratified_log_rank", result.stratified_log_rank))
    }
    weighted = result.weighted_log_rank
    return {
        "arms": [_arm(arm) for arm in result.arms],
        "rmst_contrast": _contrast(result.rmst_contrasts[0]) if result.rmst_contrasts else None,
        "rmst_contrasts": [_contrast(each) for each in result.rmst_contrasts],
        **tests,
        "weighted_log_rank": None
        if weighted is None
        else {"rho": weighted.rho, "chi2": weighted.chi2, "df": weighted.df, "p": weighted.p},
    }


def _arm(arm: ArmSurvival) -> dict[str, Any]:
    curve = arm.curve
    return {
        "arm": arm.arm,
        "n": _number(arm.n),
        "events": _number(arm.events),
        "median": None if curve.median is None else curve.median.model_dump(),
        "survival": _rows(arm),
        "steps": [step.model_dump() for step in curve.steps],
        "rmst": None if curve.rmst is None else curve.rmst.model_dump(),
        "why_not": curve.why_not,
    }


def _rows(arm: ArmSurvival) -> list[dict[str, Any]]:
    """The at-risk table with the curve's value at each time; null where nothing may be or can be said."""
    rows = []
    for row in arm.table:
        point = _at(arm.curve.steps, row.time, arm.curve.cut_at)
        known = {"estimate": None, "se": None, "lower": None, "upper": None} if point is None else point
        counts = {name: _number(getattr(row, name)) for name in ("at_risk", "events", "censored")}
        rows.append({"time": row.time, **known, **counts})
    return rows


def _at(steps: Sequence[CurvePoint], time: int, cut_at: int | None) -> dict[str, Any] | None:
    """The last step at or before a time."""
    if cut_at is None or time > cut_at:
        return None
    before = [step for step in steps if step.time <= time]
    return before[-1].model_dump(exclude={"time"}) if before else None


def _number(cell: ReleasedCount | HiddenCount) -> int | None:
    return cell.value


def _contrast(each: Contrast) -> dict[str, Any]:
    return each.model_dump()


def in_words(result: SurvivalResult) -> list[str]:
    """One line per arm and test, and the at-risk table."""
    lines = [result.estimand]
    for arm in result.arms:
        mean = arm.curve.rmst
        restricted = (
            f"hidden ({arm.curve.why_not})"
            if mean is None
            else f"{mean.estimate:.4g} (SE {mean.se:.3g}) up to {mean.tau}"
        )
        lines.append(
            f"{arm.arm:<24} n {_text(arm.n)}, events {_text(arm.events)}, median {_median(arm)}, mean {restricted}"
        )
    lines += _at_risk(result)
    for name in ("log_rank", "stratified_log_rank", "weighted_log_rank"):
        test = getattr(result, name)
        if test is not None:
            lines.append(f"{name.replace('_', ' ')}: chi2 {test.chi2:.4g} on {test.df} df, p {test.p:.3g}")
    return lines


def _median(arm: ArmSurvival) -> str:
    median = arm.curve.median
    if median is None:
        return f"hidden ({arm.curve.why_not})"
    return "not reached" if median.estimate is None else f"{median.estimate:g}"


def _at_risk(result: SurvivalResult) -> list[str]:
    """Persons at risk just before each time, an arm a line; a pointer where the times are too many for a line."""
    times = [row.time for row in result.arms[0].table]
    if len(times) > MOST_TIMES:
        return [f"at-risk table: {len(times)} times; choose some with --times, or print all with --json"]
    lines = [f"{f'at risk at {result.unit}':<24} " + " ".join(f"{time:>8}" for time in times)]
    return lines + [
        f"{arm.arm:<24} " + " ".join(f"{_text(row.at_risk):>8}" for row in arm.table) for arm in result.arms
    ]


def _text(cell: ReleasedCount | HiddenCount) -> str:
    return "hidden" if isinstance(cell, HiddenCount) else str(cell.value)
