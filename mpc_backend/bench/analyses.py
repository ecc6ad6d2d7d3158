"""Benchmark lines of whole analyses, from shared tables to the numbers that would be opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.plain import shared_inputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.shared_times import survival_by_arm
from mpc_backend.bench.lines import Program, line
from mpc_backend.session import Session
from mpc_backend.testing import World

Rng = np.random.Generator
Prepared = tuple[list[Any], Program]
SITES = ("north", "south", "west")
MARKERS = [f"marker{number}" for number in range(24)]
TREATMENTS = 100
MONTHS = 24
ROWS_IN_SMALL_RING = 65_535


@dataclass(frozen=True)
class Case:
    """One question as a study asks it: analysis, variables of the study, everybody's rows, a patient's facts if it
    takes any."""

    kind: str
    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    frame: pd.DataFrame
    facts: Mapping[str, object] | None = None

    def rows_of(self, place: int) -> SiteData:
        """Every third row: those of the hospital with this number."""
        return SiteData(self.frame.iloc[place :: len(SITES)])


def _outcome(frame: pd.DataFrame, hazard: Any, longest: int, rng: Rng) -> pd.DataFrame:
    failure, leaving = (
        rng.exponential(1 / np.asarray(hazard), len(frame)),
        rng.uniform(12, longest, len(frame)),
    )
    time = np.ceil(np.minimum(failure, leaving)).astype(np.int64)
    return frame.assign(outcome_time=time, outcome_event=(failure <= leaving).astype(np.int64))


def _prepared(world: World, case: Case) -> Prepared:
    """The rows of three hospitals, shared as they would share them, and the analysis as the program."""
    chosen, typed = analysis(case.kind), parse_parameters(case.kind, case.parameters)
    tables = {site: chosen.local(typed, case.rows_of(place)) for place, site in enumerate(SITES)}
    query = None if case.facts is None else chosen.query(typed, case.facts)
    inputs = shared_inputs(world, chosen, typed, tables, query)
    released = Released(DisclosurePolicy(), SITES)

    def program(session: Session, given: Any) -> Any:
        return chosen.compute(session, typed, released, given)

    return [inputs], program


def _category(levels: Any) -> dict[str, Any]:
    return {
        "kind": "category",
        "domain": "observation",
        "levels": {level: [2_000_000_000 + number] for number, level in enumerate(levels)},
    }


TIME_TO_EVENT: Final = {"kind": "time_to_event", "events": ["death"], "horizon_days": 3_650, "unit": "month"}


@line("ranking", 20_000, shards=True)
def ranking(world: World, n: int, rng: Rng) -> Prepared:
    """One secret patient among n, 100 treatments, 24 markers, 24 months, four strata, three tiers."""
    return _prepared(world, ranking_case(n, rng))


def ranking_capacity(n: int) -> int:
    """The rows that a study of n patients makes room for."""
    return max(ROWS_IN_SMALL_RING, 2 * n + 3_072)


def ranking_case(n: int, rng: Rng, treatments: int = TREATMENTS) -> Case:
    """The question of the line ``ranking``."""
    names = [f"treatment {number}" for number in range(treatments)]
    frame = pd.DataFrame((rng.random((n, len(MARKERS))) < 0.2).astype(np.int64), columns=MARKERS)
    frame["age"], frame["stage"] = rng.integers(30, 85, n), rng.choice(["A", "B", "C"], n)
    frame["year"], frame["severe"] = rng.integers(2012, 2022, n), rng.choice(["no", "yes"], n)
    frame["treatment"] = rng.choice(names, n)
    frame = _outcome(frame, np.where(frame["severe"] == "yes", 0.06, 0.03), 60, rng)
    tiers = [
        {"name": "strict", "max_distance": 2, "age_within": 5, "equal": ["stage"]},
        {"name": "moderate", "max_distance": 5, "age_within": 10, "equal": ["stage"]},
        {"name": "loose", "max_distance": 8, "age_within": 20},
    ]
    parameters = {
        "treatment": "treatment", "treatments": names, "outcome": "outcome", "time_unit": "month",
        "unit": "month", "tau": MONTHS, "markers": MARKERS, "age": "age", "tiers": tiers,
        "equal": [{"variable": "stage", "levels": ["A", "B", "C"]}],
        "period": {"variable": "year", "cuts": [2017]},
        "strata": [{"variable": "severe", "levels": ["no", "yes"]}],
        "capacity": ranking_capacity(n),
    }  # fmt: skip
    facts: dict[str, object] = {**dict.fromkeys(MARKERS, 0), "age": 60, "stage": "B"}
    variables = {
        **{name: {"kind": "presence", "domain": "measurement", "concepts": [3_000_000]} for name in MARKERS},
        "age": {"kind": "age"},
        "year": {"kind": "index_year"},
        "stage": _category("ABC"),
        "severe": _category(["no", "yes"]),
        "treatment": _category(names),
        "outcome": TIME_TO_EVENT,
    }
    return Case("treatment_ranking", parameters, variables, frame, facts)


@line("survival", 1_000_000)
def survival(world: World, n: int, rng: Rng) -> Prepared:
    """Kaplan-Meier by two arms over 120 months, standardised over four strata, with two log-rank tests: n persons."""
    return _prepared(world, survival_case(n, rng))


@line("survival_rows", 1_000_000)
def survival_rows(world: World, n: int, rng: Rng) -> Prepared:
    """Kaplan-Meier curves of two arms over 120 months and their log-rank test, from n rows that are all shared."""
    arm, spread = rng.integers(0, 2, n), rng.exponential(1 / 0.011, n)
    until = rng.integers(1, 150, n)
    inputs = [
        world.share(np.minimum(np.ceil(spread).clip(max=200), until).astype(np.int64), bits=9),
        world.share(spread <= until),
        world.share(arm, bits=2),
    ]
    return inputs, lambda session, time, event, of: survival_by_arm(session, time, event, of, 2, 120)


def survival_case(n: int, rng: Rng) -> Case:
    """The question of the line ``survival``."""
    frame = pd.DataFrame({"arm": rng.choice(["a", "b"], n), "stratum": rng.choice(["1", "2", "3", "4"], n)})
    frame = _outcome(frame, np.where(frame["arm"] == "a", 0.012, 0.010), 150, rng)
    parameters = {
        "outcome": "outcome", "arm": "arm", "arms": ["a", "b"], "time_unit": "month", "unit": "month",
        "horizon": 120, "strata": [{"variable": "stratum", "levels": ["1", "2", "3", "4"]}],
    }  # fmt: skip
    variables = {"arm": _category("ab"), "stratum": _category("1234"), "outcome": TIME_TO_EVENT}
    return Case("survival", parameters, variables, frame)


@line("cox", 100_000)
def cox(world: World, n: int, rng: Rng) -> Prepared:
    """Cox regression of ten covariates, Efron's ties, three hospitals, 120 months, with robust errors and all tests."""
    return _prepared(world, cox_case(n, rng))


