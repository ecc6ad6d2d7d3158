"""The judge agrees with answers that are right, and with no other."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, Result, SiteData
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.survival_result import SurvivalResult
from workbench.demo import answers, curves, judge, truth
from workbench.demo.examples import examples_folder
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


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([25, 20, 9], [30, None, None]),
        ([100, 95, 85, 84, 60], [100, None, 90, None, 60]),
        ([9, 9], [None, None]),
        ([10, 0], [10, None]),
        ([40, 40], [40, None]),
    ],
)
def test_release_rules_on_small_chains(counts: list[int], shown: list[int | None]) -> None:
    assert judge.release(counts) == shown


def test_count_answers(full: Population) -> None:
    sites = {}
    for number, name in enumerate(HOSPITALS):
        here = full.at(number)
        sites[name] = SiteData(pd.DataFrame(), tuple(truth.attrition(here)), len(here.persons))
    labels = [label for label, _ in truth.attrition(full)]
    result = _run("cohort_count", {"steps": labels}, sites)
    assert _differences(judge.judge_count(full, result)) == []
    off = result.model_copy(update={"steps": [*result.steps[:-1], result.steps[0]]})
    assert len(_differences(judge.judge_count(full, off))) == 1


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


def test_survival_answers(full: Population) -> None:
    pooled = truth.comparison(full)
    result = _run("survival", _parameters("survival"), _survival_sites(full))
    assert isinstance(result, SurvivalResult)
    assert _differences(judge.judge_survival(pooled, result)) == []
    assert any("DPP-4" in line for line in answers.survival_lines(result, pooled))
    arm = result.arms[1]
    mean = arm.curve.rmst.model_copy(update={"estimate": arm.curve.rmst.estimate + 0.02})
    spoilt = arm.model_copy(update={"curve": arm.curve.model_copy(update={"rmst": mean})})
    off = result.model_copy(update={"arms": [result.arms[0], spoilt]})
    assert len(_differences(judge.judge_survival(pooled, off))) == 1


@pytest.fixture(scope="module")
def similar(full: Population) -> Similar:
    return Similar(full)


def _ranking_sites(similar: Similar) -> dict[str, SiteData]:
    people = similar.people
    frame = people[[*marker_columns(), "age"]].copy()
    frame["regimen"] = [f"regimen {arm:03d}" for arm in people["regimen"]]
    frame["index_year"] = people["index"].dt.year
    frame["stage"] = people["stage"].map(dict(enumerate("ABC")))
    frame["cd4"] = people["cd4"]
    frame["failure_time"], frame["failure_event"] = similar.months, similar.events
    return {name: SiteData(frame[similar.hospital == number]) for number, name in enumerate(HOSPITALS)}


def test_ranking_answers(similar: Similar) -> None:
    sites = _ranking_sites(similar)
    for path in sorted((examples_folder() / "patients").glob("*.json")):
        facts = json.loads(path.read_text("utf-8"))
        result = _run("treatment_ranking", _parameters("ranking"), sites, facts=facts)
        assert isinstance(result, RankingResult)
        assert _differences(judge.judge_ranking(similar, facts, result)) == []
        assert len(result.arms) >= 2, path.name
        assert any("comparable patients" in line for line in answers.ranking_lines(result, similar, facts))
        first = result.arms[0].model_copy(update={"estimate": result.arms[0].estimate + 0.2})
        off = result.model_copy(update={"arms": [first, *result.arms[1:]]})
        assert len(_differences(judge.judge_ranking(similar, facts, off))) == 1


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
