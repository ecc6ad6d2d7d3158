"""A Cox regression under thresholds: its numbers, what hides them, and that nothing hidden or sent tells more."""

import numpy as np
import pandas as pd
import pytest
from lifelines.datasets import load_lung

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cox_released import FEW, RARE, SHOWN
from mpc_backend.analyses.cox_result import DETERMINED, NOT_ESTIMABLE
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
HIDING = DisclosurePolicy(minimum_sites=1)
LUNG = [{"variable": "age", "scale": 10}, {"variable": "sex", "levels": ["1", "2"]}]


def given(covariates: list, **cox: object) -> dict:
    return {
        "outcome": "o", "arm": "arm", "arms": ["all"], "unit": "month", "horizon": 34,
        "cox": {"covariates": covariates, **cox},
    }  # fmt: skip


def lung(**columns: object) -> pd.DataFrame:
    found = load_lung().dropna(subset=["age", "sex"])
    return found.assign(
        arm="all", o_time=found.time, o_event=found.status, person=np.arange(len(found)) // 2, **columns
    )


def halves(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"a": frame.iloc[::2], "b": frame.iloc[1::2]}


@pytest.mark.parametrize(("ties", "cluster"), [("efron", "person"), ("breslow", None)])
def test_numbers_are_the_exact_ones_rounded(run, ties, cluster):
    parameters = given(LUNG, ties=ties, cluster=cluster, shared_ids=True)
    exact, hiding = (
        run("survival", parameters, halves(lung()), policy=policy).cox for policy in (EXACT, HIDING)
    )
    assert hiding.n is None and hiding.events is None and not [term.why for term in hiding.terms if term.why]
    for shown, true in zip(hiding.terms, exact.terms, strict=True):
        assert shown.coef == pytest.approx(true.coef, rel=6e-4)
        assert (shown.se, shown.robust_se) == pytest.approx((true.se, true.robust_se), rel=6e-3)
    for name in ("wald", "score", "lr"):
        assert getattr(hiding.tests, name) == pytest.approx(getattr(exact.tests, name), abs=2e-3), name
    assert hiding.tests.df == 2 and hiding.ph.chi2 == pytest.approx(exact.ph.chi2, abs=2e-3)


