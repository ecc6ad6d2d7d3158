"""The tables of the OMOP Common Data Model 5.4 that a site holds, as data.

One line per table: ``name(column type, ...)``. A type is ``id`` (identifier), ``concept`` (concept id),
``int``, ``float``, ``date``, ``datetime`` or ``text``; ``!`` marks a required column and ``*`` the primary
key. Column names, order, types and requiredness follow the published field-level specification of CDM 5.4.
Two deliberate widenings: identifiers are 64 bits (hospital warehouses outgrow 32), and text has no length
limit, so that source values stay verbatim.
"""

from dataclasses import dataclass
from functools import cached_property

SQL_TYPES = {
    "id": "BIGINT",
    "concept": "INTEGER",
    "int": "INTEGER",
    "float": "DOUBLE",
    "date": "DATE",
    "datetime": "TIMESTAMP",
    "text": "VARCHAR",
}


@dataclass(frozen=True)
class Field:
    """One column: ``kind`` is a key of ``SQL_TYPES``."""

    name: str
    kind: str
    required: bool

    @property
    def sql_type(self) -> str:
        return SQL_TYPES[self.kind]


@dataclass(frozen=True)
class Table:
    """One table of the model; ``key`` is its primary key column or None."""

    name: str
    fields: tuple[Field, ...]
    key: str | None

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.required)

    def field(self, name: str) -> Field:
        """The field called ``name``; KeyError when the table has none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    @property
    def ddl(self) -> str:
        columns = ", ".join(f"{f.name} {f.sql_type}{' NOT NULL' if f.required else ''}" for f in self.fields)
        return f"CREATE TABLE {self.name} ({columns})"


_EVENT_TAIL = "provider_id id, visit_occurrence_id id, visit_detail_id id"

_CLINICAL = f"""
person(person_id id!*, gender_concept_id concept!, year_of_birth int!, month_of_birth int, day_of_birth int,
  birth_datetime datetime, race_concept_id concept!, ethnicity_concept_id concept!, location_id id,
  provider_id id, care_site_id id, person_source_value text, gender_source_value text,
  gender_source_concept_id concept, race_source_value text, race_source_concept_id concept,
  ethnicity_source_value text, ethnicity_source_concept_id concept)
observation_period(observation_period_id id!*, person_id id!, observation_period_start_date date!,
  observation_period_end_date date!, period_type_concept_id concept!)
visit_occurrence(visit_occurrence_id id!*, person_id id!, visit_concept_id concept!, visit_start_date date!,
  visit_start_datetime datetime, visit_end_date date!, visit_end_datetime datetime, visit_type_concept_id
  concept!, provider_id id, care_site_id id, visit_source_value text, visit_source_concept_id concept,
  admitted_from_concept_id concept, admitted_from_source_value text, discharged_to_concept_id concept,
  discharged_to_source_value text, preceding_visit_occurrence_id id)
condition_occurrence(condition_occurrence_id id!*, person_id id!, condition_concept_id concept!,
  condition_start_date date!, condition_start_datetime datetime, condition_end_date date,
  condition_end_datetime datetime, condition_type_concept_id concept!, condition_status_concept_id concept,
  stop_reason text, {_EVENT_TAIL}, condition_source_value text, condition_source_concept_id concept,
  condition_status_source_value text)
drug_exposure(drug_exposure_id id!*, person_id id!, drug_concept_id concept!, drug_exposure_start_date date!,
  drug_exposure_start_datetime datetime, drug_exposure_end_date date!, drug_exposure_end_datetime datetime,
  verbatim_end_date date, drug_type_concept_id concept!, stop_reason text, refills int, quantity float,
  days_supply int, sig text, route_concept_id concept, lot_number text, {_EVENT_TAIL}, drug_source_value text,
  drug_source_concept_id concept, route_source_value text, dose_unit_source_value text)
procedure_occurrence(procedure_occurrence_id id!*, person_id id!, procedure_concept_id concept!,
  procedure_date date!, procedure_datetime datetime, procedure_end_date date, procedure_end_datetime datetime,
  procedure_type_concept_id concept!, modifier_concept_id concept, quantity int, {_EVENT_TAIL},
  procedure_source_value text, procedure_source_concept_id concept, modifier_source_value text)
device_exposure(device_exposure_id id!*, person_id id!, device_concept_id concept!,
  device_exposure_start_date date!, device_exposure_start_datetime datetime, device_exposure_end_date date,
  device_exposure_end_datetime datetime, device_type_concept_id concept!, unique_device_id text,
  production_id text, quantity int, {_EVENT_TAIL}, device_source_value text, device_source_concept_id concept,
  unit_concept_id concept, unit_source_value text, unit_source_concept_id concept)
