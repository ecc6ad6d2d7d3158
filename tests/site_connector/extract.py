"""A small extract whose persons and counts are known."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

DIABETES, METFORMIN, GLIPIZIDE = 201826, 1503297, 1560171
PERSONS = 40
ADULTS_ON_METFORMIN = 24


def write_table(folder: Path, name: str, rows: Sequence[dict[str, object]]) -> None:
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_extract(folder: Path, metformin: int = METFORMIN) -> Path:
    """40 persons with type 2 diabetes; 30 adults, of whom 24 take metformin within 90 days; 6 take glipizide."""
    folder.mkdir(parents=True)
    start = date(2015, 1, 1)
    people, periods, conditions, drugs, deaths = [], [], [], [], []
    for n in range(1, PERSONS + 1):
        adult = n <= 30
        people.append(
            {
                "person_id": n,
                "gender_concept_id": 8507 if n % 2 else 8532,
                "year_of_birth": 1960 if adult else 2010,
                "race_concept_id": 0,
                "ethnicity_concept_id": 0,
            }
        )
        periods.append(
            {
                "observation_period_id": n,
                "person_id": n,
                "observation_period_start_date": start,
                "observation_period_end_date": date(2022, 12, 31),
                "period_type_concept_id": 32817,
            }
        )
        index = start + timedelta(days=200 + 60 * n)
        conditions.append(
            {
                "condition_occurrence_id": n,
                "person_id": n,
                "condition_concept_id": DIABETES,
                "condition_start_date": index,
                "condition_type_concept_id": 32817,
                "condition_source_value": "E11.9",
            }
        )
        mapped = metformin if n <= ADULTS_ON_METFORMIN or not adult else GLIPIZIDE
        drugs.append(
            {
                "drug_exposure_id": n,
                "person_id": n,
                "drug_concept_id": mapped,
                "drug_exposure_start_date": index + timedelta(days=10),
                "drug_exposure_end_date": index + timedelta(days=40),
                "drug_type_concept_id": 32817,
                "drug_source_value": "LOCAL-METF" if mapped == 0 else f"RX{mapped}",
            }
        )
        if n % 8 == 0:
            deaths.append({"person_id": n, "death_date": index + timedelta(days=100)})
    write_table(folder, "person", people)
    write_table(folder, "observation_period", periods)
    write_table(folder, "condition_occurrence", conditions)
    write_table(folder, "drug_exposure", drugs)
    write_table(folder, "death", deaths)
    write_vocabulary(folder)
    return folder


def write_vocabulary(folder: Path) -> None:
    concepts = [
        (DIABETES, "Type 2 diabetes mellitus", "Condition", "SNOMED", "44054006"),
        (METFORMIN, "metformin", "Drug", "RxNorm", "6809"),
        (GLIPIZIDE, "glipizide", "Drug", "RxNorm", "4821"),
        (8507, "MALE", "Gender", "Gender", "M"),
        (8532, "FEMALE", "Gender", "Gender", "F"),
        (32817, "EHR", "Type Concept", "Type Concept", "OMOP4976890"),
    ]
    rows = [
        {
            "concept_id": concept,
            "concept_name": name,
            "domain_id": domain,
            "vocabulary_id": vocabulary,
            "concept_class_id": domain,
            "standard_concept": "S",
            "concept_code": code,
            "valid_start_date": "1970-01-01",
            "valid_end_date": "2099-12-31",
        }
        for concept, name, domain, vocabulary, code in concepts
    ]
    write_table(folder, "concept", rows)
    own = [
        {
            "ancestor_concept_id": row["concept_id"],
            "descendant_concept_id": row["concept_id"],
            "min_levels_of_separation": 0,
            "max_levels_of_separation": 0,
        }
        for row in rows
    ]
    write_table(folder, "concept_ancestor", own)
    relationship = {
        "relationship_id": "Maps to",
        "valid_start_date": "1970-01-01",
        "valid_end_date": "2099-12-31",
    }
    mapped = [
        {"concept_id_1": r["concept_id"], "concept_id_2": r["concept_id"], **relationship} for r in rows
    ]
    write_table(folder, "concept_relationship", mapped)
