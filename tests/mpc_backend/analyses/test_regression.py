"""Linear and logistic regression against R's lm and glm, at the limits of what can be estimated and of what may be shown."""

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cells import HiddenCount
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World
from tests.validation.holding import agreed
from tests.validation.regression import LOW, WEIGHT, compared, lines, study
from tests.validation.sets import data

EXACT = DisclosurePolicy(release="exact", minimum_sites=1, rounding=1)


def thirds(frame):
    return {site: frame.iloc[place::3] for place, site in enumerate("abc")}


@pytest.mark.parametrize(
    ("case", "protocol"), [("birthwt, weight", "rep4"), ("birthwt, low weight by smoking", "rep3")]
)
def test_answers_are_those_of_r_on_shares(case, protocol):
    agreed(lines(case, protocol))


def test_centres_and_scales_change_no_answer(run):
    frame = data("birthwt")
    off = {"outcome_centre": 0.0, "outcome_scale": 5000.0}
    agreed(
        compared(
            run("linear", study(frame, "linear", WEIGHT, **off), {"a": frame}, policy=EXACT),
            "birthwt, weight",
        )
    )


def test_persons_with_a_missing_value_do_not_count(run):
    frame = data("birthwt")
    extra = frame.head(40).assign(bwt=9000.0, low=1 - frame["low"])
    for place, name in enumerate(("bwt", "age", "race", "low")):
        extra[name] = extra[name].astype(object)
        extra.loc[extra.index[place * 10 :][:10], name] = None
    both = pd.concat([frame, extra[extra[["bwt", "age", "race"]].isna().any(axis=1)]])
    agreed(
        compared(run("linear", study(frame, "linear", WEIGHT), {"a": both}, policy=EXACT), "birthwt, weight")
    )
    both = pd.concat([frame, extra[extra[["low", "age", "race"]].isna().any(axis=1)]])
    agreed(
        compared(
            run("logistic", study(frame, "logistic", LOW), {"a": both}, policy=EXACT), "birthwt, low weight"
        )
    )


def unsolved():
    """name -> (kind, frame, columns) of models without an answer."""
    frame = data("birthwt")
    one = frame.assign(always=3, twice=frame["age"] * 2 + frame["lwt"], exact=frame["age"] * 10.0)
    zeros, ones = frame[frame.low == 0], frame[frame.low == 1]
    apart = frame.assign(sign=np.where(frame.low == 1, 1, -1) * (1 + frame.age % 3))
    return {
        "constant": (one, ("low", "age", "always")), "combination": (one, ("low", "age", "lwt", "twice")),
        "separated": (apart, ("low", "sign")), "nobody": (zeros, ("low", "age")), "everybody": (ones, ("low", "age")),
        "one row": (frame.head(1), ("low", "age")), "two rows": (frame.iloc[[0, -1]], ("low", "age")),
        "constant covariate": (one, ("bwt", "age", "always")), "combinations": (one, ("bwt", "age", "lwt", "twice")),
        "follows": (one, ("exact", "age")), "constant outcome": (one, ("always", "age")),
        "one person": (frame.head(1), ("bwt", "age")), "as many as coefficients": (frame.head(2), ("bwt", "age")),
        "empty level": (frame[frame.race != "other"], ("bwt", "race")), "no rows": (frame.head(0), ("bwt", "age")),
    }  # fmt: skip


@pytest.mark.parametrize("name", unsolved())
def test_what_cannot_be_estimated_is_said(run, name):
    frame, columns = unsolved()[name]
    kind = "logistic" if columns[0] == "low" else "linear"
    whole = data("birthwt").assign(
        always=3.0,
        exact=lambda rows: rows.age * 10,
        twice=lambda rows: rows.age * 2 + rows.lwt,
        sign=[-2.0, 2, 1] * 63,
    )
    parameters = study(whole, kind, columns)
    for holder, key in (
        (parameters, "outcome_scale"),
        *((each, "scale") for each in parameters["predictors"]),
    ):
        holder.update({key: 1.0} if holder.get(key) == 0 else {})
    result = run(kind, parameters, {"a": frame}, policy=EXACT)
    assert result.why_not.startswith("not estimable")
    assert all(term.coef is None and term.p is None for term in result.terms) and result.test is None
    assert [each.what for each in result.suppressed] == ["coefficients"]


def small(persons, rare, seed=1):
    """Persons of two levels, ``rare`` of each outcome at the second; fifty of each outcome at the first."""
    rng = np.random.default_rng(seed)
    group = ["x"] * (persons - 2 * rare) + ["y"] * 2 * rare
    outcome = np.arange(persons) % 2
    return pd.DataFrame(
        {"o": outcome, "v": rng.normal(size=persons), "g": group, "z": rng.normal(size=persons)}
    )


