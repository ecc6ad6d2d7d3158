"""Mode ``cells``: a table of answers made once, and one row of it for each patient, against the pooled pandas answer."""

import json
from functools import cache

import numpy as np
import pytest
import ranking_data as data
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import InputsRefused, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs, shared_inputs
from mpc_backend.analyses.ranking_cells import cell_count, question_count, question_of, unions
from mpc_backend.analyses.ranking_tables import missing_facts
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World
from mpc_backend.try_cli import try_app

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
SITES = ("north", "south", "west")
CHOSEN = analysis("treatment_ranking")


def typed_of(study):
    return parse_parameters("treatment_ranking", study)


def tables_of(frame, study):
    return {name: CHOSEN.local(typed_of(study), SiteData(rows)) for name, rows in data.thirds(frame).items()}


@cache
def patients(treatments: int = 3):
    return data.harmed(data.patients(10_000, treatments))


def published(world, study, released, frame):
    """The table of answers, opened, as the plain twin makes it."""
    typed = typed_of(study)
    inputs = shared_inputs(world, CHOSEN, typed, tables_of(frame, study), CHOSEN.query(typed, {}))
    return world.run(
        lambda session, given: CHOSEN.publish(session, typed, released, given)["numbers"], inputs
    )


def asked(world, study, released, table, facts):
    """One patient's result, looked up in a table of answers."""
    typed = typed_of(study)
    spec, columns = CHOSEN.published(typed, released), CHOSEN.query(typed, facts)["patient"]
    assert table.shape == (spec.rows, spec.columns[0].width)
    given = {
        "published": {"nodes": {"numbers": world.share(table, bits=62)}},
        "patient": {"query": {"question": world.share(columns["question"].astype(bool))}},
    }
    opened = world.run(lambda session, inputs: CHOSEN.compute(session, typed, released, inputs), given)
    return CHOSEN.finish(typed, released, opened)


OLD = {"age": 60, "stage": "II"}
FACTS = [
    data.FACTS,
    {**data.FACTS, "age": None},
    {**data.FACTS, "m2": None},
    {**data.FACTS, "stage": None, "age": 42, "m1": 0},
    {**dict.fromkeys(data.MARKERS, 0), "age": 70, "stage": "I"},
    {},
]


@pytest.mark.parametrize("policy", [EXACT, HIDING])
def test_every_question_is_told_the_pooled_answer_of_its_cells(policy):
    frame, study, k = patients(), data.cells(3, "first", "second", harm="h"), 0 if policy is EXACT else 10
    released, tiers, count = Released(policy, SITES), set(), 0
    with World("plain") as world:
        table = published(world, study, released, frame)
        results = [asked(world, study, released, table, facts) for facts in FACTS]
    for facts, result in zip(FACTS, results, strict=True):
        tier, truth = data.pooled(frame, facts, study, k)
        assert result.tier == study["cells"]["tiers"][tier]["name"]
        tiers.add(tier)
        shown = {arm.treatment: arm for arm in result.arms}
        assert set(shown) == {name for name, each in truth.items() if each.reason is None}
        count += len(shown)
        for name, arm in shown.items():
            expected, slack = truth[name], 1e-9 if policy is EXACT else 0.051
            assert arm.estimate == pytest.approx(expected.estimate, abs=slack)
            assert arm.standard_error == pytest.approx(expected.error, abs=min(slack, 0.008))
            assert arm.size[0] <= expected.size <= arm.size[1]
            assert arm.harm is not None
    assert len(tiers) == 3 and count > len(FACTS), "the facts are to reach every tier"


def test_a_cell_with_too_few_persons_is_united_with_others_as_far_as_needed(run):
    """20 copies of the patient on one treatment and so many on the other; 40 more in the next age band."""
    study = data.cells(2)
    for size, tier in ((19, "wider"), (20, "cell")):
        frame = copies({"t00": 20, "t01": size}, age=60)
        frame = data.pd.concat([frame, copies({"t00": 20, "t01": 20}, age=45)], ignore_index=True)
        result = run("treatment_ranking", study, data.thirds(frame), facts=OLD, policy=HIDING)
        assert (result.tier, len(result.arms)) == (tier, 2)
        assert result.relaxed == ([] if tier == "cell" else ["age cut at 65 only"])


