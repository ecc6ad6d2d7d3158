"""The table behind each kind of record, and its columns under common names."""

from __future__ import annotations

from dataclasses import dataclass

import ibis
from ibis.expr.types import IntegerColumn, Table

from cohort_lang.errors import MissingTable
from cohort_lang.evaluation.site import Site, day_number
from cohort_lang.tree import Domain


@dataclass(frozen=True, slots=True)
class RecordTable:
    """Where Circe looks for a kind of record.

    ``end`` None: the record lasts one day (Circe: the day after its start).
    """

    table: str
    key: str
    start: str
    end: str | None
    concept: str | None
    source_concept: str | None = None
    source_value: str | None = None
    type_concept: str | None = None
    has_visit: bool = True

    @property
    def needed_by(self) -> str:
        return f"records of {self.table}"


RECORDS: dict[Domain, RecordTable] = {
    "condition": RecordTable(
        "condition_occurrence",
        "condition_occurrence_id",
        "condition_start_date",
        "condition_end_date",
        "condition_concept_id",
        "condition_source_concept_id",
        "condition_source_value",
        "condition_type_concept_id",
    ),
    "condition era": RecordTable(
        "condition_era",
        "condition_era_id",
        "condition_era_start_date",
        "condition_era_end_date",
        "condition_concept_id",
        has_visit=False,
    ),
    "drug exposure": RecordTable(
        "drug_exposure",
        "drug_exposure_id",
        "drug_exposure_start_date",
        "drug_exposure_end_date",
        "drug_concept_id",
        "drug_source_concept_id",
        "drug_source_value",
        "drug_type_concept_id",
    ),
    "drug era": RecordTable(
        "drug_era",
        "drug_era_id",
        "drug_era_start_date",
        "drug_era_end_date",
        "drug_concept_id",
        has_visit=False,
    ),
    "procedure": RecordTable(
        "procedure_occurrence",
        "procedure_occurrence_id",
        "procedure_date",
        None,
        "procedure_concept_id",
        "procedure_source_concept_id",
        "procedure_source_value",
        "procedure_type_concept_id",
    ),
    "measurement": RecordTable(
        "measurement",
        "measurement_id",
        "measurement_date",
        None,
        "measurement_concept_id",
        "measurement_source_concept_id",
        "measurement_source_value",
        "measurement_type_concept_id",
    ),
    "observation": RecordTable(
        "observation",
        "observation_id",
        "observation_date",
        None,
        "observation_concept_id",
        "observation_source_concept_id",
        "observation_source_value",
        "observation_type_concept_id",
    ),
    "device exposure": RecordTable(
        "device_exposure",
        "device_exposure_id",
        "device_exposure_start_date",
        "device_exposure_end_date",
        "device_concept_id",
        "device_source_concept_id",
        "device_source_value",
        "device_type_concept_id",
    ),
    "visit": RecordTable(
        "visit_occurrence",
        "visit_occurrence_id",
        "visit_start_date",
        "visit_end_date",
        "visit_concept_id",
        "visit_source_concept_id",
        "visit_source_value",
        "visit_type_concept_id",
    ),
    "visit detail": RecordTable(
        "visit_detail",
        "visit_detail_id",
        "visit_detail_start_date",
        "visit_detail_end_date",
        "visit_detail_concept_id",
        "visit_detail_source_concept_id",
        "visit_detail_source_value",
        "visit_detail_type_concept_id",
    ),
    "death": RecordTable(
        "death",
        "person_id",
        "death_date",
        None,
        "cause_concept_id",
        "cause_source_concept_id",
        "cause_source_value",
        "death_type_concept_id",
        has_visit=False,
    ),
    "observation period": RecordTable(
        "observation_period",
        "observation_period_id",
        "observation_period_start_date",
        "observation_period_end_date",
        None,
        type_concept="period_type_concept_id",
        has_visit=False,
    ),
}

_EXTRA_COLUMNS = {
    "measurement": ("value_as_number", "value_as_concept_id", "unit_concept_id"),
    "observation": ("value_as_number", "value_as_concept_id", "unit_concept_id"),
    "drug exposure": ("days_supply", "quantity", "refills"),
}


def records(site: Site, domain: Domain) -> Table:
    """All records of a kind under common names.

    Columns: person_id, record_id, start, end (days since 1970), concept_id, visit_id (int64, may be
    missing), and where the table has them source_concept_id, type_concept_id and the value columns of the
    domain. Raises MissingTable.
    """
    spec = RECORDS[domain]
    table = site.table(spec.table, f"{domain!r}")
    _refuse_missing(table, spec)
    columns = {
        "person_id": table.person_id.cast("int64"),
        "record_id": table[spec.key].cast("int64"),
        "start": day_number(table[spec.start]),
        "end": _end(table, spec),
        "concept_id": _number(table, spec.concept),
        "visit_id": _number(table, "visit_occurrence_id" if spec.has_visit else None),
    }
    optional = {"source_concept_id": spec.source_concept, "type_concept_id": spec.type_concept}
    columns |= {name: _number(table, column) for name, column in optional.items()}
    extra = {name: table[name] for name in _EXTRA_COLUMNS.get(domain, ()) if name in table.columns}
    return table.select(**columns, **extra)


def _refuse_missing(table: Table, spec: RecordTable) -> None:
    wanted = ["person_id", spec.key, spec.start, spec.end, spec.concept]
    for column in wanted:
        if column is not None and column not in table.columns:
            raise MissingTable(f"column {spec.table}.{column}", spec.needed_by)


def _number(table: Table, column: str | None) -> IntegerColumn:
    if column is None or column not in table.columns:
        return ibis.null("int64")
    return table[column].cast("int64")


def _end(table: Table, spec: RecordTable) -> IntegerColumn:
    """Circe's end date: the recorded end, else for drugs the days of supply, else the day after the start."""
    start = day_number(table[spec.start])
    if spec.end is None:
        return start + 1
    choices = [day_number(table[spec.end])]
    if spec.table == "drug_exposure" and "days_supply" in table.columns:
        choices.append(start + table.days_supply.cast("int64"))
    return ibis.coalesce(*choices, start + 1)