BOTH = [{"variable": "g", "levels": ["x", "y"]}, {"variable": "z", "centre": 0, "scale": 1}]
STUDIES = {
    "linear": {"outcome": "v", "outcome_centre": 0, "outcome_scale": 1, "predictors": BOTH},
    "logistic": {"outcome": "o", "predictors": BOTH},
}


@pytest.mark.parametrize("kind", STUDIES)
@pytest.mark.parametrize(("rare", "shown"), [(9, False), (10, True), (11, True)])
def test_every_level_needs_k_persons_of_each_outcome(run, kind, rare, shown):
    frame = small(100, rare)
    if kind == "linear":  # which has one group of the outcome
        keep = (frame.g == "x") | (frame.index >= len(frame) - rare)
        frame = frame[keep]
    result = run(kind, STUDIES[kind], {"a": frame})
    assert (result.why_not is None) == shown
    if shown:
        assert result.terms[1].coef is not None and result.n.value % 10 == 0
    else:
        assert "at some level" in result.why_not and result.terms[1].coef is None


@pytest.mark.parametrize(("rare", "shown"), [(9, False), (10, True)])
def test_codes_of_a_number_are_counted_like_levels(run, rare, shown):
    frame = small(100, rare).assign(g=lambda rows: (rows.g == "y") * 1.0)
    coded = {"variable": "g", "centre": 0, "scale": 1, "codes": ["0", "1"]}
    parameters = {**STUDIES["logistic"], "predictors": [coded, BOTH[1]]}
    result = run("logistic", parameters, {"a": frame})
    assert (result.why_not is None) == shown and [term.name for term in result.terms] == [
        "(Intercept)",
        "g",
        "z",
    ]
    with pytest.raises(LocalDataError, match="g holds other values than 0, 1"):
        run("logistic", parameters, {"a": frame.assign(g=frame.g * 2)})
    plain = {**parameters, "predictors": [{**coded, "codes": None}, BOTH[1]]}
    with pytest.raises(LocalDataError, match="g has no more than two different numbers among the persons"):
        run("logistic", plain, {"a": frame})


CODED = {**STUDIES["linear"], "outcome": "o", "outcome_codes": ["0", "1"]}


@pytest.mark.parametrize(("rare", "shown"), [(9, False), (10, True), (11, True)])
def test_codes_of_the_outcome_are_counted_at_every_level(run, rare, shown):
    """A mean of 0 and 1 at a level is a number of persons: ``rare`` of 0 and as many of 1."""
    for sites, receiving in (
        ({"a": small(100, rare)}, ()),
        ({"a": small(100, rare), "b": small(90, 20)}, ("b",)),
    ):
        result = run("linear", CODED, sites, receiving=receiving)
        assert (result.why_not is None) == shown == (result.terms[1].coef is not None)
        assert result.n.value == sum(map(len, sites.values())) and result.events is None


@pytest.mark.parametrize(("persons", "shown"), [(12, False), (13, True), (14, True)])
def test_k_persons_more_than_coefficients_are_needed(run, persons, shown):
    parameters = {**STUDIES["linear"], "predictors": [BOTH[1], {"variable": "w", "centre": 0, "scale": 1}]}
    result = run("linear", parameters, {"a": small(persons, 0).assign(w=lambda rows: rows.v**2 + rows.o)})
    assert (result.why_not is None) == shown
    assert shown or "fewer than 10 persons" in result.why_not


def test_a_receiving_hospital_cannot_subtract_its_own(run):
    parts = {"a": small(60, 12), "b": small(40, 8)}
    assert run("logistic", STUDIES["logistic"], parts).why_not is None
    hidden = run("logistic", STUDIES["logistic"], parts, receiving=("a",))
    assert "at some level" in hidden.why_not


def everything_opened(kind, parameters, frame):
    chosen, typed = analysis(kind), parse_parameters(kind, parameters)
    tables = {"a": chosen.local(typed, SiteData(frame))}
    with World("plain") as world:
        opened = opened_outputs(
            world, chosen, typed, Released(DisclosurePolicy(minimum_sites=1), ("a",)), tables
        )
    return {name: np.asarray(value).tolist() for name, value in opened.items()}


@pytest.mark.parametrize("kind", STUDIES)
def test_what_is_hidden_opens_to_constants(kind):
    found = [
        everything_opened(kind, STUDIES[kind], small(100, 4, seed).assign(o=lambda rows: np.roll(rows.o, 1)))
        for seed in (1, 2)
    ]
    assert found[0] == found[1] and set(np.ravel(found[0]["coefficient"])) == {0}


