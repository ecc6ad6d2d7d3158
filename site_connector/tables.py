"""The columns of one upload, computed from this hospital's rows: exactly those planned, padded, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from ibis.backends.duckdb import Backend

from cohort_lang.errors import CohortError
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.registry import resolve
from mpc_backend.errors import EngineError
from mpc_backend.planned import PlannedTable
from mpc_backend.tables import Arrays
from site_connector.errors import CannotEvaluate
from site_connector.evaluation import site_data
from site_connector.leaving import planned
from site_connector.linked import Recognition, linked_cohorts

RUN_COHORT = "cohort"
"""The name under which the cohort of a feasibility run is evaluated and reported."""


def cohort_texts(study: StudyProtocol, run: RunRequest | None) -> dict[str, str]:
    """The cohorts to evaluate, by name: those analyses use, or the one a run brings."""
    if run is not None and RUN_COHORT in run.parameters:
        return {RUN_COHORT: str(run.parameters[RUN_COHORT])}
    used = {entry.cohort for entry in study.analyses}
    return {name: text for name, text in study.cohorts.items() if name in used}


def evaluate_cohorts(
    connection: Backend,
    study: StudyProtocol,
    run: RunRequest | None = None,
    persons_by: Recognition | None = None,
) -> dict[str, SiteData]:
    """Every cohort of the study, or of the run, on this hospital's data.

    Raises:
        CannotEvaluate, LinkageRefused: see `site_connector.evaluation.site_data`.
    """
    linked = linked_cohorts(study, run, RUN_COHORT)
    return {
        name: site_data(connection, name, text, study.variables, persons_by if name in linked else None)
        for name, text in cohort_texts(study, run).items()
    }


def local_tables(
    study: StudyProtocol, data: Mapping[str, SiteData], run: RunRequest | None = None
) -> dict[str, dict[str, Arrays]]:
    """Columns of every planned table by analysis and table, unpadded; nothing but what is planned.

    Raises:
        CannotEvaluate: a column cannot be given, or an analysis gives another table than planned.
    """
    found: dict[str, dict[str, Arrays]] = {}
    for entry in study.analyses if run is None else (study.analysis(run.analysis),):
        try:
            chosen, parameters = resolve(study, entry.id, run.parameters if run else None)
            found[entry.id] = chosen.local(parameters, data[entry.cohort or RUN_COHORT])
        except (EngineError, CohortError) as error:
            raise CannotEvaluate(f"analysis {entry.id}: {error}") from error
    for table in planned(study, run):
        _check_columns(table, found[table.analysis].get(table.spec.name))
    return found


def rows_of(columns: Arrays) -> int:
    """Rows of a table."""
    return len(next(iter(columns.values())))


def _check_columns(table: PlannedTable, columns: Arrays | None) -> None:
    """Names, numbers of rows and widths are those the nodes will expect."""
    expected = [column.name for column in table.spec.columns]
    if columns is None or sorted(columns) != sorted(expected):
        raise CannotEvaluate(
            f"table {table.name}: columns {sorted(columns or ())} instead of {sorted(expected)}"
        )
    rows = rows_of(columns) if table.spec.rows is None else table.spec.rows
    for column in table.spec.columns:
        shape = columns[column.name].shape
        if shape != ((rows,) if column.width == 1 else (rows, column.width)):
            raise CannotEvaluate(
                f"table {table.name}: column {column.name} has shape {shape} for {rows} rows"
            )
