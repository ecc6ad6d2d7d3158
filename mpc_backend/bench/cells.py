"""Benchmark lines of a treatment ranking by cells: the table of answers that is made once, and one question after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released
from mpc_backend.analyses.plain import shared_inputs
from mpc_backend.analyses.ranking_cell_tables import PUBLISHED
from mpc_backend.analyses.ranking_cells import question_count
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_published import width
from mpc_backend.analyses.registry import parse_parameters
from mpc_backend.analyses.treatment_ranking import TreatmentRanking
from mpc_backend.bench.analyses import SITES, TREATMENTS, Case, Prepared, ranking_capacity, ranking_case
from mpc_backend.bench.lines import line
from mpc_backend.session import Session
from mpc_backend.testing import World

Rng = np.random.Generator
AGES = [40, 50, 60, 70]
PRESENT = [3, 6]
LARGE = 1_000
FEW = 600


def cells_case(n: int, rng: Rng, treatments: int, rows: int | None = None) -> Case:
    """The patients of the line ``ranking`` by 45 cells: five age bands, three stages, three bands of markers present.

    ``rows``: how many of the n patients are made, for a question to which the others do not matter.
    """
    near = ranking_case(n if rows is None else min(n, rows), rng, treatments)
    cuts = {"mutations": PRESENT}
    plan = {
        "age_cuts": AGES,
        "marker_groups": [{"name": "mutations", "markers": near.parameters["markers"], "cuts": PRESENT}],
        "tiers": [
            {"name": "cell", "age_cuts": AGES, "equal": ["stage"], "marker_cuts": cuts},
            {"name": "wider", "age_cuts": [60], "equal": ["stage"]},
            {"name": "loose", "age_cuts": [60]},
        ],
    }
    of_all = {**near.parameters, "capacity": ranking_capacity(n)}
    parameters = {**of_all, "mode": "cells", "tiers": [], "cells": plan}
    return Case(near.kind, parameters, near.variables, near.frame, near.facts)


def _question(case: Case) -> tuple[RankingParameters, Released]:
    typed = parse_parameters(case.kind, case.parameters)
    assert isinstance(typed, RankingParameters)
    return typed, Released(DisclosurePolicy(), SITES)


def _published(world: World, n: int, rng: Rng, treatments: int) -> Prepared:
    case, chosen = cells_case(n, rng, treatments), TreatmentRanking()
    typed, released = _question(case)
    tables = {site: chosen.local(typed, case.rows_of(place)) for place, site in enumerate(SITES)}
    inputs = shared_inputs(world, chosen, typed, tables, chosen.query(typed, case.facts or {}))

    def program(session: Session, given: Any) -> Any:
        return chosen.publish(session, typed, released, given)

    return [inputs], program


def _looked_up(world: World, n: int, rng: Rng, treatments: int) -> Prepared:
    case, chosen = cells_case(n, rng, treatments, FEW), TreatmentRanking()
    typed, released = _question(case)
    asked = shared_inputs(world, chosen, typed, {}, chosen.query(typed, case.facts or {}))
    table = np.ones((question_count(typed), width(typed, released)), dtype=np.int64)
    kept = {"patient": asked["patient"], PUBLISHED: {"nodes": {"numbers": world.share(table, bits=62)}}}

    def program(session: Session, given: Any) -> Any:
        return chosen.compute(session, typed, released, given)

    return [kept], program


@line("ranking_publish", 20_000)
def publish(world: World, n: int, rng: Rng) -> Prepared:
    """The answers of all cells of n patients, 100 treatments, 24 months, four strata, three tiers: once for each set of
    uploads."""
    return _published(world, n, rng, TREATMENTS)


@line("ranking_publish_large", 1_000_000)
def publish_large(world: World, n: int, rng: Rng) -> Prepared:
    """The same of 1,000 treatments."""
    return _published(world, n, rng, LARGE)


@line("ranking_cells", 20_000)
def look_up(world: World, n: int, rng: Rng) -> Prepared:
    """One secret patient's answer from that table. What stands in it does not matter to the time: it is all ones."""
    return _looked_up(world, n, rng, TREATMENTS)


@line("ranking_cells_large", 1_000_000)
def look_up_large(world: World, n: int, rng: Rng) -> Prepared:
    """The same from the answers for 1,000 treatments."""
    return _looked_up(world, n, rng, LARGE)
