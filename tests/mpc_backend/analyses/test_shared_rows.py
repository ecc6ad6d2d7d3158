"""Survival statistics as functions of shared rows, against the clear ones and R's golden numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mpc_backend import analyses
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses import log_rank_scores
from mpc_backend.testing import World

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    found = pd.read_csv(GOLDEN / "cox_lung.csv").dropna(subset=["age", "sex"])
    shuffled = found.sample(frac=1, random_state=1)
    return shuffled.assign(month=np.ceil(shuffled.time * 16 / 487).astype(int))


def tables(frame: pd.DataFrame, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    within = frame.month <= horizon
    failed = np.bincount(frame.month[within & (frame.status == 1)], minlength=horizon + 1)
    return failed, np.bincount(frame.month.clip(upper=horizon), minlength=horizon + 1) - failed


def test_curve_and_restricted_mean(lung):
    with World("rep3") as world:
        time, event = world.share(lung.month.to_numpy(), bits=8), world.share(lung.status.to_numpy() == 1)
        curve, mean = world.run(
            lambda session, t, e: (
                analyses.kaplan_meier(session, t, e, 20),
                analyses.rmst(session, t, e, 12),
            ),
            time, event,
        )  # fmt: skip
    expected = km.life_table(*tables(lung, 20))
    assert (
        curve["at_risk"].tolist() == expected.at_risk.tolist()
        and curve["events"].tolist() == expected.events.tolist()
    )
    np.testing.assert_allclose(curve["survival"], expected.survival, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(curve["variance"].clip(min=0)), expected.standard_error, atol=1e-6)
    short = km.life_table(*tables(lung, 12))
    assert mean["mean"] == pytest.approx(km.restricted_mean(short.survival, 12), rel=1e-6)
    assert mean["variance"] == pytest.approx(km.restricted_mean_variance(short, 12), rel=1e-5)


@pytest.mark.parametrize("arms", [2, 3])
def test_log_rank(lung, arms):
    arm = lung.sex.to_numpy() - 1 if arms == 2 else lung["inst"].fillna(1).to_numpy().astype(int) % 3
    with World("plain") as world:
        shared = [
            world.share(lung.month.to_numpy(), bits=8), world.share(lung.status.to_numpy(), bits=2), world.share(arm, bits=3)
        ]  # fmt: skip
        found = world.run(lambda session, t, e, a: analyses.log_rank(session, t, e, a, arms, 34), *shared)
    pairs = [tables(lung[arm == code], 34) for code in range(arms)]
    events, censored = (np.stack([pair[at] for pair in pairs])[:, None] for at in (0, 1))
    score, variance = log_rank_scores.scores(events, censored)
    test = log_rank_scores.chi_square_test(score, variance)
    np.testing.assert_allclose(found["score"], score, atol=1e-3)
    assert (found["chi2"], found["df"]) == (pytest.approx(test.chi2, abs=2e-3), test.df)


def test_curves_by_arm_and_their_test_are_those_of_each_by_itself(lung):
    """Rows of another code than the arms' are left out, such as those that pad a table."""
    arm = lung.sex.to_numpy() - 1
    arm[::9] = 3
    with World("rep4") as world:
        shared = [
            world.share(lung.month.to_numpy(), bits=8), world.share(lung.status.to_numpy() == 1), world.share(arm, bits=3)
        ]  # fmt: skip
        both = world.run(lambda session, *rows: analyses.survival_by_arm(session, *rows, 2, 20), *shared)
    with World("plain") as world:
        for code in range(2):
            rows = lung[arm == code]
            alone = [world.share(rows.month.to_numpy(), bits=8), world.share(rows.status.to_numpy() == 1)]
            curve = world.run(lambda session, t, e: analyses.kaplan_meier(session, t, e, 20), *alone)
            for name, expected in curve.items():
                np.testing.assert_allclose(both[name][code], expected, atol=1e-6, err_msg=name)
    counts = [tables(lung[arm == code], 20) for code in range(2)]
    events, censored = (np.stack([pair[at] for pair in counts])[:, None] for at in (0, 1))
    test = log_rank_scores.chi_square_test(*log_rank_scores.scores(events, censored))
    assert (both["log_rank"], both["df"]) == (pytest.approx(test.chi2, abs=2e-3), 1)


@pytest.mark.parametrize(("ties", "protocol"), [("efron", "rep3"), ("breslow", "plain")])
def test_cox_of_unsorted_rows_is_that_of_r(lung, ties, protocol):
    x = lung[["age", "sex"]].to_numpy() / [10, 0.5]
    with World(protocol) as world:
        shared = [
            world.share(lung.time.to_numpy(), bits=12),
            world.share(lung.status.to_numpy() == 1),
            world.share(x),
        ]
        found = world.run(
            lambda session, t, e, x: analyses.cox(session, t, e, x, ties=ties, iterations=5), *shared
        )
    golden = pd.read_csv(GOLDEN / "cox.csv").set_index(["model", "quantity"])["value"]
    expected = golden["lung" if ties == "efron" else "lung breslow"]
    assert found["sound"]
    np.testing.assert_allclose(found["coef"] / [10, 0.5], expected["coef"], atol=1e-5)
    np.testing.assert_allclose(found["se"] / [10, 0.5], expected["se"], rtol=1e-4)
    np.testing.assert_allclose(found["robust_se"] / [10, 0.5], expected["robust_se"], rtol=1e-3)
    tests = [expected[name] for name in ("wald", "score", "lr")]
    np.testing.assert_allclose(found["tests"], tests, rtol=1e-4)


def test_horizons_beyond_the_grid_are_refused(lung):
    with World("plain") as world, pytest.raises(ValueError, match="coarser grid"):
        shared = world.share(lung.time.to_numpy(), bits=12), world.share(lung.status.to_numpy(), bits=2)
        world.run(lambda session, t, e: analyses.kaplan_meier(session, t, e, 1022), *shared)
