"""Cox regression from hospitals' rows against R's survival (golden/cox.R), and what it does where nothing can be estimated."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.datasets import load_rossi
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.cox_clear import likelihood, ordered, own_fit
from mpc_backend.analyses.cox_result import ALIASED, CONSTANT, NO_EVENTS, NOT_ESTIMABLE, CoxResult
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import level_text
from mpc_backend.try_ import cox as try_cox
from mpc_backend.try_cli import try_app

GOLDEN = Path(__file__).with_name("golden")
EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
COLON = {"rx": ["Obs", "Lev", "Lev+5FU"], "age": 10, "nodes": 4}
ROSSI = {"fin": 0.5, "age": 6, "race": 0.3, "wexp": 0.5, "mar": 0.3, "paro": 0.5, "prio": 3}
RECURRENCES = {
    "rx": COLON["rx"], "sex": 0.5, "age": 10, "obstruct": 0.4, "perfor": 0.2, "adhere": 0.4, "nodes": 4, "differ": 0.5,
    "extent": 0.5,
}  # fmt: skip
CELLS = ["squamous", "smallcell", "adeno", "large"]
ECOG = {"ph.ecog": ["0", "1", "2", "3"]}
MODELS = {
    "lung": ("lung", {"age": 10, "sex": 0.5}, {}),
    "lung breslow": ("lung", {"age": 10, "sex": 0.5}, {"ties": "breslow"}),
    "lung by ecog": ("lung", {"age": 10, "sex": 0.5, "wt.loss": 10}, {"strata": ECOG}),
    "lung by hospital": ("lung", {"age": 10, "sex": 0.5, "ph.karno": 10}, {"site": "hospital"}),
    "lung by hospital and ecog": ("lung", {"age": 10, "sex": 0.5}, {"site": "hospital", "strata": ECOG}),
    "lung quarters": ("lung", {"age": 10, "sex": 0.5}, {"time": "year"}),
    "lung quarters breslow": ("lung", {"age": 10, "sex": 0.5}, {"time": "year", "ties": "breslow"}),
    "ovarian": ("ovarian", {"age": 10, "rx": 0.5, "resid.ds": 0.5}, {"time": "futime", "status": "fustat"}),
    "veteran": ("veteran", {"trt": 0.5, "celltype": CELLS, "karno": 20, "age": 10}, {}),
    "veteran by trt": ("veteran", {"karno": 20, "diagtime": 10}, {"strata": {"trt": ["1", "2"]}}),
    "colon by person": ("colon", COLON, {"strata": {"etype": ["1", "2"]}, "cluster": "id"}),
    "colon recurrences": ("recurrences", RECURRENCES, {}),
    "colon by hospital": (
        "colon",
        {"age": 10, "nodes": 4, "sex": 0.5},
        {"site": "hospital", "cluster": "id"},
    ),
    "rossi": ("rossi", ROSSI, {"time": "week", "status": "arrest"}),
    "rossi breslow": ("rossi", ROSSI, {"time": "week", "status": "arrest", "ties": "breslow"}),
}


@cache
def data(name: str) -> pd.DataFrame:
    if name == "rossi":
        return load_rossi()
    found = pd.read_csv(GOLDEN / f"cox_{'colon' if name == 'recurrences' else name}.csv")
    return found[found.etype == 1] if name == "recurrences" else found


@cache
def golden() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "cox.csv").set_index(["model", "quantity", "name"])["value"]


def column(name: str) -> str:
    return name.replace(".", "_")


def covariate(name: str, given: object, frame: pd.DataFrame) -> dict:
    """A covariate with its levels, or its scale and, where it has no more than two values, its codes."""
    if isinstance(given, list):
        return {"variable": name, "levels": given}
    known = frame[name].dropna().unique() if name in frame else ()
    codes = {"codes": [level_text(value) for value in known]} if 0 < len(known) <= 2 else {}
    return {"variable": name, "scale": given, **codes}


def parameters(covariates: dict, frame: pd.DataFrame, **choice: object) -> dict:
    """Of an analysis of frame's o_time and o_event; a covariate has its scale or its levels."""
    cox = {
        "covariates": [covariate(column(name), given, frame) for name, given in covariates.items()],
        **{
            name: choice[name]
            for name in ("ties", "cluster", "shared_ids", "ph", "iterations")
            if name in choice
        },
    }
    strata = [
        {"variable": column(name), "levels": levels} for name, levels in choice.get("strata", {}).items()
    ]
    return {
        "outcome": "o", "arm": "everybody", "arms": ["all"], "unit": "day", "horizon": int(frame.o_time.max()),
        "strata": strata, "adjust": False, "cox": cox,
    }  # fmt: skip


def prepared(frame: pd.DataFrame, time: str = "time", status: str = "status") -> pd.DataFrame:
    found = frame.rename(columns=column)
    return found.assign(o_time=found[time], o_event=found[status], everybody="all")


