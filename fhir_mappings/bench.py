"""A FHIR extract of any size, for measuring how fast resources become the common model."""

import random
from pathlib import Path
from typing import Any

import orjson

EVENTS_PER_PATIENT = 24
DIAGNOSES = [f"E{number}.9" for number in range(10, 15)]
MEDICINES = [str(860_000 + number) for number in range(200)]
TESTS = range(300)
FIRST_CONCEPT = 2_000_000_000
CONCEPT_HEADER = (
    "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code "
    "valid_start_date valid_end_date invalid_reason"
)
RELATIONSHIP_HEADER = (
    "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date invalid_reason"
)


def write_extract(folder: Path, n: int) -> int:
    """Write about ``n`` resources of a fixed pseudo-random population as NDJSON; returns how many."""
    folder.mkdir(parents=True)
    generator = random.Random(20)  # noqa: S311 -- made-up records, no secret
    patients = max(1, n // (EVENTS_PER_PATIENT + 2))
    with (folder / "patients.ndjson").open("wb") as people, (folder / "records.ndjson").open("wb") as records:
        for number in range(patients):
            people.write(orjson.dumps(_patient(number)) + b"\n")
            records.write(orjson.dumps(_encounter(number)) + b"\n")
            for event in range(EVENTS_PER_PATIENT):
                records.write(orjson.dumps(_event(number, event, generator)) + b"\n")
    return patients * (EVENTS_PER_PATIENT + 2)


def write_codes(folder: Path) -> Path:
    """Write a vocabulary in which every code of the extract is a standard concept; ids and names are made up."""
    folder.mkdir(parents=True)
    tests = [f"{4000 + test}-{digit}" for test in TESTS for digit in range(10)]
    codes = [("Condition", "ICD10CM", code) for code in DIAGNOSES]
    codes += [("Drug", "RxNorm", code) for code in MEDICINES] + [
        ("Measurement", "LOINC", code) for code in tests
    ]
    concepts = [
        f"{FIRST_CONCEPT + n}\t{code}\t{domain}\t{vocabulary}\tcode\tS\t{code}\t19700101\t20991231\t"
        for n, (domain, vocabulary, code) in enumerate(codes)
    ]
    _write(folder / "CONCEPT.csv", CONCEPT_HEADER, concepts)
    _write(folder / "CONCEPT_RELATIONSHIP.csv", RELATIONSHIP_HEADER, [])
    return folder


def _write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header.replace(" ", "\t"), *rows, ""]), encoding="utf-8")


def _coded(system: str, code: str) -> dict[str, Any]:
    return {
        "coding": [{"system": system, "code": code, "display": f"Benchmark code {code}"}],
        "text": f"Code {code}",
    }


def _patient(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"patient-{number:08d}",
        "gender": "female" if number % 2 else "male",
        "birthDate": f"{1930 + number % 70}-03-17",
        "address": [{"city": "Anywhere", "postalCode": "00000", "country": "XX"}],
    }


def _links(number: int) -> dict[str, Any]:
    return {
        "subject": {"reference": f"Patient/patient-{number:08d}"},
        "encounter": {"reference": f"Encounter/encounter-{number:08d}"},
    }


def _encounter(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": f"encounter-{number:08d}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/patient-{number:08d}"},
        "period": {"start": "2019-04-02T08:10:00+02:00", "end": "2019-04-02T09:00:00+02:00"},
    }


def _event(number: int, event: int, generator: random.Random) -> dict[str, Any]:
    day = f"20{generator.randrange(10, 24)}-{generator.randrange(1, 13):02d}-{generator.randrange(1, 29):02d}"
    ident = f"{number:08d}-{event:03d}-4c5a-9d0e-benchmark"
    meta = {
        "lastUpdated": "2024-01-15T00:00:00Z",
        "profile": ["http://hl7.org/fhir/StructureDefinition/Resource"],
    }
    shared = {"id": ident, "meta": meta, **_links(number)}
    kind = event % 6
    if kind == 0:
        code = _coded("http://hl7.org/fhir/sid/icd-10-cm", generator.choice(DIAGNOSES))
        status = {
            "verificationStatus": _coded(
                "http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"
            )
        }
        return {
            "resourceType": "Condition",
            **shared,
            **status,
            "code": code,
            "onsetDateTime": day,
            "recordedDate": day,
        }
    if kind == 1:
        code = _coded("http://www.nlm.nih.gov/research/umls/rxnorm", generator.choice(MEDICINES))
        request = {"status": "active", "intent": "order", "authoredOn": f"{day}T10:00:00+01:00"}
        return {"resourceType": "MedicationRequest", **shared, **request, "medicationCodeableConcept": code}
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        **shared,
        "status": "final",
        "category": [_coded(system, "laboratory")],
        "code": _coded("http://loinc.org", f"{4000 + generator.choice(TESTS)}-{event % 10}"),
        "effectiveDateTime": f"{day}T07:45:00+01:00",
        "issued": f"{day}T11:00:00.123+01:00",
        "valueQuantity": {
            "value": generator.randrange(40, 120) / 10,
            "unit": "mmol/L",
            "system": "http://unitsofmeasure.org",
            "code": "mmol/L",
        },
        "referenceRange": [
            {"low": {"value": 3.5, "unit": "mmol/L"}, "high": {"value": 5.1, "unit": "mmol/L"}}
        ],
    }
