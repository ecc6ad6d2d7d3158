"""The shared tables of a treatment ranking in mode ``cells``: counts from each hospital, one number from the physician."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.grid import Ints, level_codes, strata_codes, times_and_events, whole_numbers
from mpc_backend.analyses.ranking_cells import (
    banded,
    cell_count,
    dimensions,
    plan_of,
    question_bits,
    question_count,
    question_of,
)
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_tables import (
    Known,
    age_of,
    ages,
    balance_levels,
    bit_of,
    check_fact_names,
    level_of,
    times_of,
)
from mpc_backend.tables import Arrays, Column, TableSpec

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = "published"
"""The table that nodes make of all hospitals' counts."""


def counts_table(parameters: RankingParameters) -> TableSpec:
    """One row for each cell, treatment and stratum, stratum fastest: how many fail, and how many fail or leave, in each
    unit of time before tau, of the outcome and of the harm; everybody; and by level of each covariate of ``balance``."""
    bits = parameters.capacity.bit_length() + 1
    rows = cell_count(parameters) * len(parameters.treatments) * parameters.strata_count
    times = [Column(name=name, kind="int", bits=bits, width=parameters.tau) for name in times_of(parameters)]
    columns = [*times, Column(name="everyone", kind="int", bits=bits)]
    if parameters.balance:
        columns.append(Column(name="balance", kind="int", bits=bits, width=sum(parameters.balance_levels)))
    return TableSpec(name="counts", level="aggregate", columns=tuple(columns), rows=rows)


def question_table(parameters: RankingParameters) -> TableSpec:
    """The number of one question in binary: exactly one cell, or union for what is not known, can be asked for."""
    column = Column(name="question", kind="bit", width=question_bits(parameters))
    return TableSpec(name="patient", level="query", columns=(column,), rows=1)


def published_table(parameters: RankingParameters, width: int) -> TableSpec:
    """One row of ``width`` released numbers for each question."""
    column = Column(name="numbers", kind="int", bits=62, width=width)
    return TableSpec(name=PUBLISHED, level="aggregate", columns=(column,), rows=question_count(parameters))


def counts(parameters: RankingParameters, site: SiteData) -> Arrays:
    """The rows of `counts_table`. Persons on other treatments or with a missing fact do not count.

    Raises:
        InputsRefused: more persons than the study's capacity.
    """
    frame = site.frame.reset_index(drop=True)
    strata, tau = parameters.strata_count, parameters.tau
    arms = level_codes(frame, parameters.treatment, parameters.treatments)
    stratum = strata_codes(frame, parameters.all_strata)
    cells, known = _cells(parameters, frame)
    known &= (arms >= 0) & (stratum >= 0)
    found = [
        times_and_events(frame, outcome, parameters.time_unit, parameters.unit, tau)
        for outcome in parameters.outcomes
    ]
    for _, _, complete in found:
        known &= complete
    if known.sum() > parameters.capacity:
        raise InputsRefused(f"{known.sum()} persons; the study's capacity is {parameters.capacity}: amend it")
    rows = ((cells * len(parameters.treatments) + arms) * strata + stratum)[known]
    size = cell_count(parameters) * len(parameters.treatments) * strata
    columns = []
    for bins, events, _ in found:
        before = bins < tau
        columns += [
            _tally(rows, bins[known], keep[known], size, tau) for keep in (before & (events == 1), before)
        ]
    everyone = np.bincount(rows, minlength=size).astype(np.int64)
    found_counts: Arrays = {**dict(zip(times_of(parameters), columns, strict=True)), "everyone": everyone}
    if parameters.balance:
        levels = balance_levels(parameters, frame)[known]
        tallies = [np.bincount(rows[mine == 1], minlength=size) for mine in levels.T]
        found_counts["balance"] = np.stack(tallies, axis=1).astype(np.int64)
    return found_counts


def _tally(rows: Ints, bins: Ints, keep: Known, size: int, tau: int) -> Ints:
    """How many of the kept fall in each row and bin: (size, tau)."""
    flat = np.bincount(rows[keep] * tau + bins[keep], minlength=size * tau)
    return flat.reshape(size, tau).astype(np.int64)


def _cells(parameters: RankingParameters, frame: pd.DataFrame) -> tuple[Ints, Known]:
    """The cell of each row, and which rows know all that decides it."""
    plan = plan_of(parameters)
    known = np.ones(len(frame), dtype=bool)
    values: list[Ints] = []
    if parameters.age is not None:
        years, possible = ages(frame, parameters.age)
        known &= possible
        values.append(banded(years, plan.age_cuts))
    for category in parameters.equal:
        codes = level_codes(frame, category.variable, category.levels)
        known &= codes >= 0
        values.append(codes)
    for group in plan.marker_groups:
        present = np.zeros(len(frame), dtype=np.int64)
        for marker in group.markers:
            marks, told = whole_numbers(frame, marker, 0, 1)
            known &= told
            present += marks
        values.append(banded(present, group.cuts))
    number = np.zeros(len(frame), dtype=np.int64)
    for side, value in zip(dimensions(parameters), values, strict=True):
        number = number * side.size + value
    return number, known


def question(parameters: RankingParameters, facts: Mapping[str, object]) -> Arrays:
    """The row of `question_table` from facts by variable name; what is missing or None is not matched on.

    Raises:
        InputsRefused: a fact the study does not name, or outside its declared values.
    """
    check_fact_names(parameters, facts)
    plan = plan_of(parameters)
    values: list[int | None] = []
    if parameters.age is not None:
        years = age_of(facts, parameters.age)
        values.append(None if years is None else int(banded(np.array([years]), plan.age_cuts)[0]))
    values += [level_of(facts, category.variable, category.levels) for category in parameters.equal]
    for group in plan.marker_groups:
        marks = [bit_of(facts, marker) for marker in group.markers]
        present = sum(mark or 0 for mark in marks)
        values.append(None if None in marks else int(banded(np.array([present]), group.cuts)[0]))
    number, bits = question_of(parameters, tuple(values)), question_bits(parameters)
    return {"question": np.array([[number >> place & 1 for place in range(bits)]], dtype=np.int64)}
