"""A study on this hospital's own data with nothing sent: what a steward sees before deciding."""

from __future__ import annotations

from datetime import datetime

from ibis.backends.duckdb import Backend

from governance.study import StudyProtocol
from mpc_backend.analyses.base import SiteData
from mpc_backend.tables import bucket
from site_connector.directory import SiteDirectory
from site_connector.errors import CannotEvaluate, LinkageRefused
from site_connector.evaluation import check_vocabulary, opened, preview, site_data
from site_connector.leaving import release_fault, tables_leaving
from site_connector.linked import Recognition, linked_cohorts, recognition
from site_connector.models import CohortPreview, DryRun, TableOut
from site_connector.tables import RUN_COHORT, cohort_texts, local_tables, rows_of


def dry_run(
    study: StudyProtocol, directory: SiteDirectory, snapshot: str, now: datetime, *, synthetic: bool = False
) -> tuple[DryRun, dict[str, SiteData]]:
    """Evaluate everything an upload would: what a steward sees, and the cohorts' rows.

    What a steward sees are numbers of persons and rows, and what stands in the way. ``synthetic``: what the site's
    settings say of the loaded data.

    Raises:
        NoData: nothing was loaded yet.
    """
    fault = release_fault(study, synthetic=synthetic)
    problems = [fault] if fault else []
    with opened(directory.loaded_database()) as connection:
        persons_by, linkage = _recognised(connection, directory, study, problems)
        data, cohorts = _cohorts(connection, study, persons_by, problems)
        _check_feasibility(connection, study, problems)
    tables = _tables(study, data, problems)
    return DryRun(
        snapshot=snapshot,
        made_at=now,
        cohorts=tuple(cohorts),
        tables=tables,
        problems=tuple(problems),
        linkage=linkage,
    ), data


def _recognised(
    connection: Backend, directory: SiteDirectory, study: StudyProtocol, problems: list[str]
) -> tuple[Recognition | None, str]:
    """How persons are recognised across hospitals, if the study asks for it and they can be; and in words."""
    try:
        found = recognition(directory, study)
        return found, "" if found is None else found.words(connection)
    except LinkageRefused as error:
        problems.append(str(error))
        return None, ""


def _cohorts(
    connection: Backend, study: StudyProtocol, persons_by: Recognition | None, problems: list[str]
) -> tuple[dict[str, SiteData], list[CohortPreview]]:
    data: dict[str, SiteData] = {}
    previews: list[CohortPreview] = []
    linked = linked_cohorts(study, None, RUN_COHORT)
    for name, text in cohort_texts(study, None).items():
        try:
            data[name] = site_data(
                connection, name, text, study.variables, persons_by if name in linked else None
            )
            previews.append(preview(connection, name, text, data[name]))
        except CannotEvaluate as error:
            problems.append(str(error))
    return data, previews


def _check_feasibility(connection: Backend, study: StudyProtocol, problems: list[str]) -> None:
    """What a feasibility study lets cohorts use; the cohorts themselves come with its runs."""
    if study.feasibility is None:
        return
    try:
        check_vocabulary(connection, study.feasibility.concept_sets)
    except CannotEvaluate as error:
        problems.append(str(error))


def _tables(study: StudyProtocol, data: dict[str, SiteData], problems: list[str]) -> tuple[TableOut, ...]:
    try:
        tables = tables_leaving(study)
        if problems or study.feasibility is not None:
            return tables
        made = local_tables(study, data)
    except CannotEvaluate as error:
        problems.append(str(error))
        return ()
    return tuple(_counted(table, rows_of(made[table.analysis][table.table])) for table in tables)


def _counted(table: TableOut, rows: int) -> TableOut:
    shared = bucket(rows) if table.level == "rows" else rows
    return table.model_copy(update={"rows": rows, "shared_rows": shared})
