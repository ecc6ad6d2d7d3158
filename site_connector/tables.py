"""The columns of one upload, computed from this hospital's rows: exactly those planned, padded, nothing
else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ibis.backends.duckdb import Backend

from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.registry import resolve
from mpc_backend.errors import EngineError
from mpc_backend.planned import PlannedTable
from mpc_backend.tables import Arrays, bucket
from site_connector.errors import CannotEvaluate
from site_connector.evaluation import site_data
from site_connector.leaving import planned

RUN_COHORT = "cohort"
"""The name under which the cohort of a feasibility run is evaluated and reported."""


def cohort_texts(study: StudyProtocol, run: RunRequest | None) -> dict[str, str]:
    """The cohorts to evaluate, by name: those analyses use, or the one a run brings."""
    if run is not None and RUN_COHORT in run.parameters:
        return {RUN_COHORT: str(run.parameters[RUN_COHORT])}
    used = {entry.cohort for entry in study.analyses}
    return {name: text for name, text in study.cohorts.items() if name in used}


def evaluate_cohorts(
    connection: Backend, study: StudyProtocol, run: RunRequest | None = None
) -> dict[str, SiteData]:
    """Every cohort of the study, or of the run, on this hospital's data.

    Raises:
        CannotEvaluate: see `site_connector.evaluation.site_data`.
    """
    texts = cohort_texts(study, run)
    return {name: site_data(connection, name, text, study.variables) for name, text in texts.items()}


def local_tables(
    study: StudyProtocol, data: Mapping[str, SiteData], run: RunRequest | None = None
) -> dict[str, Arrays]:
    """Columns of every planned table by its name ``analysis/table``, unpadded.

    Raises:
        CannotEvaluate: a column cannot be given, or an analysis gives another table than planned.
    """
    wanted = {table.name: table for table in planned(study, run)}
    found: dict[str, Arrays] = {}
    for entry in study.analyses if run is None else (study.analysis(run.analysis),):
        cohort = entry.cohort or RUN_COHORT
        try:
            chosen, parameters = resolve(study, entry.id, run.parameters if run else None)
            made = chosen.local(parameters, data[cohort])
        except EngineError as error:
            raise CannotEvaluate(f"analysis {entry.id}: {error}") from error
        found |= {f"{entry.id}/{name}": columns for name, columns in made.items()}
    if set(found) != set(wanted):
        raise CannotEvaluate(f"the analyses give tables {sorted(found)}, the study asks for {sorted(wanted)}")
    for name, columns in found.items():
        _check_columns(wanted[name], columns)
    return found


def rows_of(columns: Arrays) -> int:
    """Rows of a table."""
    return len(next(iter(columns.values())))


def padded(table: PlannedTable, columns: Arrays) -> Arrays:
    """The table as it is shared: one of persons is filled with zero rows up to its bucket; ``valid`` tells
    them apart."""
    if table.spec.level != "rows":
        return columns
    missing = bucket(rows_of(columns)) - rows_of(columns)
    return {
        name: np.concatenate([values, np.zeros((missing, *values.shape[1:]), dtype=values.dtype)])
        for name, values in columns.items()
    }


def _check_columns(table: PlannedTable, columns: Arrays) -> None:
    """Names, numbers of rows and widths are those the nodes will expect."""
    expected = [column.name for column in table.spec.columns]
    if sorted(columns) != sorted(expected):
        raise CannotEvaluate(f"table {table.name}: columns {sorted(columns)} instead of {sorted(expected)}")
    rows = rows_of(columns) if table.spec.rows is None else table.spec.rows
    for column in table.spec.columns:
        shape = columns[column.name].shape
        if shape not in ({(rows,), (rows, 1)} if column.width == 1 else {(rows, column.width)}):
            raise CannotEvaluate(
                f"table {table.name}: column {column.name} has shape {shape} for {rows} rows"
            )
