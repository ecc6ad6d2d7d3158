"""Any definition on any small database: the evaluation and a brute-force twin agree on entries and attrition."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from brute_force import World
from cohort_strategies import DOMAINS
from random_cohorts import COMMON, RandomCohort
from tiny_omop import TinyOmop

from cohort_lang import evaluate, format_cohort, parse

FIRST_DAY = date(2020, 12, 20)
CONCEPTS = list(range(1, 7))
PERSONS = range(1, 16)
STORED = [domain for domain in DOMAINS if domain != "observation period"]


class RandomData:
    """A database drawn from a seed: dense, so that definitions find somebody."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.listed = [self.record() for _ in range(300)]
        self.observed = [
            self.period(person) for person in PERSONS for _ in range(self.random.choice([0, 1, 1, 2]))
        ]
        self.people = {
            n: (self.random.randint(1999, 2001), self.random.choice([8507, 8532, 8551])) for n in PERSONS
        }
        self.valid = {concept: self.random.random() < 0.8 for concept in CONCEPTS}
        self.ancestors = [self.random.sample(CONCEPTS, 2) for _ in range(4)]
        self.maps = [self.random.sample(CONCEPTS, 2) for _ in range(2)]

    def day(self, least=0, most=40):
        return FIRST_DAY + timedelta(days=self.random.randint(least, most))

    def maybe(self, low, high):
        return None if self.random.random() < 0.25 else self.random.randint(low, high)

    def record(self):
        amounts = ("value", "days_supply", "quantity", "refills")
        return self.random.choice(STORED + COMMON * 4), {
            "person": self.random.choice(PERSONS),
            "start": self.day(),
            "length": self.maybe(0, 10),
            "concept": self.random.choice([0, *CONCEPTS, *CONCEPTS]),
            "source": self.random.choice([0, *CONCEPTS]),
            "type": self.random.choice(CONCEPTS),
            "visit": self.maybe(0, 300),
            "value_concept": self.maybe(1, 6),
            "unit": self.random.choice([None, 1, 2, 8554]),
        } | {name: self.maybe(0, 4) for name in amounts}

    def period(self, person):
        start = self.day(0, 15)
        return (
            person,
            start,
            start + timedelta(days=self.random.randint(10, 40)),
            self.random.choice(CONCEPTS),
        )


# domain -> table, prefix of its id, dates and concepts, whether it has an end date, whether it has source and type
SPECS = {
    "condition": ("condition_occurrence", "condition", True, True),
    "condition era": ("condition_era", "condition_era", True, False),
    "drug exposure": ("drug_exposure", "drug", True, True),
    "drug era": ("drug_era", "drug_era", True, False),
    "procedure": ("procedure_occurrence", "procedure", False, True),
    "measurement": ("measurement", "measurement", False, True),
    "observation": ("observation", "observation", False, True),
    "device exposure": ("device_exposure", "device", True, True),
    "visit": ("visit_occurrence", "visit", True, True),
    "visit detail": ("visit_detail", "visit_detail", True, True),
    "death": ("death", "death", False, True),
}
NEVER_OPEN = ("condition era", "drug era", "visit", "visit detail")


def insert(omop, domain, number, record):
    """Put a record into its table, and return it as the twin sees it."""
    table, prefix, has_end, coded = SPECS[domain]
    length = record["length"] or 0 if domain in NEVER_OPEN else record["length"]
    end = record["start"] + timedelta(days=length) if has_end and length is not None else None
    concept = {"condition era": "condition", "drug era": "drug", "death": "cause"}.get(domain, prefix)
    dated = {"condition occurrence": "condition"}.get(table, prefix)
    dated = table if table in ("drug_exposure", "device_exposure") else dated
    row = {"person_id": record["person"], f"{concept}_concept_id": record["concept"]}
    row |= {f"{dated}_start_date" if has_end else f"{dated}_date": record["start"]}
    row |= {f"{dated}_end_date": end} if has_end else {}
    row |= {} if domain == "death" else {f"{table}_id": number}
    if coded:
        row |= {f"{concept}_source_concept_id": record["source"], f"{prefix}_type_concept_id": record["type"]}
    visits = coded and domain not in ("visit", "death")
    row |= {"visit_occurrence_id": record["visit"]} if visits else {}
    if domain in ("measurement", "observation"):
        row |= {"value_as_number": record["value"], "value_as_concept_id": record["value_concept"]}
        row |= {"unit_concept_id": record["unit"]}
    amounts = (
        {key: record[key] for key in ("days_supply", "quantity", "refills")}
        if table == "drug_exposure"
        else {}
    )
    omop.add(table, row | amounts)
    return {**record, **seen(domain, number, record, end, visits)}


