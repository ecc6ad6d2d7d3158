"""Cox regression from hospitals' rows: on shares beside R (the rest: tests/validation), and where nothing can be estimated."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.cox_clear import likelihood, ordered, own_fit
from mpc_backend.analyses.cox_result import ALIASED, CONSTANT, NO_EVENTS, NOT_ESTIMABLE, UNBOUNDED, CoxResult
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.try_ import cox as try_cox
from mpc_backend.try_cli import try_app
from tests.validation.cox import compared, lines, parameters, prepared
from tests.validation.holding import agreed
from tests.validation.sets import data
from workbench.parts.cox import hazard_table

GOLDEN = Path(__file__).with_name("golden")
EXACT = DisclosurePolicy(minimum_sites=1, release="exact")


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
    result = run("survival", parameters({"x": 1, "mark": 0.4}, marked), {"here": marked}, policy=EXACT)
    apart = result.cox
    assert [term.why for term in apart.terms] == [None, NOT_ESTIMABLE] and UNBOUNDED in result.notes
    assert apart.tests.wald is apart.tests.lr is apart.ph is None and apart.tests.score > 10


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
    assert 0 <= found.tests.lr < 1e-3


def test_all_events_at_one_time_leave_no_robust_test(run):
    """Every residual is zero, and so is the robust variance: Wald's test by it has nothing to divide by."""
    x, person = np.random.default_rng(2).normal(size=60), np.arange(60)
    frame = small(x=x, person=person).assign(o_time=5, o_event=1)
    found = fitted(run, frame, {"x": 1}, cluster="person")
    (term,) = found.terms
    assert (term.robust_se, term.p) == (0, None) and term.lower == term.hr == term.upper and term.se > 0.05
    assert found.tests.wald is None and found.tests.score is not None


def test_a_ratio_beyond_every_number_is_left_out(run):
    """One unit is 10^15 standard deviations of the covariate: the coefficient is a number, its ratio is none."""
    x = np.random.default_rng(3).normal(size=60)
    found = fitted(run, small(x=x * 1e-15), {"x": 1e-15})
    (term,) = found.terms
    assert abs(term.coef) > 1e12 and term.why is None
    assert None in (term.hr, term.lower, term.upper) and "beyond e^700" in try_cox.in_words(found)[1]
    assert "beyond e^700" in hazard_table(found)["Hazard ratio"].iloc[0]


def test_fewer_than_ten_events_a_coefficient_is_said(run):
    frame = prepared(data("cox_ovarian"), "futime", "fustat")
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


@pytest.mark.parametrize("case", ["lung by hospital and ecog", "ovarian"])
def test_on_shares_every_number_is_that_of_r(case):
    agreed(lines(case, "rep3"))


def test_the_command_prints_the_golden_numbers():
    arguments = ["--time", "time", "--event", "status", "--arm", "sex", "--covariates", "age,sex"]
    call = ["survival", str(GOLDEN / "cox_lung.csv"), *arguments, "--release", "exact", "--json"]
    done = CliRunner().invoke(try_app, call, catch_exceptions=False)
    printed = json.loads(done.output)
    assert printed["protocol"] == "rep4" and printed["log_rank"]["chi2"] == pytest.approx(10.32674, abs=1e-5)
    cox = CoxResult.model_validate(printed["cox"])
    agreed(compared(cox, "lung"))
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
    frame = prepared(data("cox_lung")).assign(person=lambda rows: np.arange(len(rows)) // 2 % 60)
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
