"""Results as pandas tables, numbers as numbers: for notebooks. Hidden counts are missing values (``pd.NA``)."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cells import HiddenCount, ReleasedCount
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.survival_result import SurvivalResult


def table_of(result: Result) -> pd.DataFrame:
    """The main table of a result: attrition steps, survival steps, or treatments with their intervals."""
    match result:
        case CountResult():
            return _count(result)
        case SurvivalResult():
            return _survival(result)
        case RankingResult():
            return pd.DataFrame([arm.model_dump() for arm in result.arms])
    return pd.DataFrame([result.model_dump()])


def _count(result: CountResult) -> pd.DataFrame:
    named = [("population", result.population), *((step.label, step.count) for step in result.steps)]
    frame = pd.DataFrame({"step": [name for name, _ in named], "state": [cell.state for _, cell in named]})
    frame["persons"] = pd.array([_number(cell) for _, cell in named], dtype="Int64")
    return frame


def _number(cell: ReleasedCount | HiddenCount) -> int | None:
    return cell.value if isinstance(cell, ReleasedCount) else None


def _survival(result: SurvivalResult) -> pd.DataFrame:
    rows = [
        {"arm": arm.arm, "curve": kind, **step.model_dump()}
        for arm in result.arms
        for kind, curve in (("main", arm.curve), ("crude", arm.crude))
        if curve is not None
        for step in curve.steps
    ]
    return pd.DataFrame(rows, columns=["arm", "curve", "time", "estimate", "se", "lower", "upper"])
