"""An answer held against the same requester's earlier ones: no treatment is told again whose patients differ by few."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.plain import opened_outputs, run_here
from mpc_backend.analyses.ranking_result import CLOSE, REASONS
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.planner import counted
from mpc_backend.testing import World

K = 10
CHOSEN = analysis("treatment_ranking")
TOO_CLOSE = REASONS[CLOSE]


def study(treatments=3, **changes):
    """One tier: within a year of the patient's age."""
    tiers = [{"name": "near", "max_distance": 8, "age_within": 1, "equal": []}]
    return data.parameters(treatments, **{"tiers": tiers, "strata": [], "period": "not available", **changes})


def aged(drug: str, **persons: int) -> pd.DataFrame:
    """So many persons of each age (``y59=3``) on a treatment, every other of whom fails in month 6."""
    rows = [
        {**data.FACTS, "age": int(age[1:]), "drug": drug}
        for age, count in persons.items()
        for _ in range(count)
    ]
    frame = pd.DataFrame(rows)
    frame["o_time"] = np.where(np.arange(len(frame)) % 2 == 0, 6, 20)
    return frame.assign(o_event=(frame.o_time == 6).astype(int), year=2020, severe=0)


def asked(sites, given, memory, *, age=60, receiving=(), protocol="plain", policy=None):
    """The answer for a patient of this age, who is otherwise like everybody."""
    if isinstance(sites, pd.DataFrame):
        sites = data.thirds(sites)
    found = {name: SiteData(frame.reset_index(drop=True)) for name, frame in sites.items()}
    released = Released(policy or DisclosurePolicy(), tuple(found), receiving)
    typed = parse_parameters("treatment_ranking", given)
    return run_here(
        CHOSEN, typed, released, found, facts={**data.FACTS, "age": age}, protocol=protocol, memory=memory
    )


def close(result):
    return {arm.treatment for arm in result.hidden if arm.reason == TOO_CLOSE}


def around(left: int, right: int) -> pd.DataFrame:
    """Of a patient of 60 and one of 61: on t02 ``left`` are similar to the first alone, ``right`` to the second alone; on
    the others so many that nothing is to be feared."""
    others = [aged(drug, y59=30, y60=60, y62=30) for drug in ("t00", "t01")]
    return pd.concat([*others, aged("t02", y59=left, y60=60, y62=right)])


@pytest.mark.parametrize(
    ("left", "right", "hidden"),
    [(0, 0, False), (1, 0, True), (9, 30, True), (10, 30, False), (11, 30, False), (30, 9, True), (30, 10, False),
     (0, 1, True), (30, 0, False), (0, 11, False)],
)  # fmt: skip
def test_a_treatment_whose_patients_differ_by_few_on_either_side_is_not_told_again(left, right, hidden):
    memory: list = []
    first = asked(around(left, right), study(), memory)
    assert len(first.arms) == 3 and not first.hidden
    second = asked(around(left, right), study(), memory, age=61)
    assert close(second) == ({"t02"} if hidden else set())
    assert len(second.arms) == (2 if hidden else 3)
    assert (second.total is None) == hidden, "the total would give away the one hidden arm"


def test_the_same_question_is_answered_the_same_again():
    memory: list = []
    first = asked(around(3, 3), study(), memory)
    assert asked(around(3, 3), study(), memory) == first
    asked(around(3, 3), study(), memory, age=61)
    assert asked(around(3, 3), study(), memory) == first, "of what was withheld nothing was told"
    assert len(memory) == 4


def test_every_earlier_answer_counts():
    """At 60 nothing is near 64; at 63 three on t02 are."""
    frame = pd.concat(
        [
            *(aged(drug, y60=60, y62=20, y63=60, y65=20) for drug in ("t00", "t01")),
            aged("t02", y60=60, y62=3, y63=60),
        ]
    )
    memory: list = []
    asked(frame, study(), memory, age=63)
    asked(frame, study(), memory, age=60)
    assert close(asked(frame, study(), memory, age=64)) == {"t02"}
    assert not close(asked(frame, study(), [], age=64))
    assert not close(asked(frame, study(), memory[1:2], age=64))


def test_a_treatment_that_was_not_told_is_told_later():
    """Of t02 nine were similar to the first patient, too few to be shown; of the second, those and thirty more."""
    frame = pd.concat(
        [*(aged(drug, y59=30, y60=60, y62=30) for drug in ("t00", "t01")), aged("t02", y60=9, y62=30)]
    )
    memory: list = []
    assert [arm.treatment for arm in asked(frame, study(), memory).hidden] == ["t02"]
    assert len(asked(frame, study(), memory, age=61).arms) == 3


def test_whole_sets_that_differ_by_few_are_not_told_one_after_the_other():
    """The patients of every shown treatment are the same; only on a hidden one three more are similar, who would be told
    of by the mix of strata and the total."""
    frame = pd.concat(
        [
            *(aged(drug, y60=60) for drug in ("t00", "t01")),
            *(aged(drug, y60=5, y62=3) for drug in ("t02", "t03")),
        ]
    )
    memory: list = []
    first = asked(frame, study(4), memory)
    assert len(first.arms) == 2 and first.total == (130, 139)
    second = asked(frame, study(4), memory, age=61)
    assert close(second) == {"t00", "t01"} and second.total is None
    alone = asked(frame, study(4), [], age=61)
    assert len(alone.arms) == 2 and alone.total is not None


