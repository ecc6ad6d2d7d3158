"""Small databases whose answer can be read off: boundary days, duplicates, overlapping and missing observation."""

from datetime import date

import pytest
from tiny_omop import TinyOmop

from cohort_lang import MissingTable, UnknownConcept, evaluate, parse

SETS = """
cohort "c"
concept set diabetes: 10 and descendants, not 12
concept set metformin: 20
concept set insulin: 30
concept set a1c: 40
"""


def day(text):
    return date.fromisoformat(text)


@pytest.fixture
def omop():
    made = TinyOmop()
    for concept in (10, 11, 12, 13, 20, 30, 40):
        reason = "U" if concept == 13 else None
        made.add("concept", {"concept_id": concept, "concept_name": str(concept), "invalid_reason": reason})
    for low in (11, 12, 13):
        made.add("concept_ancestor", {"ancestor_concept_id": 10, "descendant_concept_id": low})
    yield made
    made.close()


def person(omop, number, born=1970, sex=8532, observed=(("2019-01-01", "2021-12-31"),)):
    omop.add("person", {"person_id": number, "year_of_birth": born, "gender_concept_id": sex})
    for start, end in observed:
        row = {
            "person_id": number,
            "observation_period_start_date": start,
            "observation_period_end_date": end,
        }
        omop.add("observation_period", row)


