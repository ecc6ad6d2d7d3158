"""A result as its tables, for kinds of analysis that have no drawing of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.registry import KINDS
from workbench.frames import tables_of, worded

MAIN = "table"


def result_of(body: Mapping[str, Any]) -> Result | None:
    """The typed result of its JSON form; None for a kind that this version does not know."""
    found = KINDS.get(str(body.get("kind")))
    return None if found is None else found.result.model_validate(body)


def headline(result: Result) -> str:
    """What was asked, as a sentence."""
    said = str(getattr(result, "estimand", result.kind)).replace("_", " ")
    return f"{said[:1].upper()}{said[1:]}"


def named_tables(result: Result) -> dict[str, pd.DataFrame]:
    """Every table under a heading, the main one first; hidden counts are the word."""
    tables = tables_of(result)
    names = [MAIN, *(name for name in tables if name != MAIN)]
    return {_heading(name): worded(tables[name]) for name in names}


def _heading(name: str) -> str:
    return "Result" if name == MAIN else name.replace("_", " ").capitalize()


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Cells as a page shows them: four significant digits of numbers that are not whole, a dash where there is none."""
    return table.astype(object).map(_text).rename(columns=lambda name: str(name).replace("_", " "))


def _text(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
