"""Flat CSV extracts through a mapping file."""

import re
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml

from fhir_mappings.errors import (
    ProfileError,
    SourceEncodingError,
    SourceFormatError,
    SourceMissing,
    VocabularyError,
)
from fhir_mappings.profile import Profile
from fhir_mappings.sources.csv import load_csv
from fhir_mappings.sources.csv_mapping import Mapping

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


def test_unknown_vocabularies_and_concepts_are_refused(site, extract):
    row = {"table": "condition_occurrence", "person": "PID", "start": "DAY"}
    concept = {"column": "ICD", "vocabulary": "ICD10XY"}
    refused(
        site,
        VocabularyError,
        r"names vocabularies ICD10XY, but .*with --vocabulary",
        f1={"rows": [row | {"concept": concept}]},
    )
    concept = {"column": "ICD", "map": {"E11.9": 1001, "E12": 77}}
    refused(
        site,
        VocabularyError,
        r"gives concept ids 77, 1001, which .*--vocabulary",
        f1={"rows": [row | {"concept": concept}]},
    )


def test_missing_and_ragged_files_are_refused(site, extract):
    refused(site, SourceMissing, "diag.csv does not exist", f1={"path": "diag.csv"})
    (extract / "labs.csv").write_text(LABS + "1,2019-01-03\n")
    with pytest.raises(SourceFormatError, match=r"^labs.csv line 5: not readable as CSV"):
        load(site)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tessera: [", "line 1 column"),
        ("tessera: csv-mapping/2\nfiles: []", "tessera: Input should be 'csv-mapping/1'"),
        (
            MAPPING.replace("encoding: latin-1", "encoding: klingon"),
            r"files.1.encoding: .*not a known text encoding",
        ),
        (MAPPING.replace("table: death", "table: deaths"), "files.0.rows.1"),
        (
            MAPPING.replace("start: DAY, concept", "begin: DAY, concept"),
            "begin: Extra inputs are not permitted",
        ),
        (MAPPING.replace("one_of:", "among:"), "among: Extra inputs"),
        (
            MAPPING.replace("{constant: HTN, map", "{constant: HTN, column: HTN, map"),
            "either a column or a constant",
        ),
        (
            MAPPING.replace("ICD, vocabulary: ICD10CM", "ICD"),
            "give a vocabulary, a vocabulary_column or a map",
        ),
        (MAPPING.replace("2000000001, name", "5, name"), "greater than or equal to 2000000000"),
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
    start, _, tables = str(caught.value).partition("; write one of ")
    places = ", ".join(f"files.0.rows.{number}.table" for number in range(3))
    assert start == f"m.yaml: {places}: 'conditions' cannot stand here"
    assert tables.startswith("'person', 'death', ")
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
