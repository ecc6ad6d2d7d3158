"""A tiny made-up vocabulary and a site to load extracts into."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.fhir import load_fhir

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM, ICD = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"

# concept_id, name, domain, vocabulary, class, standard, code. Codes are invented.
CONCEPTS = [
    (1001, "source diabetes", "Condition", "ICD10CM", "code", "", "E11.9"),
    (1002, "source both", "Condition", "ICD10CM", "code", "", "E99.1"),
    (1003, "source family history", "Observation", "ICD10CM", "code", "", "Z80.1"),
    (2001, "diabetes", "Condition", "SNOMED", "Clinical Finding", "S", "D1"),
    (2002, "complication", "Condition", "SNOMED", "Clinical Finding", "S", "D2"),
    (2003, "diabetes, narrower", "Condition", "SNOMED", "Clinical Finding", "S", "D3"),
    (2004, "counselling", "Procedure", "SNOMED", "Procedure", "S", "P1"),
    (2005, "family history of", "Observation", "SNOMED", "Context-dependent", "S", "F1"),
    (2006, "positive", "Meas Value", "SNOMED", "Qualifier Value", "S", "Q1"),
    (2007, "peanut", "Observation", "SNOMED", "Substance", "S", "S1"),
    (2008, "no known allergy", "Observation", "SNOMED", "Context-dependent", "S", "N1"),
    (2009, "retired", "Condition", "SNOMED", "Clinical Finding", "", "R1"),
    (3001, "glucose", "Measurement", "LOINC", "Lab Test", "S", "G1"),
    (3002, "systolic", "Measurement", "LOINC", "Clinical Observation", "S", "BP-S"),
    (3003, "diastolic", "Measurement", "LOINC", "Clinical Observation", "S", "BP-D"),
    (3004, "pressure panel", "Measurement", "LOINC", "Panel", "S", "BP"),
    (3005, "smoking", "Observation", "LOINC", "Survey", "S", "SM"),
    (4001, "metformin tablet", "Drug", "RxNorm", "Clinical Drug", "S", "M1"),
    (4002, "vaccine", "Drug", "CVX", "CVX", "S", "V1"),
]
MAPS = [
    (1001, 2001, "Maps to"),
    (1002, 2001, "Maps to"),
    (1002, 2002, "Maps to"),
    (1003, 2005, "Maps to"),
    (1003, 2002, "Maps to value"),
]


def write_vocabulary(folder: Path) -> Path:
    """An Athena export: tab separated, unquoted, dates as YYYYMMDD."""
    folder.mkdir()
    header = "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code"
    names = [*header.split(), "valid_start_date", "valid_end_date", "invalid_reason"]
    rows = ["\t".join([str(x) for x in row] + ["19700101", "20991231", ""]) for row in CONCEPTS]
    (folder / "CONCEPT.csv").write_text("\n".join(["\t".join(names), *rows]) + "\n")
    names = [
        "concept_id_1",
        "concept_id_2",
        "relationship_id",
        "valid_start_date",
        "valid_end_date",
        "invalid_reason",
    ]
    rows = ["\t".join([str(x) for x in row] + ["19700101", "20991231", ""]) for row in MAPS]
    (folder / "CONCEPT_RELATIONSHIP.csv").write_text("\n".join(["\t".join(names), *rows]) + "\n")
    names = [
        "ancestor_concept_id",
        "descendant_concept_id",
        "min_levels_of_separation",
        "max_levels_of_separation",
    ]
    (folder / "CONCEPT_ANCESTOR.csv").write_text("\t".join(names) + "\n2001\t2003\t1\t1\n2001\t2001\t0\t0\n")
    names = [
        "vocabulary_id",
        "vocabulary_name",
        "vocabulary_reference",
        "vocabulary_version",
        "vocabulary_concept_id",
    ]
    (folder / "VOCABULARY.csv").write_text("\t".join(names) + "\nNone\tOMOP\tOMOP\tv-test 1\t0\n")
    return folder


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("athena") / "export")


class Site:
    """A folder for extracts and the database they are loaded into."""

    def __init__(self, folder: Path, vocabulary: Path) -> None:
        self.extract = folder / "extract"
        self.extract.mkdir()
        self.database = folder / "cdm.duckdb"
        self.vocabulary = vocabulary
        self.report: LoadReport

    def load(self, *resources: dict[str, Any], profile: Profile | None = None) -> LoadReport:
        """Load FHIR resources."""
        (self.extract / "all.ndjson").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in resources))
        profile = profile or Profile.model_validate({"extract_date": "2024-01-01"})
        self.report = load_fhir(self.extract, self.database, self.vocabulary, profile)
        return self.report

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def input(self, name: str) -> Any:
        return next(entry for entry in self.report.inputs if entry.name == name)


@pytest.fixture
def site(tmp_path: Path, vocabulary: Path) -> Site:
    return Site(tmp_path, vocabulary)


def coded(system: str, code: str, **extra: Any) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, **extra}]}


def patient(ident: str = "p1", **extra: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": ident, "gender": "female", "birthDate": "1960-02-03", **extra}


def make(kind: str, ident: str, person: str = "p1", **extra: Any) -> dict[str, Any]:
    who = "patient" if kind in ("Immunization", "AllergyIntolerance") else "subject"
    return {"resourceType": kind, "id": ident, who: {"reference": f"Patient/{person}"}, **extra}


def condition(ident: str = "c1", **extra: Any) -> dict[str, Any]:
    return make("Condition", ident, **({"code": coded(SNOMED, "D1"), "onsetDateTime": "2020-05-06"} | extra))


def encounter(ident: str, status: str = "finished", kind: str = "AMB", **period: str) -> dict[str, Any]:
    return make("Encounter", ident, status=status, **{"class": {"code": kind}}, period=period)


def lab(ident: str = "o1", **extra: Any) -> dict[str, Any]:
    values = {
        "status": "final",
        "category": [coded("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory")],
        "code": coded(LOINC, "G1"),
        "effectiveDateTime": "2021-03-04T05:06:07+01:00",
        "valueQuantity": {"value": 7.5, "unit": "mmol/L", "system": UCUM, "code": "mmol/L"},
    }
    return make("Observation", ident, **(values | extra))


def request(ident: str = "m1", **extra: Any) -> dict[str, Any]:
    values = {
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": coded(RXNORM, "M1"),
        "authoredOn": "2020-06-01",
    }
    return make("MedicationRequest", ident, **(values | extra))


@pytest.fixture(scope="session")
def build() -> dict[str, Callable[..., dict[str, Any]]]:
    """Makers of small FHIR resources, by name."""
    return {
        "patient": patient,
        "make": make,
        "condition": condition,
        "encounter": encounter,
        "lab": lab,
        "request": request,
        "coded": coded,
    }
