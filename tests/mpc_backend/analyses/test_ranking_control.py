"""The negative control of a ranking: its numbers, its verdict where confounding is planted and where not, what it decides."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.ranking_arms import CONFOUNDED
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.planner import counted
from mpc_backend.testing import World

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
STUDIES = {
    "neighbours": lambda treatments, **changes: data.parameters(
        treatments, **{"tiers": [{"name": "any", "max_distance": 8}], **changes}
    ),
    "cells": data.cells,
}
FACTS = {"neighbours": data.FACTS, "cells": {}}
CHOSEN = analysis("treatment_ranking")


def controlled(frame: pd.DataFrame, seed: int = 6) -> pd.DataFrame:
    """With an outcome ``c`` that sickness brings on and no treatment does."""
    rng = np.random.default_rng(seed)
    event = rng.exponential(1 / (0.01 + 0.06 * frame.severe))
    leaving = rng.uniform(6, 60, len(frame))
    return frame.assign(
        c_time=np.ceil(np.minimum(event, leaving)).astype(int), c_event=(event <= leaving).astype(int)
    )


def ranked(run, frame, mode="neighbours", policy=HIDING, sites=None, receiving=(), **changes):
    study = STUDIES[mode](frame.drug.nunique(), **{"negative_control": "c", **changes})
    given = sites or data.thirds(frame)
    return run("treatment_ranking", study, given, facts=FACTS[mode], policy=policy, receiving=receiving)


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize("policy", [EXACT, HIDING])
def test_confounding_that_is_not_adjusted_for_shows_and_what_is_does_not(run, mode, policy):
    frame = controlled(data.patients(6_000, 3, equal=True))
    adjusted, crude = (ranked(run, frame, mode, policy, **changes) for changes in ({}, {"strata": []}))
    assert adjusted.negative_control.distinguishable is False
    assert "do not differ distinguishably" in adjusted.negative_control.verdict
    assert crude.negative_control.distinguishable is True and crude.negative_control.verdict == CONFOUNDED
    assert "time to c, 12 months" in crude.negative_control.measure


@pytest.mark.parametrize("policy", [EXACT, HIDING])
def test_its_numbers_are_those_of_a_harm_and_change_nothing_else(run, policy):
    frame = controlled(data.harmed(data.patients(4_000, 3)))
    both = ranked(run, frame, policy=policy, harm="h")
    as_harm = ranked(run, frame, policy=policy, harm="c", negative_control=None)
    alone = ranked(run, frame, policy=policy, harm="h", negative_control=None)
    assert [arm.control for arm in both.arms] == [arm.harm for arm in as_harm.arms]
    assert any(arm.control.estimate is not None for arm in both.arms)
    assert [arm.model_copy(update={"control": None}) for arm in both.arms] == alone.arms
    assert both.verdict == alone.verdict and alone.negative_control is None
    assert ranked(run, frame, policy=policy).arms[0].harm is None


def test_in_equal_treatments_it_speaks_of_confounding_rarely(run):
    spoken = 0
    for seed in range(20):
        frame = controlled(data.patients(1_500, 4, seed=seed, equal=True), 1_000 + seed)
        spoken += ranked(run, frame).negative_control.distinguishable is True
    assert spoken <= 3


def few_watched(followed: int) -> pd.DataFrame:
    """Sixty on each of two treatments; of the second so many are watched for the control up to tau."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0}] * 120)
    place = np.tile(np.arange(60), 2)
    second = np.arange(120) >= 60
    event = place % 4 == 0
    seen = ~second | (place >= 60 - followed)
    return rows.assign(
        drug=np.where(second, "t01", "t00"),
        o_time=np.where(place % 2, 6, 20),
        o_event=place % 2,
        c_time=np.where(seen, data.TAU + 1, np.where(event, 3, 5)),
        c_event=(~seen & event).astype(int),
    )


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("followed", "shown"), [(9, False), (10, True)])
def test_what_was_not_watched_long_enough_is_withheld_and_cannot_be_judged(run, mode, followed, shown):
    result = ranked(run, few_watched(followed), mode)
    second = next(arm for arm in result.arms if arm.treatment == "t01")
    assert (second.control.estimate is not None) == shown
    assert (result.negative_control.distinguishable is not None) == shown
    told = [(one.what, one.why) for one in result.suppressed if "control" in one.what]
    assert told == ([] if shown else [("negative control on t01", "follow-up too short")])