def cox_case(n: int, rng: Rng) -> Case:
    """The question of the line ``cox``."""
    marks = MARKERS[:8]
    frame = pd.DataFrame((rng.random((n, len(marks))) < 0.3).astype(np.int64), columns=marks)
    frame["age"], frame["year"], frame["arm"] = rng.integers(30, 85, n), rng.integers(2012, 2022, n), "all"
    effect = np.log(2) * (frame["age"] - 57) / 20 + frame[marks].to_numpy() @ np.linspace(-0.6, 0.6, 8)
    frame = _outcome(frame, 0.01 * np.exp(effect), 150, rng)
    numbers = {**dict.fromkeys(marks, 0.5), "age": 16, "year": 3}
    covariates = [
        {"variable": name, "scale": scale, "codes": ("0", "1") if name in marks else None}
        for name, scale in numbers.items()
    ]
    parameters = {
        "outcome": "outcome", "arm": "arm", "arms": ["all"], "time_unit": "month", "unit": "month", "horizon": 120,
        "cox": {"covariates": covariates},
    }  # fmt: skip
    variables = {
        **{name: {"kind": "presence", "domain": "measurement", "concepts": [3_000_000]} for name in marks},
        "age": {"kind": "age"},
        "year": {"kind": "index_year"},
        "arm": _category(["all"]),
        "outcome": TIME_TO_EVENT,
    }
    return Case("survival", parameters, variables, frame)


@line("logistic", 100_000)
def logistic(world: World, n: int, rng: Rng) -> Prepared:
    """Logistic regression of n persons on ten covariates, rows of three hospitals, with the likelihood ratio."""
    return _prepared(world, logistic_case(n, rng))


def logistic_case(n: int, rng: Rng) -> Case:
    """The question of the line ``logistic``."""
    marks = MARKERS[:8]
    frame = pd.DataFrame((rng.random((n, len(marks))) < 0.3).astype(np.int64), columns=marks)
    frame["age"], frame["year"] = rng.integers(30, 85, n), rng.integers(2012, 2022, n)
    odds = -2 + (frame["age"] - 57) / 20 + frame[marks].to_numpy() @ np.linspace(-0.6, 0.6, 8)
    frame["relapse"] = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    numbers = {**dict.fromkeys(marks, (0.3, 0.5)), "age": (57, 16), "year": (2017, 3)}
    predictors = [
        {"variable": name, "centre": at, "scale": by, "codes": ("0", "1") if name in marks else None}
        for name, (at, by) in numbers.items()
    ]
    variables = {
        **{
            name: {"kind": "presence", "domain": "measurement", "concepts": [3_000_000]}
            for name in (*marks, "relapse")
        },
        "age": {"kind": "age"},
        "year": {"kind": "index_year"},
    }
    return Case("logistic", {"outcome": "relapse", "predictors": predictors}, variables, frame)


CASES: Final[Mapping[str, Callable[[int, Rng], Case]]] = {
    "cox": cox_case,
    "logistic": logistic_case,
    "ranking": ranking_case,
    "survival": survival_case,
}
"""Lines that are questions of a study, so that separate nodes can be asked them."""
