"""The judge agrees with answers that are right, and with no other."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import lifelines
import numpy as np
import pandas as pd
import pytest
import yaml
from lifelines.utils import median_survival_times

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, Result, SiteData, Suppressed
from mpc_backend.analyses.cells import HiddenCount
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.ranking_tables import missing_facts
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.survival_result import SurvivalResult
from workbench.demo import answers, curves, intervals, judge, truth
from workbench.demo.earlier import TOO_CLOSE, Earlier
from workbench.demo.examples import examples_folder
from workbench.demo.judge_ranking import judge_ranking
from workbench.demo.judge_survival import judge_survival
from workbench.demo.population import HOSPITALS, Population
from workbench.demo.similar import Similar, marker_columns

POLICY = DisclosurePolicy(minimum_cell=10, rounding=10)


def _parameters(example: str) -> dict[str, object]:
    fields = yaml.safe_load((examples_folder() / f"{example}.yaml").read_text("utf-8"))
    return fields["analyses"][0]["parameters"]


def _run(kind: str, parameters: dict[str, object], sites: dict[str, SiteData], **how: object) -> Result:
    receiving = HOSPITALS if "facts" in how else ()
    released = Released(POLICY, HOSPITALS, receiving)
    return run_here(analysis(kind), parse_parameters(kind, parameters), released, sites, **how)


def _differences(checks: list[judge.Check]) -> list[str]:
    assert checks
    return [str(check) for check in checks if not check.agrees]


def _spoilt(result: Any, path: str, value: object) -> Any:
    """The result with another value at ``path``, where ``.`` goes into a field and a number into a list."""
    step, _, rest = path.partition(".")
    if isinstance(result, list | tuple):
        parts = list(result)
        parts[int(step)] = _spoilt(parts[int(step)], rest, value) if rest else value
        return type(result)(parts)
    old = getattr(result, step)
    if rest:
        return result.model_copy(update={step: _spoilt(old, rest, value)})
    return result.model_copy(update={step: old + value if isinstance(value, Shift) else value})


class Shift(float):
    """Added to the number that is there."""


MERGED = HiddenCount(state="merged", why="")
SUPPRESSED = HiddenCount(state="suppressed", why="")


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([25, 20, 9], [30, "merged", "suppressed"]),
        ([100, 95, 85, 84, 60], [100, "merged", 90, "merged", 60]),
        ([9, 9], ["suppressed", "suppressed"]),
        ([10, 0], [10, "suppressed"]),
        ([40, 40], [40, "merged"]),
    ],
)
def test_release_rules_on_small_chains(counts: list[int], shown: list[int | str]) -> None:
    assert judge.release(counts) == shown


@pytest.fixture(scope="module")
def counted(full: Population) -> CountResult:
    sites = {}
    for number, name in enumerate(HOSPITALS):
        here = full.at(number)
        sites[name] = SiteData(pd.DataFrame(), tuple(truth.attrition(here)), len(here.persons))
    result = _run("cohort_count", {"steps": [label for label, _ in truth.attrition(full)]}, sites)
    assert isinstance(result, CountResult)
    return result


def test_count_answers(full: Population, counted: CountResult) -> None:
    assert _differences(judge.judge_count(full, counted)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("steps.1.label", "19 years or older"),
        ("steps.1.count", SUPPRESSED),
        ("steps.1.count.value", Shift(10)),
        ("steps.1.count.band", (3900, 3914)),
        ("population", SUPPRESSED),
        ("count", MERGED),
        ("suppressed", [Suppressed(what="Entry event", why="")]),
    ],
)
def test_count_answers_spoilt(full: Population, counted: CountResult, path: str, value: object) -> None:
    assert _differences(judge.judge_count(full, _spoilt(counted, path, value)))


def test_suppressed_is_not_merged(counted: CountResult) -> None:
    cells = [counted.population, MERGED, counted.count]
    counts = [counted.population.value, 9, counted.count.value]
    assert len(_differences(judge.judge_counts("steps", counts, cells))) == 1
    assert _differences(judge.judge_counts("steps", counts, [cells[0], SUPPRESSED, cells[2]])) == []


def _survival_sites(population: Population) -> dict[str, SiteData]:
    people = population.diabetes[population.diabetes["eligible"]]
    months, events = curves.on_grid(people)
    frame = pd.DataFrame(
        {
            "therapy": [truth.ARMS[arm] for arm in people["therapy"]],
            "kidney_disease": people["kidney"].to_numpy(),
            "hba1c": people["hba1c"].where(people["hba1c_known"]).to_numpy(),
            "index_year": people["index"].dt.year.to_numpy(),
            "heart_failure_or_death_time": months,
            "heart_failure_or_death_event": events,
        }
    )
    hospital = people["hospital"].to_numpy()
    return {name: SiteData(frame[hospital == number]) for number, name in enumerate(HOSPITALS)}


@pytest.fixture(scope="module")
def pooled(full: Population) -> truth.Comparison:
    return truth.comparison(full)


@pytest.fixture(scope="module")
def survived(full: Population) -> SurvivalResult:
    result = _run("survival", _parameters("survival"), _survival_sites(full))
    assert isinstance(result, SurvivalResult)
    return result


def test_survival_answers(pooled: truth.Comparison, survived: SurvivalResult) -> None:
    assert _differences(judge_survival(pooled, survived)) == []
    assert any("DPP-4" in line for line in answers.survival_lines(survived, pooled))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("arms.0.n", MERGED),
        ("arms.0.events", MERGED),
        ("arms.1.events.value", Shift(10)),
        ("arms.1.table.2.at_risk.value", Shift(10)),
        ("arms.1.table.2.events.band", (0, 9)),
        ("arms.1.table.2.censored", SUPPRESSED),
        ("arms.1.table.2.time", 13),
        ("arms.1.curve.rmst.estimate", Shift(0.02)),
        ("arms.1.curve.rmst.se", Shift(0.01)),
        ("arms.1.curve.rmst", None),
        ("arms.1.crude", None),
        ("arms.1.crude.steps.3.estimate", Shift(0.002)),
        ("arms.1.crude.steps.3.se", Shift(0.001)),
        ("arms.1.crude.steps.3.lower", Shift(-0.01)),
        ("arms.1.curve.steps.3.upper", Shift(0.01)),
        ("arms.1.curve.steps.3.upper", None),
        ("arms.1.curve.steps.3.time", 2),
        ("arms.1.curve.steps.0.estimate", 0.9),
        ("arms.1.curve.cut_at", 23),
        ("arms.0.curve.median", None),
        ("arms.0.curve.median.estimate", 20.0),
        ("arms.0.curve.median.lower", 20.0),
        ("arms.0.crude.median.upper", 20.0),
        ("rmst_contrasts", []),
        ("rmst_contrasts.0.reference", "DPP-4 inhibitor"),
        ("rmst_contrasts.0.difference", Shift(0.03)),
        ("rmst_contrasts.0.se", Shift(0.006)),
        ("rmst_contrasts.0.lower", Shift(-0.04)),
        ("rmst_contrasts.0.upper", Shift(0.04)),
        ("rmst_contrasts.0.p", 0.0001),
        ("rmst_contrasts.0.ratio", Shift(0.002)),
        ("rmst_contrasts.0.ratio_lower", Shift(-0.004)),
        ("rmst_contrasts.0.ratio_upper", Shift(0.004)),
        ("log_rank", None),
        ("log_rank.p", Shift(0.002)),
        ("log_rank.df", 2),
        ("log_rank.chi2", Shift(0.02)),
        ("stratified_log_rank.chi2", Shift(0.02)),
        ("stratified_log_rank.p", 0.001),
        ("stratified_log_rank.stratified_by", "hospital"),
    ],
)
def test_survival_answers_spoilt(
    pooled: truth.Comparison, survived: SurvivalResult, path: str, value: object
) -> None:
    assert _differences(judge_survival(pooled, _spoilt(survived, path, value)))


@pytest.mark.parametrize(("events", "shown"), [(9, False), (10, True)])
def test_log_rank_tests_need_enough_events_in_each_arm(
    pooled: truth.Comparison, survived: SurvivalResult, events: int, shown: bool
) -> None:
    few = replace(pooled, events=(pooled.events[0], events))
    said = [check.what for check in judge_survival(few, survived) if not check.agrees]
    assert ("log-rank shown" in said) == ("stratified log-rank shown" in said) == (not shown)


def test_medians_that_are_reached() -> None:
    """A steep curve, its median and limits by lifelines' own band."""
    rng = np.random.default_rng(3)
    days = np.ceil(rng.exponential(8, 400)).astype(np.int64)
    months, events = np.minimum(days, curves.TAU), (days <= curves.TAU).astype(np.int64)
    alone = curves.standardise([curves.kaplan_meier(months, events)], np.ones(1))
    fitter = lifelines.KaplanMeierFitter().fit(months, events)
    limits = median_survival_times(fitter.confidence_interval_).iloc[0].tolist()
    ours = [
        intervals.half_time(intervals.log_log_band(alone.survival, alone.standard_error, side), curves.TAU)
        for side in (-1, 1)
    ]
    assert intervals.half_time(alone.survival, curves.TAU) == fitter.median_survival_time_
    assert ours == limits
    assert intervals.half_time(np.array([1.0, 0.5, 0.5, 0.2]), 3) == 2.0


