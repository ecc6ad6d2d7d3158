"""Any definition on any small database: the evaluation and a brute-force twin agree on entries and
attrition.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from brute_force import World
from cohort_strategies import DOMAINS, Language
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiny_omop import TinyOmop

from cohort_lang import evaluate, format_cohort, parse

FIRST_DAY = date(2020, 12, 20)
CONCEPTS = list(range(1, 7))
DATES = st.integers(0, 40).map(lambda n: FIRST_DAY + timedelta(days=n))


class SmallWorld(Language):
    """Numbers and days small enough to meet, and to sit on boundaries."""

    labels = st.sampled_from(["a", "b", "c"])
    names = st.sampled_from(["x", "y", "z"])
    days = st.sampled_from([0, 0, 0, 1, 2, 5, 10])
    offsets = st.none() | st.integers(-8, 8)
    numbers = st.integers(0, 4).map(Decimal)
    ages = st.integers(19, 22).map(Decimal)
    dates = DATES
    units = st.sampled_from([1, 2, "%"])
    counts = st.sampled_from([0, 1, 1, 1, 2, 3])
    concepts = st.sampled_from(CONCEPTS)
    excluded = st.sampled_from([False, False, False, True])
    most_attributes = st.sampled_from([0, 0, 0, 1, 2])


small = st.integers(0, 4)
records = st.fixed_dictionaries(
    {
        "person": st.integers(1, 4),
        "start": DATES,
        "length": st.none() | st.integers(0, 10),
        "concept": st.sampled_from([0, *CONCEPTS]),
        "source": st.sampled_from([0, *CONCEPTS]),
        "type": st.sampled_from(CONCEPTS),
        "visit": st.none() | st.integers(0, 3),
        "value": st.none() | small,
        "value_concept": st.none() | st.sampled_from(CONCEPTS),
        "unit": st.none() | st.sampled_from([1, 2, 3]),
        "days_supply": st.none() | small,
        "quantity": st.none() | small,
        "refills": st.none() | small,
    }
)
tables = st.lists(
    st.tuples(st.sampled_from([d for d in DOMAINS if d != "observation period"]), records), max_size=40
)
periods = st.lists(
    st.tuples(st.integers(1, 4), DATES, st.integers(0, 40), st.sampled_from(CONCEPTS)), max_size=8
)
persons = st.fixed_dictionaries(
    {n: st.tuples(st.integers(1999, 2001), SmallWorld.sexes) for n in range(1, 5)}
)
vocabularies = st.tuples(
    st.fixed_dictionaries({concept: st.booleans() for concept in CONCEPTS}),
    st.lists(st.tuples(st.sampled_from(CONCEPTS), st.sampled_from(CONCEPTS)), max_size=6, unique=True),
    st.lists(st.tuples(st.sampled_from(CONCEPTS), st.sampled_from(CONCEPTS)), max_size=3, unique=True),
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


def build(omop, listed, observed, people, vocabulary):
    omop.clear()
    found = {domain: [] for domain in DOMAINS}
    dead = set()
    for number, (domain, record) in enumerate(listed):
        if domain == "death" and record["person"] in dead:
            continue
        dead |= {record["person"]} if domain == "death" else set()
        found[domain].append(insert(omop, domain, number, record))
    spans = []
    for number, (person, start, length, kind) in enumerate(observed):
        end = start + timedelta(days=length)
        spans.append((person, start, end))
        blank = {"concept": None, "source": None, "visit": None, "type": kind}
        found["observation period"].append(
            {"person": person, "id": number, "start": start, "end": end, **blank}
        )
        names = ("observation_period_id", "person_id", "period_type_concept_id")
        dates = {"observation_period_start_date": start, "observation_period_end_date": end}
        omop.add("observation_period", dict(zip(names, (number, person, kind), strict=True)) | dates)
    for person, (born, sex) in people.items():
        omop.add("person", {"person_id": person, "year_of_birth": born, "gender_concept_id": sex})
    valid, ancestors, maps = vocabulary
    for concept, is_valid in valid.items():
        reason = None if is_valid else "D"
        omop.add("concept", {"concept_id": concept, "concept_name": str(concept), "invalid_reason": reason})
    unit = {"concept_id": 8554, "concept_name": "percent", "vocabulary_id": "UCUM", "concept_code": "%"}
    omop.add("concept", unit)
    for high, low in ancestors:
        omop.add("concept_ancestor", {"ancestor_concept_id": high, "descendant_concept_id": low})
    for source, target in maps:
        row = {"concept_id_1": source, "concept_id_2": target, "relationship_id": "Maps to"}
        omop.add("concept_relationship", row)
    return World(found, people, spans, valid, ancestors, maps, {"%": 8554})


@pytest.fixture(scope="module")
def omop():
    made = TinyOmop()
    yield made
    made.close()


# Without shrinking: it takes minutes, and the example found is printed all the same.
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(SmallWorld().cohorts(), tables, periods, persons, vocabularies)
def test_evaluation_agrees_with_brute_force(omop, cohort, listed, observed, people, vocabulary):
    twin = build(omop, listed, observed, people, vocabulary)
    entries, attrition = twin.evaluate(cohort)
    result = evaluate(omop.backend, parse(format_cohort(cohort)))
    assert [count for _, count in result.attrition] == attrition
    rows = result.entries.itertuples(index=False)
    assert [(person, start.date(), end.date()) for person, start, end in rows] == entries
    assert result.population == len(people)
