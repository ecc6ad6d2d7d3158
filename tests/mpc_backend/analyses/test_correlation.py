"""Means, variances and correlations against R, and what may be shown of them."""

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import regression_tables
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World
from tests.validation.description import correlated as study
from tests.validation.description import lines
from tests.validation.holding import agreed

EXACT = DisclosurePolicy(release="exact", minimum_sites=1, rounding=1)
TWO = {"x": (0, 1), "y": (0, 1)}


def generated(n, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n)})


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_answers_are_those_of_r_on_shares(protocol):
    agreed(lines("birthwt, correlations", protocol))


def test_missing_values_and_a_variable_that_does_not_vary(run):
    frame = generated(40).assign(z=7.0)
    extra = pd.DataFrame({"x": [50.0, None], "y": [None, 50.0], "z": [7.0, 7.0]})
    both = pd.concat([frame, extra], ignore_index=True)
    parameters = study({**TWO, "z": (6, 2)})
    parameters["variables"][2]["codes"] = ["7"]
    result = run("correlation", parameters, {"a": both}, policy=EXACT)
    assert result.n.value == 40
    assert result.variables[2].mean == pytest.approx(7) and result.variables[2].variance == pytest.approx(
        0, abs=1e-6
    )
    first, second, _ = result.pairs
    assert first.pearson == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1], abs=1e-6)
    assert second.pearson is None and second.p is None


@pytest.mark.parametrize(("n", "said"), [(0, False), (1, False), (2, True), (3, True), (4, True)])
def test_few_persons_in_exact_release(run, n, said):
    frame = generated(4).head(n)
    result = run("correlation", study(TWO), {"a": frame}, policy=EXACT)
    (pair,) = result.pairs
    assert (result.why_not is None) == said and (pair.pearson is None) != said
    assert (pair.lower is not None) == (n > 3)
    if said:
        assert result.variables[0].mean == pytest.approx(frame.x.mean(), abs=1e-6)
        assert pair.pearson == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1], abs=1e-6)


@pytest.mark.parametrize(("n", "shown"), [(9, False), (10, True), (11, True)])
def test_k_persons_are_needed(run, n, shown):
    result = run("correlation", study(TWO), {"a": generated(n)})
    assert (result.why_not is None) == shown and (result.pairs[0].pearson is not None) == shown
    assert {each.what for each in result.suppressed} == (
        set() if shown else {"persons", "means and correlations"}
    )
    parts = {"a": generated(30), "b": generated(n, 2)}
    assert (run("correlation", study(TWO), parts, receiving=("a",)).why_not is None) == shown


def test_numbers_are_rounded(run):
    frame = generated(200)
    shown, exact = (run("correlation", study(TWO), {"a": frame}, policy=each) for each in (None, EXACT))
    assert shown.variables[0].mean == pytest.approx(round(exact.variables[0].mean, 3), abs=1e-9)
    assert shown.variables[0].variance == pytest.approx(float(f"{exact.variables[0].variance:.4g}"), abs=1e-9)
    assert shown.pairs[0].pearson == pytest.approx(float(f"{exact.pairs[0].pearson:.3g}"), abs=1e-4)


def prepared(frame, parameters):
    chosen, typed = analysis("correlation"), parse_parameters("correlation", parameters)
    return chosen, typed, {"a": chosen.local(typed, SiteData(frame))}


def everything_opened(frame, parameters):
    chosen, typed, tables = prepared(frame, parameters)
    with World("plain") as world:
        released = Released(DisclosurePolicy(minimum_sites=1), ("a",))
        opened = opened_outputs(world, chosen, typed, released, tables)
    return {name: np.asarray(value).tolist() for name, value in opened.items()}


def test_what_is_hidden_opens_to_constants():
    first, second = (everything_opened(generated(9, seed), study(TWO)) for seed in (1, 2))
    assert first == second and not any(first["varies"])


def coded(*names):
    """A study of x and of numbers that are 0 or 1."""
    flags = [{"variable": name, "centre": 0.5, "scale": 0.5, "codes": ["0", "1"]} for name in names]
    return {"variables": [{"variable": "x", "centre": 0, "scale": 1}, *flags]}


def flagged(ones, both=None):
    """100 persons: so many with y, half with z, and ``both`` with y and z."""
    at = np.arange(100)
    with_z = at % 2 == 0 if both is None else (at < both) | (at >= 50 + both)
    return generated(100).assign(y=(at < ones) * 1.0, z=with_z * 1.0)


@pytest.mark.parametrize(("ones", "shown"), [(9, False), (10, True), (91, False)])
def test_persons_of_each_code_are_counted_in_every_view(run, ones, shown):
    for sites, receiving in (({"a": flagged(ones)}, ()), ({"a": flagged(ones), "b": flagged(50)}, ("b",))):
        result = run("correlation", coded("y"), sites, receiving=receiving)
        assert (result.pairs[0].pearson is not None) == shown == (result.variables[0].mean is not None)
        assert shown or result.why_not == "fewer than 10 persons of a code, or of two codes together"


@pytest.mark.parametrize(("both", "shown"), [(9, False), (10, True), (41, False)])
def test_persons_of_two_codes_together_are_counted(run, both, shown):
    result = run("correlation", coded("y", "z"), {"a": flagged(50, both)})
    assert (result.why_not is None) == shown


def test_rare_codes_open_to_constants_and_a_study_has_to_declare_them(run):
    assert everything_opened(flagged(0), coded("y")) == everything_opened(flagged(9), coded("y"))
    found = [everything_opened(flagged(50, both), coded("y", "z")) for both in (0, 9)]
    assert found[0] == found[1]
    for parameters, words in (
        (study({"y": (0.5, 0.5)}), "y has no more than two different numbers among the persons"),
        ({"variables": [{**coded("y")["variables"][1], "codes": ["1"]}]}, "y holds other values than 1"),
    ):
        with pytest.raises(LocalDataError, match=words):
            run("correlation", parameters, {"a": flagged(3)})
    exact = run("correlation", coded("y", "z"), {"a": flagged(3)}, policy=EXACT)
    assert exact.variables[1].mean == pytest.approx(0.03, abs=1e-6)
    few = run("correlation", study({"y": (0.5, 0.5)}), {"a": flagged(3).head(9)}, policy=EXACT)
    assert few.variables[0].mean == pytest.approx(1 / 3, abs=1e-6), "two numbers of nine persons say nothing"


@pytest.mark.parametrize("declared", [(30, 1), (0, 0.1)])
def test_a_wrong_declaration_gives_no_number_instead_of_a_wrong_one(run, declared):
    result = run("correlation", study({**TWO, "y": declared}), {"a": generated(50)}, policy=EXACT)
    assert result.why_not.startswith("not estimable") and result.variables[0].mean is None


def test_refusals(run, monkeypatch):
    with pytest.raises(LocalDataError, match="y holds numbers 64 or more scales"):
        run("correlation", study({**TWO, "y": (900, 1)}), {"a": generated(50)})
    twice = {"variables": study(TWO)["variables"] * 2}
    with pytest.raises(ParametersRefused, match="each may be named once"):
        parse_parameters("correlation", twice)
    monkeypatch.setattr(regression_tables, "MOST_ROWS", 40)
    with pytest.raises(LocalDataError, match=r"^more than 40 persons, the most from one hospital$"):
        run("correlation", study(TWO), {"a": generated(50)})
