"""Kaplan-Meier and log-rank in the clear, against R's golden numbers and lifelines."""

import lifelines
import numpy as np
import pandas as pd
import pytest
from lifelines.datasets import load_waltons
from lifelines.statistics import multivariate_logrank_test
from scipy.stats import norm

from mpc_backend.analyses import grid
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses import log_rank_scores as log_rank

LAST = 1022


def table(frame: pd.DataFrame, horizon: int = LAST) -> km.LifeTable:
    times, events, _ = grid.times_and_events(frame, "o", "day", "day", horizon)
    return km.life_table(
        np.bincount(times[events == 1], minlength=horizon + 1),
        np.bincount(times[events == 0], minlength=horizon + 1),
    )


# R 4.2.2, survival 3.5-3: median (limits), S(365), SE, limits, RMST(365), SE, RMST(965), SE
GOLDEN = {
    "all": (310, 284, 361, 0.4092, 0.0358, 0.3387, 0.4784, 263.222, 7.799, 373.405, 19.031),
    1: (270, 210, 306, 0.3361, 0.0434, 0.2527, 0.4213, 241.495, 10.358, 324.048, 22.298),
    2: (426, 345, 524, 0.5265, 0.0597, 0.4036, 0.6353, 297.465, 10.791, 455.904, 32.917),
}


@pytest.mark.parametrize("sex", GOLDEN)
def test_golden_numbers_of_the_lung_data(lung, sex):
    found = table(lung if sex == "all" else lung[lung.sex == sex])
    lower, upper = km.log_log_interval(found.survival, found.log_variance, 0.95)
    medians = [km.crossing(curve, LAST) for curve in (found.survival, lower, upper)]
    expected = GOLDEN[sex]
    assert medians == list(expected[:3])
    at = (found.survival[365], found.standard_error[365], lower[365], upper[365])
    assert at == pytest.approx(expected[3:7], abs=5.1e-5)
    for place, tau in ((7, 365), (9, 965)):
        mean, variance = km.restricted_mean(found.survival, tau), km.restricted_mean_variance(found, tau)
        assert (float(mean), float(np.sqrt(variance))) == pytest.approx(
            expected[place : place + 2], abs=5.1e-4
        )


def test_restricted_mean_of_waltons():
    frame = load_waltons().rename(columns={"T": "o_time", "E": "o_event"})
    found = table(frame[frame.group == "miR-137"], 80)
    assert float(km.restricted_mean(found.survival, 10)) == pytest.approx(9.794, abs=5e-4)
    assert float(np.sqrt(km.restricted_mean_variance(found, 10))) == pytest.approx(0.123, abs=5e-4)


def test_curve_and_interval_agree_with_lifelines(lung):
    found = table(lung)
    fitted = lifelines.KaplanMeierFitter().fit(lung.o_time, lung.o_event)
    days = np.array([11, 105, 350, 643, 883])
    assert found.survival[days] == pytest.approx(fitted.predict(days).to_numpy(), rel=1e-12)
    lower, upper = km.log_log_interval(found.survival, found.log_variance, 0.95)
    band = fitted.confidence_interval_.loc[days].to_numpy()
    assert np.column_stack([lower[days], upper[days]]) == pytest.approx(band, rel=1e-6)


def counts(frame: pd.DataFrame, arms: list[str], strata: list[str] | None = None):
    times, events, _ = grid.times_and_events(frame, "o", "day", "day", LAST)
    arm = grid.level_codes(frame, "sex", arms)
    stratum = grid.level_codes(frame, "ecog", strata) if strata else np.zeros(len(frame), dtype=int)
    failed = np.zeros((len(arms), len(strata or [""]), LAST + 1), dtype=np.int64)
    left, kept = np.zeros_like(failed), stratum >= 0
    np.add.at(failed, (arm[kept], stratum[kept], times[kept]), events[kept])
    np.add.at(left, (arm[kept], stratum[kept], times[kept]), 1 - events[kept])
    return failed, left


@pytest.mark.parametrize(
    ("strata", "rho", "chi2"),
    [(None, 0.0, 10.32674), (None, 1.0, 12.71415), (["0", "1", "2", "3"], 0.0, 10.79506)],
)
def test_golden_log_rank_tests(lung, strata, rho, chi2):
    found = log_rank.chi_square_test(*log_rank.scores(*counts(lung, ["1", "2"], strata), rho))
    assert found is not None and found.df == 1
    assert found.chi2 == pytest.approx(chi2, abs=5.1e-6)


def test_log_rank_of_several_arms_agrees_with_lifelines(lung):
    frame = lung.assign(sex=lung.sex * 10 + (lung.age > 63))
    arms = ["10", "11", "20", "21"]
    found = log_rank.chi_square_test(*log_rank.scores(*counts(frame, arms)))
    expected = multivariate_logrank_test(frame.o_time, frame.sex, frame.o_event)
    assert found is not None
    assert (found.chi2, found.df, found.p) == pytest.approx(
        (expected.test_statistic, 3, expected.p_value), rel=1e-9
    )
    shared = [np.round(each * 2**20) / 2**20 for each in log_rank.scores(*counts(frame, arms))]
    again = log_rank.chi_square_test(*shared)
    assert again is not None and again.df == 3, "arms sum to zero but for units of the last place"
    assert again.p == pytest.approx(expected.p_value, rel=1e-4)


def test_an_empty_arm_adds_no_degree_of_freedom_and_no_events_no_test(lung):
    failed, left = counts(lung, ["1", "2", "9"])
    found = log_rank.chi_square_test(*log_rank.scores(failed, left))
    assert found is not None and found.df == 1 and found.chi2 == pytest.approx(10.32674, abs=5.1e-6)
    assert log_rank.chi_square_test(*log_rank.scores(failed * 0, left)) is None


def test_median_is_the_midpoint_of_a_flat_half_and_missing_when_not_reached():
    assert km.crossing(np.array([1, 0.5, 0.5, 0.25]), 3) == 2.0
    assert km.crossing(np.array([1, 0.5, 0.5, 0.5]), 3) == 2.0
    assert km.crossing(np.array([1, 0.8, 0.6]), 2) is None


def test_everybody_failing_at_once_leaves_zero_without_an_interval():
    found = km.life_table(np.array([0, 4, 0]), np.zeros(3))
    lower, upper = km.log_log_interval(found.survival, found.log_variance, 0.95)
    assert found.survival.tolist() == [1, 0, 0] and np.isnan(lower).all() and np.isnan(upper).all()
    assert float(km.restricted_mean(found.survival, 3)) == 1 and km.restricted_mean_variance(found, 3) == 0


def test_standardising_over_equal_strata_changes_nothing(lung):
    one = table(lung)
    both = km.life_table(np.stack([one.events] * 2), np.stack([one.censored] * 2))
    mixed = km.standardise(both, np.array([0.3, 0.7]), 365)
    assert mixed.survival == pytest.approx(one.survival, rel=1e-12)
    assert float(mixed.mean) == pytest.approx(float(km.restricted_mean(one.survival, 365)), rel=1e-12)
    assert float(mixed.mean_variance) == pytest.approx(
        float(km.restricted_mean_variance(one, 365)) * 0.58, rel=1e-12
    )


def test_interval_uses_the_normal_quantile_not_a_rounded_one(lung):
    found = table(lung)
    lower, _ = km.log_log_interval(found.survival, found.log_variance, 0.95)
    s, se = found.survival[365], found.standard_error[365]
    assert lower[365] == pytest.approx(s ** np.exp(norm.ppf(0.975) * se / s / -np.log(s)), rel=1e-14)
