"""OMOP folders: what is loaded, what is left out and why."""

from datetime import date

import duckdb
import pytest

from fhir_mappings.errors import NothingMapped, SourceEmpty, SourceFormatError, SourceMissing
from fhir_mappings.profile import Profile
from fhir_mappings.sources.omop import load_omop

PERSON = """person_id,gender_concept_id,year_of_birth,race_concept_id,ethnicity_concept_id,month_of_birth
1,8507,1950,0,0,3
2,8532,1961,0,0,x
2,8532,1961,0,0,x
2,8507,1970,0,0,1
3,8532,,0,0,1
4,8532,1700,0,0,1
"""
CONDITION = """CONDITION_OCCURRENCE_ID,PERSON_ID,CONDITION_CONCEPT_ID,CONDITION_START_DATE,CONDITION_END_DATE,\
CONDITION_TYPE_CONCEPT_ID,CONDITION_SOURCE_VALUE
10,1,2001,2019-05-06,,32817,E11.9
11,1,0,20190607,,32817,LOCAL
12,9,2001,2019-05-06,,32817,
13,1,2001,soon,,32817,
14,1,2001,2030-01-01,,32817,
15,1,2001,2019-05-06,2018-01-01,32817,
16,2,777,2019-05-06,2019-05-07,32817,
"""


@pytest.fixture
def extract(site):
    (site.extract / "person.CSV").write_text(PERSON)
    (site.extract / "Condition_Occurrence.csv").write_text(CONDITION)
    return site.extract


def load(site, **profile):
    options = Profile.model_validate({"extract_date": "2023-01-01"} | profile)
    site.report = load_omop(site.extract, site.database, site.vocabulary, options)
    return site.report


def test_rows_are_checked_one_by_one(site, extract):
    (extract / "note.csv").write_text("note_id\n1\n")
    load(site)
    assert site.rows("SELECT person_id, month_of_birth FROM person ORDER BY 1") == [(1, 3), (2, None)]
    person = site.input("person")
    assert (person.rows_in, person.loaded, person.duplicates) == (6, 2, 1)
    assert person.rejected == {
        "key already used by a different row": 1,
        "year_of_birth missing": 1,
        "year_of_birth out of range": 1,
    }
    assert site.input("condition_occurrence").rejected == {
        "person not in the extract": 1,
        "condition_start_date not readable as date": 1,
        "condition_start_date after the extract date": 1,
        "condition_end_date before condition_start_date": 1,
    }
    assert site.rows("SELECT condition_occurrence_id FROM condition_occurrence ORDER BY 1") == [
        (10,),
        (11,),
        (16,),
    ]
    notes = site.report.notes
    assert notes["person.month_of_birth: value not readable, left empty"] == 1
    column = "condition_occurrence.condition_concept_id"
    assert notes[f"{column}: not a standard concept of the loaded vocabulary"] == 1
    assert [(u.code, u.count) for u in site.report.unmapped_codes] == [("LOCAL", 1)]
    assert site.report.ignored == {"file note.csv": 1}


def test_missing_observation_periods_are_derived_and_said_so(site, extract):
    load(site, observation_period={"end": "last-event"})
    query = (
        "SELECT person_id, observation_period_start_date, observation_period_end_date FROM observation_period"
    )
    assert site.rows(f"{query} ORDER BY 1") == [
        (1, date(2019, 5, 6), date(2019, 6, 7)),
        (2, date(2019, 5, 6), date(2019, 5, 6)),
    ]
    assert "first event to the last event" in site.report.observation_period_rule
    assert site.report.death_rule == "as given in the extract"


def test_without_a_vocabulary_concepts_are_said_to_be_unchecked(site, extract):
    site.vocabulary = None
    load(site)
    (warning,) = site.report.warnings
    assert warning.startswith(
        "no vocabulary was loaded, so the concepts of 2 events are as the extract gives them"
    )
    assert not [note for note in site.report.notes if "loaded vocabulary" in note]
    assert f"WARNING: {warning}" in site.report.text()


def test_tables_without_any_standard_concept_replace_nothing(site, extract):
    load(site)
    before = site.database.read_bytes()
    (extract / "Condition_Occurrence.csv").write_text(CONDITION.replace(",2001,", ",0,"))
    with pytest.raises(
        NothingMapped,
        match=r"no event of the OMOP CDM 5.4 extract .* \(0 of 3\), .*; give the Athena export the",
    ):
        load(site)
    assert site.database.read_bytes() == before


def test_unusable_extracts_are_refused_and_change_nothing(site, extract):
    load(site)
    before = site.database.read_bytes()
    (extract / "person.CSV").write_text("person_id,year_of_birth\n1,1950\n")
    with pytest.raises(SourceFormatError, match="lacks the required columns"):
        load(site)
    (extract / "person.CSV").write_text(PERSON.splitlines()[0] + "\n1,8507,1500,0,0,1\n")
    with pytest.raises(SourceEmpty, match="year_of_birth out of range"):
        load(site)
    (extract / "person.CSV").unlink()
    with pytest.raises(SourceMissing, match="no person table"):
        load(site)
    assert site.database.read_bytes() == before


@pytest.mark.shared
def test_a_published_database_loads_whole_with_its_own_vocabulary(site, shared_dir):
    folder = shared_dir / "data/synthea27_omop"
    site.report = load_omop(folder, site.database, None, Profile())
    for entry in site.report.inputs:
        file = folder / f"{entry.name.upper()}.csv"
        assert (
            entry.loaded
            == duckdb.sql(f"SELECT count(*) FROM read_csv('{file}', all_varchar=true)").fetchone()[0]
        )
    assert site.report.vocabulary_version == "v5.0 09-APR-22*"
    file = folder / "MEASUREMENT.csv"
    expected = duckdb.sql(
        f"SELECT sum(value_as_number::DOUBLE) FROM read_csv('{file}', all_varchar=true)"
    ).fetchone()
    assert site.rows("SELECT sum(value_as_number) FROM measurement")[0][0] == pytest.approx(expected[0])
    copy = site.extract / "parquet"
    copy.mkdir()
    for name in ("person", "measurement", "observation_period", "death"):
        with duckdb.connect(str(site.database), read_only=True) as connection:
            connection.execute(f"COPY {name} TO '{copy / name}.parquet'")
    site.report = load_omop(copy, site.extract / "again.duckdb", site.database, Profile())
    assert {e.name: e.loaded for e in site.report.inputs} == {
        "person": 28,
        "observation_period": 28,
        "measurement": 10040,
        "death": 3,
    }
