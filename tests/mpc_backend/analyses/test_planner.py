"""The plan of a study: what it names, and whether its counted costs are those of a run."""

import numpy as np
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from governance.keys import SealingKey, SigningKey
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import shared_inputs
from mpc_backend.analyses.registry import analysis, parse_parameters, resolve
from mpc_backend.planned import planned_tables
from mpc_backend.planner import counted, plan
from mpc_backend.tables import bucket
from mpc_backend.testing import World

COHORT = """
cohort "Adults with diabetes"
concept set diabetes: 201826 and descendants
enter on first condition of diabetes
require "18 years or older": age 18 or more
exclude "diabetes before": at least 1 condition of diabetes any time before index
"""


def study(**changes) -> StudyProtocol:
    key, sealing = SigningKey.generate().public, SealingKey.generate().public
    fields = {
        "title": "A study", "short_name": "a-study",
        "purpose": {"use": "scientific_research", "description": "d", "legal_basis": "l", "ethics_reference": "e"},
        "investigator": {"role": "principal investigator", "organisation": "an institute", "key": key},
        "federation": "0" * 64, "protocol": "rep4", "sites": ["north", "south", "west"],
        "cohorts": {"adults": COHORT},
        "analyses": [{"id": "attrition", "kind": "cohort_count", "cohort": "adults"}],
        "recipients": [
            {"id": "r", "role": "researcher", "organisation": "an institute", "signing_key": key, "sealing_key": sealing}
        ],
        "budget": {"runs": 5},
        "validity": {"not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z"},
        "nonce": "0" * 32,
        **changes,
    }  # fmt: skip
    return StudyProtocol.from_canonical(StudyProtocol.from_value(fields).canonical())


def test_a_count_takes_its_steps_from_the_cohort():
    _, parameters = resolve(study(), "attrition")
    assert parameters.steps == ("Entry event", "18 years or older", "diabetes before")


def test_a_plan_says_where_each_step_runs_and_what_leaves():
    found = plan(study())
    assert [step.where for step in found.steps] == [
        "hospital, in the clear", "nodes, on shares", "recipient, in the clear",
    ]  # fmt: skip
    upload, compute, _ = found.steps
    assert (upload.table, upload.rows, upload.upload_bytes) == ("attrition", 4, 3 * 4 * 8)
    assert [(column.name, column.bits) for column in upload.columns] == [("persons", 64)]
    assert compute.rounds and compute.bytes_per_node and compute.what.startswith("How many persons")


def test_an_unknown_kind_or_parameter_cannot_be_planned():
    with pytest.raises(ParametersRefused, match="no analysis of kind 'alchemy'"):
        plan(study(analyses=[{"id": "a", "kind": "alchemy", "cohort": "adults"}]))
    entry = {"id": "a", "kind": "survival", "cohort": "adults", "parameters": {"outcome": "o"}}
    with pytest.raises(
        ParametersRefused, match="parameters of survival: arm, arms, horizon: missing; give it"
    ):
        plan(study(analyses=[entry]))


SURVIVAL = {"outcome": "failure", "arm": "drug", "arms": ["a", "b"], "horizon": 24,
            "strata": [{"variable": "stage", "levels": ["x", "y"]}]}  # fmt: skip
RANKING = {"treatment": "drug", "treatments": ["a", "b"], "outcome": "failure", "tau": 24, "age": "years",
           "markers": ["m1"], "equal": [{"variable": "stage", "levels": ["x", "y"]}],
           "tiers": [{"name": "all", "max_distance": 1}], "period": {"variable": "year", "cuts": [2018]},
           "strata": [{"variable": "cd4", "cuts": [200]}]}  # fmt: skip
COMPETING = {
    "causes": ["failure", "failure_of_another_kind"],
    "arm": "drug",
    "arms": ["a", "b"],
    "horizon": 24,
}
COMPARED = {"outcome": "failure", "arm": "drug", "arms": ["a", "b"], "tau": 24,
            "negative_control": "failure_of_another_kind", "period": {"variable": "year", "centre": 2018, "scale": 3},
            "score": [{"variable": "stage", "levels": ["x", "y"]}],
            "balance": [{"variable": "years", "centre": 60, "scale": 10}]}  # fmt: skip
DEATH = {"kind": "time_to_event", "events": ["death"], "horizon_days": 700}
AGE = {"kind": "age"}


