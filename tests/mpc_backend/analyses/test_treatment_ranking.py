"""A ranking for one secret patient, against the pooled pandas answer and at the boundaries of its rules."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import InputsRefused, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.ranking_tables import missing_facts
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
REASONS = {
    "few": "too few",
    "overlap": "no overlap",
    "short": "follow-up too short",
    "uneven": "one patient would weigh too much",
}


def ranked(run, frame, study, facts=None, policy=HIDING, receiving=()):
    return run(
        "treatment_ranking",
        study,
        data.thirds(frame),
        facts=facts or data.FACTS,
        policy=policy,
        receiving=receiving,
    )


@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize(("count", "treatments"), [(10_000, 3), (9000, 6)])
@pytest.mark.parametrize("drop", [(), ("age",), ("m0", "m5", "stage")])
def test_every_number_is_the_pooled_one(run, policy, count, treatments, drop):
    frame, study = data.patients(count, treatments), data.parameters(treatments)
    facts = {name: value for name, value in data.FACTS.items() if name not in drop}
    k = 0 if policy is EXACT else 10
    tier, truth = data.pooled(frame, facts, study, k)
    result = ranked(run, frame, study, facts, policy)
    assert result.tier == study["tiers"][tier]["name"]
    shown = {arm.treatment: arm for arm in result.arms}
    assert set(shown) == {name for name, each in truth.items() if each.reason is None}
    assert len(shown) >= 2
    for hidden in result.hidden:
        assert REASONS[truth[hidden.treatment].reason] in hidden.reason
    for name, arm in shown.items():
        expected = truth[name]
        assert arm.estimate == pytest.approx(expected.estimate, abs=1e-9 if policy is EXACT else 0.051)
        assert arm.standard_error == pytest.approx(expected.error, abs=1e-9 if policy is EXACT else 0.008)
        assert arm.size[0] <= expected.size <= arm.size[1]
        assert arm.effective_size <= expected.information + 0.3 < arm.effective_size + 5.6
        assert arm.fewer_than_ten_failures == (expected.failures < 10)
        assert arm.lower < arm.estimate < arm.upper


def test_the_ladder_is_climbed_only_as_far_as_needed(run):
    frame = data.patients(3000, 4)
    tiers = data.parameters(4)["tiers"]
    for allowed, name in ((tiers, "middle"), (tiers[2:], "loose")):
        result = ranked(run, frame, data.parameters(4, tiers=allowed))
        assert result.tier == name
    assert "up to 3 markers may differ instead of 1" in ranked(run, frame, data.parameters(4)).relaxed


def test_nobody_comparable_gives_no_tier_and_no_number(run):
    frame = data.patients(300, 3)
    tiers = [{"name": "strict", "max_distance": 0, "age_within": 0, "equal": ["stage"]}]
    result = ranked(run, frame, data.parameters(3, tiers=tiers))
    assert result.tier is None and not result.arms and result.hidden_count == 3 and result.total is None
    assert "History judged per hospital" in result.notes[2] and "No tier" in result.notes[3]
    assert "fewer than two" in result.verdict


def two_arms(first: int, second: int) -> pd.DataFrame:
    """So many exact copies of the patient on each of two treatments, half of them failing in month 6."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0}] * (first + second))
    rows["drug"] = ["t00"] * first + ["t01"] * second
    rows["o_time"] = np.where(np.arange(len(rows)) % 2 == 0, 6, 20)
    rows["o_event"] = (rows.o_time == 6).astype(int)
    return rows


@pytest.mark.parametrize(("size", "supported"), [(19, False), (20, True), (21, True)])
def test_support_needs_twenty_patients(run, size, supported):
    result = ranked(run, two_arms(60, size), data.parameters(2))
    assert (result.tier is not None) == supported
    assert len(result.arms) == (2 if supported else 0)


@pytest.mark.parametrize(("size", "hidden"), [(35, True), (36, True), (37, False), (40, False)])
def test_a_study_may_ask_for_more(run, size, hidden):
    frame = pd.concat([two_arms(60, 60), two_arms(0, size).assign(drug="t02")])
    result = ranked(run, frame, data.parameters(3, minimum_support=37))
    assert ([arm.treatment for arm in result.hidden] == ["t02"]) == hidden


