"""What pages say an analysis costs is what the planner counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released
from mpc_backend.analyses.registry import KINDS, parse_parameters
from mpc_backend.planner import counted

DOCS = Path(__file__).resolve().parents[3] / "docs" / "analyses"
HEAD = "| three hospitals, `rep4`: counted for | rounds | sent by a node |"
UNITS = {"kB": 1e3, "MB": 1e6}
CURVES = {"outcome": "o", "arm": "arm", "arms": ["a", "b"], "horizon": 24}


def numbers(count: int, **more: object) -> list[dict[str, object]]:
    return [{"variable": f"x{place}", "scale": 1, **more} for place in range(count)]


def compared(weights: str) -> dict[str, Any]:
    period = {"variable": "year", "centre": 0, "scale": 1}
    score = numbers(9, centre=0)
    return {
        "outcome": "o", "arm": "arm", "arms": ["a", "b"], "tau": 24, "period": period, "score": score, "weights": weights,
    }  # fmt: skip


RANKED = {
    "treatment": "drug", "treatments": [f"t{place}" for place in range(20)], "outcome": "o", "tau": 24, "age": "age",
    "markers": [f"m{place}" for place in range(100)], "equal": [{"variable": "stage", "levels": ["x", "y"]}],
    "tiers": [{"name": "near", "max_distance": 2, "age_within": 5, "equal": ["stage"]}, {"name": "all", "max_distance": 8}],
    "period": {"variable": "year", "cuts": [2018]}, "strata": [{"variable": "cd4", "cuts": [200]}],
}  # fmt: skip
DESCRIBED = {
    "by": "g", "groups": ["a", "b"], "numbers": numbers(5, centre=0, low=0, high=200),
    "categories": [{"variable": f"c{place}", "levels": ["u", "v", "w"]} for place in range(5)],
}  # fmt: skip
STRATA = [{"variable": "s", "levels": [str(place) for place in range(8)]}]
STRATUM = {"variable": "sex", "levels": ["f", "m"]}
SHAPES: dict[tuple[str, str], tuple[str, dict[str, Any], int]] = {
    ("comparative_effectiveness", "overlap weights, ten covariates, 24 months, 600 persons each"): (
        "comparative_effectiveness", compared("overlap"), 600,
    ),
    ("comparative_effectiveness", "fifths of the score, else the same"): (
        "comparative_effectiveness", compared("strata"), 600,
    ),
    ("competing_risks", "two arms, two causes, 24 months"): (
        "competing_risks", {**{key: CURVES[key] for key in ("arm", "arms", "horizon")}, "causes": ["x", "y"]}, 1,
    ),
    ("correlation", "ten variables"): ("correlation", {"variables": numbers(10, centre=0)}, 1),
    ("cox", "ten covariates, Efron's ties, two arms, 24 months, 200 persons each"): (
        "survival", {**CURVES, "cox": {"covariates": numbers(10)}}, 200,
    ),
    ("linear", "ten covariates"): (
        "linear", {"outcome": "y", "outcome_centre": 0, "outcome_scale": 1, "predictors": numbers(10, centre=0)}, 1,
    ),
    ("logistic", "ten covariates, 600 persons each"): (
        "logistic", {"outcome": "y", "predictors": numbers(10, centre=0)}, 600,
    ),
    ("survival", "two arms, eight strata, 24 months"): ("survival", {**CURVES, "strata": STRATA}, 1),
    ("table_one", "two groups, five numbers of 201 values, five categories of three levels"): ("table_one", DESCRIBED, 1),
    ("treatment_ranking", "20 treatments, 100 markers, two tiers, four strata, 6,667 persons each"): (
        "treatment_ranking", RANKED, 6_667,
    ),
    ("treatment_ranking", "the same with `balance` of two covariates, of two and four levels"): (
        "treatment_ranking", {**RANKED, "balance": [STRATUM, {"variable": "age", "cuts": [35, 45, 55]}]}, 6_667,
    ),
}  # fmt: skip


def stated(page: str) -> dict[str, tuple[int, float]]:
    """Rounds and bytes by what they were counted for."""
    _, _, table = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition(HEAD)
    found = {}
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        words, rounds, sent = (cell.strip() for cell in line.strip("|").split(" | "))
        number, unit = sent.split()
        found[words] = int(rounds.replace(",", "")), float(number) * UNITS[unit]
    return found


def test_every_page_states_what_is_counted() -> None:
    pages = {page for page, _ in SHAPES}
    assert pages == {*KINDS, "cox"} - {"cohort_count"}, "a count costs kilobytes"
    assert {page: set(stated(page)) for page in pages} == {
        page: {words for other, words in SHAPES if other == page} for page in pages
    }


@pytest.mark.parametrize(("page", "words"), SHAPES, ids=[f"{page}, {words}" for page, words in SHAPES])
def test_costs_are_those_that_the_planner_counts(page: str, words: str) -> None:
    kind, parameters, rows = SHAPES[page, words]
    released = Released(DisclosurePolicy(), ("north", "south", "west"))
    cost = counted(KINDS[kind], parse_parameters(kind, parameters), released, rows, "rep4")
    assert (cost.rounds, cost.bytes_per_node) == pytest.approx(stated(page)[words], rel=0.02)


def test_the_page_states_what_earlier_answers_add_to_a_ranking() -> None:
    head = "| earlier answers (the case above, `rep4`) | more rounds | more sent by a node |\n"
    _, _, table = (DOCS / "treatment_ranking.md").read_text(encoding="utf-8").partition(head)
    lines = [line.strip("|").split(" | ") for line in table.splitlines()[1:4]]
    assert [int(line[0]) for line in lines] == [1, 20, 100]
    released = Released(DisclosurePolicy(), ("north", "south", "west"))
    chosen, typed = KINDS["treatment_ranking"], parse_parameters("treatment_ranking", RANKED)
    none, *found = (counted(chosen, typed, released, 6_667, "rep4", before) for before in (0, 1, 20, 100))
    for (_, rounds, sent), cost in zip(lines, found, strict=True):
        assert cost.rounds - none.rounds == int(rounds)
        more = (cost.bytes_per_node - none.bytes_per_node) / UNITS["MB"]
        assert more == pytest.approx(float(sent.split()[0]), abs=0.006)
