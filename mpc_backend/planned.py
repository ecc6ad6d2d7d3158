"""Which tables a signed study asks of its sites and requesters: computed by everyone from the document alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from governance.manifest import ManifestTable
from governance.run_request import RunRequest
from governance.study import StudyAnalysis, StudyProtocol
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.registry import resolve
from mpc_backend.packages import Part
from mpc_backend.tables import TableSpec, bucket


@dataclass(frozen=True)
class PlannedTable:
    """One table of one analysis."""

    analysis: str
    spec: TableSpec

    @property
    def name(self) -> str:
        """``analysis/table``, its name in packages."""
        return f"{self.analysis}/{self.spec.name}"


ANY_COHORT = 'cohort "Any" enter on first visit'
"""Stands for the cohorts that runs will bring, where a study is checked before it has runs."""


def planned_tables(study: StudyProtocol, run: RunRequest | None = None) -> tuple[PlannedTable, ...]:
    """What every site uploads: once for all analyses of a study, or for the one run of a feasibility count.

    A feasibility study as such asks for nothing; that its runs can be planned is checked all the same.

    Raises:
        ParametersRefused: an analysis of the study cannot be planned, or names an undeclared variable.
    """
    if study.feasibility is not None and run is None:
        for entry in study.analyses:
            check_entry(study, entry)
        return ()
    entries = study.analyses if run is None else (study.analysis(run.analysis),)
    return tuple(
        table for entry in entries for table in _tables(study, entry, run) if table.spec.level != "query"
    )


def check_entry(study: StudyProtocol, entry: StudyAnalysis) -> None:
    """Whether an analysis can be planned, with any cohort if the study leaves the cohort to each run.

    Raises:
        ParametersRefused: it cannot.
        cohort_lang.CohortSyntaxError: the study's cohort does not parse.
    """
    chosen, parameters = resolve(study, entry.id, {"cohort": ANY_COHORT})
    chosen.tables(parameters)


def query_tables(
    study: StudyProtocol, entry: StudyAnalysis, run: RunRequest | None = None
) -> tuple[PlannedTable, ...]:
    """What the requester of a run brings, in shares; empty for most analyses."""
    return tuple(table for table in _tables(study, entry, run) if table.spec.level == "query")


def _tables(study: StudyProtocol, entry: StudyAnalysis, run: RunRequest | None) -> tuple[PlannedTable, ...]:
    chosen, parameters = resolve(study, entry.id, run.parameters if run is not None else None)
    return tuple(PlannedTable(entry.id, spec) for spec in chosen.tables(parameters))


def check_tables(planned: Iterable[PlannedTable], found: Iterable[ManifestTable]) -> dict[str, int]:
    """Rows of each table of a manifest, once its tables are exactly the planned ones.

    Raises:
        InputsRefused: a table is missing, foreign, repeated, or has other columns or rows.
    """
    tables = list(found)
    by_name = {f"{table.analysis}/{table.name}": table for table in tables}
    expected = {table.name: table.spec for table in planned}
    if set(by_name) != set(expected) or len(by_name) != len(tables):
        raise InputsRefused(
            f"the upload brings tables {sorted(by_name)}, the signed study asks for {sorted(expected)}"
        )
    for name, spec in expected.items():
        _check_shape(name, spec, by_name[name])
    return {name: by_name[name].rows for name in expected}


def _check_shape(name: str, spec: TableSpec, found: ManifestTable) -> None:
    columns = tuple(column.name for column in spec.columns)
    if found.columns != columns:
        raise InputsRefused(
            f"table {name} brings columns {found.columns}, the signed study asks for {columns}"
        )
    expected = bucket(found.rows) if spec.rows is None else spec.rows
    if found.rows != expected:
        what = "padded to" if spec.rows is None else "of"
        raise InputsRefused(f"table {name} has {found.rows} rows, expected {what} {expected}")


Encoded = Mapping[str, Mapping[str, Mapping[int, bytes]]]
"""Encoded shares by table name, column and share."""


def arrange(planned: Iterable[PlannedTable], parts: Iterable[Part], shares: Iterable[int]) -> Encoded:
    """The parts of a package by table and column, once they are exactly what was planned, in that order.

    Raises:
        InputsRefused: a part is missing, foreign, repeated or out of order.
    """
    wanted = [(t.name, c.name, share) for t in planned for c in t.spec.columns for share in sorted(shares)]
    found = {(part.table, part.column, part.share): part for part in parts}
    if list(found) != wanted or len(found) != len(list(parts)):
        raise InputsRefused(
            f"a package holds {len(found)} shares of columns, {len(wanted)} were expected in the planned order; "
            f"they differ in {sorted(set(wanted) ^ set(found))[:3] or 'order'}"
        )
    arranged: dict[str, dict[str, dict[int, bytes]]] = {}
    for (table, column, share), part in found.items():
        arranged.setdefault(table, {}).setdefault(column, {})[share] = bytes(part.data)
    return arranged