def seen(domain, number, record, end, visits):
    supply = record["days_supply"] if domain == "drug exposure" else None
    fallback = record["start"] + timedelta(days=1 if supply is None else supply)
    visit = number if domain == "visit" else record["visit"] if visits else None
    identity = record["person"] if domain == "death" else number
    return {"id": identity, "end": end or fallback, "visit": visit}


def build(omop, data):
    omop.clear()
    found = {domain: [] for domain in DOMAINS}
    dead = set()
    for number, (domain, record) in enumerate(data.listed):
        if domain == "death" and record["person"] in dead:
            continue
        dead |= {record["person"]} if domain == "death" else set()
        found[domain].append(insert(omop, domain, number, record))
    spans = []
    for number, (person, start, end, kind) in enumerate(data.observed):
        spans.append((person, start, end))
        blank = {"concept": None, "source": None, "visit": None, "type": kind}
        found["observation period"].append(
            {"person": person, "id": number, "start": start, "end": end, **blank}
        )
        names = ("observation_period_id", "person_id", "period_type_concept_id")
        dates = {"observation_period_start_date": start, "observation_period_end_date": end}
        omop.add("observation_period", dict(zip(names, (number, person, kind), strict=True)) | dates)
    for person, (born, sex) in data.people.items():
        omop.add("person", {"person_id": person, "year_of_birth": born, "gender_concept_id": sex})
    for concept, is_valid in data.valid.items():
        reason = None if is_valid else "D"
        omop.add("concept", {"concept_id": concept, "concept_name": str(concept), "invalid_reason": reason})
    unit = {"concept_id": 8554, "concept_name": "percent", "vocabulary_id": "UCUM", "concept_code": "%"}
    omop.add("concept", unit)
    for high, low in data.ancestors:
        omop.add("concept_ancestor", {"ancestor_concept_id": high, "descendant_concept_id": low})
    for source, target in data.maps:
        row = {"concept_id_1": source, "concept_id_2": target, "relationship_id": "Maps to"}
        omop.add("concept_relationship", row)
    return World(found, data.people, spans, data.valid, data.ancestors, data.maps, {"%": 8554})


@pytest.fixture(scope="module")
def omop():
    made = TinyOmop()
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(20))
def test_evaluation_agrees_with_brute_force(omop, seen_shapes, seed):
    data = RandomData(seed)
    cohort = RandomCohort(seed, FIRST_DAY, CONCEPTS).cohort()
    entries, attrition = build(omop, data).evaluate(cohort)
    result = evaluate(omop.backend, parse(format_cohort(cohort)))
    assert [count for _, count in result.attrition] == attrition
    rows = result.entries.itertuples(index=False)
    assert [(person, start.date(), end.date()) for person, start, end in rows] == entries
    assert result.population == len(data.people)
    seen_shapes.append((len(entries), attrition))


@pytest.fixture(scope="module")
def seen_shapes():
    return []


def test_the_comparison_was_not_of_empty_cohorts(seen_shapes):
    assert sum(entries > 0 for entries, _ in seen_shapes) >= len(seen_shapes) / 4
    assert sum(0 < attrition[-1] < attrition[0] for _, attrition in seen_shapes) >= len(seen_shapes) / 10
