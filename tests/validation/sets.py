"""The data sets that answers are compared on; tests/mpc_backend/analyses/golden/README.md says where they come from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, Result, SiteData
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import analysis, parse_parameters

GOLDEN = Path(__file__).parents[1] / "mpc_backend" / "analyses" / "golden"
EXACT = DisclosurePolicy(minimum_sites=1, release="exact", rounding=1)
HERE = "here"


@cache
def data(name: str) -> pd.DataFrame:
    """A data set; not to be changed in place."""
    if name == "rossi":
        from lifelines.datasets import load_rossi

        return load_rossi()
    return pd.read_csv(GOLDEN / f"{name}.csv")


def thirds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every third row to each of three hospitals."""
    return {name: frame.iloc[start::3] for start, name in enumerate(("north", "south", "west"))}


def by_column(frame: pd.DataFrame, site: str | None) -> dict[str, pd.DataFrame]:
    """The hospitals that a column names; one without it."""
    if site is None:
        return {HERE: frame}
    return {f"hospital {name}": rows for name, rows in frame.groupby(site)}


def answered(
    kind: str,
    parameters: dict[str, Any],
    sites: dict[str, pd.DataFrame],
    protocol: str = "plain",
    facts: dict[str, object] | None = None,
) -> Result:
    """The answer of an analysis in exact release; ``facts`` of the patient, for a ranking."""
    given = {name: SiteData(rows.reset_index(drop=True)) for name, rows in sites.items()}
    return run_here(
        analysis(kind),
        parse_parameters(kind, parameters),
        Released(EXACT, tuple(given)),
        given,
        facts=facts,
        protocol=protocol,
    )