@pytest.fixture(scope="module")
def similar(full: Population) -> Similar:
    return Similar(full)


def _ranking_sites(similar: Similar) -> dict[str, SiteData]:
    people = similar.people
    frame = people[[*marker_columns(), "age"]].copy()
    frame["regimen"] = [f"regimen {arm:03d}" for arm in people["regimen"]]
    frame["index_year"] = people["index"].dt.year
    frame["stage"] = people["stage"].map(dict(enumerate("ABC")))
    frame["cd4"], frame["sex"] = people["cd4"], people["female"].map({0: "male", 1: "female"})
    frame["failure_time"], frame["failure_event"] = similar.months, similar.events
    return {name: SiteData(frame[similar.hospital == number]) for number, name in enumerate(HOSPITALS)}


@pytest.fixture(scope="module")
def ranked(similar: Similar) -> dict[str, tuple[dict[str, object], RankingResult]]:
    """Every example patient's facts and answer."""
    sites, parameters = _ranking_sites(similar), _parameters("ranking")
    found = {}
    for path in sorted((examples_folder() / "patients").glob("*.json")):
        facts = json.loads(path.read_text("utf-8"))
        result = _run("treatment_ranking", parameters, sites, facts=facts)
        assert isinstance(result, RankingResult)
        missing = missing_facts(parse_parameters("treatment_ranking", parameters), facts)
        found[path.stem] = facts, result.model_copy(update={"not_matched_on": missing})
    return found


