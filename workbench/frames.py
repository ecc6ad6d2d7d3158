"""Results as pandas tables, numbers as numbers: for notebooks. Hidden counts are missing values (``pd.NA``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.comparative_result import ComparativeResult
from mpc_backend.analyses.competing_result import CompetingResult
from mpc_backend.analyses.correlation_result import CorrelationResult
from mpc_backend.analyses.ranking_arms import ArmEstimate
from mpc_backend.analyses.ranking_contrasts import Balance
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.regression_result import RegressionResult
from mpc_backend.analyses.survival_result import ArmSurvival, Curve, Median, SurvivalResult
from mpc_backend.analyses.table_one_result import TableOneResult
from workbench import (
    comparative_frames,
    competing_frames,
    correlation_frames,
    cox_frames,
    regression_frames,
    table_one_frames,
)
from workbench.columns import COUNT, counts, numbers


def table_of(result: Result) -> pd.DataFrame:
    """The main table of a result: attrition steps, survival steps, or treatments with their intervals."""
    match result:
        case CountResult():
            found = _count(result)
        case SurvivalResult():
            found = _survival(result)
        case CompetingResult():
            found = competing_frames.curves(result)
        case ComparativeResult():
            found = comparative_frames.arms(result)
        case CorrelationResult():
            found = correlation_frames.pairs(result)
        case TableOneResult():
            found = table_one_frames.numbers(result)
        case RegressionResult():
            found = regression_frames.coefficients(result)
        case RankingResult():
            found = pd.DataFrame([_ranked_arm(arm) for arm in result.arms])
        case _:
            found = pd.DataFrame([result.model_dump()])
    return found


def _ranked_arm(arm: ArmEstimate) -> dict[str, Any]:
    """One row of a ranking; numbers of the harm, of the negative control and of the risk begin with ``harm_``, ``control_``
    and ``risk_``."""
    beside = {"harm": arm.harm, "control": arm.control, "risk": arm.risk}
    numbers = {
        name if name == of else f"{of}_{name}": value
        for of, found in beside.items()
        if found is not None
        for name, value in found.model_dump().items()
    }
    return {**arm.model_dump(exclude=set(beside)), **numbers}


def _contrasts(balance: Balance) -> dict[str, pd.DataFrame]:
    """The pairs of treatments that are out of balance, or cannot be judged."""
    rows = [
        {"one": pair[0], "other": pair[1], "balance": said}
        for said, pairs in (("out of balance", balance.withheld), ("cannot be judged", balance.not_judged))
        for pair in pairs
    ]
    return {"contrasts": pd.DataFrame(rows)} if rows else {}


def tables_of(result: Result) -> dict[str, pd.DataFrame]:
    """Every table of a result by its name; ``table`` is the main one."""
    return {**_others(result), "table": table_of(result)}


def _others(result: Result) -> dict[str, pd.DataFrame]:
    found: dict[str, pd.DataFrame] = {}
    match result:
        case SurvivalResult():
            found = _survival_tables(result)
        case CompetingResult():
            found = competing_frames.others(result)
        case ComparativeResult():
            found = comparative_frames.others(result)
        case RankingResult(balance=Balance() as balance):
            found = _contrasts(balance)
        case CorrelationResult():
            found = correlation_frames.others(result)
        case TableOneResult():
            found = table_one_frames.others(result)
        case RegressionResult():
            found = regression_frames.others(result)
    return found


def worded(frame: pd.DataFrame) -> pd.DataFrame:
    """The table to print or save: a hidden count is the word, never blank."""
    shown = frame.copy()
    for name in frame.columns[frame.dtypes == COUNT]:
        shown[name] = frame[name].astype("object").where(frame[name].notna(), "hidden")
    return shown


def _survival_tables(result: SurvivalResult) -> dict[str, pd.DataFrame]:
    """Groups with medians and restricted means, contrasts, tests, coefficients of a Cox regression, at-risk table."""
    named = {
        "log-rank": result.log_rank,
        "log-rank within strata": result.stratified_log_rank,
        "weighted log-rank": result.weighted_log_rank,
    }
    groups = counts(pd.DataFrame(_groups(result)), "persons", "events")
    contrasts = pd.DataFrame([one.model_dump() for one in result.rmst_contrasts])
    tables = {
        "groups": numbers(groups, "median", "median_lower", "median_upper", "rmst", "rmst_se"),
        "contrasts": numbers(contrasts, "p", "ratio", "ratio_lower", "ratio_upper"),
        "tests": pd.DataFrame(
            [{"test": name, **one.model_dump()} for name, one in named.items() if one]
            + ([] if result.cox is None else cox_frames.tests(result.cox))
        ),
        "hazards": pd.DataFrame() if result.cox is None else cox_frames.coefficients(result.cox),
        "at_risk": counts(pd.DataFrame(_at_risk(result)), "at_risk", "events", "censored"),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _groups(result: SurvivalResult) -> Iterator[dict[str, Any]]:
    for arm in result.arms:
        for kind, curve in _curves(arm):
            median, mean = curve.median or Median(estimate=None, lower=None, upper=None), curve.rmst
            yield {
                "arm": arm.arm,
                "curve": kind,
                "persons": arm.n.value,
                "events": arm.events.value,
                "median": median.estimate,
                "median_lower": median.lower,
                "median_upper": median.upper,
                "tau": mean.tau if mean else None,
                "rmst": mean.estimate if mean else None,
                "rmst_se": mean.se if mean else None,
                "not_shown": curve.why_not or "",
            }


def _at_risk(result: SurvivalResult) -> Iterator[dict[str, Any]]:
    for arm in result.arms:
        for row in arm.table:
            cells = {"at_risk": row.at_risk, "events": row.events, "censored": row.censored}
            yield {"arm": arm.arm, "time": row.time, **{name: cell.value for name, cell in cells.items()}}


def _curves(arm: ArmSurvival) -> Iterator[tuple[str, Curve]]:
    yield "main", arm.curve
    if arm.crude is not None:
        yield "crude", arm.crude


def _count(result: CountResult) -> pd.DataFrame:
    named = [("population", result.population), *((step.label, step.count) for step in result.steps)]
    frame = pd.DataFrame({"step": [name for name, _ in named], "state": [cell.state for _, cell in named]})
    frame["persons"] = pd.Series([cell.value for _, cell in named], dtype=COUNT)
    return frame


def _survival(result: SurvivalResult) -> pd.DataFrame:
    rows = [
        {"arm": arm.arm, "curve": kind, **step.model_dump()}
        for arm in result.arms
        for kind, curve in _curves(arm)
        for step in curve.steps
    ]
    return pd.DataFrame(rows, columns=["arm", "curve", "time", "estimate", "se", "lower", "upper"])