@pytest.mark.parametrize(
    ("kind", "parameters", "names"),
    [
        ("comparative_effectiveness", COMPARED,
         ["drug", "failure", "failure_of_another_kind", "stage", "year", "years"]),
        ("competing_risks", COMPETING, ["drug", "failure", "failure_of_another_kind"]),
        ("survival", SURVIVAL, ["drug", "failure", "stage"]),
        ("treatment_ranking", RANKING, ["cd4", "drug", "failure", "m1", "stage", "year", "years"]),
    ],
)  # fmt: skip
def test_every_variable_an_analysis_names_must_be_declared(kind, parameters, names):
    entry = {"id": "a", "kind": kind, "cohort": "adults", "parameters": parameters}
    declared = {name: DEATH if name.startswith("failure") else AGE for name in names}
    assert planned_tables(study(analyses=[entry], variables=declared))
    for missing in names:
        rest = {name: one for name, one in declared.items() if name != missing}
        with pytest.raises(ParametersRefused) as refused:
            planned_tables(study(analyses=[entry], variables=rest))
        assert f"names {missing}, which the study does not declare" in str(refused.value)
        assert f"declared variables: {', '.join(sorted(rest))}" in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"failure": AGE}, "outcome failure is declared as age; it must be time_to_event"),
        ({"drug": DEATH}, "uses drug as a covariate"),
        ({"failure": {**DEATH, "unit": "month"}}, "time_unit day; it is declared in unit month"),
    ],
)
def test_outcomes_are_times_in_the_unit_the_analysis_reads(changed, words):
    entry = {"id": "a", "kind": "survival", "cohort": "adults", "parameters": SURVIVAL}
    declared = {"drug": AGE, "stage": AGE, "failure": DEATH, **changed}
    with pytest.raises(ParametersRefused, match=words):
        planned_tables(study(analyses=[entry], variables=declared))


NUMBER = {"variable": "flag", "centre": 0, "scale": 1}
READS_A_NUMBER = [
    ("linear", {"outcome": "years", "outcome_centre": 60, "outcome_scale": 9, "predictors": [NUMBER]}, "predictors"),
    ("logistic", {"outcome": "stage", "predictors": [NUMBER]}, "predictors"),
    ("correlation", {"variables": [NUMBER]}, "variables"),
    ("table_one", {"by": "drug", "groups": ["a", "b"], "numbers": [{**NUMBER, "low": 0, "high": 1}]}, "numbers"),
    ("comparative_effectiveness", {**COMPARED, "balance": [NUMBER]}, "balance"),
    ("survival", {**SURVIVAL, "cox": {"covariates": [{"variable": "flag", "scale": 1}]}}, "covariates"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parameters", "place"), READS_A_NUMBER, ids=[each[0] for each in READS_A_NUMBER]
)
def test_a_flag_is_no_number_without_its_codes(kind, parameters, place):
    """Hospitals of a few patients each cannot tell that it is one, and its mean would be a count of any size."""
    entry = {"id": "a", "kind": kind, "cohort": "adults", "parameters": parameters}
    flag = {"kind": "presence", "domain": "condition", "concepts": [1]}
    named = ("drug", "stage", "year", "years")
    declared = {"flag": flag, "failure": DEATH, "failure_of_another_kind": DEATH, **dict.fromkeys(named, AGE)}
    with pytest.raises(ParametersRefused, match="'a' reads flag as a number; a presence is 0 or 1"):
        resolve(study(analyses=[entry], variables=declared), "a")
    holder = parameters["cox"] if kind == "survival" else parameters
    holder[place] = [{**holder[place][0], "codes": ["0", "1"]}]
    assert resolve(study(analyses=[entry], variables=declared), "a")


def test_a_flag_is_no_outcome_of_a_linear_regression_without_its_codes():
    numbers = {
        "outcome": "flag",
        "outcome_centre": 0,
        "outcome_scale": 1,
        "predictors": [{**NUMBER, "variable": "years"}],
    }
    entry = {"id": "a", "kind": "linear", "cohort": "adults", "parameters": numbers}
    declared = {"flag": {"kind": "presence", "domain": "condition", "concepts": [1]}, "years": AGE}
    with pytest.raises(ParametersRefused, match="reads flag as a number"):
        resolve(study(analyses=[entry], variables=declared), "a")
    numbers["outcome_codes"] = ["0", "1"]
    assert resolve(study(analyses=[entry], variables=declared), "a")


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_counted_costs_are_those_of_a_run(protocol):
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", data.parameters(3))
    released = Released(DisclosurePolicy(minimum_sites=2), ("a", "b"))
    frame = data.patients(600, 3)
    tables = {name: chosen.local(typed, SiteData(frame.iloc[i::2])) for i, name in enumerate("ab")}
    with World(protocol) as world:
        inputs = shared_inputs(world, chosen, typed, tables, chosen.query(typed, data.FACTS))
        world.run(lambda session, given: chosen.compute(session, typed, released, given), inputs)
        sent = np.mean([traffic.bytes_sent for traffic in world.traffic])
        rounds = max(traffic.rounds for traffic in world.traffic)
    cost = counted(chosen, typed, released, 300, protocol)
    assert bucket(300) == bucket(len(frame) // 2)
    assert cost.rounds == pytest.approx(rounds, rel=0.1)
    assert cost.bytes_per_node == pytest.approx(sent, rel=0.3)
