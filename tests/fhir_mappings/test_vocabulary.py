"""Loading vocabularies and looking codes up."""

import shutil

import pytest

from fhir_mappings import cdm
from fhir_mappings.codes import ADMINISTRATIVE
from fhir_mappings.errors import SourceMissing, VocabularyError
from fhir_mappings.vocabulary import domain_of, load_vocabulary, standard_concepts


@pytest.fixture
def connection():
    with cdm.create(":memory:") as opened:
        yield opened


def test_lookups(connection, vocabulary):
    assert load_vocabulary(connection, vocabulary) == "v-test 1"
    assert [c.concept_id for c in standard_concepts(connection, "ICD10CM", "E99.1")] == [2001, 2002]
    assert [c.concept_id for c in standard_concepts(connection, "SNOMED", "D1")] == [2001]
    assert standard_concepts(connection, "SNOMED", "R1") == []
    assert standard_concepts(connection, "SNOMED", "none") == []
    assert domain_of(connection, 2004) == "Procedure"
    with pytest.raises(VocabularyError, match="concept 5 is not in the loaded vocabulary v-test 1"):
        domain_of(connection, 5)


def test_administrative_concepts_are_there_without_any_vocabulary(connection):
    assert load_vocabulary(connection, None) == "none"
    ids = {row[0] for row in connection.execute("SELECT concept_id FROM concept").fetchall()}
    assert ids == {row[0] for row in ADMINISTRATIVE}
    assert standard_concepts(connection, "UCUM", "mmol/L")[0].concept_id == 8753


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
