"""Loading vocabularies and looking codes up."""

import shutil

import pytest

from fhir_mappings import cdm
from fhir_mappings.codes import ADMINISTRATIVE
from fhir_mappings.errors import SourceMissing, VocabularyError
from fhir_mappings.vocabulary import load_vocabulary


@pytest.fixture
def connection():
    with cdm.create(":memory:") as opened:
        yield opened


def test_a_vocabulary_folder_is_taken_whole(connection, vocabulary):
    assert load_vocabulary(connection, vocabulary) == "v-test 1"
    mapped = """SELECT r.concept_id_2 FROM concept c JOIN concept_relationship r ON r.concept_id_1 = c.concept_id
        WHERE r.relationship_id = 'Maps to' AND c.vocabulary_id = 'ICD10CM' AND c.concept_code = 'E99.1' ORDER BY 1"""
    assert connection.execute(mapped).fetchall() == [(2001,), (2002,)]
    assert connection.execute("SELECT domain_id FROM concept WHERE concept_id = 2004").fetchall() == [
        ("Procedure",)
    ]


def test_administrative_concepts_are_there_without_any_vocabulary(connection):
    assert load_vocabulary(connection, None) == "none"
    ids = {row[0] for row in connection.execute("SELECT concept_id FROM concept").fetchall()}
    assert ids == {row[0] for row in ADMINISTRATIVE}
    unit = "SELECT concept_id FROM concept WHERE vocabulary_id = 'UCUM' AND concept_code = 'mmol/L'"
    assert connection.execute(unit).fetchall() == [(8753,)]


def test_no_clinical_content_is_shipped():
    assert {row[3] for row in ADMINISTRATIVE} <= {
        "None", "Gender", "Race", "Ethnicity", "Visit", "Type Concept", "UCUM",
    }  # fmt: skip


def test_a_database_serves_as_vocabulary(connection, vocabulary, tmp_path):
    with cdm.create(tmp_path / "v.duckdb") as first:
        load_vocabulary(first, vocabulary)
        expected = first.execute("SELECT * FROM concept ORDER BY 1").fetchall()
    assert load_vocabulary(connection, tmp_path / "v.duckdb") == "v-test 1"
    assert connection.execute("SELECT * FROM concept ORDER BY 1").fetchall() == expected


def test_bad_vocabularies_are_refused(connection, vocabulary, tmp_path):
    with pytest.raises(SourceMissing):
        load_vocabulary(connection, tmp_path / "none")
    folder = tmp_path / "export"
    shutil.copytree(vocabulary, folder)
    concept = (folder / "CONCEPT.csv").read_text()
    (folder / "CONCEPT.csv").write_text(concept + concept.splitlines()[1] + "\n")
    with pytest.raises(VocabularyError, match="1 repeated concept ids"):
        load_vocabulary(connection, folder)
    (folder / "CONCEPT_RELATIONSHIP.csv").unlink()
    with pytest.raises(VocabularyError, match=r"lacks \['concept_relationship'\]"):
        load_vocabulary(connection, folder)
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(VocabularyError, match="no DuckDB database"):
        load_vocabulary(connection, tmp_path / "text.duckdb")
