"""The known truth: crude answers mislead, the stratified ones do not, and patients find comparable ones."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test

from workbench.demo import curves, truth
from workbench.demo.population import Population, make_population
from workbench.demo.similar import LADDER, Similar

K = 10


def test_attrition_ends_at_the_persons_admitted_by_construction(full: Population) -> None:
    steps = truth.attrition(full)
    counts = [count for _, count in steps]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == full.diabetes["counted"].sum()
    assert all(before - after >= K for before, after in itertools.pairwise(counts))


def test_crude_comparison_reverses_the_truth_and_the_stratified_one_finds_it(full: Population) -> None:
    found = truth.comparison(full)
    assert found.causal_mean[1] > found.causal_mean[0]
    assert found.crude[1].mean < found.crude[0].mean
    difference = found.adjusted[1].mean - found.adjusted[0].mean
    error = np.hypot(found.adjusted[0].mean_error, found.adjusted[1].mean_error)
    assert abs(difference - (found.causal_mean[1] - found.causal_mean[0])) < 2.5 * error
    assert difference > 2 * error


def test_stratified_estimates_are_unbiased_over_populations() -> None:
    errors = []
    for seed in range(20, 28):
        found = truth.comparison(make_population(2_000, seed))
        errors.append([one.mean - two for one, two in zip(found.adjusted, found.causal_mean, strict=True)])
    np.testing.assert_allclose(np.mean(errors, axis=0), 0.0, atol=0.25)


def test_every_stratum_supports_both_therapies(full: Population) -> None:
    people = full.diabetes[full.diabetes["eligible"] & full.diabetes["hba1c_known"]]
    cells = people.groupby(["kidney", "high", "late", "therapy"]).size()
    assert len(cells) == 16
    assert cells.min() >= 2 * K


def test_kaplan_meier_and_log_rank_agree_with_lifelines(full: Population) -> None:
    people = full.diabetes[full.diabetes["eligible"]]
    months, events = curves.on_grid(people)
    fitted = KaplanMeierFitter().fit(months, events)
    ours = curves.kaplan_meier(months, events)
    expected = fitted.survival_function_at_times(range(25)).to_numpy()
    np.testing.assert_allclose(ours.survival, expected, atol=1e-12)
    arm = people["therapy"].to_numpy()
    test = logrank_test(months[arm == 0], months[arm == 1], events[arm == 0], events[arm == 1])
    statistic, p = curves.log_rank(months, events, arm, np.zeros_like(arm))
    assert statistic == pytest.approx(test.test_statistic)
    assert p == pytest.approx(test.p_value)


@pytest.fixture(scope="module")
def similar(full: Population) -> Similar:
    return Similar(full)


def _shown(similar: Similar, facts: dict[str, object]) -> int:
    """How many arms a study shows: in the tier chosen, those that overlap in every stratum, are followed to the horizon,
    have an effective size of 20, and keep ten persons when any hospital subtracts its own."""
    _, members = similar.first_tier(facts)
    return sum(
        one.overlap and one.finished and min(one.persons_left, one.at_tau_left) >= K and one.information >= 20
        for one in similar.arms(members).values()
    )


def test_four_in_five_patients_see_two_supported_treatments(similar: Similar) -> None:
    rng = np.random.default_rng(11)
    rows = rng.choice(len(similar.people), 100, replace=False)
    seen = [_shown(similar, similar.facts(int(row))) >= 2 for row in rows]
    assert np.mean(seen) >= 0.85, "0.80 is promised; 0.85 leaves room for the choice of patients"


def test_crude_ranking_is_biased_by_indication_and_the_stratified_one_is_not(similar: Similar) -> None:
    rng = np.random.default_rng(12)
    found = []
    for row in rng.choice(len(similar.people), 50, replace=False):
        found += _errors(similar, similar.facts(int(row)))
    table = pd.DataFrame(found, columns=["for_severe", "crude", "adjusted"])
    bias = table.groupby("for_severe").mean().abs()
    gap = table.groupby("for_severe").mean().diff().iloc[-1].abs()
    assert gap["crude"] > 1.0, "treatments given to the severely ill must look worse than they are"
    assert gap["adjusted"] < 0.5
    assert bias["adjusted"].max() < bias["crude"].max()


def _errors(similar: Similar, facts: dict[str, object]) -> list[tuple[bool, float, float]]:
    """Crude and adjusted minus causal mean of each arm with at least 50 persons in the loosest tier."""
    arms = similar.arms(similar.within(facts, LADDER[-1]), smallest=50)
    tilt = similar.truth.severe_tilt
    return [
        (bool(tilt[arm] > 0), one.crude - one.causal, one.mean - one.causal)
        for arm, one in arms.items()
        if one.overlap
    ]


def test_missing_facts_are_not_matched_on(similar: Similar) -> None:
    facts = similar.facts(5)
    loose = LADDER[0]
    all_known = similar.within(facts, loose)
    some = similar.within({**facts, "age": None, "stage": None, "marker_03": None}, loose)
    assert (some | ~all_known).all()
    assert some.sum() > all_known.sum()
