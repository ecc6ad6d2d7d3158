"""Types of the columns of result tables: counts that may be hidden, numbers that may be missing."""

from __future__ import annotations

import pandas as pd

COUNT = "Int64"
"""Type of a column of counts: missing where hidden."""


def counts(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with those of the named columns that it has as counts."""
    return frame.astype({name: COUNT for name in names if name in frame})


def numbers(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with those of the named columns that it has as numbers, missing where there is none."""
    return frame.astype({name: float for name in names if name in frame})
