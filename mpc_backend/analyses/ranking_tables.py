"""The shared tables of a treatment ranking, and how a site and a physician's client fill them. In the clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.grid import (
    Ints,
    level_codes,
    numbers,
    one_hot,
    strata_codes,
    times_and_events,
    whole_numbers,
)
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.tables import Arrays, Column, TableSpec

if TYPE_CHECKING:
    import pandas as pd

Known = NDArray[np.bool_]
OLDEST = 127
AGE_BITS = 8


def people_table(parameters: RankingParameters) -> TableSpec:
    """One row per person: traits to match on, age, and one-hot words for arm x stratum and for the times.

    ``traits``: markers as 0/1, then the one-hot levels of each equality variable. ``cell``: arm x stratum, stratum
    fastest. ``event`` and ``exit``: the bin of the event, and of the event or censoring, before tau; with a harm outcome
    also ``harm_event`` and ``harm_exit``, with a negative control ``control_event`` and ``control_exit``. ``balance``, where
    the study names covariates for it: their one-hot levels.
    """
    ring = parameters.ring
    traits = len(parameters.markers) + parameters.levels_width
    columns = [Column(name="valid", kind="bit")]
    if traits:
        columns.append(Column(name="traits", kind="int", bits=2, ring=ring, width=traits))
    if parameters.age is not None:
        columns.append(Column(name="age", kind="int", bits=AGE_BITS, ring=ring))
    cells = len(parameters.treatments) * parameters.strata_count
    columns.append(Column(name="cell", kind="int", bits=2, ring=ring, width=cells))
    columns += [
        Column(name=name, kind="int", bits=2, ring=ring, width=parameters.tau)
        for name in times_of(parameters)
    ]
    if parameters.balance:
        columns.append(
            Column(name="balance", kind="int", bits=2, ring=ring, width=sum(parameters.balance_levels))
        )
    return TableSpec(name="people", level="rows", columns=tuple(columns))


def times_of(parameters: RankingParameters) -> tuple[str, ...]:
    """The columns of times: event and exit of the outcome, then of the harm and of the negative control."""
    return tuple(f"{begin}{name}" for begin in parameters.outcome_names for name in ("event", "exit"))


def query_table(parameters: RankingParameters) -> TableSpec:
    """One patient. Levels and markers travel as bits, so that nothing but 0 and 1 can be asked.

    A missing marker has ``marker_known`` 0; a missing level matches all levels (all ones); a missing age has
    ``age_known`` 0. Which facts are missing is as hidden as the facts.
    """
    columns = []
    if parameters.markers:
        width = len(parameters.markers)
        columns += [Column(name=name, kind="bit", width=width) for name in ("marker", "marker_known")]
    if parameters.equal:
        columns.append(Column(name="level", kind="bit", width=parameters.levels_width))
    if parameters.age is not None:
        columns.append(Column(name="age", kind="int", bits=AGE_BITS, ring=parameters.ring))
        columns.append(Column(name="age_known", kind="bit"))
    if not columns:
        columns.append(Column(name="unused", kind="bit"))
    return TableSpec(name="patient", level="query", columns=tuple(columns), rows=1)


def people(parameters: RankingParameters, site: SiteData) -> Arrays:
    """The rows of `people_table`. Persons on other treatments or with a missing fact do not count."""
    frame = site.frame.reset_index(drop=True)
    strata = parameters.strata_count
    arms = level_codes(frame, parameters.treatment, parameters.treatments)
    cells = strata_codes(frame, parameters.all_strata)
    times, complete = _times(parameters, frame)
    traits, known = _traits(parameters, frame)
    complete &= known & (arms >= 0) & (cells >= 0)
    columns: Arrays = {"valid": np.ones(len(frame), dtype=np.int64)}
    if traits.shape[1]:
        columns["traits"] = traits
    if parameters.age is not None:
        columns["age"], aged = ages(frame, parameters.age)
        complete &= aged
    columns["cell"] = one_hot(arms * strata + cells, len(parameters.treatments) * strata)
    columns.update(times)
    if parameters.balance:
        columns["balance"] = balance_levels(parameters, frame)
    return {name: values[complete] for name, values in columns.items()}


def balance_levels(parameters: RankingParameters, frame: pd.DataFrame) -> Ints:
    """One-hot levels of the covariates whose balance is judged, side by side (rows, levels). The last of each is that of
    rows where it is missing or no declared level: they are judged like the others, so that none drops out for it."""
    found = [covariate.codes(frame) for covariate in parameters.balance]
    widths = parameters.balance_levels
    levels = [
        one_hot(np.where(codes < 0, width - 1, codes), width)
        for codes, width in zip(found, widths, strict=True)
    ]
    return np.concatenate(levels, axis=1)


def _times(parameters: RankingParameters, frame: pd.DataFrame) -> tuple[Arrays, Known]:
    """The columns of `times_of`, and which rows know all of them."""
    known, found = np.ones(len(frame), dtype=bool), []
    for outcome in parameters.outcomes:
        bins, events, complete = times_and_events(
            frame, outcome, parameters.time_unit, parameters.unit, parameters.tau
        )
        known &= complete
        found += [one_hot(np.where(events == 1, bins, -1), parameters.tau), one_hot(bins, parameters.tau)]
    return dict(zip(times_of(parameters), found, strict=True)), known


def ages(frame: pd.DataFrame, name: str) -> tuple[Ints, Known]:
    """Ages in whole years; an impossible age counts as missing."""
    ages = np.floor(numbers(frame, name))
    possible = (ages >= 0) & (ages <= OLDEST)
    return np.where(possible, ages, 0).astype(np.int64), possible


def _traits(parameters: RankingParameters, frame: pd.DataFrame) -> tuple[Ints, Known]:
    """Markers and one-hot levels side by side, and which rows know all of them."""
    parts: list[Ints] = []
    known = np.ones(len(frame), dtype=bool)
    for marker in parameters.markers:
        values, present = whole_numbers(frame, marker, 0, 1)
        known &= present
        parts.append(values[:, None])
    for category in parameters.equal:
        codes = level_codes(frame, category.variable, category.levels)
        known &= codes >= 0
        parts.append(one_hot(codes, len(category.levels)))
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(frame), 0), dtype=np.int64), known


def patient(parameters: RankingParameters, facts: Mapping[str, object]) -> Arrays:
    """The single row of `query_table` from facts by variable name; a missing or None fact is not matched on.

    Raises:
        InputsRefused: a fact the study does not name, or outside its declared values.
    """
    check_fact_names(parameters, facts)
    columns: Arrays = {}
    if parameters.markers:
        marks = [bit_of(facts, name) for name in parameters.markers]
        columns["marker"] = np.array([[mark or 0 for mark in marks]], dtype=np.int64)
        columns["marker_known"] = np.array([[int(mark is not None) for mark in marks]], dtype=np.int64)
    if parameters.equal:
        rows = [_level_row(facts, each.variable, each.levels) for each in parameters.equal]
        columns["level"] = np.concatenate(rows)[None, :]
    if parameters.age is not None:
        age = age_of(facts, parameters.age)
        columns["age"] = np.array([age or 0], dtype=np.int64)
        columns["age_known"] = np.array([int(age is not None)], dtype=np.int64)
    return columns or {"unused": np.zeros(1, dtype=np.int64)}


def fact_names(parameters: RankingParameters) -> tuple[str, ...]:
    """The variables a patient's facts are matched on."""
    ages = () if parameters.age is None else (parameters.age,)
    return (*parameters.markers, *(category.variable for category in parameters.equal), *ages)