def sites(frame: pd.DataFrame, site: str | None) -> dict[str, pd.DataFrame]:
    if site is None:
        return {"here": frame}
    return {f"hospital {name}": rows for name, rows in frame.groupby(site)}


def compare(model: str, found: CoxResult) -> None:
    """Within what is promised: 1e-4 of a number or its error, robust errors 1e-3."""
    expected = golden()[model]
    for term in found.terms:
        name = term.name.replace("_", ".") if term.name not in expected["coef"].index else term.name
        of = {quantity: expected[quantity][name] for quantity in ("coef", "se", "robust_se", "lower", "p")}
        assert term.coef == pytest.approx(of["coef"], abs=1e-4 * max(abs(of["coef"]), of["se"])), term.name
        assert term.se == pytest.approx(of["se"], rel=1e-4), term.name
        assert term.robust_se == pytest.approx(of["robust_se"], rel=1e-3), term.name
        assert term.lower == pytest.approx(of["lower"], rel=1e-3) and term.p == pytest.approx(
            of["p"], rel=5e-3
        )
    assert found.tests is not None and found.ph is not None
    for name in ("wald", "score", "lr"):
        tolerance = 1e-3 if name == "wald" and found.clustered else 1e-4
        assert getattr(found.tests, name) == pytest.approx(expected[name]["all"], rel=tolerance), name
    assert found.ph.chi2 == pytest.approx(expected["ph"]["all"], rel=1e-4)
    assert (found.n, found.events) == (expected["n"]["all"], expected["events"]["all"])


@pytest.mark.parametrize("model", MODELS)
def test_every_number_is_that_of_r(run, model):
    name, covariates, options = MODELS[model]
    choice = dict(options)
    frame = prepared(data(name), choice.pop("time", "time"), choice.pop("status", "status"))
    shared = sites(frame, choice.pop("site", None))
    result = run("survival", parameters(covariates, frame, shared_ids=True, **choice), shared, policy=EXACT)
    compare(model, result.cox)


def small(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"time": range(1, 61), "status": [1, 1, 0] * 20, **columns})
    return prepared(frame)


def fitted(run, frame: pd.DataFrame, covariates: dict, **choice: object) -> CoxResult:
    result = run("survival", parameters(covariates, frame, **choice), {"here": frame}, policy=EXACT)
    missing = {each.what: each.why for each in result.suppressed if each.what.startswith("Cox regression")}
    assert missing == {f"Cox regression: {term.name}": term.why for term in result.cox.terms if term.why}
    return result.cox


def test_what_cannot_be_estimated_says_why_and_leaves_the_rest(run):
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    alone = fitted(run, small(x=x), {"x": 1})
    beside = fitted(run, small(x=x, same=5, twice=3 - 2 * x), {"x": 1, "same": 1, "twice": 2})
    assert [term.why for term in beside.terms] == [None, CONSTANT, ALIASED]
    assert beside.terms[0].coef == pytest.approx(alone.terms[0].coef, rel=1e-4)
    assert beside.tests.df == 1 and beside.tests.lr == pytest.approx(alone.tests.lr, rel=1e-3)
    # Whoever is marked dies before everybody else: the likelihood rises for ever.
    marked = small(x=x, mark=(np.arange(60) < 10).astype(float)).assign(o_event=1)
    apart = fitted(run, marked, {"x": 1, "mark": 0.4})
    assert [term.why for term in apart.terms] == [None, NOT_ESTIMABLE]
    assert apart.tests.wald is None and apart.tests.score > 10 and apart.ph is None


def test_without_events_or_with_a_single_row(run):
    none = fitted(run, small(x=np.arange(60)).assign(o_event=0), {"x": 10})
    assert none.events == 0 and none.terms[0].why == NO_EVENTS and none.tests is None
    one = fitted(run, small(x=np.arange(60))[:1], {"x": 10})
    assert one.n == 1 and one.terms[0].why == CONSTANT


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_all_events_at_one_time(run, ties):
    # Everybody dies at once: with Efron's ties the k-th of n deaths has 1 - k / n of the risk set left.
    x = np.random.default_rng(2).normal(size=60)
    found = fitted(run, small(x=x).assign(o_time=5, o_event=1), {"x": 1}, ties=ties)
    assert found.terms[0].coef == pytest.approx(0, abs=1e-4) and found.events == 60


def test_fewer_than_ten_events_a_coefficient_is_said(run):
    frame = prepared(data("ovarian"), "futime", "fustat")
    given = parameters({"age": 10, "rx": 0.5}, frame)
    result = run("survival", given, {"here": frame}, policy=EXACT)
    assert any("fewer than 10 events for each coefficient" in note for note in result.notes)


