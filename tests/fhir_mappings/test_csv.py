"""Flat CSV extracts through a mapping file."""

import re
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml

from fhir_mappings.cdm import create
from fhir_mappings.errors import (
    ProfileError,
    SourceEncodingError,
    SourceFormatError,
    SourceMissing,
    VocabularyError,
)
from fhir_mappings.profile import Profile
from fhir_mappings.sources.csv import load_csv
from fhir_mappings.sources.csv_concepts import check_concepts
from fhir_mappings.sources.csv_mapping import Mapping
from fhir_mappings.staging import create_stages
from fhir_mappings.vocabulary import load_vocabulary

PEOPLE = """ID;BORN;SEX;DIED
1;01.02.1950;m;
2;15.07.1961;w;03.03.2020
3;;w;
1;01.02.1950;m;
"""
DIAGNOSES = """PID;DAY;ICD;HTN;DM;NOTE
1;05.06.2019;E11.9;1;0;Blutdrücke
1;05.06.2019;E11.9;1;0;Blutdrücke
2;06.06.2019;X77;0;1;a
2;31.02.2019;E11.9;0;0;b
9;06.06.2019;E11.9;0;0;c
1;07.06.2019;NA;0;0;d
2;08.06.2019;E11.9;0;0;drop me
"""
LABS = """PID,DAY,TEST,RESULT,UNIT
1,2019-01-02,GLU,"1.234,5",mmol/L
2,2019-01-02,GLU,haemolytic,mmol/L
1,2019-01-03,FOO,1,
"""

MAPPING = """
tessera: csv-mapping/1
concepts:
  - {concept_id: 2000000001, name: local test, domain: Measurement, code: FOO}
files:
  - path: people.csv
    delimiter: ";"
    dates: ["%d.%m.%Y"]
    rows:
      - {table: person, person: ID, birth: BORN, gender: {column: SEX, map: {m: 8507, w: 8532}}}
      - {table: death, person: ID, date: DIED, when: [{column: DIED, present: true}]}
  - path: diagnoses.csv
    encoding: latin-1
    delimiter: ";"
    dates: ["%d.%m.%Y"]
    where: [{column: NOTE, none_of: [drop me]}]
    rows:
      - {table: condition_occurrence, person: PID, start: DAY, concept: {column: ICD, vocabulary: ICD10CM}}
      - table: condition_occurrence
        person: PID
        start: DAY
        when: [{column: DM, equals: "1"}]
        concept: {constant: E11.9, vocabulary: ICD10CM}
      - table: condition_occurrence
        person: PID
        start: DAY
        when: [{column: HTN, one_of: ["1", "yes"]}]
        concept: {constant: HTN, map: {HTN: 2002}}
  - path: labs.csv
    decimal: ","
    rows:
      - table: measurement
        person: PID
        start: DAY
        concept: {column: TEST, map: {GLU: 3001, FOO: 2000000001}}
        number: RESULT
        text: RESULT
        unit: {column: UNIT, vocabulary: UCUM}
"""


@pytest.fixture
def extract(site):
    (site.extract / "people.csv").write_text(PEOPLE)
    (site.extract / "diagnoses.csv").write_text(DIAGNOSES, encoding="latin-1")
    (site.extract / "labs.csv").write_text(LABS)
    return site.extract


def load(site, text=MAPPING, **changes):
    document = yaml.safe_load(text)
    for number, change in changes.items():
        document["files"][int(number[1:])] |= change
    path = site.extract / "mapping.yaml"
    path.write_text(yaml.safe_dump(document))
    profile = Profile.model_validate({"extract_date": "2023-01-01"})
    site.report = load_csv(site.extract, site.database, site.vocabulary, profile, path)
    return site.report