def test_setting_a_treatment_aside_judges_the_others(run):
    frame = controlled(data.patients(3_000, 3))
    worse = frame.drug == "t02"
    frame.loc[worse, "c_time"] = np.minimum(frame.c_time[worse], 3)
    frame.loc[worse, "c_event"] = 1
    frame.loc[worse & (frame.index % 2 == 0), ["c_time", "c_event"]] = [20, 0]
    result = ranked(run, frame)
    assert result.negative_control.distinguishable is True
    assert result.without(["t02"]).negative_control.distinguishable is False
    assert result.without(["t01", "t02"]).negative_control.distinguishable is None


def test_contrasts_withheld_for_balance_say_nothing_of_it_either(run):
    frame = controlled(data.patients(3_000, 2, equal=True)).assign(sex="f")
    frame["sex"] = np.where((frame.drug == "t00") | (frame.index % 2 == 0), "f", "m")
    judged = [{"variable": "sex", "levels": ["f", "m"]}]
    free, kept = (ranked(run, frame, strata=[], balance=given) for given in ([], judged))
    assert free.negative_control.distinguishable is True
    assert kept.balance.withheld and kept.negative_control.distinguishable is False


@pytest.mark.parametrize("followed", [9, 40])
def test_what_is_hidden_opens_to_the_same_constants_for_any_data(followed):
    """19 patients hide the whole treatment, and whether it was watched for the control stays unsaid."""
    frame = few_watched(followed)
    third = frame[frame.drug == "t01"].iloc[:19].assign(drug="t02")
    typed = parse_parameters("treatment_ranking", data.parameters(3, negative_control="c"))
    everybody = pd.concat([few_watched(40), third], ignore_index=True)
    tables = {name: CHOSEN.local(typed, SiteData(rows)) for name, rows in data.thirds(everybody).items()}
    with World("plain") as world:
        query = CHOSEN.query(typed, data.FACTS)
        found = opened_outputs(world, CHOSEN, typed, Released(HIDING, tuple(tables)), tables, query)
    assert found["state"].tolist() == [0, 0, 1]
    names = ("state", "few", "coarse", "estimate", "variance", "spread")
    assert [int(found[f"control_{name}"][2]) for name in names] == [0] * 6


def test_it_shares_the_rounds_of_the_outcome():
    costs = [
        counted(CHOSEN, parse_parameters("treatment_ranking", study), Released(HIDING, ("a", "b", "c")), 300, "rep3")
        for study in (data.parameters(3, harm="h"), data.parameters(3, harm="h", negative_control="c"))
    ]  # fmt: skip
    assert costs[1].rounds <= costs[0].rounds + 1


def test_it_is_an_outcome_of_its_own():
    for changes in ({"negative_control": "o"}, {"harm": "h", "negative_control": "h"}):
        with pytest.raises(ParametersRefused, match="name one that no treatment can cause"):
            parse_parameters("treatment_ranking", data.parameters(2, **changes))
    typed = parse_parameters("treatment_ranking", data.parameters(2, harm="h", negative_control="c"))
    assert dict(typed.outcomes) == {"o": "month", "h": "month", "c": "month"}


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_on_shares_all_three_outcomes_are_those_of_the_plain_twin(protocol):
    frame = controlled(data.harmed(data.patients(600, 2)))
    typed = parse_parameters(
        "treatment_ranking", STUDIES["neighbours"](2, harm="h", negative_control="c", strata=[])
    )
    tables = {name: CHOSEN.local(typed, SiteData(rows)) for name, rows in data.thirds(frame).items()}
    found = {}
    for name in ("plain", protocol):
        with World(name) as world:
            query = CHOSEN.query(typed, data.FACTS)
            found[name] = opened_outputs(world, CHOSEN, typed, Released(HIDING, tuple(tables)), tables, query)
    assert found["plain"]["control_estimate"].all() and found["plain"]["risk"].all()
    for name, plain in found["plain"].items():
        assert np.abs(np.asarray(found[protocol][name], int) - np.asarray(plain, int)).max() <= 1, name
