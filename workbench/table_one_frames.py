"""Table one as pandas tables. Hidden counts are missing values."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.table_one_result import CategoryRow, NumberRow, TableOneResult
from workbench import columns

NUMBERS = ("mean", "sd", "q1", "median", "q3")


def numbers(result: TableOneResult) -> pd.DataFrame:
    """The main table: each number in each group."""
    rows = [
        {
            "variable": row.variable,
            "group": each.group,
            **{name: getattr(each, name) for name in NUMBERS},
            "missing": each.missing.value,
            "not_shown": each.why_not or "",
        }
        for row in result.numbers
        for each in row.groups
    ]
    frame = pd.DataFrame(rows, columns=["variable", "group", *NUMBERS, "missing", "not_shown"])
    return columns.numbers(columns.counts(frame, "missing"), *NUMBERS)


def others(result: TableOneResult) -> dict[str, pd.DataFrame]:
    """Sizes of groups, persons at levels, and standardised differences."""
    sizes = pd.DataFrame([{"group": each.group, "persons": each.n.value} for each in result.groups])
    levels = pd.DataFrame(
        [
            {
                "variable": row.variable,
                "level": level,
                "group": each.group,
                "persons": count.value,
                "share": share,
            }
            for row in result.categories
            for each in row.groups
            for level, count, share in (
                *((one.level, one.count, one.share) for one in each.levels),
                ("(missing)", each.missing, None),
            )
        ]
    )
    rows: list[NumberRow | CategoryRow] = [*result.numbers, *result.categories]
    differences = pd.DataFrame(
        [{"variable": row.variable, **each.model_dump()} for row in rows for each in row.differences]
    )
    tables = {"groups_described": columns.counts(sizes, "persons")}
    if len(levels):
        tables["levels"] = columns.numbers(columns.counts(levels, "persons"), "share")
    if len(differences):
        tables["standardised"] = columns.numbers(differences, "smd").fillna({"why_not": ""})
    return tables