def missing_facts(parameters: RankingParameters, facts: Mapping[str, object]) -> tuple[str, ...]:
    """The variables dropped from matching because the patient's fact is missing, for the answer to say so."""
    missing = {name for name in fact_names(parameters) if facts.get(name) is None}
    for group in () if parameters.cells is None else parameters.cells.marker_groups:
        if missing & set(group.markers):  # how many are present is not known then
            missing |= set(group.markers)
    return tuple(name for name in fact_names(parameters) if name in missing)


def check_fact_names(parameters: RankingParameters, facts: Mapping[str, object]) -> None:
    """Refuse facts the study does not match on."""
    foreign = sorted(set(facts) - set(fact_names(parameters)))
    if foreign:
        known = ", ".join(fact_names(parameters))
        raise InputsRefused(f"the study does not match on {', '.join(foreign)}; it matches on: {known}")


def bit_of(facts: Mapping[str, object], name: str) -> int | None:
    """A patient\'s marker, None where it is missing."""
    value = facts.get(name)
    if value is None:
        return None
    if value not in (0, 1):
        raise InputsRefused(f"{name}: a marker is 0, 1 or missing")
    return int(bool(value))


def level_of(facts: Mapping[str, object], name: str, levels: tuple[str, ...]) -> int | None:
    """The place of a patient's level, None where it is missing."""
    value = facts.get(name)
    if value is None:
        return None
    if str(value) not in levels:
        raise InputsRefused(f"{name}: not a declared level; levels: {', '.join(levels)}")
    return levels.index(str(value))


def _level_row(facts: Mapping[str, object], name: str, levels: tuple[str, ...]) -> Ints:
    """One-hot; all ones where the level is missing."""
    place = level_of(facts, name, levels)
    row: Ints = np.ones(len(levels), dtype=np.int64)
    return row if place is None else one_hot(np.array([place]), len(levels))[0]


def age_of(facts: Mapping[str, object], name: str) -> int | None:
    """A patient\'s age in years, None where it is missing."""
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= OLDEST:
        raise InputsRefused(f"{name}: age is a whole number from 0 to {OLDEST}, or missing")
    return value
