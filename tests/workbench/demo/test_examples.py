"""The example studies parse, lint without a fault, can be planned, and say what the pooled answers assume."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from cohort_lang import explain, lint, lint_variables, parse, parse_concept_sets
from governance.approval import check_study
from governance.federation import Federation
from governance.study import StudyProtocol
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_tables import patient
from mpc_backend.analyses.registry import resolve
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.planner import plan
from workbench.demo import judge, judge_survival
from workbench.demo.comparability import AGE_CUTS
from workbench.demo.curves import TAU
from workbench.demo.examples import examples_folder
from workbench.demo.layout import Layout, people, set_up
from workbench.demo.population import HOSPITALS
from workbench.demo.similar import LADDER, MINIMUM_SUPPORT, SMALLEST
from workbench.demo.studies import NAMES, example_study
from workbench.demo.truth import ARMS
from workbench.demo.vocabulary import CODES

EXAMPLES = examples_folder()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    found = Layout(tmp_path_factory.mktemp("consortium") / "demo")
    set_up(found)
    return found


@cache
def _study(name: str, root: Path) -> StudyProtocol:
    layout = Layout(root)
    recipients = people(layout)
    federation = Federation.load(layout.federation_file)
    return example_study(name, federation, recipients["researcher"], recipients)


def test_every_hospital_says_that_its_data_are_synthetic(layout: Layout) -> None:
    assert all(layout.site(hospital).settings().synthetic_data for hospital in HOSPITALS)


def test_the_federation_lists_who_proposes(layout: Layout) -> None:
    federation = Federation.load(layout.federation_file)
    for name in NAMES:
        check_study(federation, _study(name, layout.root))
    listed = {one.id: one.organisation for one in federation.investigators or ()}
    assert listed == {"researcher": "Research Institute"}


@pytest.mark.parametrize("name", NAMES)
def test_studies_are_complete_once_keys_are_filled_in(layout: Layout, name: str) -> None:
    study = _study(name, layout.root)
    assert StudyProtocol.from_yaml(study.to_yaml()).digest == study.digest
    assert study.synthetic_data
    assert study.disclosure.minimum_cell == SMALLEST
    assert study.disclosure.rounding == judge.ROUNDING


@pytest.mark.parametrize("name", ("count", "survival", "ranking"))
def test_studies_lint_clean_and_can_be_planned(layout: Layout, name: str) -> None:
    study = _study(name, layout.root)
    cohort = parse(next(iter(study.cohorts.values())))
    used_by_variables = "unused-concept-set"
    assert [str(one) for one in lint(cohort) if one.code != used_by_variables] == []
    assert [str(one) for one in lint_variables(study.variables)] == []
    assert len(explain(cohort)) > 100
    assert plan(study).steps


@pytest.mark.parametrize("file", sorted((EXAMPLES / "cohorts").glob("*.cohort")), ids=lambda file: file.stem)
def test_cohort_texts_are_those_of_the_studies(layout: Layout, file: Path) -> None:
    texts = [
        text
        for name in ("count", "survival", "ranking")
        for text in _study(name, layout.root).cohorts.values()
    ]
    assert parse(file.read_text("utf-8")) in [parse(text) for text in texts]


def test_feasibility_bounds_cover_the_count_example(layout: Layout) -> None:
    study = _study("feasibility", layout.root)
    assert study.feasibility is not None
    allowed = parse_concept_sets(study.feasibility.concept_sets)
    text = next(iter(_study("count", layout.root).cohorts.values()))
    assert all(one in allowed for one in parse(text).concept_sets)
    _, parameters = resolve(study, "count", {"cohort": text})
    assert len(parameters.steps) == 4
    assert plan(study, cohort=text).steps


def test_survival_parameters_are_those_of_the_pooled_answer(layout: Layout) -> None:
    _, parameters = resolve(_study("survival", layout.root), "comparison")
    assert isinstance(parameters, SurvivalParameters)
    assert parameters.arms == ARMS
    assert parameters.restricted_at == TAU
    assert parameters.times == judge_survival.TIMES
    assert parameters.strata_count == 8


def test_ranking_parameters_are_those_of_the_pooled_answer(layout: Layout) -> None:
    study = _study("ranking", layout.root)
    _, parameters = resolve(study, "ranking")
    assert isinstance(parameters, RankingParameters)
    ladder = [
        (tier.name, tier.max_distance, tier.age_within, "stage" in tier.equal) for tier in parameters.tiers
    ]
    assert ladder == [(tier.name, tier.distance, tier.years, tier.same_stage) for tier in LADDER]
    assert parameters.minimum_support == MINIMUM_SUPPORT
    assert parameters.tau == TAU
    judged = {covariate.variable: covariate.levels or covariate.cuts for covariate in parameters.balance}
    assert judged == {"sex": ("female", "male"), "age": AGE_CUTS}
    assert len(parameters.treatments) == 100
    assert len(parameters.markers) == 24
    assert {one.site for one in study.recipients} == {"north", "south", "west"}


@pytest.mark.parametrize("file", sorted((EXAMPLES / "patients").glob("*.json")), ids=lambda file: file.stem)
def test_patients_can_be_asked_about(layout: Layout, file: Path) -> None:
    _, parameters = resolve(_study("ranking", layout.root), "ranking")
    assert isinstance(parameters, RankingParameters)
    assert patient(parameters, json.loads(file.read_text("utf-8")))["marker"].shape == (1, 24)


def test_studies_name_no_concept_the_vocabulary_lacks(layout: Layout) -> None:
    known = {code.concept_id for code in CODES.values()}
    for name in ("count", "survival", "ranking"):
        for text in _study(name, layout.root).cohorts.values():
            for one in parse(text).concept_sets:
                assert {item.concept_id for item in one.items} <= known, one.name


def test_no_physician_may_ask_for_rankings_without_end(layout: Layout) -> None:
    budget = _study("ranking", layout.root).budget
    assert budget.runs_per_requester is not None
    assert budget.runs_per_requester <= 20
