"""Tables of the steward's page, from the connector's own content for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from site_connector.models import CohortPreview, TableOut
from site_connector.review import ReviewPage
from site_connector.words import day

STATES = {
    "waiting": "not yet signed",
    "approved": "approved",
    "declined": "declined",
    "withdrawn": "withdrawn",
}


def leaving_table(tables: Sequence[TableOut]) -> pd.DataFrame:
    """What would leave: rows here (known only here), rows the nodes see, columns."""
    return pd.DataFrame(
        {
            "Analysis": [table.analysis for table in tables],
            "Table": [f"{table.table}: {_meaning(table)}" for table in tables],
            "Rows here": [_count(table.rows) for table in tables],
            "Rows nodes see, padded": [_count(table.shared_rows) for table in tables],
            "Columns": [", ".join(_column(one.name, one.width) for one in table.columns) for table in tables],
        }
    )


def _meaning(table: TableOut) -> str:
    return "one row a person" if table.level == "rows" else "totals"


def _count(rows: int | None) -> str:
    return "not known yet" if rows is None else f"{rows:,}"


def _column(name: str, width: int) -> str:
    return name if width == 1 else f"{name} (x{width})"


def attrition_here(here: CohortPreview) -> pd.DataFrame:
    """The cohort on this hospital's data, step by step."""
    return pd.DataFrame(
        {
            "Step": [step.label for step in here.attrition],
            "Persons left": [f"{step.persons:,}" for step in here.attrition],
        }
    )


def unmapped_table(here: CohortPreview) -> pd.DataFrame:
    """Source codes without a standard concept, most frequent first."""
    return pd.DataFrame(
        {
            "Domain": [one.domain for one in here.unmapped],
            "Code": [one.code for one in here.unmapped],
            "Records": [f"{one.records:,}" for one in here.unmapped],
            "Persons": [f"{one.persons:,}" for one in here.unmapped],
        }
    )


def standing_table(page: ReviewPage, names: Mapping[str, str]) -> pd.DataFrame:
    """How far every hospital is; ``names``: hospitals by id."""
    return pd.DataFrame(
        {
            "Hospital": [names.get(one.site, one.site) for one in page.standings],
            "State": [STATES[one.state] for one in page.standings],
            "Since": [day(one.since) if one.since else "–" for one in page.standings],
            "Reason": [one.reason or "–" for one in page.standings],
        }
    )
