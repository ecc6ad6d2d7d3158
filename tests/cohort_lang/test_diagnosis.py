"""An empty cohort is explained: the step, what it looked for, and the unmapped codes behind it."""

import pytest
from tiny_omop import TinyOmop

from cohort_lang import SiteConcepts, diagnose, parse
from cohort_lang.evaluation import Sought, UnmappedCode

SETS = 'cohort "c" concept set a: 10 concept set b: 20 '


@pytest.fixture(scope="module")
def omop():
    made = TinyOmop()
    facts = {"concept_name": "x", "domain_id": "Condition", "standard_concept": "S"}
    made.add("concept", {"concept_id": 10, **facts}, {"concept_id": 20, **facts, "invalid_reason": "U"})
    for person in (1, 2):
        made.add("person", {"person_id": person, "year_of_birth": 1980, "gender_concept_id": 8507})
        period = {"observation_period_start_date": "2020-01-01", "observation_period_end_date": "2020-12-31"}
        made.add("observation_period", {"person_id": person, **period})
    rows = [(1, 10, "E11"), (1, 0, "E10.9"), (1, 0, "E10.9"), (2, 0, "E10.9"), (2, 0, "LOCAL7"), (2, 0, None)]
    for number, (person, concept, source) in enumerate(rows):
        row = {"person_id": person, "condition_concept_id": concept, "condition_source_value": source}
        dated = {"condition_start_date": "2020-06-01", "condition_occurrence_id": number}
        made.add("condition_occurrence", row | dated)
    yield made
    made.close()


UNMAPPED = (UnmappedCode("condition", "E10.9", 3, 2), UnmappedCode("condition", "LOCAL7", 1, 1))


def test_a_requirement_without_records(omop):
    found = diagnose(
        omop.backend, parse(SETS + 'enter on condition of a require "B": condition of b on index')
    )
    assert found.attrition == (("Entry event", 1), ("B", 0))
    assert (found.emptied_by, found.persons_before) == ("B", 1)
    assert found.sought == (Sought("condition", "b", 0, 0),)
    assert found.unmapped == UNMAPPED


def test_an_entry_without_records(omop):
    found = diagnose(omop.backend, parse(SETS + "enter on condition of b"))
    assert (found.emptied_by, found.persons_before) == ("Entry event", None)
    assert found.note == "there is no record of any entry event"
    assert found.unmapped == UNMAPPED


def test_an_entry_outside_observation(omop):
    found = diagnose(omop.backend, parse(SETS + "enter on condition of a with 365 days of prior observation"))
    assert "none inside an observation period" in found.note
    assert found.sought == (Sought("condition", "a", 1, 1),)


def test_steps_that_lack_no_record(omop):
    entry = SETS + "enter on condition of a "
    excluded = diagnose(omop.backend, parse(entry + 'exclude "A": condition of a on index'))
    assert excluded.note == "everybody left before this step meets the exclusion"
    assert excluded.unmapped == ()
    young = diagnose(omop.backend, parse(entry + 'require "Young": age under 20'))
    assert (young.emptied_by, young.note) == ("Young", "nobody left before this step fits this criterion")
    late = diagnose(omop.backend, parse(entry + "study period on or after 2021-01-01"))
    assert late.emptied_by == "Study period"


def test_a_cohort_that_is_not_empty(omop):
    found = diagnose(omop.backend, parse(SETS + "enter on condition of a"))
    assert (found.emptied_by, found.attrition) == (None, (("Entry event", 1),))


def test_a_site_is_asked_about_concepts(omop):
    found = SiteConcepts(omop.backend).find([10, 20, 30])
    assert {concept: (facts.standard, facts.valid) for concept, facts in found.items()} == {
        10: (True, True),
        20: (True, False),
    }