def copies(sizes: dict[str, int], age: int):
    rows = data.pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0, "age": age}] * sum(sizes.values()))
    rows["drug"] = [name for name, size in sizes.items() for _ in range(size)]
    return rows.assign(o_time=np.where(rows.index % 2, 6, 20), o_event=rows.index % 2)


def test_without_a_supported_tier_every_number_is_a_constant():
    study, released = data.cells(2), Released(HIDING, SITES)
    for size in (5, 19):
        with World("plain") as world:
            table = published(world, study, released, copies({"t00": 60, "t01": size}, age=60))
            result = asked(world, study, released, table, OLD)
        assert result.tier is None and result.hidden_count == 2 and result.total is None
        expected = np.zeros(table.shape[1], dtype=np.int64)
        expected[0], expected[1:3] = 3, 1
        assert (table == expected).all()


def test_what_a_hidden_treatment_opens_to_is_the_same_for_any_data():
    study, released = data.cells(3), Released(HIDING, SITES)
    opened = []
    for size in (3, 19):
        with World("plain") as world:
            frame = copies({"t00": 60, "t01": 60, "t02": size}, age=60)
            opened.append(published(world, study, released, frame))
    number = question_of(typed_of(study), (1, 1))
    assert np.array_equal(opened[0][number], opened[1][number]) and opened[0][number, 3] == 1


def test_a_receiving_hospital_cannot_see_through_its_own_patients(run):
    frame = copies({"t00": 60, "t01": 60}, age=60)
    sites = {"north": frame, "south": frame.iloc[:0], "west": frame.iloc[:0]}
    tiers = {
        receiving: run(
            "treatment_ranking", data.cells(2), sites, facts=OLD, policy=HIDING, receiving=receiving
        ).tier
        for receiving in ((), ("north",), ("west",))
    }
    assert tiers == {(): "cell", ("north",): None, ("west",): "cell"}


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_on_shares_the_table_made_now_and_the_table_kept_tell_the_same(protocol):
    study = data.cells(2, harm="h", tau=6, strata=[], equal=[])
    study["cells"] = {**study["cells"], "tiers": [{"name": "cell", "age_cuts": [50, 65]}, {"name": "any"}]}
    typed, released, frame = typed_of(study), Released(HIDING, SITES, ("north",)), patients(2)
    facts = {"age": 61}
    with World("plain") as world:
        table = published(world, study, released, frame)
        plain = asked(world, study, released, table, facts)
    with World(protocol) as world:
        kept = asked(world, study, released, table, facts)
        fresh = opened_outputs(
            world, CHOSEN, typed, released, tables_of(frame, study), CHOSEN.query(typed, facts)
        )
    assert kept == plain and len(plain.arms) == 2
    row = np.concatenate([np.ravel(values) for values in fresh.values()])
    expected = table[question_of(typed, (1,))]
    assert np.abs(row - expected).max() <= 1 and row[0] == expected[0]


def test_a_question_names_exactly_one_row_and_every_union_stands_once():
    typed = typed_of(data.cells(3, "first", "second"))
    assert cell_count(typed) == 3 * 3 * 2 * 3 and question_count(typed) == 4 * 4 * 3 * 4
    found = unions(typed)
    assert len(np.unique(found.members, axis=0)) == len(found.members)
    cell, everybody = question_of(typed, (1, 2, 0, 2)), question_of(typed, (None,) * 4)
    assert found.members[found.asked[0, cell]].sum() == 1 and found.members[found.asked[0, everybody]].all()
    assert found.members[found.asked[2]].all(), "the last tier unites everything"
    wider = found.members[found.asked[1, cell]].reshape(3, 3, 2, 3)
    assert np.argwhere(wider).tolist() == [[a, 2, 0, s] for a in (0, 1) for s in (1, 2)]


def test_a_marker_group_of_which_one_is_not_known_is_not_matched_on():
    typed = typed_of(data.cells(2, "first"))
    assert missing_facts(typed, {**dict.fromkeys(data.MARKERS[:4], 0), "m2": None, "age": 50}) == (
        *data.MARKERS[:4],
        "stage",
    )


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
    with pytest.raises(InputsRefused, match=message):
        CHOSEN.query(typed_of(data.cells(2, "first")), facts)


def plan(**changes):
    return {"cells": {**data.cells(2, "first")["cells"], **changes}}


