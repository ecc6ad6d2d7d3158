"""Risks of failure and E-values of a ranking: against textbook loops, and at the border of what may be told."""

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
STUDIES = {"neighbours": data.parameters, "cells": data.cells}
FACTS = {"neighbours": data.FACTS, "cells": {"age": 60, "stage": "II"}}
TOO_FEW = "too few failures to tell a risk"


def ranked(run, frame, mode="neighbours", policy=HIDING, sites=None, receiving=()):
    study = STUDIES[mode](frame.drug.nunique())
    given = sites or data.thirds(frame)
    return run("treatment_ranking", study, given, facts=FACTS[mode], policy=policy, receiving=receiving)


def risk_of(rows: pd.DataFrame, strata: pd.Series, mix: pd.Series) -> tuple[float, float]:
    """Standardised risk and its standard error, by Kaplan-Meier and Greenwood in each stratum."""
    standing = variance = 0.0
    for stratum, share in mix.items():
        mine, survival, terms = rows[strata.loc[rows.index] == stratum], 1.0, 0.0
        for month in range(data.TAU):
            at_risk = (mine.o_time >= month).sum()
            failed = ((mine.o_time == month) & (mine.o_event == 1)).sum()
            if failed:
                survival *= 1 - failed / at_risk
                terms += failed / (at_risk * (at_risk - failed)) if at_risk > failed else 0.0
        standing += share * survival
        variance += (share * survival) ** 2 * terms
    return 1 - standing, variance**0.5


@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize("mode", STUDIES)
def test_every_risk_is_the_pooled_one_and_its_ratio_has_the_e_value(run, mode, policy):
    frame = data.patients(10_000, 3)
    result = ranked(run, frame, mode, policy)
    study = STUDIES[mode](3)
    tiers, find = (
        (study["tiers"], data.similar) if mode == "neighbours" else (study["cells"]["tiers"], data.united)
    )
    tier = next(one for one in tiers if one["name"] == result.tier)
    rows = frame[find(frame, FACTS[mode], tier)]
    strata = rows.severe * 2 + (rows.year >= 2018)
    mix = strata.value_counts(normalize=True)
    first = result.arms[0].risk
    assert first.risk and first.ratio is None and first.e_value is None and first.why_not is None
    compared = 0
    for arm in result.arms:
        risk, error = risk_of(rows[rows.drug == arm.treatment], strata, mix)
        exact = policy is EXACT
        step = 5 / (arm.size[0] + 5)
        assert arm.risk.risk == pytest.approx(risk, abs=1e-9 if exact else step / 2 + 1e-6)
        whole = error if exact else np.hypot(error, step / 12**0.5)
        assert arm.risk.standard_error == pytest.approx(whole, abs=1e-9 if exact else 0.055 * whole)
        assert exact or arm.risk.risk / step == pytest.approx(round(arm.risk.risk / step))
        if arm is result.arms[0]:
            continue
        compared += 1
        told, base = arm.risk, first
        ratio = told.risk / base.risk
        spread = np.exp(1.959964 * np.hypot(told.standard_error / told.risk, base.standard_error / base.risk))
        assert told.ratio == pytest.approx(ratio) and told.upper == pytest.approx(ratio * spread, rel=1e-6)
        assert told.lower == pytest.approx(ratio / spread, rel=1e-6)
        away = max(ratio, 1 / ratio)
        assert told.e_value == pytest.approx(away + (away * (away - 1)) ** 0.5)
        nearer = (
            1.0
            if told.lower <= 1 <= told.upper
            else min(max(told.lower, 1 / told.lower), max(told.upper, 1 / told.upper))
        )
        assert told.e_value_limit == pytest.approx(nearer + (nearer * (nearer - 1)) ** 0.5)
    assert compared


def failing(first: int, second: int) -> pd.DataFrame:
    """A hundred on each of two treatments, of whom so many fail in month 6."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0}] * 200)
    place = np.tile(np.arange(100), 2)
    failed = place < np.repeat([first, second], 100)
    drug = np.repeat(["t00", "t01"], 100)
    return rows.assign(drug=drug, o_time=np.where(failed, 6, 20), o_event=failed.astype(int))


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("failed", "told"), [(9, False), (10, True)])
def test_a_risk_is_told_from_k_failures_on(run, mode, failed, told):
    result = ranked(run, failing(failed, 40), mode)
    first, second = (arm.risk for arm in result.arms)
    assert result.arms[0].treatment == "t00" and second.risk == pytest.approx(8 * 5 / 105)
    assert (first.risk, first.why_not) == ((pytest.approx(2 * 5 / 105), None) if told else (None, TOO_FEW))
    assert (second.ratio, second.reference) == ((pytest.approx(4), "t00") if told else (None, None))
    assert second.why_not is None
    if told:
        assert second.e_value == pytest.approx(4 + 12**0.5)


def test_the_first_treatment_whose_risk_is_told_is_the_reference(run):
    third = failing(60, 0)
    frame = pd.concat([failing(9, 40), third[third.drug == "t00"].assign(drug="t02")], ignore_index=True)
    result = ranked(run, frame)
    assert [arm.treatment for arm in result.arms] == ["t00", "t01", "t02"]
    risks = [arm.risk for arm in result.arms]
    assert [one.reference for one in risks] == [None, None, "t01"]
    assert risks[2].ratio == pytest.approx(13 / 8) and risks[0].why_not == TOO_FEW


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("receiving", "told"), [((), True), (("west",), True), (("north",), False)])
def test_k_of_the_failures_are_outside_a_hospital_that_receives_the_answer(run, mode, receiving, told):
    frame = failing(12, 40)
    north = frame.index < 3
    sites = {"north": frame[north], "south": frame[~north], "west": frame.iloc[:0]}
    result = ranked(run, frame, mode, sites=sites, receiving=receiving)
    assert (result.arms[0].risk.risk is not None) == told


def test_what_may_not_be_told_opens_to_zero():
    chosen, typed = analysis("treatment_ranking"), parse_parameters("treatment_ranking", data.parameters(2))
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in data.thirds(failing(9, 40)).items()}
    with World("plain") as world:
        query = chosen.query(typed, data.FACTS)
        found = opened_outputs(world, chosen, typed, Released(HIDING, tuple(tables)), tables, query)
    assert found["risk"].tolist() == [0, 8] and found["risk_variance"].tolist() == [0, 2400]


def test_setting_the_first_treatment_aside_compares_with_the_next(run):
    result = ranked(run, data.patients(10_000, 4))
    rest = result.without([result.arms[0].treatment])
    assert rest.arms[0].risk.ratio is None and rest.arms[0].risk.why_not is None
    for arm in rest.arms[1:]:
        assert arm.risk.ratio == pytest.approx(arm.risk.risk / rest.arms[0].risk.risk)
        before = next(one for one in result.arms if one.treatment == arm.treatment)
        assert arm.risk.ratio != before.risk.ratio


def test_nobody_failing_has_no_ratio_in_an_exact_release(run):
    result = ranked(run, failing(0, 40), policy=EXACT)
    assert [arm.risk.ratio for arm in result.arms] == [None, None]
    assert result.arms[0].risk.why_not == TOO_FEW