def test_numbers_far_from_their_mean_and_unknown_levels_are_refused_or_left_out(run):
    frame = small(x=np.arange(60), group=["a", "b", "c"] * 20)
    with pytest.raises(LocalDataError, match="x holds numbers more than 100 times its scale"):
        fitted(run, frame, {"x": 0.01})
    found = fitted(run, frame, {"group": ["a", "b"]})
    assert found.n == 40 and [term.name for term in found.terms] == ["groupb"]
    for wrong in ({"x": 1, "y": ["a"]}, {}, {f"x{i}": 1 for i in range(21)}):
        with pytest.raises(ParametersRefused, match="cox"):
            fitted(run, frame, wrong)


def test_large_sums_keep_their_range(run):
    rng = np.random.default_rng(3)
    x = rng.normal(size=9_000)
    time = np.ceil(100 * rng.exponential(np.exp(-2 * x))).clip(max=500).astype(int)
    frame = prepared(pd.DataFrame({"x": x, "time": time, "status": (time < 500).astype(int)}))
    found = fitted(run, frame, {"x": 1})
    rows = ordered(x[:, None], time, frame.o_event.to_numpy(), np.zeros(len(x), np.int64))
    beta = own_fit(rows, "efron", 10)
    at, null = (likelihood(rows, each, "efron") for each in (beta, 0 * beta))
    assert found.terms[0].coef == pytest.approx(beta[0], abs=1e-4 / np.sqrt(at.information[0, 0]))
    assert found.tests.lr == pytest.approx(2 * (at.value - null.value), rel=1e-4) and found.tests.lr > 10_000


def test_on_shares_by_hospital_and_strata(run):
    frame = prepared(data("lung"))
    given = parameters({"age": 10, "sex": 0.5}, frame, strata=ECOG)
    shared = sites(frame, "hospital")
    compare("lung by hospital and ecog", run("survival", given, shared, policy=EXACT, protocol="rep3").cox)


def test_the_command_prints_the_golden_numbers():
    arguments = ["--time", "time", "--event", "status", "--arm", "sex", "--covariates", "age,sex"]
    call = ["survival", str(GOLDEN / "cox_lung.csv"), *arguments, "--release", "exact", "--json"]
    done = CliRunner().invoke(try_app, call, catch_exceptions=False)
    printed = json.loads(done.output)
    assert printed["protocol"] == "rep4" and printed["log_rank"]["chi2"] == pytest.approx(10.32674, abs=1e-5)
    cox = CoxResult.model_validate(printed["cox"])
    compare("lung", cox)
    first, second = cox.terms
    assert (first.name, second.name) == ("age", "sex")
    assert (first.coef, second.coef) == pytest.approx((0.017045, -0.513219), abs=1e-6)
    assert (cox.tests.score, cox.tests.wald, cox.tests.lr) == pytest.approx(
        (13.72232, 13.47325, 14.12311), abs=1e-4
    )


def test_columns_of_a_file_become_covariates():
    frame = pd.DataFrame({"age": [41, 62, 77.5], "arm": ["b", "a", "b"], "id": [1, 1, 2], "same": ["x"] * 3})
    columns, parameters = try_cox.prepared(frame, ("age", "arm"), "breslow", "id", None)
    assert parameters == {
        "covariates": [
            {"variable": "covariate0", "scale": 10.0, "codes": None}, {"variable": "covariate1", "levels": ["a", "b"]}
        ],
        "ties": "breslow", "shared_ids": True, "cluster": "cluster_id",
    }  # fmt: skip
    assert list(columns) == ["covariate0", "covariate1", "cluster_id"]
    assert [try_cox.one_digit(spread) for spread in (0, 0.0349, 14.9, 95)] == [1, 0.03, 10, 100]
    assert try_cox.prepared(frame, (), "efron", None, None) == ({}, None)
    for covariates, cluster, words in (
        ((), "id", "--covariates"),
        (("same",), None, "one level"),
        (("no",), None, "no"),
    ):
        with pytest.raises(LocalDataError, match=words):
            try_cox.prepared(frame, covariates, "efron", cluster, None)


def test_a_study_clusters_by_the_hospitals_own_number_of_the_person(run):
    """A number means another person at another hospital, unless the study says that both mean the same."""
    frame = prepared(data("lung")).assign(person=lambda rows: np.arange(len(rows)) // 2 % 60)
    halves = {"a": frame.iloc[:114], "b": frame.iloc[114:]}

    def robust(shared: dict, **cox: object) -> float:
        return (
            run("survival", parameters({"age": 10}, frame, ph=False, **cox), shared, policy=EXACT)
            .cox.terms[0]
            .robust_se
        )

    own = {
        name: SiteData(rows.reset_index(drop=True), persons=rows.person.to_numpy())
        for name, rows in halves.items()
    }
    by_column = robust(halves, cluster="person")
    assert robust(own, cluster="person_id") == pytest.approx(by_column, rel=1e-6)
    assert robust(halves, cluster="person", shared_ids=True) != pytest.approx(by_column, rel=1e-3)
    assert robust(halves, cluster="person_id") == pytest.approx(robust(halves), rel=1e-6)
    with pytest.raises(ParametersRefused, match="another person elsewhere"):
        robust(halves, cluster="person_id", shared_ids=True)