def followed_to_tau(followed: int, failed: int) -> pd.DataFrame:
    """An arm of 40 of whom so many are followed to tau and so many fail before, the rest leaving, beside two of 60."""
    third = two_arms(0, 40).assign(drug="t02")
    place = np.arange(40)
    third["o_time"] = np.where(
        place < followed, data.TAU, np.where(place < followed + failed, 6, data.TAU - 1)
    )
    third["o_event"] = (third.o_time == 6).astype(int)
    return pd.concat([two_arms(60, 60), third])


@pytest.mark.parametrize(("followed", "shown"), [(9, False), (10, True), (11, True)])
def test_fewer_than_k_at_risk_at_tau_is_too_short_a_follow_up(run, followed, shown):
    result = ranked(run, followed_to_tau(followed, 20), data.parameters(3))
    assert ("t02" in [arm.treatment for arm in result.arms]) == shown
    if not shown:
        assert [arm.reason for arm in result.hidden] == ["follow-up too short"]


@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize(("failed", "shown"), [(4, False), (5, True)])
def test_an_effective_size_below_twenty_is_too_few(run, policy, failed, shown):
    result = ranked(run, followed_to_tau(15, failed), data.parameters(3), policy=policy)
    assert ("t02" in [arm.treatment for arm in result.arms]) == shown
    if not shown:
        assert [arm.reason for arm in result.hidden] == ["too few comparable patients"]


@pytest.mark.parametrize(("followed", "tier"), [(9, "loose"), (10, "strict")])
def test_a_tier_counts_only_treatments_followed_to_tau(run, followed, tier):
    """The two others of 60 differ from the patient in four markers, so that only the loose tier reaches them."""
    frame = followed_to_tau(followed, 20)
    others = frame.drug == "t01"
    frame.loc[others, ["m2", "m3", "m4", "m5"]] = 1
    assert ranked(run, frame, data.parameters(3)).tier == tier


def test_the_total_is_withheld_when_it_would_give_away_the_one_hidden_arm(run):
    one = ranked(run, pd.concat([two_arms(60, 60), two_arms(0, 12).assign(drug="t02")]), data.parameters(3))
    assert one.hidden_count == 1 and one.total is None
    assert "exactly one treatment is withheld" in one.suppressed[-1].why
    both = pd.concat([two_arms(60, 60), two_arms(8, 12).assign(drug=["t02"] * 8 + ["t03"] * 12)])
    two = ranked(run, both, data.parameters(4))
    assert two.hidden_count == 2 and two.total == (140, 149)
    assert ranked(run, two_arms(60, 60), data.parameters(2)).total == (120, 129)


def test_a_receiving_hospital_cannot_see_through_its_own_patients(run):
    frame = two_arms(60, 60).reset_index(drop=True)
    sites = {"north": frame, "south": frame.iloc[:0], "west": frame.iloc[:0]}
    study = data.parameters(2)
    alone = run("treatment_ranking", study, sites, facts=data.FACTS, policy=HIDING)
    assert alone.tier == "strict"
    own = run("treatment_ranking", study, sites, facts=data.FACTS, policy=HIDING, receiving=("north",))
    assert own.tier is None
    other = run("treatment_ranking", study, sites, facts=data.FACTS, policy=HIDING, receiving=("west",))
    assert other.tier == "strict"


@pytest.mark.parametrize("receiving", [(), ("north",), ("north", "west")])
@pytest.mark.parametrize(("elsewhere", "enough"), [(9, False), (10, True)])
def test_every_arm_shown_holds_k_patients_outside_a_receiving_hospital(run, receiving, elsewhere, enough):
    third = two_arms(0, 20 + elsewhere).assign(drug="t02", o_time=20, o_event=0)
    north, south = third.iloc[:20], pd.concat([two_arms(60, 60), third.iloc[20:]])
    sites = {"north": north, "south": south, "west": third.iloc[:0]}
    study = data.parameters(3)
    result = run("treatment_ranking", study, sites, facts=data.FACTS, policy=HIDING, receiving=receiving)
    shown = "t02" in [arm.treatment for arm in result.arms]
    assert result.tier == "strict" and shown == (enough or not receiving)
    if not shown:
        assert [arm.reason for arm in result.hidden] == ["too few comparable patients"]
        assert result.total is None