FIRST = data.cells(2, "first")["cells"]["tiers"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": None}, "mode cells: give cells"),
        ({"mode": "neighbours"}, "mode neighbours: give tiers"),
        ({"age": None}, "age_cuts go with a declared age"),
        ({"markers": ["m0"]}, "not so m1, m2, m3"),
        (plan(tiers=[{"name": "x"}]), "it must name every cut"),
        (plan(tiers=[{**FIRST, "equal": []}]), "it must name in equal stage"),
        (plan(tiers=[FIRST, {"name": "y", "age_cuts": [60]}]), "unite cells of"),
        (plan(tiers=[FIRST, {"name": "y", "marker_cuts": {"first": [2]}}]), "unite cells of"),
        (plan(age_cuts=[65, 50]), "increasing"),
        (plan(marker_groups=[{"name": "first", "markers": ["m0"], "cuts": [2]}]), "a cut at 2 of 1"),
        ({"tau": 4000, "treatments": [f"t{i}" for i in range(200)], "strata": [], "period": "not available"}, "fewer cells"),
    ],
)  # fmt: skip
def test_parameters_are_refused_with_a_reason(change, message):
    with pytest.raises(ParametersRefused, match=message):
        typed_of({**data.cells(2, "first"), **change})


def test_every_hospital_may_have_as_many_persons_as_declared(run):
    """3 x 1,023 persons in one cell, whose number needs two bits more than that of one hospital."""
    frame = copies({"t00": 3 * 512, "t01": 3 * 511}, age=60)
    result = run(
        "treatment_ranking", data.cells(2, capacity=1024), data.thirds(frame), facts=OLD, policy=EXACT
    )
    assert result.tier == "cell" and result.total == (3069, 3069)
    result = run(
        "treatment_ranking", data.cells(2, capacity=1024), data.thirds(frame), facts=OLD, policy=HIDING
    )
    assert result.total == (3060, 3069) and [arm.size for arm in result.arms] == [(1530, 1539), (1530, 1539)]


def test_more_persons_than_declared_are_refused():
    with pytest.raises(InputsRefused, match="capacity is 1024"):
        CHOSEN.local(typed_of(data.cells(3, capacity=1024)), SiteData(patients()))


def tried(*more):
    return CliRunner().invoke(try_app, ["ranking", *more, "--mode", "cells", "--json", "--protocol", "rep3"])


def test_on_a_file_calipers_become_bands(tmp_path):
    frame, path = patients(2), tmp_path / "patients.csv"
    frame.to_csv(path, index=False)
    who = json.dumps({"age": 61, **dict.fromkeys(data.MARKERS[:4], 0)})
    base = (
        str(path), "--treatment", "drug", "--time", "o_time", "--event", "o_event", "--tau", "6", "--unit", "month",
        "--patient", who,
    )  # fmt: skip
    matching = ("--caliper", "age=20", "--markers", ",".join(data.MARKERS[:4]), "--max-distance", "1")
    done = tried(*base, *matching, "--release", "exact")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["tier"] == "as asked" and found["not_matched_on"] == []
    cell = frame[frame.age.between(60, 79) & (frame[data.MARKERS[:4]].sum(axis=1) < 2)]
    sizes = {arm["treatment"]: arm["size"][0] for arm in found["arms"]}
    assert sizes == cell.drug.value_counts().to_dict()
    for wrong, words in (
        (("--caliper", "age=0"), "at least a year wide"),
        (("--markers", "m0,m1", "--max-distance", "2"), "any number of 2 markers"),
    ):
        short = (*base[:-1], "{}")
        assert words in str(tried(*short, *wrong).exception)


@pytest.mark.parametrize(("elsewhere", "shown"), [(9, False), (10, True)])
def test_every_arm_shown_holds_k_patients_outside_a_receiving_hospital(run, elsewhere, shown):
    third = copies({"t02": 20 + elsewhere}, age=60).assign(o_time=20, o_event=0)
    rest = data.pd.concat([copies({"t00": 60, "t01": 60}, age=60), third.iloc[20:]])
    sites = {"north": third.iloc[:20], "south": rest, "west": third.iloc[:0]}
    for receiving, seen in (((), True), (("north",), shown)):
        result = run("treatment_ranking", data.cells(3), sites, facts=OLD, policy=HIDING, receiving=receiving)
        assert result.tier == "cell" and ("t02" in [arm.treatment for arm in result.arms]) == seen
