"""Competing risks as pandas tables. Hidden counts are missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.cells import Cell, ReleasedCount
from mpc_backend.analyses.competing_result import CompetingResult

COUNT = "Int64"
CURVE = ["arm", "cause", "time", "estimate", "se", "lower", "upper"]


def curves(result: CompetingResult) -> pd.DataFrame:
    """The main table: cumulative incidence by arm and cause."""
    rows = [
        {"arm": arm.arm, "cause": curve.cause, **step.model_dump()}
        for arm in result.arms
        for curve in arm.causes
        for step in curve.steps
    ]
    return pd.DataFrame(rows, columns=CURVE)


def others(result: CompetingResult) -> dict[str, pd.DataFrame]:
    """Risk and time lost at tau, their differences, tests, and the at-risk table."""
    risks, at_risk = pd.DataFrame(_risks(result)), pd.DataFrame(_at_risk(result))
    numbers = ["risk", "risk_lower", "risk_upper", "time_lost", "time_lost_se"]
    counts = [name for name in at_risk.columns if name not in ("arm", "time")]
    tests = [{"cause": cause, **test.model_dump()} for cause, test in result.log_rank.items() if test]
    tables = {
        "risks": risks.astype({"persons": COUNT, "events": COUNT, **dict.fromkeys(numbers, float)}),
        "differences": pd.DataFrame([one.model_dump() for one in result.contrasts]),
        "tests": pd.DataFrame(tests),
        "at_risk": at_risk.astype(dict.fromkeys(counts, COUNT)),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _risks(result: CompetingResult) -> Iterator[dict[str, Any]]:
    for arm in result.arms:
        for curve in arm.causes:
            risk, lost = curve.at_tau, curve.time_lost
            yield {
                "arm": arm.arm,
                "cause": curve.cause,
                "persons": _number(arm.n),
                "events": _number(curve.events),
                "tau": risk.time if risk else None,
                "risk": risk.estimate if risk else None,
                "risk_lower": risk.lower if risk else None,
                "risk_upper": risk.upper if risk else None,
                "time_lost": lost.estimate if lost else None,
                "time_lost_se": lost.se if lost else None,
                "not_shown": curve.why_not or "",
            }


def _at_risk(result: CompetingResult) -> Iterator[dict[str, Any]]:
    for arm in result.arms:
        for row in arm.table:
            gone = {f"events_{cause}": _number(cell) for cause, cell in row.events.items()}
            counts = {"at_risk": _number(row.at_risk), **gone, "censored": _number(row.censored)}
            yield {"arm": arm.arm, "time": row.time, **counts}


def _number(cell: Cell) -> int | None:
    return cell.value if isinstance(cell, ReleasedCount) else None