@pytest.mark.parametrize(("left", "hidden"), [(9, True), (10, False), (11, False)])
def test_a_hospital_that_receives_the_answer_subtracts_its_own(left, hidden):
    """Of t02 thirty of the first set alone are north's, which reads the answers, and so many are not."""
    others = [aged(drug, y59=30, y60=60, y62=30) for drug in ("t00", "t01")]
    sites = {
        "north": pd.concat([*others, aged("t02", y59=30, y60=30)]),
        "south": pd.concat([*others, aged("t02", y59=left, y60=60)]),
        "west": pd.concat(others),
    }
    for receiving, expected in ((("north",), hidden), ((), False)):
        memory: list = []
        asked(sites, study(), memory, receiving=receiving)
        assert close(asked(sites, study(), memory, age=61, receiving=receiving)) == (
            {"t02"} if expected else set()
        )


def test_nothing_is_told_of_harm_on_a_treatment_that_is_withheld():
    frame = around(3, 30).assign(h_time=20, h_event=0)
    memory: list = []
    assert all(arm.harm.estimate is not None for arm in asked(frame, study(harm="h"), memory).arms)
    second = asked(frame, study(harm="h"), memory, age=61)
    assert close(second) == {"t02"} and len(second.arms) == 2


def test_an_exact_release_keeps_nothing_and_is_held_against_nothing():
    memory: list = []
    exact = DisclosurePolicy(release="exact")
    for age in (60, 61):
        assert len(asked(around(3, 3), study(), memory, age=age, policy=exact).arms) == 3
    assert memory == []


def told_apart(frame, given, results):
    """By treatment that every answer shows: how many patients are in one of the two similar sets alone."""
    shown = set.intersection(*({arm.treatment for arm in result.arms} for _, result in results))
    tiers = {tier["name"]: tier for tier in given["tiers"]}
    first, second = (
        data.similar(frame, {**data.FACTS, "age": age}, tiers[result.tier]) for age, result in results
    )
    arms = {name: (frame.drug == name).to_numpy() for name in shown}
    return {
        name: (int((first & ~second & on).sum()), int((second & ~first & on).sum()))
        for name, on in arms.items()
    }


def test_answers_for_two_patients_a_year_apart_never_tell_of_few():
    """The attack that this is against: a physician asks once more with another age. Without memory it succeeds."""
    given = data.parameters(6, tiers=data.parameters(6)["tiers"][1:2])
    frame, compared = data.patients(15_000, 6), 0
    for start in (52, 62):
        for memory in (None, []):
            ages = (start, start + 1)
            results = [(age, asked(frame, given, memory, age=age)) for age in ages]
            few = [
                pair for pair in told_apart(frame, given, results).values() if any(0 < n < K for n in pair)
            ]
            assert bool(few) == (memory is None)
            compared += len(told_apart(frame, given, results)) if memory is not None else 0
    assert compared, "some are still told twice"


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_shares_tell_what_the_plain_twin_tells(protocol):
    answers = []
    for chosen in ("plain", protocol):
        memory: list = []
        frame = around(3, 30)
        answers.append(
            [
                asked(frame, study(), memory, age=age, receiving=("north",), protocol=chosen)
                for age in (60, 61, 60)
            ]
        )
        records = [{name: values.tolist() for name, values in record.items()} for record in memory]
        answers[-1].append(records)
    assert answers[0][1:] == answers[1][1:]
    assert close(answers[0][1]) == {"t02"}


def test_rounds_grow_with_the_logarithm_of_earlier_answers_alone():
    released = Released(DisclosurePolicy(), ("north", "south", "west"), ("north",))
    typed = parse_parameters("treatment_ranking", study(6))
    rounds = {
        earlier: counted(CHOSEN, typed, released, 1000, "rep4", earlier).rounds for earlier in (0, 1, 4, 16)
    }
    assert rounds[1] - rounds[0] <= 6
    assert rounds[16] - rounds[1] == 4 and rounds[4] - rounds[1] == 2


@pytest.mark.parametrize("protocol", ["plain", "rep3"])
def test_row_shards_tell_the_same(protocol):
    frame, given = around(3, 30), study()
    sites = {name: SiteData(rows.reset_index(drop=True)) for name, rows in data.thirds(frame).items()}
    typed = parse_parameters("treatment_ranking", given)
    tables = {name: CHOSEN.local(typed, site) for name, site in sites.items()}
    released = Released(DisclosurePolicy(), tuple(sites), ("north",))
    found = []
    for workers in (1, 3):
        memory: list = []
        world = World(protocol, workers=workers)
        for age in (60, 61):
            query = CHOSEN.query(typed, {**data.FACTS, "age": age})
            opened = opened_outputs(world, CHOSEN, typed, released, tables, query, memory)
        found.append(
            ({name: values.tolist() for name, values in opened.items()}, memory[1]["member"].tolist())
        )
    assert found[0] == found[1]
    assert found[0][0]["state"] == [0, 0, CLOSE]


def test_messages_say_nothing_of_what_was_told_before():
    """Whoever was similar then and now: every message of a run has the same length."""
    typed = parse_parameters("treatment_ranking", study(harm="h"))
    released = Released(DisclosurePolicy(), ("north", "south", "west"), ("north",))
    sent = []
    for left, age in ((3, 61), (30, 60)):
        frame = around(left, 30).assign(h_time=20, h_event=0)
        sites = {name: SiteData(rows.reset_index(drop=True)) for name, rows in data.thirds(frame).items()}
        tables = {name: CHOSEN.local(typed, site) for name, site in sites.items()}
        world, memory = World("rep3", trace=True), []
        for asked_for in (60, age):
            query = CHOSEN.query(typed, {**data.FACTS, "age": asked_for})
            opened_outputs(world, CHOSEN, typed, released, tables, query, memory)
        sent.append([traffic.trace for traffic in world.traffic])
    assert sent[0] == sent[1] and sent[0][0]
