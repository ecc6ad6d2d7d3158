"""Means and correlations as pandas tables. What is withheld or not estimable is a missing value."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.correlation_result import CorrelationResult
from workbench.columns import COUNT, numbers

NUMBERS = ("covariance", "pearson", "lower", "upper", "p", "mean", "sd", "variance")


def pairs(result: CorrelationResult) -> pd.DataFrame:
    """The main table: one row a pair of variables."""
    columns = ["first", "second", "covariance", "pearson", "lower", "upper", "p"]
    return numbers(pd.DataFrame([pair.model_dump() for pair in result.pairs], columns=columns), *NUMBERS)


def others(result: CorrelationResult) -> dict[str, pd.DataFrame]:
    """Mean and deviation of each variable, with the persons they are made of."""
    frame = numbers(pd.DataFrame([each.model_dump() for each in result.variables]), *NUMBERS)
    frame.insert(1, "persons", pd.Series([result.n.value] * len(frame), dtype=COUNT))
    frame["not_shown"] = result.why_not or ""
    return {"variables": frame}
