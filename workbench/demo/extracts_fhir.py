"""Hospital ``north``: a FHIR R4 bulk export, one NDJSON file per resource type.

Conditions carry an ICD-10-CM and a SNOMED CT coding, prescriptions RxNorm, results LOINC; regimens, markers
and stage use the hospital's local system, which the site's profile declares. Planted: lines delivered
twice, local laboratory codes that no vocabulary knows, onsets in 2099 and 1850, undated results, results
entered in error, results without a value and the reason why, and HbA1c repeated in IFCC units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
import pandas as pd

from workbench.demo.planted import Extract, some_rows, tally, unmapped_codes
from workbench.demo.population import Population
from workbench.demo.vocabulary import CODES, LOCAL_SYSTEM, LOCAL_VOCABULARY

Resource = dict[str, Any]
Planted = Mapping[str, Iterator[Resource]]

SYSTEMS: Final = {
    "SNOMED": "http://snomed.info/sct",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "LOINC": "http://loinc.org",
    LOCAL_VOCABULARY: LOCAL_SYSTEM,
}
LABORATORY: Final = "https://north.example/laboratory"
"""The laboratory's own codes, which nothing maps."""

PROFILE: Final = f"""\
extract_date = 2024-12-31

[source]
name = "Hospital North, synthetic"
abbreviation = "north"
holder = "Hospital North"

[observation_period]
start = "first-event"
end = "last-event"

[fhir.code_systems]
"{LOCAL_SYSTEM}" = "{LOCAL_VOCABULARY}"
"""

_STANDARDS: Final = {code.concept_id: key for key, code in CODES.items() if code.is_standard}
_UPDATED: Final = {"lastUpdated": "2024-12-31T23:00:00Z"}
_CONFIRMED: Final = "confirmed"
_STATUS_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLASS_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CATEGORY_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_LABORATORY, _EXAM = (
    [{"coding": [{"system": _CATEGORY_SYSTEM, "code": code}]}] for code in ("laboratory", "exam")
)
_CLASSES: Final = {"inpatient": "IMP", "outpatient": "AMB"}