measurement(measurement_id id!*, person_id id!, measurement_concept_id concept!, measurement_date date!,
  measurement_datetime datetime, measurement_time text, measurement_type_concept_id concept!,
  operator_concept_id concept, value_as_number float, value_as_concept_id concept, unit_concept_id concept,
  range_low float, range_high float, {_EVENT_TAIL}, measurement_source_value text,
  measurement_source_concept_id concept, unit_source_value text, unit_source_concept_id concept,
  value_source_value text, measurement_event_id id, meas_event_field_concept_id concept)
observation(observation_id id!*, person_id id!, observation_concept_id concept!, observation_date date!,
  observation_datetime datetime, observation_type_concept_id concept!, value_as_number float,
  value_as_string text, value_as_concept_id concept, qualifier_concept_id concept, unit_concept_id concept,
  {_EVENT_TAIL}, observation_source_value text, observation_source_concept_id concept, unit_source_value text,
  qualifier_source_value text, value_source_value text, observation_event_id id,
  obs_event_field_concept_id concept)
death(person_id id!, death_date date!, death_datetime datetime, death_type_concept_id concept,
  cause_concept_id concept, cause_source_value text, cause_source_concept_id concept)
"""

_HEALTH_SYSTEM = """
location(location_id id!*, address_1 text, address_2 text, city text, state text, zip text, county text,
  location_source_value text, country_concept_id concept, country_source_value text, latitude float,
  longitude float)
care_site(care_site_id id!*, care_site_name text, place_of_service_concept_id concept, location_id id,
  care_site_source_value text, place_of_service_source_value text)
cdm_source(cdm_source_name text!, cdm_source_abbreviation text!, cdm_holder text!, source_description text,
  source_documentation_reference text, cdm_etl_reference text, source_release_date date!, cdm_release_date
  date!, cdm_version text, cdm_version_concept_id concept!, vocabulary_version text!)
"""

_VOCABULARY = """
concept(concept_id concept!*, concept_name text!, domain_id text!, vocabulary_id text!, concept_class_id
  text!, standard_concept text, concept_code text!, valid_start_date date!, valid_end_date date!,
  invalid_reason text)
concept_relationship(concept_id_1 concept!, concept_id_2 concept!, relationship_id text!, valid_start_date
  date!, valid_end_date date!, invalid_reason text)
concept_ancestor(ancestor_concept_id concept!, descendant_concept_id concept!, min_levels_of_separation int!,
  max_levels_of_separation int!)
vocabulary(vocabulary_id text!*, vocabulary_name text!, vocabulary_reference text, vocabulary_version text,
  vocabulary_concept_id concept!)
domain(domain_id text!*, domain_name text!, domain_concept_id concept!)
source_to_concept_map(source_code text!, source_concept_id concept!, source_vocabulary_id text!,
  source_code_description text, target_concept_id concept!, target_vocabulary_id text!, valid_start_date
  date!, valid_end_date date!, invalid_reason text)
"""


def _parse(text: str) -> dict[str, Table]:
    tables = {}
    for entry in text.replace("\n  ", " ").strip().splitlines():
        name, _, body = entry.rstrip(")").partition("(")
        fields, key = [], None
        for column in body.split(", "):
            column_name, kind = column.split()
            key = column_name if kind.endswith("*") else key
            fields.append(Field(column_name, kind.rstrip("*!"), "!" in kind))
        tables[name] = Table(name, tuple(fields), key)
    return tables


CLINICAL_TABLES = _parse(_CLINICAL)
HEALTH_SYSTEM_TABLES = _parse(_HEALTH_SYSTEM)
VOCABULARY_TABLES = _parse(_VOCABULARY)
TABLES: dict[str, Table] = CLINICAL_TABLES | HEALTH_SYSTEM_TABLES | VOCABULARY_TABLES

SPANS: dict[str, tuple[str, str | None]] = {
    "observation_period": ("observation_period_start_date", "observation_period_end_date"),
    "visit_occurrence": ("visit_start_date", "visit_end_date"),
    "condition_occurrence": ("condition_start_date", "condition_end_date"),
    "drug_exposure": ("drug_exposure_start_date", "drug_exposure_end_date"),
    "procedure_occurrence": ("procedure_date", "procedure_end_date"),
    "device_exposure": ("device_exposure_start_date", "device_exposure_end_date"),
    "measurement": ("measurement_date", None),
    "observation": ("observation_date", None),
    "death": ("death_date", None),
}
"""Table -> columns of its first and last day."""

CONCEPT_COLUMN: dict[str, str] = {
    "person": "gender_concept_id",
    "visit_occurrence": "visit_concept_id",
    "condition_occurrence": "condition_concept_id",
    "drug_exposure": "drug_concept_id",
    "procedure_occurrence": "procedure_concept_id",
    "device_exposure": "device_concept_id",
    "measurement": "measurement_concept_id",
    "observation": "observation_concept_id",
}
"""Table -> main concept column, by which its rows count as mapped."""

EVENT_TABLES = tuple(name for name in CONCEPT_COLUMN if name not in ("person",))
"""Tables of dated records with a main concept."""