def drug(omop, number, concept, start, **more):
    row = {"drug_exposure_id": number, "person_id": number // 10, "drug_concept_id": concept}
    omop.add("drug_exposure", row | {"drug_exposure_start_date": start} | more)


def condition(omop, number, concept, start, **more):
    row = {"condition_occurrence_id": number, "person_id": number // 10, "condition_concept_id": concept}
    omop.add("condition_occurrence", row | {"condition_start_date": start} | more)


def rows(omop, text):
    result = evaluate(omop.backend, parse(SETS + text))
    return [
        (p, str(start.date()), str(end.date())) for p, start, end in result.entries.itertuples(index=False)
    ]


def attrition(omop, text):
    return [count for _, count in evaluate(omop.backend, parse(SETS + text)).attrition]


def test_prior_observation_counts_the_first_day_of_the_period(omop):
    for number, start in ((1, "2020-01-01"), (2, "2019-12-31")):
        person(omop, number)
        drug(omop, number * 10, 20, start)
    text = "enter on drug of metformin with 365 days of prior observation"
    assert rows(omop, text) == [(1, "2020-01-01", "2021-12-31")]


def test_later_observation_counts_the_last_day_of_the_period(omop):
    for number, start in ((1, "2021-12-01"), (2, "2021-12-02")):
        person(omop, number)
        drug(omop, number * 10, 20, start)
    assert rows(omop, "enter on drug of metformin with 30 days of later observation") == [
        (1, "2021-12-01", "2021-12-31")
    ]


def test_first_is_the_first_of_a_life_not_of_the_observed_part(omop):
    person(omop, 1)
    drug(omop, 10, 20, "2019-06-01")
    drug(omop, 11, 20, "2020-06-01")
    later = "drug of metformin with 365 days of prior observation"
    assert rows(omop, f"enter on first {later}") == []
    assert rows(omop, f"enter on {later}") == [(1, "2020-06-01", "2021-12-31")]


def test_window_boundaries(omop):
    for number, start in enumerate(("2019-06-01", "2019-06-02", "2020-05-30", "2020-05-31", "2020-06-01"), 1):
        person(omop, number)
        drug(omop, number * 10, 20, "2020-06-01")
        drug(omop, number * 10 + 1, 30, start)
    entry = 'enter on drug of metformin require "r": drug of insulin '
    assert [row[0] for row in rows(omop, entry + "365 days before to 1 day before index")] == [2, 3, 4]
    assert [row[0] for row in rows(omop, entry + "any time before index")] == [1, 2, 3, 4]
    assert [row[0] for row in rows(omop, entry + "on index")] == [5]
    assert [row[0] for row in rows(omop, entry + "within 2 days of index")] == [3, 4, 5]


def test_duplicate_events_are_one_entry_but_two_records(omop):
    person(omop, 1)
    drug(omop, 10, 20, "2020-06-01")
    drug(omop, 11, 20, "2020-06-01")
    entry = "enter on drug of metformin keep every entry "
    assert rows(omop, entry) == [(1, "2020-06-01", "2021-12-31")]
    assert len(rows(omop, entry + 'require "two": at least 2 drugs of metformin on index')) == 1
    assert rows(omop, entry + 'require "two": at least 2 distinct days with drug of metformin on index') == []


def test_overlapping_observation_periods_each_count_on_their_own(omop):
    person(omop, 1, observed=(("2020-01-01", "2020-06-30"), ("2020-03-01", "2020-12-31")))
    drug(omop, 10, 20, "2020-04-01")
    entry = "enter on drug of metformin keep every entry"
    assert rows(omop, entry) == [(1, "2020-04-01", "2020-12-31")]
    assert rows(omop, f'{entry} exit at end of observation require "r": age over 1') == [
        (1, "2020-04-01", "2020-12-31")
    ]
    prior = entry.replace(" keep", " with 60 days of prior observation keep")
    assert rows(omop, prior) == [(1, "2020-04-01", "2020-06-30")]


def test_persons_without_observation_or_outside_it_do_not_enter(omop):
    person(omop, 1, observed=())
    person(omop, 2)
    person(omop, 3)
    drug(omop, 10, 20, "2020-06-01")
    drug(omop, 20, 20, "2022-01-01")
    drug(omop, 30, 20, "2021-12-31")
    result = evaluate(omop.backend, parse(SETS + "enter on drug of metformin"))
    assert result.attrition == (("Entry event", 1),)
    assert (result.population, result.persons) == (3, 1)


def test_history_outside_the_observation_period_counts_only_when_asked(omop):
    person(omop, 1)
    drug(omop, 10, 20, "2020-06-01")
    condition(omop, 11, 10, "2018-06-01")
    entry = 'enter on drug of metformin require "r": condition of diabetes any time before index'
    assert attrition(omop, entry) == [1, 0]
    assert attrition(omop, f"{entry} ignoring observation periods") == [1, 1]


def test_descendants_exclusions_and_invalid_concepts(omop):
    for number, concept in enumerate((10, 11, 12, 13), 1):
        person(omop, number)
        condition(omop, number * 10, concept, "2020-06-01")
    assert [row[0] for row in rows(omop, "enter on condition of diabetes")] == [1, 2]


def test_attrition_is_sequential_and_by_person(omop):
    for number, (born, sex, insulin) in enumerate([(1990, 8507, 1), (1990, 8532, 0), (2010, 8532, 0)], 1):
        person(omop, number, born, sex)
        drug(omop, number * 10, 20, "2020-06-01")
        drug(omop, number * 10 + 1, 20, "2020-07-01")
        if insulin:
            drug(omop, number * 10 + 2, 30, "2020-06-15")
    text = """
    enter on drug of metformin
    exclude "Insulin": drug of insulin any time before index
    require "Adult": age 18 or more
    require "Woman": sex female
    """
    result = evaluate(omop.backend, parse(SETS + text))
    # Person 1 still has the first entry, which precedes insulin.
    assert result.attrition == (("Entry event", 3), ("Insulin", 3), ("Adult", 2), ("Woman", 1))
    assert result.population == 3
    assert result.entries["person_id"].tolist() == [2]


def test_age_is_year_minus_year_of_birth(omop):
    person(omop, 1, born=2002)
    drug(omop, 10, 20, "2020-01-01")
    drug(omop, 11, 20, "2019-12-31")
    assert rows(omop, 'enter on drug of metformin require "18": age exactly 18') == [
        (1, "2020-01-01", "2021-12-31")
    ]


def test_values_with_units(omop):
    for number, (value, unit) in enumerate(
        [(6.5, 8554), (6.4, 8554), (48, 9579), (None, 8554), (7, None)], 1
    ):
        person(omop, number)
        row = {"measurement_id": number, "person_id": number, "measurement_concept_id": 40}
        row |= {"measurement_date": "2020-06-01", "value_as_number": value, "unit_concept_id": unit}
        omop.add("measurement", row)
    omop.add("concept", {"concept_id": 8554, "vocabulary_id": "UCUM", "concept_code": "%"})
    assert [r[0] for r in rows(omop, 'enter on measurement of a1c where value 6.5 or more in "%"')] == [1]
    assert [r[0] for r in rows(omop, "enter on measurement of a1c where value 6.5 or more")] == [1, 3, 5]
    with pytest.raises(UnknownConcept, match="UCUM 'mmol/mol'"):
        rows(omop, 'enter on measurement of a1c where unit "mmol/mol"')


def test_exits(omop):
    person(omop, 1)
    drug(omop, 10, 20, "2021-06-01", drug_exposure_end_date="2021-06-10")
    drug(omop, 11, 20, "2021-06-21", days_supply=9)
    drug(omop, 12, 30, "2021-12-30")
    ends = {
        "exit at end of observation": "2021-12-31",
        "exit 30 days after index": "2021-07-01",
        "exit 0 days after index end": "2021-06-10",
        "exit 400 days after index": "2021-12-31",
        "exit at end of exposure to metformin": "2021-06-10",
        "exit at end of exposure to metformin allowing gaps of 10 days": "2021-06-10",
        "exit at end of exposure to metformin allowing gaps of 11 days": "2021-06-30",
        "exit at end of exposure to metformin allowing gaps of 11 days plus 5 days": "2021-07-05",
        "exit at end of exposure to metformin assuming 5 days of supply": "2021-06-06",
        "exit at end of exposure to insulin": "2021-12-31",
        "censor on drug of insulin": "2021-12-30",
        "censor on drug of metformin": "2021-06-01",
        "exit 30 days after index censor on drug of insulin": "2021-07-01",
        "study period between 2021-06-05 and 2021-08-01": "2021-08-01",
    }
    for leave, end in ends.items():
        assert [row[2] for row in rows(omop, f"enter on first drug of metformin {leave}")] == [end], leave
    assert attrition(omop, "enter on drug of metformin study period on or after 2022-01-01") == [1, 0]


def test_entries_are_joined_where_they_meet(omop):
    person(omop, 1)
    for number, start in ((10, "2020-01-01"), (11, "2020-01-11"), (12, "2020-01-22")):
        drug(omop, number, 20, start)
    text = "enter on drug of metformin exit 10 days after index keep every entry "
    assert [row[1:] for row in rows(omop, text)] == [
        ("2020-01-01", "2020-01-21"),
        ("2020-01-22", "2020-02-01"),
    ]
    assert [row[1:] for row in rows(omop, text + "combine entries at most 1 day apart")] == [
        ("2020-01-01", "2020-02-01")
    ]


def test_limits(omop):
    person(omop, 1)
    for number, start in ((10, "2020-01-01"), (11, "2020-02-01"), (12, "2020-03-01")):
        drug(omop, number, 20, start)
    drug(omop, 13, 30, "2020-01-15")
    insulin = 'require "i": drug of insulin any time before index'
    entry = "enter on drug of metformin"
    assert [r[1] for r in rows(omop, f"{entry} {insulin}")] == ["2020-02-01"]
    assert [r[1] for r in rows(omop, f"{entry} {insulin} keep last entry")] == ["2020-03-01"]
    assert rows(omop, f"{entry} taking earliest event per person {insulin}") == []
    qualifying = f"{entry} qualifying when drug of insulin any time before index"
    assert [r[1] for r in rows(omop, f"{qualifying} taking latest event per person")] == ["2020-03-01"]


def test_unknown_concepts_are_named(omop):
    person(omop, 1)
    with pytest.raises(UnknownConcept, match="concept 77, 99;") as caught:
        evaluate(omop.backend, parse('cohort "c" concept set a: 99, 10, not 77 enter on visit'))
    assert caught.value.concepts == (77, 99)


def test_missing_tables_are_named(omop):
    omop.sql.execute("drop table drug_era")
    with pytest.raises(MissingTable, match="no table drug_era, which 'drug era' needs"):
        rows(omop, "enter on drug era of metformin")
    omop.sql.execute("alter table measurement drop column value_as_number")
    with pytest.raises(MissingTable, match=r"no column measurement\.value_as_number"):
        rows(omop, "enter on measurement where value over 1")


def test_nothing_temporary_is_left_behind(omop):
    person(omop, 1)
    drug(omop, 10, 20, "2020-06-01")
    before = set(omop.backend.list_tables())
    rows(omop, 'enter on drug of metformin having (visit on that event) require "r": sex female')
    assert set(omop.backend.list_tables()) == before