def test_every_construct_on_known_rows(site, extract):
    load(site)
    assert site.rows(
        "SELECT person_source_value, gender_concept_id, year_of_birth FROM person ORDER BY 1"
    ) == [
        ("1", 8507, 1950),
        ("2", 8532, 1961),
    ]
    assert site.rows("SELECT death_date FROM death") == [(date(2020, 3, 3),)]
    assert site.rows(
        """SELECT person_source_value, condition_start_date, condition_concept_id, condition_source_value
        FROM condition_occurrence JOIN person USING (person_id) ORDER BY ALL"""
    ) == [
        ("1", date(2019, 6, 5), 2001, "E11.9"),
        ("1", date(2019, 6, 5), 2002, "HTN"),
        ("2", date(2019, 6, 6), 0, "X77"),
        ("2", date(2019, 6, 6), 2001, "E11.9"),
    ]
    assert site.rows(
        "SELECT measurement_concept_id, value_as_number, unit_concept_id, value_source_value FROM measurement ORDER BY ALL"
    ) == [
        (3001, 1234.5, 8753, "1234.5"),
        (3001, None, 8753, "haemolytic"),
        (2000000001, 1.0, None, "1.0"),
    ]
    main = site.input("diagnoses.csv: condition_occurrence [0]")
    assert (main.rows_in, main.loaded, main.duplicates) == (6, 2, 1)
    assert main.rejected == {"date not readable": 1, "patient not in the extract": 1, "no code": 1}
    people = site.input("people.csv: person")
    assert (people.duplicates, people.rejected) == (1, {"no birth date": 1})
    assert site.report.notes["diagnoses.csv: rows left out by where"] == 1
    assert [(u.vocabulary, u.code, u.count) for u in site.report.unmapped_codes] == [("ICD10CM", "X77", 1)]


def test_the_same_file_in_another_encoding_gives_the_same_snapshot(site, extract):
    first = load(site).snapshot
    (extract / "diagnoses.csv").write_text(DIAGNOSES, encoding="utf-16")
    assert load(site, f1={"encoding": "utf-16"}).snapshot == first
    (extract / "diagnoses.csv").write_bytes(DIAGNOSES.encode("utf-16") + b"\x00\xd8")
    refused(site, SourceEncodingError, "after line", f1={"encoding": "utf-16"}, first=False)


def refused(site, error, match, first=True, **changes):
    if first:
        load(site)
    before = site.database.read_bytes()
    with pytest.raises(error, match=match) as caught:
        load(site, **changes)
    assert site.database.read_bytes() == before
    assert "Blutdrücke" not in str(caught.value)


def test_wrong_encodings_are_refused_with_the_line(site, extract):
    refused(site, SourceEncodingError, r"^diagnoses.csv line 2: byte \d+", f1={"encoding": "utf-8"})
    (extract / "diagnoses.csv").write_text(DIAGNOSES, encoding="utf-8")
    with pytest.raises(SourceEncodingError, match="declared iso8859-1, but its bytes are UTF-8"):
        load(site)


@pytest.mark.parametrize(
    ("written", "declared", "says"),
    [
        (
            "utf-16",
            "cp1252",
            "begins with the byte order mark of UTF-16; declare utf-16, or export it again as UTF-8",
        ),
        ("utf-16", "utf-16-le", "begins with the byte order mark of UTF-16; declare utf-16"),
        ("utf-16", "utf-8", "begins with the byte order mark of UTF-16; declare utf-16"),
        ("utf-16-le", "cp1252", "full of zero bytes, as UTF-16 is; declare utf-16-le"),
        ("utf-16-be", "latin-1", "full of zero bytes, as UTF-16 is; declare utf-16-be"),
        ("utf-32", "cp1252", "begins with the byte order mark of UTF-32; declare utf-32"),
        ("utf-8-sig", "cp1250", "begins with the byte order mark of UTF-8; declare utf-8"),
    ],
)
def test_a_file_that_shows_another_encoding_is_refused_with_the_one_to_declare(
    site, extract, written, declared, says
):
    (extract / "diagnoses.csv").write_bytes(DIAGNOSES.encode(written))
    with pytest.raises(SourceEncodingError, match=rf"^diagnoses.csv: declared \S+, but it (is|).*{says}"):
        load(site, f1={"encoding": declared})
    (right,) = re.findall(r"declare (\S+?)(?:,|$)", says)
    load(site, f1={"encoding": right})


