"""The model's definition against the published specification, and opening folders of its tables."""

import csv

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fhir_mappings import cdm
from fhir_mappings.cdm_tables import CONCEPT_COLUMN, SPANS, TABLES
from fhir_mappings.errors import ModelError, SourceEncodingError, SourceFormatError, SourceMissing

KINDS = {"integer": {"id", "concept", "int"}, "date": {"date"}, "datetime": {"datetime"}, "float": {"float"}}


@pytest.mark.shared
def test_tables_match_the_published_specification(shared_dir):
    published = {}
    path = shared_dir / "data/omop_cdm_5.4/OMOP_CDMv5.4_Field_Level.csv"
    with path.open(encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            key = row["isPrimaryKey"] == "Yes"
            entry = (row["cdmFieldName"].lower(), row["cdmDatatype"].lower(), row["isRequired"] == "Yes", key)
            published.setdefault(row["cdmTableName"].lower(), []).append(entry)
    for table in TABLES.values():
        expected = published[table.name]
        assert [(f.name, f.required) for f in table.fields] == [
            (name, required) for name, _, required, _ in expected
        ]
        for field, (_, kind, _, key) in zip(table.fields, expected, strict=True):
            assert field.kind in KINDS.get(kind, {"text"}), (table.name, field.name)
            assert (table.key == field.name) == key


def test_spans_and_main_concepts_name_real_columns():
    for name, columns in SPANS.items():
        assert all(TABLES[name].field(column).kind == "date" for column in columns if column)
    for name, column in CONCEPT_COLUMN.items():
        assert TABLES[name].field(column).kind == "concept"


def test_create_enforces_required_columns_and_never_overwrites(tmp_path):
    path = tmp_path / "cdm.duckdb"
    with cdm.create(path) as connection, pytest.raises(duckdb.ConstraintException):
        connection.execute("INSERT INTO death (person_id) VALUES (1)")
    with pytest.raises(ModelError, match="already exists"):
        cdm.create(path)
    backend = cdm.connect(path)
    assert set(backend.list_tables()) == set(TABLES)
    assert backend.table("person").count().execute() == 0
    setting = backend.con.execute("SELECT current_setting('autoinstall_known_extensions')").fetchone()
    assert setting == (False,)
    backend.disconnect()


def test_connect_refuses_what_is_not_the_model(tmp_path):
    with pytest.raises(SourceMissing):
        cdm.connect(tmp_path / "none.duckdb")
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(ModelError, match="not a DuckDB database"):
        cdm.connect(tmp_path / "text.duckdb")
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    with pytest.raises(ModelError, match="lacks the tables"):
        cdm.connect(tmp_path / "other.duckdb")


PERSON = "PERSON_ID,gender_concept_id,year_of_birth,race_concept_id,ethnicity_concept_id,extra\n"


def test_open_folder_types_whatever_it_finds(tmp_path):
    (tmp_path / "PERSON.csv").write_text(PERSON + "1,8507,1950.0,0,0,x\n")
    days = pa.array(["20200131", "2020-02-01 00:00:00"])
    table = {"person_id": pa.array([1, 1], pa.int32()), "observation_period_id": pa.array([1.0, 2.0])}
    table |= {"observation_period_start_date": days, "observation_period_end_date": days}
    table |= {"period_type_concept_id": pa.array([0, 0])}
    pq.write_table(pa.table(table), tmp_path / "Observation_Period.parquet")
    backend = cdm.open_omop(tmp_path)
    assert backend.table("person").year_of_birth.execute().tolist() == [1950]
    periods = backend.table("observation_period").execute()
    assert [str(day)[:10] for day in periods.observation_period_start_date] == ["2020-01-31", "2020-02-01"]
    assert backend.table("measurement").count().execute() == 0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,8507,soon,0,0,x", r"PERSON.csv: missing or unconvertible values in year_of_birth \(1 rows\)"),
        ("1,8507,1950.5,0,0,x", "year_of_birth"),
        (",8507,1950,0,0,x", r"person_id \(1 rows\)"),
        ("1,8507", "not readable as CSV"),
    ],
)
def test_open_folder_refuses_values_naming_the_column(tmp_path, row, says):
    (tmp_path / "PERSON.csv").write_text(PERSON + row + "\n")
    with pytest.raises(SourceFormatError, match=says):
        cdm.open_folder(tmp_path)


def test_open_folder_refuses_the_wrong_files(tmp_path):
    with pytest.raises(SourceMissing, match="no file named after an OMOP table"):
        cdm.open_folder(tmp_path)
    (tmp_path / "death.csv").write_text("person_id,death_date\n")
    with pytest.raises(SourceMissing, match="no person table"):
        cdm.open_folder(tmp_path)
    (tmp_path / "person.csv").write_text("person_id\n1\n")
    with pytest.raises(SourceFormatError, match=r"lacks the required columns \['gender_concept_id'"):
        cdm.open_folder(tmp_path)
    (tmp_path / "person.csv").write_bytes(PERSON.encode() + b"1,8507,1950,0,0,M\xfcller\n")
    with pytest.raises(SourceEncodingError, match=r"person.csv line 2: byte 18"):
        cdm.open_folder(tmp_path)
    (tmp_path / "PERSON.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceFormatError, match="two files"):
        cdm.open_folder(tmp_path)
    (tmp_path / "person.csv").unlink()
    with pytest.raises(SourceFormatError, match="not readable as Parquet"):
        cdm.open_folder(tmp_path)


@pytest.mark.shared
def test_open_folder_reads_a_published_database(shared_dir):
    folder = shared_dir / "data/synthea27_omop"
    backend = cdm.open_folder(folder)
    for name in ("person", "condition_occurrence", "measurement", "drug_exposure", "death", "concept"):
        query = f"SELECT count(*) FROM read_csv('{folder / (name.upper() + '.csv')}', all_varchar=true)"
        assert backend.table(name).count().execute() == duckdb.sql(query).fetchone()[0]
