"""The harm outcome beside the benefit: its numbers, what hides it, and what it costs."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.planner import counted
from mpc_backend.testing import World

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
NUMBERS = ("state", "few", "coarse", "estimate", "variance", "spread")


def ranked(run, frame, study, policy=HIDING, receiving=()):
    sites = data.thirds(frame)
    return run("treatment_ranking", study, sites, facts=data.FACTS, policy=policy, receiving=receiving)


@pytest.mark.parametrize("policy", [EXACT, HIDING])
def test_every_number_is_the_pooled_one_over_the_same_patients_and_strata(run, policy):
    frame, k = data.harmed(data.patients(10_000, 3)), 0 if policy is EXACT else 10
    result = ranked(run, frame, data.parameters(3, harm="h"), policy)
    assert result.arms == [
        arm.model_copy(update={"harm": result.arms[at].harm})
        for at, arm in enumerate(ranked(run, frame, data.parameters(3), policy).arms)
    ]
    tier = next(one for one in data.parameters(3)["tiers"] if one["name"] == result.tier)
    rows = frame[data.similar(frame, data.FACTS, tier)]
    strata = rows.severe * 2 + (rows.year >= 2018)
    mix = strata.value_counts(normalize=True)
    shown = 0
    for arm in result.arms:
        mine = rows[rows.drug == arm.treatment].assign(o_time=rows.h_time, o_event=rows.h_event)
        truth = data._truth(mine, strata, mix, k, 20)
        assert (arm.harm.why_not is None) == (truth.reason is None)
        if truth.reason is None:
            slack = 1e-9 if policy is EXACT else 0.051
            assert arm.harm.estimate == pytest.approx(truth.estimate, abs=slack)
            assert arm.harm.standard_error == pytest.approx(truth.error, abs=min(slack, 0.008))
            assert arm.harm.lower < arm.harm.estimate < arm.harm.upper
            assert arm.harm.fewer_than_ten_events == (truth.failures < 10)
            shown += 1
    assert shown >= 2 and "time to h" in result.harm_measure


def three_arms(followed: int, failed: int = 20) -> pd.DataFrame:
    """Copies of the patient, 60, 60 and 40; of the third arm so many are watched for harm up to TAU, and so many harmed."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0}] * 160)
    rows["drug"] = ["t00"] * 60 + ["t01"] * 60 + ["t02"] * 40
    rows["o_time"], rows["o_event"] = np.where(rows.index % 2 == 0, 6, 20), (rows.index % 2 == 0).astype(int)
    place = np.where(rows.drug == "t02", rows.index - 120, 0)
    rows["h_time"] = np.where(
        place < followed, data.TAU, np.where(place < followed + failed, 5, data.TAU - 1)
    )
    return rows.assign(h_event=(rows.h_time == 5).astype(int))


@pytest.mark.parametrize(("followed", "shown"), [(9, False), (10, True), (11, True)])
def test_harm_that_was_not_watched_long_enough_is_withheld_and_the_benefit_stays(run, followed, shown):
    result = ranked(run, three_arms(followed), data.parameters(3, harm="h"))
    third = next(arm for arm in result.arms if arm.treatment == "t02")
    assert third.estimate > 0 and (third.harm.estimate is not None) == shown
    if not shown:
        assert third.harm.why_not == "follow-up too short" and third.harm.lower is None
        assert [(one.what, one.why) for one in result.suppressed] == [("harm on t02", "follow-up too short")]


@pytest.mark.parametrize(("elsewhere", "shown"), [(9, False), (10, True)])
def test_k_of_them_are_outside_a_hospital_that_receives_the_answer(run, elsewhere, shown):
    frame = three_arms(20 + elsewhere, failed=0)
    north = (frame.drug == "t02") & (frame.index < 140)
    sites = {"north": frame[north], "south": frame[~north]}
    result = run(
        "treatment_ranking", data.parameters(3, harm="h"), sites, facts=data.FACTS,
        policy=DisclosurePolicy(minimum_sites=2), receiving=("north",),
    )  # fmt: skip
    third = next(arm for arm in result.arms if arm.treatment == "t02")
    assert (third.harm.estimate is not None) == shown


def opened(frame: pd.DataFrame) -> dict:
    study = data.parameters(3, harm="h")
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", study)
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in data.thirds(frame).items()}
    with World("plain") as world:
        query = chosen.query(typed, data.FACTS)
        return opened_outputs(world, chosen, typed, Released(HIDING, tuple(tables)), tables, query)


@pytest.mark.parametrize("followed", [9, 40])
def test_what_is_hidden_opens_to_the_same_constants_for_any_data(followed):
    """19 patients hide the whole treatment, and whether its harm was watched long enough stays unsaid."""
    frame = three_arms(followed)
    found = opened(frame[: 120 + 19])
    assert found["state"].tolist() == [0, 0, 1]
    assert [int(found[f"harm_{name}"][2]) for name in NUMBERS] == [0] * 6
    late = opened(three_arms(9))
    assert [int(late[f"harm_{name}"][2]) for name in NUMBERS] == [3, 0, 0, 0, 0, 0]


def test_harm_shares_the_rounds_of_the_benefit_and_costs_less_than_as_much_again():
    chosen = analysis("treatment_ranking")
    costs = [
        counted(
            chosen,
            parse_parameters("treatment_ranking", study),
            Released(HIDING, ("a", "b", "c")),
            300,
            "rep3",
        )
        for study in (data.parameters(3), data.parameters(3, harm="h"))
    ]
    assert costs[1].rounds <= costs[0].rounds + 1
    assert costs[1].bytes_per_node < 1.8 * costs[0].bytes_per_node


def test_the_outcome_is_no_harm():
    with pytest.raises(ParametersRefused, match="o is the outcome already"):
        parse_parameters("treatment_ranking", data.parameters(2, harm="o"))
    typed = parse_parameters("treatment_ranking", data.parameters(2, harm="h"))
    assert dict(typed.outcomes) == {"o": "month", "h": "month"}


def test_a_person_of_whom_either_outcome_is_missing_does_not_count(run):
    frame = data.harmed(data.patients(900, 2)).astype({"o_time": "Float64", "h_time": "Float64"})
    rows = np.arange(len(frame))
    frame.loc[rows % 5 == 0, "o_time"] = pd.NA
    frame.loc[rows % 5 == 1, "h_time"] = pd.NA
    study = data.parameters(2, harm="h", tiers=[{"name": "any", "max_distance": 8}])
    assert ranked(run, frame, study, EXACT).arms == ranked(run, frame[rows % 5 > 1], study, EXACT).arms