def test_wrong_columns_are_refused_with_a_suggestion(site, extract):
    row = {
        "table": "condition_occurrence",
        "person": "PDI",
        "start": "DAY",
        "concept": {"column": "ICD", "vocabulary": "ICD10CM"},
    }
    says = r"diagnoses.csv: no column 'PDI', which rows\[0\] \(condition_occurrence\) person names; did you mean 'PID'"
    refused(site, ProfileError, says, f1={"rows": [row]})
    refused(site, ProfileError, "no column 'nope', which key names; it has PID, DAY", f1={"key": "nope"})
    refused(site, ProfileError, "no column 'NOTE', which where names; it has PID;DAY", f1={"delimiter": ","})


def test_dates_of_another_format_are_refused(site, extract):
    says = r"diagnoses.csv: condition_occurrence.start: none of the 7 values of column 'DAY' is a date by"
    refused(site, ProfileError, says, f1={"dates": ["%Y/%m/%d"]})


def test_a_mapping_with_an_unknown_concept_leaves_the_loaded_data_alone(site, extract):
    people = yaml.safe_load(MAPPING)["files"][0]["rows"]
    people[0]["gender"]["map"]["m"] = 999
    says = (
        r"people.csv: rows\[0\] \(person\) gender: 'm' means 999, which the vocabulary does not have; correct"
    )
    refused(site, VocabularyError, says, f0={"rows": people})


def test_concept_ids_of_a_column_count_only_where_they_are_of_the_fields_domain(site, extract):
    (extract / "people.csv").write_text("ID;BORN;SEX;RACE\n1;01.02.1950;8507;8527\n2;15.07.1961;F;8507\n")
    person = {"table": "person", "person": "ID", "birth": "BORN", "gender": "SEX", "race": "RACE"}
    load(site, f0={"rows": [person]})
    rows = site.rows(
        "SELECT gender_concept_id, race_concept_id, race_source_value FROM person ORDER BY 3 DESC"
    )
    assert rows == [(8507, 8527, "8527"), (8532, 0, "8507")]


@pytest.fixture(scope="module")
def checked(vocabulary):
    """Checks rows of a mapping against the vocabulary, or against none."""
    with create(":memory:") as loaded, create(":memory:") as bare:
        for connection, source in ((loaded, vocabulary), (bare, None)):
            load_vocabulary(connection, source)
            create_stages(connection)

        def check(row, concepts=(), known=True):
            files = [{"path": "a.csv", "rows": [{"person": "P"} | row]}]
            mapping = {"tessera": "csv-mapping/1", "concepts": concepts, "files": files}
            check_concepts(loaded if known else bare, Mapping.model_validate(mapping), known)

        yield check


def person(**fields):
    return {"table": "person", "birth": "B"} | fields


def event(**fields):
    return {"table": "measurement", "start": "D", "concept": {"column": "C", "vocabulary": "LOINC"}} | fields


