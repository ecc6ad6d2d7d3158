"""The account of a load, the profile behind it, and the quality of its result."""

import re

import duckdb
import pytest

from fhir_mappings.bench import write_codes, write_extract
from fhir_mappings.errors import NothingMapped, ProfileError, SourceMissing
from fhir_mappings.profile import Profile
from fhir_mappings.quality import quality
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.fhir import load_fhir


def test_report_round_trip_and_text(site, build):
    unknown = build["coded"]("urn:local", "L1")
    report = site.load(
        build["patient"](), build["condition"](), build["condition"]("c2", code=unknown), {"x": 1}
    )
    assert LoadReport.model_validate_json(report.model_dump_json()) == report
    assert report.persons == 1
    text = report.text()
    for part in (
        "Condition",
        "urn:local",
        "L1",
        "(no FHIR resource type)",
        "2024-01-01",
        "v-test 1",
        "CDM 5.4",
    ):
        assert part in text
    table = next(t for t in report.tables if t.name == "condition_occurrence")
    assert (table.rows, table.mapped, table.unmapped) == (2, 1, 1)
    assert "p1" not in text


def test_a_load_that_maps_no_event_replaces_nothing(site, build):
    allergy = build["make"](
        "AllergyIntolerance", "a1", code=build["coded"]("urn:own", "X"), recordedDate="2020-01-01"
    )
    visit = build["encounter"]("e1", start="2020-01-01", end="2020-01-02")
    site.load(build["patient"](), build["condition"]())
    before = site.database.read_bytes()
    site.vocabulary = None
    with pytest.raises(NothingMapped) as caught:
        site.load(build["patient"](), build["condition"](), build["lab"](), allergy, visit)
    assert re.fullmatch(
        r"no event of the FHIR R4 extract has a standard concept \(0 of 3\), so it did not replace what was loaded "
        r"before; codes without one are of LOINC \(1\), SNOMED \(1\), urn:own \(1\); no vocabulary was loaded: give an "
        r"Athena export that has them with --vocabulary, or .*fhir.code_systems .*",
        str(caught.value),
    )
    assert site.database.read_bytes() == before
    site.load(build["patient"](), visit)
    assert site.report.warnings == ()


def test_a_load_that_maps_less_than_half_warns(site, build):
    unknown = build["coded"]("urn:local", "L1")
    lost = [build["condition"](f"c{n}", code=unknown) for n in range(2, 5)]
    assert site.load(build["patient"](), build["condition"](), lost[0]).warnings == ()
    report = site.load(build["patient"](), build["condition"](), *lost)
    (warning,) = report.warnings
    assert warning.startswith(
        "only 1 of 4 events have a standard concept, and studies see no others; codes without one are"
    )
    assert "no vocabulary" not in warning and "of urn:local (3)" in warning
    assert report.text().endswith(f"\n\nWARNING: {warning}")


def test_cdm_source_records_the_run(site, build):
    profile = Profile.model_validate(
        {"extract_date": "2023-05-06", "source": {"name": "North", "holder": "Hospital"}}
    )
    site.load(build["patient"](), profile=profile)
    assert site.rows(
        """SELECT cdm_source_name, cdm_holder, source_release_date::VARCHAR, cdm_version, cdm_version_concept_id,
        vocabulary_version FROM cdm_source"""
    ) == [("North", "Hospital", "2023-05-06", "5.4", 756265, "v-test 1")]


def test_the_extract_date_defaults_to_the_newest_update_then_event(site, build):
    site.load(build["patient"](), build["lab"](), profile=Profile())
    assert str(site.report.extract_date) == "2021-03-04"
    meta = {"lastUpdated": "2022-02-02T10:00:00Z"}
    site.load(
        build["patient"](),
        build["lab"](meta=meta),
        build["lab"]("o2", effectiveDateTime="2023-01-01"),
        profile=Profile(),
    )
    assert str(site.report.extract_date) == "2022-02-02"
    assert site.input("Observation").rejected == {"date after the extract date": 1}


def test_profiles_are_read_and_refused(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('extract_date = 2024-01-01\n[fhir]\nmedication_request_intents = ["order"]\n')
    assert Profile.load(path).fhir.medication_request_intents == ("order",)
    for text, says in [
        ("extract_dat = 2024-01-01", "extract_dat: no such field; known here are source, extract_date,"),
        ('time_zone = "Mars/Olympus"', "time_zone: .*IANA"),
        ('[fhir]\nmedication_request_intents = ["wish"]', "fhir.medication_request_intents.0"),
        ("[observation_period]\nstart = 'birth'", "observation_period.start"),
        ("= 3", "not TOML"),
    ]:
        path.write_text(text)
        with pytest.raises(ProfileError, match=rf"^p.toml: .*{says}"):
            Profile.load(path)
    with pytest.raises(ProfileError, match="no such profile"):
        Profile.load(tmp_path / "none.toml")


def test_quality_of_a_sound_load(site, build):
    site.load(build["patient"](), build["condition"](), build["lab"]())
    report = quality(site.database)
    assert report.findings == ()
    assert report.text().startswith(f"0 of {len(report.checks)} checks are findings")


def test_quality_finds_what_is_wrong(site, build):
    unknown = build["coded"]("urn:local", "L1")
    site.load(
        build["patient"](deceasedDateTime="2015-01-01", gender=None),
        build["patient"]("old", birthDate="1901-01-01"),
        build["condition"](code=unknown),
        build["condition"]("c2", onsetDateTime="1950-01-01"),
    )
    found = {(c.table, c.name): c.failing for c in quality(site.database).findings}
    assert found == {
        ("condition_occurrence", "before birth"): 1,
        ("condition_occurrence", "more than 60 days after death"): 1,
        ("condition_occurrence", "outside every period of observation"): 1,
        ("condition_occurrence", "without a standard concept"): 1,
        ("person", "gender unknown"): 1,
        ("person", "older than 115 years and not dead"): 1,
        ("person", "without a period of observation"): 1,
    }


def test_quality_checks_keys_and_concepts(site, build):
    site.load(build["patient"](), build["condition"]())
    with duckdb.connect(str(site.database)) as connection:
        connection.execute("INSERT INTO condition_occurrence SELECT * FROM condition_occurrence")
        connection.execute("UPDATE condition_occurrence SET condition_concept_id = 1001, person_id = 5")
    found = {(c.table, c.name): c.failing for c in quality(site.database).findings}
    assert found[("condition_occurrence", "condition_occurrence_id repeated")] == 2
    assert found[("condition_occurrence", "concept not standard in the vocabulary")] == 2
    assert found[("condition_occurrence", "person unknown")] == 2
    with pytest.raises(SourceMissing):
        quality(site.extract / "none.duckdb")


def test_the_extract_of_the_benchmark_loads_completely(tmp_path):
    assert write_extract(tmp_path / "extract", 500) == 19 * 26
    vocabulary = write_codes(tmp_path / "vocabulary")
    report = load_fhir(tmp_path / "extract", tmp_path / "cdm.duckdb", vocabulary, Profile())
    assert sum(entry.loaded for entry in report.inputs) == 19 * 26
    assert report.unmapped_codes == ()
