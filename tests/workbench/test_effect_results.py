"""What a study says of its analyses of effects, and how their results are delivered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from governance.study import StudyAnalysis
from mpc_backend.analyses.base import Released, Result, SiteData
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import analysis, parse_parameters
from tests.workbench.conftest import Benches
from tests.workbench.test_delivery import delivered, saved
from tests.workbench.test_pages import view, wait, words
from workbench.frames import tables_of
from workbench.jobs import Outcome, Request
from workbench.parts.result_tables import as_text, named_tables, result_of
from workbench.study_words import analysis_words

GOLDEN = Path(__file__).parents[1] / "mpc_backend" / "analyses" / "golden"
COMPETING = {
    "causes": ["cancer", "death"], "arm": "sex", "arms": ["F", "M"], "time_unit": "month", "horizon": 300,
    "tau": 240,
}  # fmt: skip


def answered(kind: str, parameters: dict[str, object], frame: pd.DataFrame) -> Result:
    typed, sites = parse_parameters(kind, parameters), {"a": SiteData(frame)}
    return run_here(analysis(kind), typed, Released(DisclosurePolicy(minimum_sites=1), ("a",)), sites)


def test_a_result_without_a_drawing_of_its_own_is_its_tables(make_bench: Benches) -> None:
    """Competing risks on the page of a run, withheld numbers with their reason."""
    rows = pd.read_csv(GOLDEN / "mgus2.csv").iloc[::12]
    frame = pd.DataFrame({"sex": rows.sex, "cancer_time": rows.time, "death_time": rows.time})
    frame["cancer_event"], frame["death_event"] = (rows.event == 1) * 1, (rows.event == 2) * 1
    result = answered("competing_risks", COMPETING, frame)
    bench = make_bench()
    body = result.model_dump(mode="json")
    assert result_of(body) == result
    request = Request("researcher", "researcher", "0" * 64, "one", "competing_risks", {})
    bench.jobs.start(request, lambda _: Outcome(body))
    page = view(bench, "researcher", "result", job=wait(bench, "researcher"))
    said = words(page)
    assert "Probability of having failed of each of cancer, death by sex" in said
    assert [tab.label for tab in page.tabs] == ["Result", "Risks", "Tests", "At risk", "Provenance"]
    first = as_text(named_tables(result)["Risks"])
    assert first.loc[0, "events"] == "hidden" and first.loc[0, "risk"] == "–" and "time lost se" in first
    assert "Withheld: F: cancer: events: fewer than 10 events of it, or of another reason" in said
    assert "none saw a patient" in said


def said_of(kind: str, parameters: dict[str, object]) -> str:
    entry = StudyAnalysis.model_validate(
        {"id": "one", "kind": kind, "cohort": "adults", "parameters": parameters}
    )
    return analysis_words(SimpleNamespace(), entry)  # type: ignore[arg-type]


def test_competing_risks_are_said_and_delivered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = said_of("competing_risks", COMPETING)
    assert words == (
        "**one**: time to the first of cancer and death in “adults” for F and M, over 300 months: cumulative incidence "
        "of each in the presence of the others, risk at and time lost up to 240 months, log-rank test of each; not adjusted "
        "for anything."
    )
    rows = pd.read_csv(GOLDEN / "mgus2.csv")
    frame = pd.DataFrame({"sex": rows.sex, "cancer_time": rows.time, "death_time": rows.time})
    frame["cancer_event"], frame["death_event"] = (rows.event == 1) * 1, (rows.event == 2) * 1
    said = delivered(answered("competing_risks", COMPETING, frame), capsys, tmp_path)
    tables = saved(tmp_path)
    assert set(tables) == {"risks", "differences", "tests", "at_risk", "table"}
    risks = tables["risks"].set_index(["arm", "cause"])["risk"]
    assert risks["F", "death"] == pytest.approx(0.70), "0.6953 in steps of 0.01, six of 630 women"
    assert list(tables["at_risk"]) == [
        "arm",
        "time",
        "at_risk",
        "events_cancer",
        "events_death",
        "censored",
    ]
    assert "Risk and time lost by cause" in said and "nan" not in said.lower() and "<NA>" not in said


COMPARED = {
    "outcome": "death", "arm": "treatment", "arms": ["none", "hormones"], "tau": 60, "weights": "overlap",
    "period": {"variable": "index_year", "centre": 1988, "scale": 3},
    "score": [{"variable": "age", "centre": 55, "scale": 13}, {"variable": "nodes", "centre": 2.7, "scale": 4.4}],
    "balance": [{"variable": "chemo", "levels": ["0", "1"]}], "negative_control": "recurrence",
}  # fmt: skip


def test_a_comparison_is_said_and_delivered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said_of("comparative_effectiveness", COMPARED) == (
        "**one**: hormones against none in “adults”, by mean time without death and risk of it over 60 months; weighted to "
        "the patients who might have had either treatment (overlap weights), which is estimated from index year, age, nodes "
        "and hospital; recurrence as a negative control; balance of chemo is shown too."
    )
    crude = {**COMPARED, "weights": "none", "allow_crude": True}
    assert "crude, not adjusted for anything" in said_of("comparative_effectiveness", crude)
    rows = pd.read_csv(GOLDEN / "rotterdam.csv").rename(
        columns={"days": "death_time", "death": "death_event", "recur_days": "recurrence_time",
                 "recur": "recurrence_event", "year": "index_year"}
    )  # fmt: skip
    rows["treatment"] = rows.hormon.map({0: "none", 1: "hormones"})
    said = delivered(answered("comparative_effectiveness", COMPARED, rows), capsys, tmp_path)
    tables = saved(tmp_path)
    assert set(tables) == {"table", "effects", "balance"}
    first = tables["table"].set_index(["outcome", "arm"]).loc[("death", "hormones")]
    assert first["persons"] == 340 and first["rmst_lower"] < first["rmst"] < first["rmst_upper"]
    assert list(tables["effects"]["outcome"]) == ["death"] * 4 + ["recurrence"] * 4
    assert tables["balance"].set_index("covariate").loc["age", "after"] == pytest.approx(0, abs=2e-3)
    assert said.startswith("Observational; not a trial.") and "Effects of the treatment" in said
    assert "hidden" in said and "nan" not in said.lower() and "<NA>" not in said and "None" not in said


MODELLED = {
    "outcome": "low", "predictors": [
        {"variable": "age", "centre": 23, "scale": 5}, {"variable": "race", "levels": ["black", "other", "white"]},
    ],
}  # fmt: skip


def test_regressions_are_said_and_delivered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = said_of("logistic", MODELLED)
    assert words == (
        "**one**: logistic regression of low in “adults”: how its odds depend on age and race, each with the others held "
        "equal; coefficients, intervals and tests."
    )
    linear = {**MODELLED, "outcome": "bwt", "outcome_centre": 3000, "outcome_scale": 700}
    assert "linear regression of bwt in “adults”: how its mean depends on age and race" in said_of(
        "linear", linear
    )
    rows = pd.read_csv(GOLDEN / "birthwt.csv")
    said = delivered(answered("logistic", MODELLED, rows), capsys, tmp_path)
    tables = saved(tmp_path)
    assert set(tables) == {"table", "model", "tests"}
    assert list(tables["table"]["term"]) == ["(Intercept)", "age", "raceother", "racewhite"]
    assert tables["table"].loc[1, "odds_ratio"] == pytest.approx(0.961, abs=2e-3)
    assert tables["model"].loc[0, "persons"] == 190 and tables["model"].loc[0, "events"] == 60
    assert "Persons and fit of the model" in said and "nan" not in said.lower() and "None" not in said
    few = answered("linear", linear, rows.head(30))
    (shown,) = [name for name in tables_of(few) if name == "model"]
    assert "at some level" in tables_of(few)[shown].loc[0, "not_shown"]


CORRELATED = {
    "variables": [
        {"variable": "age", "centre": 23, "scale": 5}, {"variable": "lwt", "centre": 130, "scale": 31},
    ],
}  # fmt: skip


def test_correlations_are_said_and_delivered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said_of("correlation", CORRELATED) == (
        "**one**: means, variances and correlations of age and lwt in “adults”."
    )
    rows = pd.read_csv(GOLDEN / "birthwt.csv")
    said = delivered(answered("correlation", CORRELATED, rows), capsys, tmp_path)
    tables = saved(tmp_path)
    assert set(tables) == {"table", "variables"}
    assert (
        tables["table"].loc[0, "pearson"] == pytest.approx(0.18)
        and tables["variables"].loc[0, "persons"] == 190
    )
    assert "Means and standard deviations" in said and "nan" not in said.lower() and "None" not in said


DESCRIBED = {
    "by": "smoke", "groups": ["0", "1"], "categories": [{"variable": "race", "levels": ["black", "other", "white"]}],
    "numbers": [{"variable": "age", "centre": 23, "scale": 5, "low": 10, "high": 50}],
}  # fmt: skip


def test_a_table_one_is_said_and_delivered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said_of("table_one", DESCRIBED) == (
        "**one**: age and race described in “adults” for 0 and 1: means, deviations, quartiles, shares, numbers of missing "
        "values and standardised differences."
    )
    rows = pd.read_csv(GOLDEN / "birthwt.csv")
    said = delivered(answered("table_one", DESCRIBED, rows), capsys, tmp_path)
    tables = saved(tmp_path)
    assert set(tables) == {"table", "groups_described", "levels", "standardised"}
    assert tables["table"].loc[0, "median"] == 23 and tables["groups_described"].loc[0, "persons"] == 120
    assert tables["standardised"].set_index("variable").loc["race", "smd"] == pytest.approx(0.757)
    assert (
        "Persons at each level" in said
        and "hidden" in said
        and "nan" not in said.lower()
        and "None" not in said
    )


RANKED = {
    "treatment": "drug", "treatments": ["x", "y"], "outcome": "failure", "harm": "stopped_early", "tau": 24,
    "markers": ["m1", "m2", "m3"], "age": "age", "equal": [{"variable": "stage", "levels": ["A", "B"]}],
    "period": {"variable": "index_year", "cuts": [2018]},
}  # fmt: skip


def test_a_ranking_is_said_in_either_mode() -> None:
    tiers = [
        {"name": "near", "max_distance": 1, "age_within": 5, "equal": ["stage"]},
        {"name": "far", "max_distance": 3},
    ]
    tail = ", and beside it the mean time without stopped early; adjusted for index year (cut at 2018)."
    head = (
        "**one**: for one patient whose facts stay secret, the mean time without failure over 24 months on 2 "
    )
    near = said_of("treatment_ranking", {**RANKED, "tiers": tiers})
    assert near == f"{head}treatments, among similar patients in “adults”, matched from “near” to “far”{tail}"
    cells = {
        "age_cuts": [40, 60],
        "marker_groups": [{"name": "protease", "markers": ["m1", "m2", "m3"], "cuts": [1]}],
        "tiers": [
            {"name": "cell", "age_cuts": [40, 60], "equal": ["stage"], "marker_cuts": {"protease": [1]}}, {"name": "all"},
        ],
    }  # fmt: skip
    assert said_of("treatment_ranking", {**RANKED, "mode": "cells", "cells": cells}) == (
        f"{head}treatments, among patients of the same cell in “adults” (age cut at 40, 60; stage; number of protease "
        "present of 3, cut at 1; the answers of all cells are computed once for each set of uploads), united from “cell” "
        f"to “all”{tail}"
    )
