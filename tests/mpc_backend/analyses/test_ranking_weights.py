"""Nobody carries a treatment's number: what one patient weighs in it, in both modes, and which tiers that supports."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
STUDIES = {
    "neighbours": data.parameters,
    "cells": lambda treatments: data.cells(treatments, "first", "second"),
}
HEAVY = "one patient would weigh too much in the adjusted mean"


def copies(drug: str, severe: int, months: list[int], failed: int = 0) -> pd.DataFrame:
    """Exact copies of the patient on a treatment, followed so long; the first so many fail then."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": severe, "drug": drug}] * len(months))
    return rows.assign(o_time=months, o_event=np.arange(len(months)) < failed).astype({"o_event": int})


def in_a_stratum(months: list[int], failed: int = 0, usual: int = 0) -> pd.DataFrame:
    """Five hundred on three treatments, a fifth of them severe; of the severe, so many are on the third."""
    rest = 100 - len(months)
    parts = [copies(drug, 0, [6] * 50 + [20] * 90, 50) for drug in ("t00", "t01")]
    parts += [copies("t02", 0, [6] * usual + [20] * (120 - usual), usual)]
    parts += [copies("t00", 1, [6] * 20 + [20] * 28, 20), copies("t01", 1, [6] * 20 + [20] * (rest - 68), 20)]
    return pd.concat([*parts, copies("t02", 1, months, failed)], ignore_index=True)


def ranked(run, frame, mode="neighbours", policy=HIDING, receiving=(), sites=None):
    study = STUDIES[mode](3)
    given = sites or data.thirds(frame)
    return run(
        "treatment_ranking", study, given, facts=data.FACTS, policy=policy, receiving=receiving
    )  # fmt: skip


def reasons(result) -> dict[str, str]:
    return {each.treatment: each.reason for each in result.hidden}


@pytest.mark.parametrize("mode", STUDIES)
def test_the_one_patient_of_a_large_stratum_is_not_the_number(run, mode):
    """A fifth of the mix: its effective size is above 20, and the exact mean says when that one failed."""
    means = []
    for month in (2, 11):
        frame = in_a_stratum([month], 1)
        exact = {arm.treatment: arm for arm in ranked(run, frame, mode, EXACT).arms}
        means.append(exact["t02"].estimate)
        assert exact["t02"].effective_size >= 20
        assert reasons(ranked(run, frame, mode)) == {"t02": HEAVY}
    assert means[1] - means[0] == pytest.approx(0.2 * 9)


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(
    ("months", "shown"),
    [([20], False), ([20] * 2, True), ([20] + [3] * 19, False), ([20] * 2 + [3] * 18, True)],
)
def test_nobody_at_risk_weighs_more_than_a_kth_of_them(run, mode, months, shown):
    result = ranked(run, in_a_stratum(months), mode)
    assert reasons(result) == ({} if shown else {"t02": HEAVY})


def test_the_last_of_a_stratum_that_comes_to_an_end_is_judged_when_it_does(run):
    """Twenty of whom nineteen are censored; the last one fails before tau."""
    assert reasons(ranked(run, in_a_stratum([8] + [3] * 19, 1))) == {"t02": HEAVY}
    assert reasons(ranked(run, in_a_stratum([8] * 20, 20))) == {}


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("receiving", "shown"), [((), True), (("west",), True), (("north",), False)])
def test_a_receiving_hospital_is_left_no_patient_who_weighs_much(run, mode, receiving, shown):
    """Of the two in the large stratum one is the receiving hospital's own."""
    frame = in_a_stratum([20] * 2)
    own = frame.index == frame.index[-1]
    sites = {"north": frame[own], "south": frame[~own], "west": frame.iloc[:0]}
    result = ranked(run, frame, mode, receiving=receiving, sites=sites)
    assert reasons(result) == ({} if shown else {"t02": HEAVY})


@pytest.mark.parametrize(("usual", "months", "coarse"), [(12, [6, 20, 20], True), (12, [20] * 3, False)])
def test_failures_of_which_one_weighs_much_are_told_as_coarsely_as_few(usual, months, coarse):
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", data.parameters(3))
    frame = in_a_stratum(months, months.count(6), usual)
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in data.thirds(frame).items()}
    with World("plain") as world:
        query = chosen.query(typed, data.FACTS)
        found = opened_outputs(world, chosen, typed, Released(HIDING, tuple(tables)), tables, query)
    assert found["state"].tolist() == [0, 0, 0] and found["coarse"].tolist() == [False, False, coarse]


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("severe", "strict"), [(11, False), (12, True)])
def test_a_tier_whose_treatments_have_no_effective_size_is_passed_over(run, mode, severe, strict):
    """Sixty of each treatment are like the patient; of the second few are severe, and others differ in age and markers."""
    second = [copies("t01", 0, [6] * 20 + [20] * 40, 20), copies("t01", 1, [20] * severe)]
    far = pd.concat([copies("t01", 1, [6] * 10 + [20] * 30, 10), copies("t00", 0, [20] * 40)])
    first = [copies("t00", 0, [20] * 10), copies("t00", 1, [6] * 60 + [20] * 140, 60)]
    frame = pd.concat([*first, *second, far.assign(age=41, **dict.fromkeys(data.MARKERS[4:], 1))])
    study = STUDIES[mode](2)
    result = run("treatment_ranking", study, data.thirds(frame), facts=data.FACTS, policy=HIDING)
    assert (result.tier in ("strict", "cell")) == strict