def write_fhir(population: Population, folder: Path, seed: int = 1) -> Extract:
    """Write the export and ``profile.toml`` into ``folder``; ``population`` holds one hospital."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 101])
    (folder / "profile.toml").write_text(PROFILE, encoding="utf-8")
    conditions = _planted_conditions(population, rng)
    observations, unmapped = _planted_observations(population.results, rng)
    files: dict[str, tuple[Iterator[Resource], Planted]] = {
        "Patient": (_patients(population), {}),
        "Encounter": (_encounters(population), {}),
        "Condition": (_conditions(population.conditions, "c"), conditions),
        "MedicationRequest": (_requests(population), {}),
        "Observation": (_results(population.results, "o"), observations),
    }
    rows: dict[str, int] = {}
    planted: dict[str, dict[str, int]] = {}
    for name, (true, added) in files.items():
        with (folder / f"{name}.ndjson").open("wb") as file:
            rows[name] = _write(file, true)
            planted[name] = {kind: _write(file, resources) for kind, resources in added.items()}
    return Extract(hospital="north", folder=folder, rows=rows, planted=planted, unmapped=unmapped)


def _write(file: BinaryIO, resources: Iterator[Resource]) -> int:
    """One line each, as they come: an extract is much larger than it needs to be in memory."""
    count = 0
    for resource in resources:
        file.write(orjson.dumps(resource, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count


def _dates(column: pd.Series) -> list[str]:
    return [str(day) for day in column.to_numpy().astype("datetime64[D]")]


def _subject(person: int) -> Resource:
    return {"reference": f"Patient/n-{person}"}


def _codings(key: str) -> list[Resource]:
    """The code itself and, where it is a source code, the standard one it maps to."""
    code = CODES[key]
    keys = [key] if code.is_standard else [key, _STANDARDS[code.standard_id]]
    codes = [CODES[one] for one in keys]
    return [{"system": SYSTEMS[one.vocabulary], "code": one.code, "display": one.label} for one in codes]


def _concepts(keys: pd.Series) -> dict[str, Resource]:
    return {key: {"coding": _codings(key), "text": CODES[key].label} for key in keys.unique()}


def _patients(population: Population) -> Iterator[Resource]:
    frame = population.persons
    columns = (frame["person"], frame["female"], _dates(frame["birth"]), _dates(frame["death"]))
    for person, female, birth, death in zip(*columns, strict=True):
        patient: Resource = {
            "resourceType": "Patient",
            "id": f"n-{person}",
            "meta": _UPDATED,
            "identifier": [{"system": "https://north.example/mrn", "value": f"MRN{person:07d}"}],
            "gender": "female" if female else "male",
            "birthDate": birth,
        }
        if death != "NaT":
            patient["deceasedDateTime"] = death
        yield patient


def _encounters(population: Population) -> Iterator[Resource]:
    frame = population.visits
    columns = (frame["person"], frame["kind"], _dates(frame["start"]), _dates(frame["end"]))
    for number, (person, kind, start, end) in enumerate(zip(*columns, strict=True)):
        yield {
            "resourceType": "Encounter",
            "id": f"e-{number}",
            "meta": _UPDATED,
            "status": "finished",
            "class": {"system": _CLASS_SYSTEM, "code": _CLASSES[kind]},
            "subject": _subject(person),
            "period": {"start": f"{start}T08:00:00Z", "end": f"{end}T09:00:00Z"},
        }


def _conditions(frame: pd.DataFrame, prefix: str, status: str = _CONFIRMED) -> Iterator[Resource]:
    concepts = _concepts(frame["key"])
    verification = {"coding": [{"system": _STATUS_SYSTEM, "code": status}]}
    columns = (frame["person"], frame["key"], _dates(frame["date"]))
    for number, (person, key, date) in enumerate(zip(*columns, strict=True)):
        yield {
            "resourceType": "Condition",
            "id": f"{prefix}-{number}",
            "meta": _UPDATED,
            "verificationStatus": verification,
            "code": concepts[key],
            "subject": _subject(person),
            "onsetDateTime": date,
            "recordedDate": date,
        }


def _planted_conditions(population: Population, rng: np.random.Generator) -> Planted:
    refuted = some_rows(population.conditions, 0.004, rng)
    future, ancient = (some_rows(population.conditions, 0.002, rng) for _ in range(2))
    future["date"], ancient["date"] = np.datetime64("2099-01-01"), np.datetime64("1850-06-01")
    return {
        "refuted": _conditions(refuted, "cr", "refuted"),
        "future": _conditions(future, "cf"),
        "ancient": _conditions(ancient, "ca"),
    }


def _requests(population: Population) -> Iterator[Resource]:
    frame = population.drugs
    concepts = _concepts(frame["key"])
    columns = (frame["person"], frame["key"], _dates(frame["date"]), frame["days"])
    for number, (person, key, date, days) in enumerate(zip(*columns, strict=True)):
        supply = {"value": days, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}
        yield {
            "resourceType": "MedicationRequest",
            "id": f"m-{number}",
            "meta": _UPDATED,
            "status": "completed",
            "intent": "order",
            "medicationCodeableConcept": concepts[key],
            "subject": _subject(person),
            "authoredOn": date,
            "dispenseRequest": {"expectedSupplyDuration": supply},
        }


def _planted_observations(results: pd.DataFrame, rng: np.random.Generator) -> tuple[Planted, dict[str, int]]:
    """Lines of Observation.ndjson that are wrong in some way, and how often each unmapped code is among them."""
    repeated = np.sort(rng.choice(len(results), max(2, len(results) // 200), replace=False))
    local = some_rows(results[results["key"] == "cd4"], 0.08, rng)
    codes = unmapped_codes("NL", len(local), rng)
    glycated = results[results["key"] == "hba1c"]
    undated, mistaken, absent = (some_rows(glycated, 0.02, rng) for _ in range(3))
    planted: Planted = {
        "duplicate": _results(results.iloc[repeated], "o", repeated),
        "unmapped": _local_results(local, codes),
        "undated": _without(_results(undated, "ou"), "effectiveDateTime"),
        "entered_in_error": (one | {"status": "entered-in-error"} for one in _results(mistaken, "oe")),
        "no_value": _absent(_results(absent, "on")),
        "other_unit": _results(_in_ifcc_units(some_rows(glycated, 0.04, rng)), "oi"),
    }
    return planted, tally(codes)


def _results(frame: pd.DataFrame, prefix: str, numbers: Iterable[int] | None = None) -> Iterator[Resource]:
    """Observations whose ids end in ``numbers``, or in 0, 1, 2 ..."""
    concepts, answers = _concepts(frame["key"]), _concepts(frame.loc[frame["answer"] != "", "answer"])
    columns = (frame[name] for name in ("person", "key", "value", "unit", "answer"))
    dates, ids = _dates(frame["date"]), range(len(frame)) if numbers is None else numbers
    for number, person, key, value, unit, answer, date in zip(ids, *columns, dates, strict=True):
        resource: Resource = {
            "resourceType": "Observation",
            "id": f"{prefix}-{number}",
            "meta": _UPDATED,
            "status": "final",
            "category": _EXAM if key == "stage" else _LABORATORY,
            "code": concepts[key],
            "subject": _subject(person),
            "effectiveDateTime": date,
        }
        if unit:
            resource["valueQuantity"] = _quantity(value, unit)
        elif answer:
            resource["valueCodeableConcept"] = answers[answer]
        yield resource


def _quantity(value: float, unit: str) -> Resource:
    code = CODES[unit].code
    return {"value": value, "unit": code, "system": "http://unitsofmeasure.org", "code": code}


def _local_results(frame: pd.DataFrame, codes: np.ndarray) -> Iterator[Resource]:
    for code, resource in zip(codes, _results(frame, "ol"), strict=True):
        yield resource | {"code": {"coding": [{"system": LABORATORY, "code": code}]}}


def _without(resources: Iterator[Resource], field: str) -> Iterator[Resource]:
    for resource in resources:
        del resource[field]
        yield resource


def _absent(resources: Iterator[Resource]) -> Iterator[Resource]:
    reason = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}
    for resource in _without(resources, "valueQuantity"):
        yield resource | {"dataAbsentReason": {"coding": [reason]}}


def _in_ifcc_units(frame: pd.DataFrame) -> pd.DataFrame:
    """HbA1c in mmol/mol: 10.93 x percent - 23.5."""
    frame["key"], frame["unit"] = "hba1c_ifcc", "mmol_mol"
    return frame.assign(value=np.round(10.93 * frame["value"] - 23.5))
