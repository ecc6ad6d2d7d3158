"""What would leave this hospital for a study: tables and columns, from the signed document alone."""

from __future__ import annotations

from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.errors import AnalysisError
from mpc_backend.planned import PlannedTable, planned_tables
from mpc_backend.tables import Column
from site_connector.errors import CannotEvaluate
from site_connector.models import ColumnOut, TableOut


def planned(study: StudyProtocol, run: RunRequest | None = None) -> tuple[PlannedTable, ...]:
    """The tables to upload; none for a feasibility study as such, whose runs each bring their own.

    Raises:
        CannotEvaluate: an analysis is unknown to this software, or its parameters are at fault.
    """
    try:
        return planned_tables(study, run)
    except AnalysisError as error:
        raise CannotEvaluate(str(error)) from error


def tables_leaving(study: StudyProtocol) -> tuple[TableOut, ...]:
    """The tables as a steward reads them, without numbers of rows."""
    kinds = {entry.id: entry.kind for entry in study.analyses}
    return tuple(
        TableOut(
            analysis=table.analysis,
            kind=kinds[table.analysis],
            table=table.spec.name,
            level="rows" if table.spec.level == "rows" else "aggregate",
            columns=tuple(_column(column) for column in table.spec.columns),
            shared_rows=table.spec.rows,
        )
        for table in planned(study)
    )


def columns_leaving(study: StudyProtocol) -> tuple[str, ...]:
    """Every column as decisions name it, ``analysis/table/column``, sorted."""
    return tuple(sorted(path for table in tables_leaving(study) for path in table.column_paths()))


def release_fault(study: StudyProtocol, *, synthetic: bool) -> str:
    """Why this hospital may not release what the study asks for; empty if it may.

    ``synthetic_data`` in a study is its author's claim. Whether the data loaded here are synthetic or public is for
    this hospital to say, in its own settings.
    """
    if study.disclosure.release != "exact" or synthetic:
        return ""
    return (
        f"study {study.short_name} releases exact numbers, which only synthetic or public data may be used for; "
        f"site.toml does not say that the data loaded here are (`synthetic_data = true`)"
    )


def _column(column: Column) -> ColumnOut:
    return ColumnOut(name=column.name, kind=column.kind, bits=column.bits, width=column.width)
