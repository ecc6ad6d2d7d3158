"""Coverage of the intervals with few or no failures, and errors under the null, on the formulae in the clear."""

import numpy as np
import pytest

from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.ranking_intervals import Arms, not_ruled_out, shrunken

TAU = 12
Z = 1.959963984540054


def simulate(rng, persons: int, survival: float, *, strata=(0.7, 1.0, 1.3), weights=(0.3, 0.4, 0.3)):
    """One arm: restricted mean and error as shares of tau, information, failures; None where a stratum is not followed."""
    rates = -np.log(survival) * np.array(strata) / TAU
    group = rng.choice(len(strata), persons, p=weights)
    failure = rng.exponential(1 / rates[group])
    leaving = np.where(rng.random(persons) < 0.3, rng.uniform(0, TAU, persons), 3 * TAU)
    time = np.minimum(np.ceil(np.minimum(failure, leaving)).astype(int), TAU)
    event = (failure <= leaving) & (np.ceil(failure) <= TAU)
    failed, left = np.zeros((len(strata), TAU + 1)), np.zeros((len(strata), TAU + 1))
    np.add.at(failed, (group[event], time[event]), 1)
    np.add.at(left, (group[~event], time[~event]), 1)
    table = km.life_table(failed, left)
    if (table.at_risk[:, TAU] == 0).any():
        return None
    mixed = km.standardise(table, np.array(weights), TAU)
    before = failed[:, :TAU].sum(axis=1)
    information = 1 / (np.array(weights) ** 2 / (table.at_risk[:, TAU] + before)).sum()
    return mixed.mean / TAU, np.sqrt(mixed.mean_variance) / TAU, information, before.sum() < 10


def true_mean(survival: float) -> float:
    rates = -np.log(survival) * np.array([0.7, 1.0, 1.3]) / TAU
    return float(np.array([0.3, 0.4, 0.3]) @ np.exp(-rates[:, None] * np.arange(TAU)).mean(axis=1))


def arms_of(rows) -> Arms:
    mean, error, information, few = (np.array(column) for column in zip(*rows, strict=True))
    return Arms(mean, error, information, few)


@pytest.mark.parametrize("persons", [20, 30, 60, 150])
@pytest.mark.parametrize("survival", [0.99, 0.95, 0.8, 0.5])
def test_intervals_cover_the_truth_at_least_93_times_in_100(persons, survival):
    rng = np.random.default_rng(persons)
    rows = [row for row in (simulate(rng, persons, survival) for _ in range(1000)) if row is not None]
    truth = true_mean(survival)
    lower, upper = arms_of(rows).interval(Z)
    assert len(rows) > 400
    assert ((lower <= truth) & (truth <= upper)).mean() >= 0.93


def test_a_wald_interval_would_not_do():
    rng = np.random.default_rng(1)
    rows = [row for row in (simulate(rng, 30, 0.95) for _ in range(500)) if row is not None]
    arms = arms_of(rows)
    truth = true_mean(0.95)
    assert (np.abs(arms.mean - truth) <= Z * arms.standard_error).mean() < 0.8


@pytest.mark.parametrize(("count", "survival"), [(3, 0.5), (8, 0.9), (20, 0.6)])
def test_under_the_null_any_arm_is_ruled_out_in_at_most_alpha_of_runs(count, survival):
    rng = np.random.default_rng(count)
    wrong = runs = 0
    for _ in range(120):
        rows = [
            simulate(rng, int(rng.integers(20, 80)), survival, strata=(1.0,), weights=(1.0,))
            for _ in range(count)
        ]
        kept = [row for row in rows if row is not None]
        runs += 1
        wrong += not not_ruled_out(arms_of(kept), 0.05).all()
    assert wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_a_clearly_worse_arm_is_ruled_out_and_the_best_never_is():
    arms = Arms(np.array([0.9, 0.88, 0.5]), np.array([0.02] * 3), np.array([100.0] * 3), np.zeros(3, bool))
    assert not_ruled_out(arms, 0.05).tolist() == [True, True, False]
    assert not_ruled_out(arms, 0.05)[arms.mean.argmax()]


def test_nobody_failing_has_an_interval_below_one_and_at_one():
    arms = Arms(np.array([1.0]), np.array([0.0]), np.array([30.0]), np.array([True]))
    lower, upper = arms.interval(Z)
    assert lower[0] == pytest.approx(0.025 ** (1 / 30)) and upper[0] == 1


def test_shrinking_keeps_the_order_of_equally_precise_arms_and_draws_to_the_mean():
    arms = Arms(np.array([0.9, 0.8, 0.7]), np.array([0.05] * 3), np.array([50.0] * 3), np.zeros(3, bool))
    drawn = shrunken(arms)
    assert (np.diff(drawn) < 0).all() and np.ptp(drawn) < 0.2
    alike = shrunken(Arms(np.array([0.8, 0.8, 0.8]), arms.standard_error, arms.information, arms.few))
    assert alike == pytest.approx([0.8] * 3)