@pytest.mark.parametrize(("elsewhere", "enough"), [(9, False), (10, True)])
def test_k_patients_outside_a_receiving_hospital_are_followed_to_tau(run, elsewhere, enough):
    third = two_arms(0, 40).assign(drug="t02", o_event=0)
    third["o_time"] = np.where(np.arange(40) < 20 + elsewhere, data.TAU, data.TAU - 1)
    sites = {"north": third.iloc[:20], "south": pd.concat([two_arms(60, 60), third.iloc[20:]])}
    study, policy = data.parameters(3), DisclosurePolicy(minimum_sites=2)
    for receiving, shown in (((), True), (("north",), enough)):
        result = run("treatment_ranking", study, sites, facts=data.FACTS, policy=policy, receiving=receiving)
        assert ("t02" in [arm.treatment for arm in result.arms]) == shown
        if not shown:
            assert [arm.reason for arm in result.hidden] == ["follow-up too short"]


def failing(count: int) -> pd.DataFrame:
    """An arm of 47 patients, of whom so many fail in month 6, beside one of 60."""
    rows = two_arms(60, 47)
    second = np.flatnonzero(rows.drug == "t01")
    rows.loc[second, "o_event"] = (np.arange(47) < count).astype(int)
    rows.loc[second, "o_time"] = np.where(np.arange(47) < count, 6, 20)
    return rows


@pytest.mark.parametrize(("failures", "coarse"), [(0, True), (1, True), (9, True), (10, False)])
def test_few_failures_never_hide_a_treatment_but_its_numbers_are_coarse(run, failures, coarse):
    some = opened(failing(failures), data.parameters(2))
    assert some["state"].tolist() == [0, 0] and some["coarse"].tolist() == [False, coarse]
    assert some["spread"][1] == (2100 if coarse else 2128), "1 / 47 to five decimals"
    share = failures / 47
    variance = round(36 * share * (1 - share) / 47 * 1000)
    assert some["variance"][1] == (int(float(f"{variance:.1e}")) if coarse else variance)
    arm = next(
        each for each in ranked(run, failing(failures), data.parameters(2)).arms if each.treatment == "t01"
    )
    assert arm.effective_size == 45 and arm.lower < arm.estimate <= arm.upper


def opened(frame: pd.DataFrame, study: dict, facts: dict | None = None, policy=HIDING, protocol="plain"):
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", study)
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in data.thirds(frame).items()}
    with World(protocol) as world:
        query = chosen.query(typed, facts or data.FACTS)
        return opened_outputs(world, chosen, typed, Released(policy, tuple(tables)), tables, query)


def test_numbers_of_hidden_treatments_open_to_zero():
    some = opened(pd.concat([two_arms(60, 60), two_arms(0, 12).assign(drug="t02")]), data.parameters(3))
    for name in ("estimate", "variance", "spread", "size", "few"):
        assert some[name][2] == 0 and (name == "few" or some[name][:2].all()), name
    assert some["total"] == 0 and some["state"].tolist() == [0, 0, 1]


def test_confounding_by_indication_misleads_the_crude_order_and_not_ours(run):
    frame = data.patients(12_000, 4, seed=11)
    result = ranked(run, frame, data.parameters(4, tiers=[{"name": "any", "max_distance": 8}]), policy=EXACT)
    crude = [data._restricted(frame[frame.drug == name])[0] for name in ("t00", "t01", "t02", "t03")]
    assert crude == sorted(crude, reverse=True)
    assert [arm.treatment for arm in result.arms] == ["t03", "t02", "t01", "t00"]
    assert "t00" not in result.cannot_be_ruled_out and "t03" in result.cannot_be_ruled_out