def few(events: int, size: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(events)
    event = (np.arange(size) < events).astype(int)
    return pd.DataFrame(
        {
            "arm": "all",
            "o_time": rng.permutation(size) * 20,
            "o_event": event,
            "x": rng.normal(size=size),
            "g": ["u", "v"] * (size // 2),
        }
    )


@pytest.mark.parametrize(("events", "shown"), [(9, False), (10, True), (11, True)])
def test_k_events_are_needed_with_and_without_a_recipients_own(run, events, shown):
    parameters = given([{"variable": "x", "scale": 1}])
    (term,) = run("survival", parameters, {"a": few(events)}, policy=HIDING).cox.terms
    assert (term.coef is not None) == shown and (term.why == "fewer than 10 events") != shown
    # A recipient at b could subtract b's rows: those of a must be enough alone.
    both = run("survival", parameters, {"a": few(events), "b": few(30)}, policy=HIDING, receiving=("b",))
    assert (both.cox.terms[0].coef is not None) == shown
    assert any("Cox regression: x" in each.what for each in both.suppressed) != shown
    assert ("fewer than 10 events for each coefficient" in " ".join(both.notes)) is False


@pytest.mark.parametrize(("events", "shown"), [(19, False), (20, True)])
def test_each_level_needs_k_events_or_the_whole_model_is_withheld(run, events, shown):
    parameters = given([{"variable": "x", "scale": 1}, {"variable": "g", "levels": ["u", "v"]}])
    result = run("survival", parameters, {"a": few(events)}, policy=HIDING).cox
    assert [term.coef is not None for term in result.terms] == [shown, shown]
    assert (result.tests is not None) == (result.ph is not None) == shown
    assert shown or all("at a level of a covariate" in term.why for term in result.terms)
    exact = run("survival", parameters, {"a": few(events)}, policy=EXACT).cox
    assert all(term.coef is not None for term in exact.terms), "exact release shows what can be estimated"


def marked(persons: int, deaths: int, kind: str) -> pd.DataFrame:
    """120 persons of whom so many, with so many deaths, are marked apart from the others, who have ten and more deaths."""
    frame = few(60, 120)
    frame["o_time"] = frame.o_time // 20 * 8
    died = frame.o_event == 1
    rows = [*frame.index[died][:deaths], *frame.index[~died][: persons - deaths]]
    frame["mark"] = ["u", "v"] * 60 if kind == "levels" else 0.0
    frame.loc[rows, "mark"] = "w" if kind == "levels" else 1.0
    return frame


MARKS = {
    "levels": {"variable": "mark", "levels": ["u", "v", "w"]},
    "codes": {"variable": "mark", "scale": 0.3, "codes": ["0", "1"]},
}


@pytest.mark.parametrize(
    ("kind", "small", "receiving"),
    [("levels", [(0, 0), (1, 0), (1, 1), (10, 9)], ()), ("codes", [(0, 0), (9, 9)], ("b",))],
)
def test_data_that_differ_only_in_a_small_level_open_the_same(kind, small, receiving):
    """Nobody, somebody, somebody who died, ten of whom nine died: everything that is opened is equal."""
    covariates = [{"variable": "x", "scale": 1}, MARKS[kind]]
    typed = parse_parameters("survival", given(covariates, ph=False, iterations=2))
    chosen = analysis("survival")
    own = {name: chosen.local(typed, SiteData(marked(12, 10, kind))) for name in receiving}

    def opened(persons: int, deaths: int) -> dict:
        tables = {"a": chosen.local(typed, SiteData(marked(persons, deaths, kind))), **own}
        with World("plain") as world:
            return opened_outputs(world, chosen, typed, Released(HIDING, tuple(tables), receiving), tables)

    first, *others = (opened(*each) for each in small)
    assert first["cox_state"] == RARE and not np.any(first["cox_settled"])
    for other in others:
        assert first.keys() == other.keys()
        assert all(np.array_equal(first[name], other[name]) for name in first)
    assert opened(10, 10)["cox_state"] == SHOWN


def test_a_number_of_two_values_needs_its_codes_also_where_others_have_missing_facts(run):
    with pytest.raises(LocalDataError, match=r"column mark .* declare its codes"):
        run("survival", given([{"variable": "mark", "scale": 0.3}]), {"a": marked(30, 20, "codes")})
    third = marked(30, 20, "codes").assign(y=1.5)
    third["y"] += np.arange(120)
    third.loc[third.index[-1], ["mark", "y"]] = [2.0, None]
    with pytest.raises(LocalDataError, match=r"column mark .* declare its codes"):
        run(
            "survival",
            given([{"variable": "mark", "scale": 0.3}, {"variable": "y", "scale": 30}]),
            {"a": third},
        )


@pytest.mark.parametrize(("events", "said"), [(14, True), (16, False)])
def test_few_events_are_said_by_what_is_shown(run, events, said):
    """14 are shown as 10 and 16 as 20, which is enough for two coefficients."""
    frame = few(events).assign(y=np.random.default_rng(9).normal(size=40))
    parameters = given([{"variable": "x", "scale": 1}, {"variable": "y", "scale": 1}], ph=False)
    notes = run("survival", parameters, {"a": frame}, policy=HIDING).notes
    assert (
        "fewer than 10 events for each coefficient by the numbers of events shown" in " ".join(notes)
    ) == said


def test_what_cannot_be_estimated_is_said(run):
    same = lung(same=1.0)
    constant = run(
        "survival",
        given([*LUNG, {"variable": "same", "scale": 1, "codes": ["1"]}]),
        {"a": same},
        policy=HIDING,
    ).cox
    assert {term.why for term in constant.terms} == {DETERMINED} and constant.tests is None
    # Whoever dies in the first two months is marked, and nobody else: the likelihood rises for ever.
    same["mark"] = ((same.o_time <= 60) & (same.o_event == 1)).astype(float)
    apart = run(
        "survival",
        given([*LUNG, {"variable": "mark", "scale": 0.3, "codes": ["0", "1"]}]),
        {"a": same},
        policy=HIDING,
    ).cox
    assert apart.terms[-1].why in (NOT_ESTIMABLE, DETERMINED) and apart.terms[-1].coef is None
    assert apart.tests is None and apart.ph is None


def prepared(seed: int, events: int):
    """Two hospitals of one shape; other data for each seed."""
    parameters = given([{"variable": "x", "scale": 1}, {"variable": "g", "levels": ["u", "v"]}], iterations=2)
    chosen, typed = analysis("survival"), parse_parameters("survival", parameters)
    frame = few(events).assign(x=np.random.default_rng(seed).normal(size=40))
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in halves(frame).items()}
    return chosen, typed, tables, Released(HIDING, ("a", "b"))


def test_hidden_numbers_open_to_the_same_constants():
    opened = []
    for seed in (1, 2):
        chosen, typed, tables, released = prepared(seed, 5 + seed)
        with World("plain") as world:
            found = opened_outputs(world, chosen, typed, released, tables)
        opened.append({name: np.asarray(value) for name, value in found.items() if name.startswith("cox_")})
    assert opened[0].keys() == opened[1].keys() and len(opened[0]) > 6
    for name, first in opened[0].items():
        assert (first == (FEW if name == "cox_state" else 0)).all(), name
        assert np.array_equal(first, opened[1][name]), name


def test_shares_open_what_the_plain_twin_opens():
    chosen, typed, tables, released = prepared(3, 15)
    opened = {}
    for protocol in ("plain", "rep3"):
        with World(protocol) as world:
            opened[protocol] = opened_outputs(world, chosen, typed, released, tables)
    plain, shared = opened["plain"], opened["rep3"]
    for name, value in plain.items():
        digits = {"cox_coef": 1, "cox_errors": 100, "cox_chi2": 1}.get(name, 1)
        assert np.abs(np.asarray(value, float) - np.asarray(shared[name], float)).max() <= digits, name
