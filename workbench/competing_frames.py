"""Competing risks as pandas tables. Hidden counts are missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.competing_result import CompetingResult
from workbench.columns import counts, numbers

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
    risks, at_risk = counts(pd.DataFrame(_risks(result)), "persons", "events"), pd.DataFrame(_at_risk(result))
    gone = [name for name in at_risk.columns if name not in ("arm", "time")]
    tests = [{"cause": cause, **test.model_dump()} for cause, test in result.log_rank.items() if test]
    tables = {
        "risks": numbers(risks, "risk", "risk_lower", "risk_upper", "time_lost", "time_lost_se"),
        "differences": numbers(pd.DataFrame([one.model_dump() for one in result.contrasts]), "p"),
        "tests": pd.DataFrame(tests),
        "at_risk": counts(at_risk, *gone),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _risks(result: CompetingResult) -> Iterator[dict[str, Any]]:
    for arm in result.arms:
        for curve in arm.causes:
            risk, lost = curve.at_tau, curve.time_lost
            yield {
                "arm": arm.arm,
                "cause": curve.cause,
                "persons": arm.n.value,
                "events": curve.events.value,
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
            gone = {f"events_{cause}": cell.value for cause, cell in row.events.items()}
            found = {"at_risk": row.at_risk.value, **gone, "censored": row.censored.value}
            yield {"arm": arm.arm, "time": row.time, **found}
