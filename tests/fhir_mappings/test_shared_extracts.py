"""A published FHIR extract, counted independently by SQL on the raw JSON."""

import duckdb
import pytest

from fhir_mappings.profile import Profile
from fhir_mappings.sources.fhir import load_fhir

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def loaded(shared_dir, tmp_path_factory):
    folder = shared_dir / "data/cumulus_fhir/duckdb_data"
    database = tmp_path_factory.mktemp("cumulus") / "cdm.duckdb"
    report = load_fhir(folder, database, shared_dir / "data/synthea27_omop", Profile())
    raw = duckdb.connect()
    files = f"read_ndjson_objects('{folder}/**/*.ndjson')"
    raw.execute(f"CREATE TABLE resource AS SELECT json, json->>'resourceType' AS kind FROM {files}")
    raw.execute("CREATE VIEW patient AS SELECT json->>'id' AS id FROM resource WHERE kind = 'Patient'")
    with duckdb.connect(str(database), read_only=True) as cdm:
        yield report, raw, cdm


def one(connection, query):
    return connection.execute(query).fetchone()[0]


def test_every_resource_is_accounted_for(loaded):
    report, raw, _ = loaded
    kinds = dict(
        raw.execute(
            "SELECT coalesce(kind, '(no FHIR resource type)'), count(*) FROM resource GROUP BY 1"
        ).fetchall()
    )
    assert kinds == {i.name: i.rows_in for i in report.inputs} | report.ignored


def test_persons_and_visits(loaded):
    _, raw, cdm = loaded
    female = "SELECT count(*) FROM resource WHERE kind = 'Patient' AND (json->>'gender') = 'female'"
    assert one(cdm, "SELECT count(*) FROM person WHERE gender_concept_id = 8532") == one(raw, female)
    years = "SELECT sum((json->>'birthDate')[:4]::INT) FROM resource WHERE kind = 'Patient'"
    assert one(cdm, "SELECT sum(year_of_birth) FROM person") == one(raw, years)
    dead = "SELECT count(*) FROM resource WHERE kind = 'Patient' AND (json->>'deceasedDateTime') IS NOT NULL"
    assert one(cdm, "SELECT count(*) FROM death") == one(raw, dead)
    white = (
        "SELECT count(*) FROM resource WHERE kind = 'Patient' AND json::VARCHAR LIKE '%\"code\":%\"2106-3\"%'"
    )
    assert one(cdm, "SELECT count(*) FROM person WHERE race_concept_id = 8527") == one(raw, white)
    days = """SELECT sum((json->'period'->>'end')[:10]::DATE - (json->'period'->>'start')[:10]::DATE)
        FROM resource WHERE kind = 'Encounter'"""
    assert one(cdm, "SELECT sum(visit_end_date - visit_start_date) FROM visit_occurrence") == one(raw, days)


def test_dangling_patients(loaded):
    report, raw, _ = loaded
    for kind, who in (("Procedure", "subject"), ("AllergyIntolerance", "patient")):
        dangling = one(
            raw,
            f"""SELECT count(*) FROM resource WHERE kind = '{kind}'
            AND replace(json->'{who}'->>'reference', 'Patient/', '') NOT IN (SELECT id FROM patient)""",
        )
        entry = next(i for i in report.inputs if i.name == kind)
        assert entry.rejected == {"patient not in the extract": dangling}
        assert dangling > 0


def test_observations_by_code_and_value(loaded):
    _, raw, cdm = loaded
    query = """SELECT json->'code'->'coding'->0->>'code' AS code, count(*), sum((json->'valueQuantity'->>'value')::DOUBLE)
        FROM resource WHERE kind = 'Observation' AND (json->'component') IS NULL GROUP BY ALL ORDER BY 1"""
    expected = {code: (count, total) for code, count, total in raw.execute(query).fetchall()}
    found = cdm.execute(
        """SELECT code, count(*), sum(number) FROM (
          SELECT measurement_source_value AS code, value_as_number AS number FROM measurement
          UNION ALL SELECT observation_source_value, value_as_number FROM observation
          WHERE observation_type_concept_id <> 32817 OR observation_source_value NOT SIMILAR TO '[0-9]{6,}')
        GROUP BY code ORDER BY 1"""
    ).fetchall()
    found = {code: (count, total) for code, count, total in found}
    assert expected.items() <= found.items()


def test_stopped_requests_can_be_taken_by_the_profile(shared_dir, tmp_path):
    folder = shared_dir / "data/cumulus_fhir/duckdb_data"
    profile = Profile.model_validate(
        {"fhir": {"medication_request_statuses": ["active", "completed", "stopped"]}}
    )
    report = load_fhir(folder, tmp_path / "cdm.duckdb", shared_dir / "data/synthea27_omop", profile)
    assert next(i for i in report.inputs if i.name == "MedicationRequest").loaded == 39
