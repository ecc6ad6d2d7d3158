"""Study variables on a small database whose values can be read off."""

from datetime import date

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from tiny_omop import TinyOmop

from cohort_lang import CohortRefused, UnknownConcept, UnknownConceptSet, evaluate_variables, parse
from cohort_lang.variables import Variable, ceil_days, columns, named_concept_sets

COHORT = parse('cohort "c" concept set a: 10 and descendants concept set b: 20 enter on visit')
ENTRIES = pd.DataFrame(
    {
        "person_id": [2, 1, 1],
        "start_date": pd.to_datetime(["2020-03-01", "2020-06-01", "2020-02-01"]),
        "end_date": pd.to_datetime(["2020-12-31", "2020-08-31", "2020-03-31"]),
    }
)
READ = TypeAdapter(dict[str, Variable])


@pytest.fixture(scope="module")
def omop():
    made = TinyOmop()
    for concept in (10, 11, 20, 8554):
        unit = concept == 8554
        code = {"vocabulary_id": "UCUM", "concept_code": "%"} if unit else {}
        made.add("concept", {"concept_id": concept, **code})
    made.add("concept_ancestor", {"ancestor_concept_id": 10, "descendant_concept_id": 11})
    for person, born, sex in ((1, 1980, 8507), (2, 1950, 8532)):
        made.add("person", {"person_id": person, "year_of_birth": born, "gender_concept_id": sex})
        period = {"observation_period_start_date": "2020-01-01", "observation_period_end_date": "2020-12-31"}
        made.add("observation_period", {"person_id": person, **period})
    for person, concept, start in (
        (1, 11, "2020-01-15"),
        (1, 20, "2020-05-01"),
        (1, 11, "2020-05-01"),
        (2, 20, "2019-12-01"),
    ):
        row = {"person_id": person, "condition_concept_id": concept, "condition_start_date": start}
        made.add("condition_occurrence", {"condition_occurrence_id": 0, **row})
    values = (
        (7.0, 8554, "2020-01-20"),
        (8.0, 8554, "2020-01-20"),
        (99.0, 8554, "2020-01-30"),
        (6.0, 1, "2020-01-31"),
    )
    for value, unit, start in values:
        row = {
            "person_id": 1,
            "measurement_concept_id": 20,
            "measurement_date": start,
            "value_as_number": value,
        }
        made.add(
            "measurement", {"measurement_id": 0, "unit_concept_id": unit, "value_as_concept_id": 10, **row}
        )
    made.add("death", {"person_id": 1, "death_date": "2020-07-01"})
    yield made
    made.close()


def values(omop, **definition):
    found = evaluate_variables(omop.backend, COHORT, ENTRIES, READ.validate_python({"v": definition}))
    assert found.index.tolist() == [0, 1, 2]
    return {name: [None if value is pd.NA else value for value in found[name]] for name in found}


def one(omop, **definition):
    return values(omop, **definition)["v"]


# The rows are person 1 on 2020-02-01, person 1 on 2020-06-01, person 2 on 2020-03-01.


def test_of_the_person(omop):
    assert one(omop, kind="age") == [40, 40, 70]
    assert one(omop, kind="sex") == ["male", "male", "female"]
    assert one(omop, kind="index_year") == [2020, 2020, 2020]


def test_presence_needs_window_and_observation(omop):
    presence = {"kind": "presence", "domain": "condition"}
    assert one(omop, **presence, concepts="a") == [1, 1, 0]
    assert one(omop, **presence, concepts=[10]) == [0, 0, 0]
    assert one(omop, **presence, concepts="b") == [0, 1, 0]
    assert one(omop, **presence, concepts="a", window={"start": -17, "end": -17}) == [1, 0, 0]
    assert one(omop, **presence, concepts="a", window={"start": -16, "end": 0}) == [0, 0, 0]
    assert one(omop, **presence, concepts="a", window={"start": 1, "end": None}) == [1, 0, 0]


def test_categories_pick_a_day_then_the_level_declared_first(omop):
    category = {"kind": "category", "domain": "condition"}
    assert one(omop, **category, levels={"A": "a", "B": "b"}) == ["A", "A", None]
    assert one(omop, **category, levels={"B": "b", "A": "a"}) == ["A", "B", None]
    assert one(omop, **category, levels={"B": "b", "A": "a"}, pick="first") == ["A", "A", None]
    assert one(omop, **category, levels={"B": [20], "A": [10]}) == [None, "B", None]
    of_value = {"kind": "category", "domain": "measurement", "of": "value", "concepts": "b"}
    assert one(omop, **of_value, levels={"yes": "a"}) == ["yes", "yes", None]


def test_values_in_one_unit_and_range(omop):
    value = {"kind": "value", "concepts": "b"}
    assert one(omop, **value) == [6.0, 6.0, None]
    assert one(omop, **value, unit="%") == [99.0, 99.0, None]
    assert one(omop, **value, unit=8554, maximum=20) == [7.5, 7.5, None]
    assert one(omop, **value, unit="%", minimum=7.5, maximum=20, pick="first") == [8.0, 8.0, None]


