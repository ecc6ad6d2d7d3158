"""A small OMOP database made from rows, with nothing but DuckDB: independent of the product's own loader."""

from __future__ import annotations

import duckdb
import ibis

_CODED = "{0}_concept_id int, {0}_source_concept_id int, {0}_source_value text, {0}_type_concept_id int, "
_VISIT = "visit_occurrence_id int"
_VALUES = ", value_as_number double, value_as_concept_id int, unit_concept_id int"

TABLES = {
    "person": "person_id int, year_of_birth int, gender_concept_id int",
    "observation_period": (
        "observation_period_id int, person_id int, observation_period_start_date date, "
        "observation_period_end_date date, period_type_concept_id int"
    ),
    "condition_occurrence": (
        "condition_occurrence_id int, person_id int, condition_start_date date, condition_end_date date, "
        + _CODED.format("condition")
        + _VISIT
    ),
    "condition_era": (
        "condition_era_id int, person_id int, condition_era_start_date date, condition_era_end_date date, "
        "condition_concept_id int"
    ),
    "drug_exposure": (
        "drug_exposure_id int, person_id int, drug_exposure_start_date date, drug_exposure_end_date date, "
        + _CODED.format("drug")
        + _VISIT
        + ", days_supply int, quantity double, refills int"
    ),
    "drug_era": (
        "drug_era_id int, person_id int, drug_era_start_date date, drug_era_end_date date, drug_concept_id int"
    ),
    "procedure_occurrence": (
        "procedure_occurrence_id int, person_id int, procedure_date date, "
        + _CODED.format("procedure")
        + _VISIT
    ),
    "measurement": (
        "measurement_id int, person_id int, measurement_date date, "
        + _CODED.format("measurement")
        + _VISIT
        + _VALUES
    ),
    "observation": (
        "observation_id int, person_id int, observation_date date, "
        + _CODED.format("observation")
        + _VISIT
        + _VALUES
    ),
    "device_exposure": (
        "device_exposure_id int, person_id int, device_exposure_start_date date, device_exposure_end_date date, "
        + _CODED.format("device")
        + _VISIT
    ),
    "visit_occurrence": (
        "visit_occurrence_id int, person_id int, visit_start_date date, visit_end_date date, "
        + _CODED.format("visit").removesuffix(", ")
    ),
    "visit_detail": (
        "visit_detail_id int, person_id int, visit_detail_start_date date, visit_detail_end_date date, "
        + _CODED.format("visit_detail")
        + _VISIT
    ),
    "death": (
        "person_id int, death_date date, cause_concept_id int, cause_source_concept_id int, "
        "cause_source_value text, death_type_concept_id int"
    ),
    "concept": (
        "concept_id int, concept_name text, domain_id text, vocabulary_id text, concept_code text, "
        "standard_concept text, invalid_reason text"
    ),
    "concept_ancestor": "ancestor_concept_id int, descendant_concept_id int",
    "concept_relationship": "concept_id_1 int, concept_id_2 int, relationship_id text, invalid_reason text",
}


class TinyOmop:
    """An in-memory database with every table above, empty at first."""

    def __init__(self):
        self.backend = ibis.duckdb.connect(":memory:")
        self.sql: duckdb.DuckDBPyConnection = self.backend.con
        for name, columns in TABLES.items():
            self.sql.execute(f"create table {name} ({columns})")

    def clear(self):
        for name in TABLES:
            self.sql.execute(f"delete from {name}")

    def add(self, table, *rows):
        """Insert rows given as mappings from column to value."""
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" for _ in row)
            self.sql.execute(f"insert into {table} ({names}) values ({marks})", list(row.values()))

    def close(self):
        self.backend.disconnect()