@pytest.mark.parametrize("kind", STUDIES)
def test_rare_codes_open_to_constants(kind):
    """One or nine of a hundred persons have the covariate, and half of all the outcome."""
    coded = {"variable": "f", "centre": 0, "scale": 0.3, "codes": ["0", "1"]}
    study = {**STUDIES[kind], "predictors": [coded], **({"steps": 3} if kind == "logistic" else {})}
    frames = [small(100, 20).assign(f=(np.arange(100) < rare) * 1.0) for rare in (1, 9)]
    found = [everything_opened(kind, study, each) for each in frames]
    assert found[0] == found[1] and set(np.ravel(found[0]["coefficient"])) == {0}


def test_rare_codes_of_the_outcome_open_to_constants_and_a_study_has_to_declare_them(run):
    """Of fifty persons at a level none or nine have the outcome, and twenty of fifty at the other."""
    at = np.arange(100)
    frames = [
        pd.DataFrame(
            {"g": np.where(at < 50, "x", "y"), "o": ((at < 20 + 9 - more) | (at >= 100 - more)) * 1.0}
        )
        for more in (0, 9)
    ]
    parameters = {**CODED, "predictors": BOTH[:1]}
    found = [everything_opened("linear", parameters, frame) for frame in frames]
    assert found[0] == found[1] and set(np.ravel(found[0]["coefficient"])) == {0}
    assert run("linear", parameters, {"a": frames[1]}, policy=EXACT).terms[1].coef == pytest.approx(-0.22)
    with pytest.raises(LocalDataError, match="o has no more than two different numbers among the persons"):
        run("linear", {**parameters, "outcome_codes": None}, {"a": frames[1]})


def test_numbers_are_rounded_to_significant_digits(run):
    frame = data("birthwt")
    parameters = study(frame, "linear", ("bwt", "low", "lwt"))
    exact = run("linear", parameters, thirds(frame), policy=EXACT)
    shown = run("linear", parameters, thirds(frame), policy=DisclosurePolicy(minimum_sites=3))
    per_scale = parameters["predictors"][0]["scale"] / parameters["outcome_scale"]
    coef, error = (getattr(shown.terms[1], name) * per_scale for name in ("coef", "se"))
    assert coef == pytest.approx(float(f"{exact.terms[1].coef * per_scale:.4g}"), abs=1e-9)
    assert error == pytest.approx(float(f"{exact.terms[1].se * per_scale:.3g}"), abs=1e-9)
    assert shown.n.value == 190 and not isinstance(shown.n, HiddenCount)


def test_a_scale_far_from_the_deviation_gives_no_number_instead_of_a_wrong_one(run):
    frame = data("birthwt")
    parameters = study(frame, "linear", ("bwt", "age"))
    parameters["predictors"][0]["scale"] = 100.0
    why = run("linear", parameters, {"a": frame}, policy=EXACT).why_not
    assert (
        "hardly varies for its declared scale" in why
        and "the outcome follows from the covariates; leave out" in why
    )


def test_too_few_persons_are_told_from_what_else_cannot_be_estimated(run):
    frame = data("birthwt")
    result = run("linear", study(frame, "linear", ("bwt", "age", "lwt")), {"a": frame.head(3)}, policy=EXACT)
    assert result.why_not == "not estimable: 3 persons for 3 coefficients; ask for fewer"


def test_numbers_far_from_their_centre_are_refused(run):
    frame = data("birthwt")
    with pytest.raises(LocalDataError, match="lwt holds numbers 64 or more scales"):
        run(
            "logistic",
            {"outcome": "low", "predictors": [{"variable": "lwt", "centre": 100, "scale": 1}]},
            {"a": frame},
        )
    with pytest.raises(LocalDataError, match="outside 0 to 1"):
        run(
            "logistic",
            {"outcome": "ftv", "predictors": [{"variable": "age", "centre": 20, "scale": 5}]},
            {"a": frame},
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predictors": [BOTH[0], BOTH[0]]}, "each variable may be named once"),
        ({"predictors": [{"variable": "g", "centre": 1}]}, "either levels, or centre and scale"),
        ({"predictors": [{"variable": "g", "levels": ["x", "x"]}]}, "levels must be distinct"),
        ({"outcome": "z"}, "the outcome is none of them"),
        ({"predictors": [{**BOTH[0], "codes": ["0", "1"]}]}, "codes are of a number"),
    ],
)
def test_parameters_are_checked(change, words):
    with pytest.raises(ParametersRefused, match=words):
        parse_parameters("linear", {**STUDIES["linear"], **change})
