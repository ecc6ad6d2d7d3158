"""Logistic regression on shares against iteratively reweighted least squares in numpy."""

import numpy as np
import pytest

from mpc_backend.analyses import logistic
from mpc_backend.analyses.logistic_newton import fit_logistic
from mpc_backend.testing import World

SCALE = 16


def on_grid(values):
    return np.rint(values * 2**SCALE) / 2**SCALE


def made(n, effects, constant, seed):
    """A design with a constant and standard normal covariates, and outcomes."""
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), on_grid(rng.normal(size=(n, len(effects))))])
    chance = 1 / (1 + np.exp(-(design @ np.array([constant, *effects]))))
    return design, (rng.random(n) < chance).astype(np.int64)


def reference(design, outcome, weights):
    """Coefficients, covariance, fitted values and log-likelihood; thirty steps from zero."""
    found = np.zeros(design.shape[1])
    for _ in range(30):
        fitted = 1 / (1 + np.exp(-(design @ found)))
        information = (design * (weights * fitted * (1 - fitted))[:, None]).T @ design
        found = found + np.linalg.solve(information, design.T @ (weights * (outcome - fitted)))
    predictor = design @ found
    height = (weights * (outcome * predictor - np.logaddexp(0, predictor))).sum()
    return found, np.linalg.inv(information), 1 / (1 + np.exp(-predictor)), height


def fitted(protocol, design, outcome, *, weights=None, valid=None, padding=0, steps=9):
    extra = np.zeros((padding, design.shape[1]))
    with World(protocol) as world:
        given = {
            "design": world.share(np.concatenate([design, extra]), scale=SCALE, bits=SCALE + 7),
            "outcome": world.share(np.concatenate([outcome, extra[:, 0].astype(int)]), bits=2, ring=16),
        }
        if weights is not None:
            given["weights"] = world.share(np.concatenate([weights, extra[:, 0]]), scale=SCALE, bits=24)
        if valid is not None:
            given["valid"] = world.share(valid)

        def program(session, **columns):
            fit = fit_logistic(session, **columns, steps=steps, likelihood=True)
            return {
                "coefficients": fit.coefficients, "covariance": fit.covariance(), "fitted": fit.fitted,
                "errors": fit.information.errors(36), "estimable": fit.estimable,
                "height": fit.log_likelihood, "null": fit.null_log_likelihood,
            }  # fmt: skip

        return world.run(program, **given)


def agrees(found, design, outcome, weights=None):
    weights = np.ones(len(outcome)) if weights is None else weights
    coefficients, covariance, chances, height = reference(design, outcome, weights)
    errors = np.sqrt(np.diag(covariance))
    assert found["estimable"]
    tolerance = 1e-5 * np.maximum(np.abs(coefficients), errors)
    assert np.all(np.abs(found["coefficients"] - coefficients) <= tolerance)
    np.testing.assert_allclose(found["errors"], errors, rtol=1e-5)
    assert np.abs((found["covariance"] - covariance) / np.outer(errors, errors)).max() < 1e-4
    np.testing.assert_allclose(found["fitted"][: len(chances)], chances, atol=1e-6)
    share = (weights * outcome).sum() / weights.sum()
    null = weights.sum() * (share * np.log(share) + (1 - share) * np.log(1 - share))
    assert found["height"] == pytest.approx(height, abs=1e-3)
    assert found["null"] == pytest.approx(null, abs=1e-3)


@pytest.mark.parametrize(
    ("n", "effects", "constant"),
    [(60, (), -0.5), (300, (0.5, -0.3), 0.0), (5_000, (3.0, -2.0, 1.0), 1.0), (20_000, (0.4, 0.1), -5.5)],
)
def test_it_finds_the_maximum_of_the_likelihood(n, effects, constant):
    design, outcome = made(n, effects, constant, n)
    agrees(fitted("plain", design, outcome, padding=n // 3), design, outcome)


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_it_finds_the_maximum_among_nodes(protocol):
    design, outcome = made(800, (0.8, -0.4, 0.3), -1.0, 4)
    weights = on_grid(np.random.default_rng(5).uniform(0.2, 3, 800))
    found = fitted(protocol, design, outcome, weights=weights, padding=224, steps=7)
    agrees(found, design, outcome, weights)


def test_rows_that_do_not_count_change_nothing():
    design, outcome = made(600, (0.5, 0.7), 0.2, 8)
    valid = np.random.default_rng(1).random(600) < 0.7
    found = fitted("plain", design, outcome, valid=valid)
    found["fitted"] = found["fitted"][valid]
    agrees(found, design[valid], outcome[valid])


def test_what_cannot_be_estimated_is_said():
    design, outcome = made(400, (1.0, 0.5), 0.0, 2)
    separated = (design[:, 1] > 0).astype(np.int64)
    rare = np.column_stack([design, np.arange(400) < 3])  # three persons, all with the outcome
    twice = np.column_stack([design, design[:, 1] - design[:, 2]])
    cases = {
        "separated": (design, separated), "nearly separated": (rare, np.where(np.arange(400) < 3, 1, outcome)),
        "separated for long": (rare, np.where(np.arange(400) < 3, 1, outcome)),
        "collinear": (on_grid(twice), outcome), "constant": (np.column_stack([design, np.full(400, 2.0)]), outcome),
        "nobody": (design, outcome * 0), "everybody": (design, outcome * 0 + 1),
        "no rows": (design * 0, outcome * 0), "one row": (design[:1], outcome[:1]),
        "fewer rows than columns": (design[:2], np.array([0, 1])), "too few steps": (design, outcome),
    }  # fmt: skip
    for name, (rows, answers) in cases.items():
        steps = {"too few steps": 3, "separated for long": 20}.get(name, 9)
        found = fitted("plain", rows, answers, steps=steps)
        assert not found["estimable"], name


def test_it_is_the_fit_that_analyses_give():
    assert logistic is fit_logistic


def test_limits_are_refused():
    design, outcome = made(20, (0.1,), 0.0, 1)
    with pytest.raises(ValueError, match="at least two steps, found 20 rows, 1 steps"):
        fitted("plain", design, outcome, steps=1)