def test_ranking_answers(similar: Similar, ranked: dict[str, Any]) -> None:
    for name, (facts, result) in ranked.items():
        assert _differences(judge_ranking(similar, facts, result)) == []
        assert len(result.arms) >= 2, name
        assert any("comparable patients" in line for line in answers.ranking_lines(result, similar, facts))
    assert {len(result.not_matched_on) > 0 for _, result in ranked.values()} == {True, False}


def _asked_in_turn(similar: Similar, *names: str) -> list[tuple[dict[str, object], RankingResult]]:
    """The answers to one physician who asks about these patients one after the other."""
    sites, parameters = _ranking_sites(similar), _parameters("ranking")
    memory: list[Any] = []
    answered = []
    for name in names:
        facts = json.loads((examples_folder() / "patients" / f"{name}.json").read_text("utf-8"))
        result = _run("treatment_ranking", parameters, sites, facts=facts, memory=memory)
        assert isinstance(result, RankingResult)
        missing = missing_facts(parse_parameters("treatment_ranking", parameters), facts)
        answered.append((facts, result.model_copy(update={"not_matched_on": missing})))
    return answered


def test_patients_who_are_far_apart_are_all_answered(similar: Similar) -> None:
    told = Earlier()
    for facts, result in _asked_in_turn(similar, "advanced", "common-genotype", "missing-facts", "advanced"):
        assert _differences(judge_ranking(similar, facts, result, told)) == []
        assert len(result.arms) >= 4