VISIT = {"table": "visit_occurrence", "visit": "V", "start": "D"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            person(race={"column": "R", "map": {"w": "white"}}),
            "(person) race: 'w' means 'white', which is no concept id",
        ),
        (person(race={"constant": 999}), "(person) race: constant 999, which the vocabulary does not have"),
        (
            person(ethnicity={"constant": 8507}),
            "ethnicity: constant 8507, which is of the domain Gender, not Ethnicity",
        ),
        (
            person(gender={"constant": "unknown"}),
            "(person) gender: constant 'unknown', which is no concept id",
        ),
        (
            VISIT | {"kind": {"column": "K", "map": {"in": 9201, "day": 99}}},
            "a.csv: rows[0] (visit_occurrence) kind: 'day' means 99, which the vocabulary does not have",
        ),
        (
            VISIT | {"kind": {"constant": "in", "map": {"out": 9202}}},
            "(visit_occurrence) kind: constant 'in', which its map does not name",
        ),
        (
            event(concept={"column": "C", "map": {"E11.9": 1001, "E12": 77}}),
            "concept: 'E11.9' means 1001, which is no standard concept; a.csv: rows[0] (measurement) concept: 'E12' means 77",
        ),
        (
            event(concept={"constant": "X", "map": {"Y": 3001}}),
            "concept: constant 'X', which its map does not name",
        ),
        (
            event(unit={"column": "U", "map": {"%": 3001}}),
            "unit: '%' means 3001, which is of the domain Measurement",
        ),
        (
            event(unit={"constant": "pct", "vocabulary": "UCUM"}),
            "unit: constant 'pct', which is no code of the vocabulary 'UCUM'",
        ),
        (
            event(value={"constant": "STADIUM", "vocabulary": "SNOMED"}),
            "value: constant 'STADIUM', which is no code of",
        ),
        (
            event(concept={"constant": "R1", "vocabulary": "SNOMED"}),
            "concept: constant 'R1' of 'SNOMED', which leads to no standard concept",
        ),
        (
            event(type_concept_id=8507),
            "type_concept_id: 8507, which is of the domain Gender, not Type Concept",
        ),
        (
            event(concept={"column": "C", "vocabulary": "LOINX"}),
            "(measurement) concept names 'LOINX'; loaded are CVX,",
        ),
        (
            event(concept={"column": "C", "vocabulary_column": "W", "vocabularies": {"L": "LOINX"}}),
            "(measurement) concept names 'LOINX'",
        ),
    ],
)
def test_every_concept_a_mapping_names_must_be_there(checked, row, says):
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        checked(row)
    assert "correct the mapping, or give an Athena export that has them with --vocabulary" in str(
        caught.value
    )


def test_concepts_that_are_there_pass(checked):
    checked(
        person(
            gender="SEX", race={"column": "R", "map": {"w": 8527, "?": 0}}, ethnicity={"constant": "38003563"}
        )
    )
    checked(person(gender={"constant": "F"}))
    checked(
        event(
            concept={"constant": "E119", "vocabulary": "ICD10CM"},
            unit={"constant": "%", "vocabulary": "UCUM"},
        )
    )
    checked(
        event(concept={"constant": "NEW", "map": {"NEW": 0}}, value={"column": "V", "map": {"pos": 2006}})
    )


def test_without_a_vocabulary_only_administrative_concepts_are_known(checked):
    checked(person(gender={"column": "S", "map": {"m": 8507}}), known=False)
    with pytest.raises(
        VocabularyError, match=r"'G' means 3001, .*no vocabulary was loaded: give an Athena export with"
    ):
        checked(event(concept={"column": "C", "map": {"G": 3001}}), known=False)


def test_concepts_of_ones_own_must_not_collide(checked):
    own = {"concept_id": 2000000007, "name": "a", "domain": "Measurement", "code": "A"}
    with pytest.raises(ProfileError, match="concepts: 2000000007 declared more than once"):
        checked(event(), concepts=[own, own])
    checked(event(concept={"constant": "A", "vocabulary": "Local"}), concepts=[own])
    with pytest.raises(ProfileError, match="the loaded vocabulary already has 2000000007"):
        checked(event(), concepts=[own])