def test_time_to_event(omop):
    both = {"kind": "time_to_event", "events": ["death", {"domain": "condition", "concepts": "b"}]}
    assert values(omop, **both, horizon_days=1000) == {"v_time": [90, 30, 305], "v_event": [1, 1, 0]}
    assert values(omop, **both, horizon_days=1000, unit="month")["v_time"] == [3, 1, 11]
    assert values(omop, **both, horizon_days=1000, unit="week")["v_time"] == [13, 5, 44]
    assert values(omop, **both, horizon_days=90) == {"v_time": [90, 30, 90], "v_event": [1, 1, 0]}
    assert values(omop, **both, horizon_days=89) == {"v_time": [89, 30, 89], "v_event": [0, 1, 0]}
    by_cohort = values(omop, **both, horizon_days=1000, censor="cohort")
    assert by_cohort == {"v_time": [59, 30, 305], "v_event": [0, 1, 0]}


def test_events_count_from_the_day_after_index_and_death_from_index():
    made = TinyOmop()
    made.add("person", {"person_id": 1, "year_of_birth": 1980, "gender_concept_id": 8507})
    period = {"observation_period_start_date": "2020-01-01", "observation_period_end_date": "2020-12-31"}
    made.add("observation_period", {"person_id": 1, **period})
    made.add("concept", {"concept_id": 10}, {"concept_id": 20})
    row = {"condition_occurrence_id": 0, "condition_concept_id": 20, "condition_start_date": "2020-02-01"}
    made.add("condition_occurrence", {"person_id": 1, **row})
    entries = ENTRIES[ENTRIES.start_date == "2020-02-01"]
    condition = {
        "kind": "time_to_event",
        "horizon_days": 9,
        "events": [{"domain": "condition", "concepts": "b"}],
    }
    death = condition | {"events": ["death"]}
    made.add("death", {"person_id": 1, "death_date": date(2020, 2, 1)})
    found = evaluate_variables(
        made.backend, COHORT, entries, READ.validate_python({"c": condition, "d": death})
    )
    made.close()
    assert found.to_dict("list") == {"c_time": [9], "c_event": [0], "d_time": [0], "d_event": [1]}


def test_dtypes_and_no_entries(omop):
    kinds = {
        "age": {"kind": "age"},
        "sex": {"kind": "sex"},
        "x": {"kind": "value", "concepts": "b"},
        "t": {"kind": "time_to_event", "events": ["death"], "horizon_days": 10},
    }
    found = evaluate_variables(omop.backend, COHORT, ENTRIES.iloc[:0], READ.validate_python(kinds))
    assert len(found) == 0
    assert [str(dtype) for dtype in found.dtypes] == ["Int64", "string", "Float64", "Int64", "Int64"]


def test_refusals(omop):
    with pytest.raises(UnknownConceptSet, match=r"'v' refers to concept set 'zz'.*declared: a, b"):
        one(omop, kind="presence", domain="condition", concepts="zz")
    with pytest.raises(UnknownConcept, match="concept 77"):
        one(omop, kind="presence", domain="condition", concepts=[77])
    twins = {
        "t": {"kind": "time_to_event", "events": ["death"], "horizon_days": 9},
        "t_time": {"kind": "age"},
    }
    with pytest.raises(CohortRefused, match="t_time"):
        evaluate_variables(omop.backend, COHORT, ENTRIES, READ.validate_python(twins))


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"kind": "nothing"}, "kind"),
        ({"kind": "age", "extra": 1}, "extra"),
        (
            {"kind": "presence", "domain": "condition", "concepts": "a", "window": {"start": 1, "end": 0}},
            "after its end",
        ),
        ({"kind": "category", "domain": "condition", "levels": {}}, "levels"),
        (
            {"kind": "category", "domain": "condition", "levels": {"x": "a"}, "of": "value", "concepts": "a"},
            "no value",
        ),
        (
            {"kind": "category", "domain": "measurement", "levels": {"x": "a"}, "of": "value"},
            "needs `concepts`",
        ),
        ({"kind": "category", "domain": "measurement", "levels": {"x": "a"}, "concepts": "a"}, "belongs to"),
        ({"kind": "value", "concepts": "a", "minimum": 2, "maximum": 1}, "exceeds"),
        ({"kind": "value", "concepts": "a", "minimum": float("nan")}, "finite"),
        ({"kind": "time_to_event", "events": [], "horizon_days": 1}, "events"),
        ({"kind": "time_to_event", "events": ["death"], "horizon_days": 0}, "horizon_days"),
    ],
)
def test_declarations_are_checked(definition, message):
    with pytest.raises(ValidationError, match=message):
        READ.validate_python({"v": definition})


def test_calendar_units():
    assert [ceil_days(days, "month") for days in (0, 1, 30, 31, 60, 61, 365, 366)] == [
        0,
        1,
        1,
        2,
        2,
        3,
        12,
        13,
    ]
    assert [ceil_days(days, "week") for days in (0, 1, 7, 8)] == [0, 1, 1, 2]
    found = READ.validate_python(
        {"t": {"kind": "time_to_event", "events": ["death"], "horizon_days": 1826, "unit": "month"}}
    )
    assert ceil_days(found["t"].horizon_days, found["t"].unit) == 60
    assert columns("t", found["t"]) == ("t_time", "t_event")
    assert named_concept_sets(found["t"]) == ()