def test_equal_treatments_are_not_distinguished(run):
    frame = data.patients(3000, 5, seed=2, equal=True)
    result = ranked(run, frame, data.parameters(5, tiers=[{"name": "any", "max_distance": 8}]))
    assert result.verdict == "no treatment distinguishable"
    assert sorted(result.cannot_be_ruled_out) == sorted(arm.treatment for arm in result.arms)
    spread = np.ptp([arm.estimate for arm in result.arms])
    assert np.ptp([arm.shrunken for arm in result.arms]) < spread


def test_treatments_the_patient_cannot_receive_are_set_aside(run):
    result = ranked(run, data.patients(3000, 4), data.parameters(4))
    first = result.arms[0].treatment
    rest = result.without([first])
    assert first not in [arm.treatment for arm in rest.arms] and rest.cannot_receive == (first,)
    assert len(rest.arms) == len(result.arms) - 1
    with pytest.raises(ValueError, match="t99"):
        result.without(["t99"])


def test_one_marker_one_bin_and_no_other_criterion_still_work(run):
    study = data.parameters(
        2, markers=["m0"], age=None, equal=[], strata=[], tau=1, tiers=[{"name": "one", "max_distance": 0}]
    )
    frame = data.patients(900, 2)
    result = ranked(run, frame, study, {"m0": 0}, EXACT)
    sizes = frame[frame.m0 == 0].drug.value_counts()
    assert {arm.treatment: arm.size[0] for arm in result.arms} == sizes.to_dict()


def test_incomplete_persons_do_not_count(run):
    frame = data.patients(900, 2)
    holed = frame.astype({"m0": "Float64", "age": "Float64", "o_time": "Float64"})
    rows = np.arange(len(frame))
    holed.loc[rows % 10 == 0, "m0"] = pd.NA
    holed.loc[rows % 10 == 1, "age"] = 140
    holed.loc[rows % 10 == 2, "o_time"] = pd.NA
    holed.loc[rows % 10 == 3, "drug"] = "none of the study's"
    study = data.parameters(2, tiers=[{"name": "any", "max_distance": 8}])
    kept = ranked(run, frame[rows % 10 > 3], study, policy=EXACT)
    found = run("treatment_ranking", study, data.thirds(holed), facts=data.FACTS, policy=EXACT)
    assert found.arms == kept.arms


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"height": 180}, "does not match on height"),
        ({"m0": 2}, "m0: a marker"),
        ({"stage": "V"}, "declared level"),
        ({"age": 61.5}, "whole number"),
    ],
)
def test_facts_outside_the_study_are_refused(facts, message):
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", data.parameters(2))
    with pytest.raises(InputsRefused, match=message):
        chosen.query(typed, facts)


def test_missing_facts_are_named_for_the_answer():
    typed = parse_parameters("treatment_ranking", data.parameters(2))
    assert missing_facts(typed, {**data.FACTS, "age": None}) == ("age",)
    assert missing_facts(typed, {"age": 50, "stage": "I"}) == tuple(data.MARKERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiers": [{"name": "a", "max_distance": 2}, {"name": "b", "max_distance": 1}]}, "must relax"),
        ({"tiers": [{"name": "a", "max_distance": 2, "equal": ["sex"]}]}, "not in equal"),
        ({"age": None}, "age caliper"),
        ({"treatments": ["one"]}, "treatments"),
        ({"period": {"variable": "year", "levels": ["2020"]}}, "period"),
        ({"minimum_support": 5}, "minimum_support"),
        ({"tau": 4000, "treatments": [f"t{i}" for i in range(1000)]}, "coarser"),
    ],
)
def test_parameters_are_refused_with_a_reason(change, message):
    with pytest.raises(ParametersRefused, match=message):
        parse_parameters("treatment_ranking", {**data.parameters(3), **change})


def test_more_rows_than_the_words_can_count_are_refused():
    frame = data.patients(3300, 2)
    with pytest.raises(InputsRefused, match="capacity is 2048"):
        opened(frame, data.parameters(2, capacity=2048))


def test_the_wide_ring_gives_the_same_numbers():
    frame = data.patients(900, 3)
    small, wide = (
        opened(frame, data.parameters(3, capacity=size), policy=EXACT) for size in (65_535, 65_536)
    )
    assert np.array_equal(small["cells"], wide["cells"]) and small["tier"] == wide["tier"]
