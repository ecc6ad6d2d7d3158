"""Coverage of the intervals with few or no failures, and errors under the null, on the formulae in the clear."""

import numpy as np
import pytest

from mpc_backend.analyses.ranking_intervals import Arms, not_ruled_out, shrunken
from tests.validation.page import PAGE
from tests.validation.simulation import (
    NULL,
    PERSONS,
    SURVIVAL,
    Z,
    arms_of,
    covered,
    covered_row,
    ruled_out_row,
    simulate,
    true_mean,
    wrongly_ruled_out,
)

PRINTED = PAGE.read_text(encoding="utf-8").splitlines()
AGAIN = "write docs/validation.md anew: make validation"


@pytest.mark.parametrize("persons", PERSONS)
@pytest.mark.parametrize("survival", SURVIVAL)
def test_intervals_cover_the_truth_at_least_93_times_in_100(persons, survival):
    arms, share = found = covered(persons, survival)
    assert arms > 400 and share >= 0.93
    assert covered_row(persons, survival, found) in PRINTED, AGAIN


def test_a_wald_interval_would_not_do():
    rng = np.random.default_rng(1)
    rows = [row for row in (simulate(rng, 30, 0.95) for _ in range(500)) if row is not None]
    arms = arms_of(rows)
    truth = true_mean(0.95)
    assert (np.abs(arms.mean - truth) <= Z * arms.standard_error).mean() < 0.8


@pytest.mark.parametrize(("count", "survival"), NULL)
def test_under_the_null_any_arm_is_ruled_out_in_at_most_alpha_of_runs(count, survival):
    runs, share = found = wrongly_ruled_out(count, survival)
    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert ruled_out_row(count, survival, found) in PRINTED, AGAIN


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