def test_missing_and_ragged_files_are_refused(site, extract):
    refused(site, SourceMissing, "diag.csv does not exist", f1={"path": "diag.csv"})
    (extract / "labs.csv").write_text(LABS + "1,2019-01-03\n")
    with pytest.raises(SourceFormatError, match=r"^labs.csv line 5: not readable as CSV"):
        load(site)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tessera: [", "line 1 column"),
        ("tessera: csv-mapping/2\nfiles: []", "tessera: expected 'csv-mapping/1', found 'csv-mapping/2'"),
        (
            MAPPING.replace("encoding: latin-1", "encoding: klingon"),
            r"files.1.encoding: .*not a known text encoding",
        ),
        (MAPPING.replace("table: death", "table: deaths"), "files.0.rows.1"),
        (
            MAPPING.replace("start: DAY, concept", "begin: DAY, concept"),
            "begin: no such field; known here are when, person, table, concept, start, end,",
        ),
        (
            MAPPING.replace("one_of:", "among:"),
            "among: no such field; known here are column, equals, one_of,",
        ),
        (
            MAPPING.replace("{constant: HTN, map", "{constant: HTN, column: HTN, map"),
            "either a column or a constant",
        ),
        (
            MAPPING.replace("ICD, vocabulary: ICD10CM", "ICD"),
            "give a vocabulary, a vocabulary_column or a map",
        ),
        (
            MAPPING.replace("2000000001, name", "5, name"),
            "concepts.0.concept_id: expected a number of at least 2000000000, found 5",
        ),
    ],
)
def test_mapping_errors_name_the_entry(tmp_path, text, says):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=rf"^m.yaml.*{says}"):
        Mapping.load(path)


def test_a_wrong_table_is_told_once(tmp_path):
    path = tmp_path / "m.yaml"
    rows = "".join(f"  - {{table: conditions, person: p{number}}}\n" for number in range(3))
    path.write_text(f"tessera: csv-mapping/1\nfiles:\n- path: a.csv\n  rows:\n{rows}")
    with pytest.raises(ProfileError) as caught:
        Mapping.load(path)
    start, _, tables = str(caught.value).partition("expected one of ")
    places = ", ".join(f"files.0.rows.{number}.table" for number in range(3))
    assert start == f"m.yaml: {places}: "
    assert tables.startswith("'person', 'death', ") and tables.endswith(", found 'conditions'")
    assert ";" not in tables


def test_a_csv_extract_needs_a_mapping(site):
    with pytest.raises(ProfileError, match="no such mapping file"):
        load_csv(site.extract, site.database, None, Profile(), Path("nowhere.yaml"))


@pytest.mark.shared
def test_synthea_export(site, shared_dir):
    data = shared_dir / "data"
    shutil.copytree(data / "synthea27_csv/synthea", site.extract, dirs_exist_ok=True)
    mapping = Path(__file__).with_name("synthea_mapping.yaml")
    site.report = load_csv(site.extract, site.database, data / "synthea27_omop", Profile(), mapping)
    import duckdb

    def count(name, where="true"):
        file = site.extract / f"{name}.csv"
        return duckdb.sql(
            f"SELECT count(*) FROM read_csv('{file}', all_varchar=true) WHERE {where}"
        ).fetchone()[0]

    loaded = {
        entry.name.partition(".")[0] + entry.name.partition(":")[2]: entry for entry in site.report.inputs
    }
    assert loaded["patients person"].loaded == count("patients")
    assert loaded["patients death"].loaded == count("patients", "DEATHDATE IS NOT NULL")
    assert loaded["conditions condition_occurrence"].loaded == count("conditions")
    assert loaded["encounters visit_occurrence"].loaded == count("encounters")
    assert loaded["observations measurement"].loaded == count("observations", "TYPE = 'numeric'")
    inpatient = site.rows("SELECT count(*) FROM visit_occurrence WHERE visit_concept_id = 9201")
    assert inpatient == [(count("encounters", "ENCOUNTERCLASS = 'inpatient'"),)]
    top = duckdb.sql(
        f"SELECT count(*) FROM read_csv('{site.extract / 'observations.csv'}', all_varchar=true) WHERE CODE = 'QALY'"
    ).fetchone()[0]
    assert ("QALY", top) in [(u.code, u.count) for u in site.report.unmapped_codes]