def test_a_patient_a_year_older_is_withheld_and_judged_so(similar: Similar) -> None:
    told = Earlier()
    answered = _asked_in_turn(similar, "advanced", "advanced-a-year-older", "advanced")
    for facts, result in answered:
        assert _differences(judge_ranking(similar, facts, result, told)) == []
    first, second, third = (result for _, result in answered)
    close = [arm.treatment for arm in second.hidden if arm.reason.startswith(TOO_CLOSE)]
    assert third.arms == first.arms and len(close) >= 4
    lines = answers.ranking_lines(second, similar, answered[1][0])
    assert any(f"{len(close)} of them because the answer is too close" in line for line in lines)
    alone = _differences(judge_ranking(similar, *answered[1]))
    assert any("withheld" in one for one in alone), "the judge wants what was told before"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tier", "strict"),
        ("relaxed", ["stage need not agree"]),
        ("not_matched_on", ("stage",)),
        ("total", (0, 9)),
        ("hidden", []),
        ("hidden_count", Shift(1)),
        ("hidden.0.reason", "follow-up too short"),
        ("arms.0.size", (0, 9)),
        ("arms.0.estimate", Shift(0.2)),
        ("arms.0.standard_error", Shift(0.1)),
        ("arms.0.effective_size", Shift(15)),
        ("arms.0.fewer_than_ten_failures", None),
        ("arms.0.lower", Shift(0.01)),
        ("arms.0.upper", Shift(-0.01)),
        ("arms.0.shrunken", Shift(0.01)),
        ("arms.0.cannot_be_ruled_out", False),
        ("cannot_be_ruled_out", []),
        ("verdict", "no treatment is better"),
        ("balance", None),
        ("balance.covariates", ["age"]),
        ("balance.out_of_balance", ["sex"]),
        ("balance.withheld", []),
        ("balance.not_judged", []),
        ("arms.2.risk.risk", Shift(0.03)),
        ("arms.3.risk.standard_error", Shift(0.01)),
        ("arms.3.risk.ratio", Shift(0.01)),
        ("arms.3.risk.lower", Shift(0.01)),
        ("arms.3.risk.e_value", Shift(0.01)),
        ("arms.3.risk.e_value_limit", Shift(0.01)),
        ("arms.0.risk.ratio", 1.0),
        ("arms.0.risk.risk", 0.1),
        ("arms.3.risk.reference", None),
    ],
)
def test_ranking_answers_spoilt(similar: Similar, ranked: dict[str, Any], path: str, value: object) -> None:
    facts, result = ranked["advanced"]
    assert _differences(judge_ranking(similar, facts, _spoilt(result, path, value)))


def test_few_failures_have_binomial_limits() -> None:
    lower, upper = intervals.Ranked(24.0, 0.0, 10.0, few=True).interval()
    assert (lower, upper) == (pytest.approx(24 * 0.6915, abs=0.001), 24.0)
    lower, upper = intervals.Ranked(24 * 0.8, 1.0, 10.0, few=True).interval()
    assert (lower, upper) == (pytest.approx(24 * 0.4439, abs=0.001), pytest.approx(24 * 0.9748, abs=0.001))


def test_order_of_the_ranking_spoilt(similar: Similar, ranked: dict[str, Any]) -> None:
    facts, result = ranked["advanced"]
    turned = result.model_copy(update={"arms": result.arms[::-1]})
    assert any("first" in one for one in _differences(judge_ranking(similar, facts, turned)))


def test_the_advanced_patient_is_misled_by_crude_numbers(similar: Similar) -> None:
    facts = json.loads((examples_folder() / "patients" / "advanced.json").read_text("utf-8"))
    _, members = similar.first_tier(facts)
    arms = {name: arm for name, arm in similar.arms(members).items() if arm.overlap and arm.finished}
    best = {key: max(arms, key=lambda name: getattr(arms[name], key)) for key in ("crude", "mean", "causal")}
    assert best["mean"] == best["causal"] != best["crude"]


def test_tolerances_do_not_hide_wrong_types() -> None:
    assert not judge.Check("x", 1.0, None, 0.1).agrees
    assert not judge.Check("x", 1.0, float("nan"), 0.1).agrees
    assert judge.Check("x", 1.0, 1.05, 0.1).agrees
    assert not judge.Check("x", np.nan, np.nan).agrees
