"""Study variables at the index date of each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.expr.types import Table

from cohort_lang.errors import CohortRefused, UnknownConceptSet
from cohort_lang.evaluation.events import age, containing, observation_periods, persons
from cohort_lang.evaluation.follow_up import time_to_event
from cohort_lang.evaluation.records import records
from cohort_lang.evaluation.site import Site, as_date
from cohort_lang.tree import FEMALE, MALE, Cohort
from cohort_lang.variables import (
    Age,
    Category,
    Concepts,
    DayWindow,
    IndexYear,
    Presence,
    Sex,
    TimeToEvent,
    Variable,
    columns,
    named_concept_sets,
)
from cohort_lang.variables import Value as ValueVariable

_NULLABLE: dict[Any, Any] = {
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): pd.StringDtype(),
}


def evaluate_variables(
    connection: BaseBackend, cohort: Cohort, entries: pd.DataFrame, variables: Mapping[str, Variable]
) -> pd.DataFrame:
    """One row per entry, ordered by person_id and start_date; one column per variable, two for time_to_event.

    ``entries`` as ``evaluate`` returns them. Columns are pandas' nullable types: Int64, Float64 or
    string; NA is missing. Raises UnknownConceptSet, UnknownConcept, MissingTable.
    """
    check_named(cohort, variables)
    with Site(connection, cohort.concept_sets) as site:
        site.check_concepts(concept for variable in variables.values() for concept in _listed(variable))
        index = _index(site, entries)
        found: dict[str, Any] = _all_presences(site, index, len(entries), variables)
        for name, variable in variables.items():
            if not isinstance(variable, Presence):
                found |= _columns(site, index, name, variable)
        order = [column for name, variable in variables.items() for column in columns(name, variable)]
        return pd.DataFrame({column: found[column] for column in order}, index=pd.RangeIndex(len(entries)))


def check_named(cohort: Cohort, variables: Mapping[str, Variable]) -> None:
    """Refuse variables that name a concept set the cohort does not declare, or make the same column twice."""
    made = [column for name, variable in variables.items() for column in columns(name, variable)]
    if twice := sorted({column for column in made if made.count(column) > 1}):
        raise CohortRefused(f"two variables make the column {', '.join(twice)}; rename one of them")
    declared = {found.name for found in cohort.concept_sets}
    for name, variable in variables.items():
        for wanted in named_concept_sets(variable):
            if wanted not in declared:
                raise UnknownConceptSet(name, wanted, sorted(declared))


def _index(site: Site, entries: pd.DataFrame) -> Table:
    """key, person_id, start, end, op_start, op_end (days since 1970).

    Several observation periods that contain the index count from the first one's start to the last one's end.
    """
    ordered = entries.sort_values(["person_id", "start_date"], kind="stable")
    rows = pd.DataFrame(
        {
            "key": range(len(ordered)),
            "person_id": ordered["person_id"].astype("int64").to_numpy(),
            "start": _day_numbers(ordered["start_date"]),
            "end": _day_numbers(ordered["end_date"]),
        }
    )
    schema = {"key": "int64", "person_id": "int64", "start": "int64", "end": "int64"}
    table = ibis.memtable(rows, schema=schema)
    inside = containing(table, observation_periods(site))
    around = inside.group_by("key").aggregate(op_start=inside.op_start.min(), op_end=inside.op_end.max())
    around = around.rename(around_key="key")
    return site.hold(table.left_join(around, [("key", "around_key")]).drop("around_key"))


def _day_numbers(dates: pd.Series[Any]) -> Any:
    return pd.to_datetime(dates).to_numpy().astype("datetime64[D]").astype("int64")


def _columns(site: Site, index: Table, name: str, variable: Variable) -> dict[str, Any]:
    if not isinstance(variable, TimeToEvent):
        return {name: _column(index, _baseline(site, index, variable))}
    times = time_to_event(index, variable, outcome_days(site, variable))
    return {
        f"{name}_time": _column(index, times.select("key", value=times.time)),
        f"{name}_event": _column(index, times.select("key", value=times.event)),
    }


def _column(index: Table, found: Table) -> Any:
    """The ``value`` of each index row in order of key, missing where ``found`` has no row for it."""
    found = found.select(found_key=found.key, value=found.value)
    beside = index.select("key").left_join(found, [("key", "found_key")]).order_by("key")
    return beside.select("value").to_pyarrow().column("value").to_pandas(types_mapper=_NULLABLE.get)


# ---- one kind after another: key, value (int64, float64 or string)


def _baseline(site: Site, index: Table, variable: Variable) -> Table:
    match variable:
        case Category():
            return _category(site, index, variable)
        case ValueVariable():
            return _value(site, index, variable)
        case IndexYear():
            return index.select("key", value=as_date(index.start).year().cast("int64"))
        case _:
            return _of_person(site, index, variable)


def _of_person(site: Site, index: Table, variable: Variable) -> Table:
    known = index.join(persons(site), "person_id")
    if isinstance(variable, Age):
        return known.select("key", value=age(known))
    assert isinstance(variable, Sex)
    return known.select("key", value=ibis.cases((known.sex == MALE, "male"), (known.sex == FEMALE, "female")))


def _all_presences(
    site: Site, index: Table, rows: int, variables: Mapping[str, Variable]
) -> dict[str, pd.Series[Any]]:
    """Every presence variable's column: one query for those that read the same records in the same window."""
    alike: dict[tuple[str, DayWindow], dict[str, Presence]] = {}
    for name, variable in variables.items():
        if isinstance(variable, Presence):
            alike.setdefault((variable.domain, variable.window), {})[name] = variable
    found: dict[str, pd.Series[Any]] = {}
    for group in alike.values():
        found |= _presences(site, index, rows, group)
    return found


def _presences(
    site: Site, index: Table, rows: int, group: Mapping[str, Presence]
) -> dict[str, pd.Series[Any]]:
    first = next(iter(group.values()))
    wanted = _numbered(site, [variable.concepts for variable in group.values()])
    near = _in_window(
        index,
        records(site, first.domain).join(wanted, [("concept_id", "listed_concept_id")]),
        first.window,
    )
    met = near.select("key", "number").distinct().to_pyarrow()
    keys, numbers = (met.column(name).to_numpy() for name in ("key", "number"))
    flags = np.zeros((len(group), rows), dtype=np.int64)
    flags[numbers, keys] = 1
    return {name: pd.Series(flags[number], dtype="Int64") for number, name in enumerate(group)}


def _value(site: Site, index: Table, variable: ValueVariable) -> Table:
    found = _of_concepts(site, records(site, variable.domain), "concept_id", variable.concepts)
    found = found.filter(found.value_as_number.notnull())
    if variable.unit is not None:
        found = found.filter(found.unit_concept_id.isin(site.units([variable.unit])))
    if variable.minimum is not None:
        found = found.filter(found.value_as_number >= variable.minimum)
    if variable.maximum is not None:
        found = found.filter(found.value_as_number <= variable.maximum)
    near = _in_window(index, found, variable.window)
    daily = near.group_by(["key", "day"]).aggregate(value=near.value_as_number.mean())
    return _picked(daily, variable.pick)


def _category(site: Site, index: Table, variable: Category) -> Table:
    found = records(site, variable.domain)
    column = "concept_id"
    if variable.concepts is not None:
        found = _of_concepts(site, found, "concept_id", variable.concepts)
        column = "value_as_concept_id"
    levels = _levels(site, variable)
    levelled = found.join(levels, [(column, "listed_concept_id")])
    near = _in_window(index, levelled, variable.window)
    picked = _picked(near.select("key", "day", value=near.level), variable.pick)
    named = [(picked.value == number, label) for number, label in enumerate(variable.levels)]
    return picked.select("key", value=ibis.cases(*named))


def _levels(site: Site, variable: Category) -> Table:
    """listed_concept_id and the number of its level; a concept of several belongs to the first declared."""
    every = _numbered(site, list(variable.levels.values()))
    return every.group_by("listed_concept_id").aggregate(level=every.number.min())


def _picked(near: Table, pick: str) -> Table:
    day = near.day if pick == "first" else near.day.desc()
    numbered = near.mutate(place=ibis.row_number().over(group_by=near.key, order_by=[day, near.value]))
    return numbered.filter(numbered.place == 0).select("key", "value")


def outcome_days(site: Site, variable: TimeToEvent) -> Table:
    """person_id, day, least: the days of all outcome records and how many days after the index they count from."""
    parts = []
    for event in variable.events:
        if event == "death":
            found, least = records(site, "death"), 0
        else:
            found = _of_concepts(site, records(site, event.domain), "concept_id", event.concepts)
            least = 1
        parts.append(found.select("person_id", day=found.start, least=ibis.literal(least, "int64")))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


# ---- records and windows


def _numbered(site: Site, several: Sequence[Concepts]) -> Table:
    """listed_concept_id and number: the concepts of each of several, by position. All lists share one table."""
    listed = [(c, number) for number, ids in enumerate(several) if not isinstance(ids, str) for c in ids]
    rows = {
        "listed_concept_id": [concept for concept, _ in listed],
        "number": [number for _, number in listed],
    }
    parts = [ibis.memtable(rows, schema={"listed_concept_id": "int64", "number": "int64"})] if listed else []
    for number, name in enumerate(several):
        if isinstance(name, str):
            found = site.concepts(name)
            parts.append(
                found.select(listed_concept_id=found.concept_id, number=ibis.literal(number, "int64"))
            )
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def _listed(variable: Variable) -> tuple[int, ...]:
    """The concept ids a variable names itself, rather than through a concept set."""
    match variable:
        case Category(levels=levels, concepts=concepts):
            several: list[Concepts | None] = [*levels.values(), concepts]
        case Presence(concepts=concepts) | ValueVariable(concepts=concepts):
            several = [concepts]
        case TimeToEvent(events=events):
            several = [event.concepts for event in events if event != "death"]
        case _:
            several = []
    return tuple(concept for ids in several if isinstance(ids, tuple) for concept in ids)


def _concepts(site: Site, concepts: Concepts) -> Table:
    return site.concepts(concepts) if isinstance(concepts, str) else site.exact(concepts)


def _of_concepts(site: Site, found: Table, column: str, concepts: Concepts) -> Table:
    return found.semi_join(_concepts(site, concepts), [(column, "concept_id")])


def _in_window(index: Table, found: Table, window: DayWindow) -> Table:
    """Records beside the entries in whose window and observation period they start; ``day`` is that start."""
    kept = [name for name in found.columns if name not in ("start", "end")]
    found = found.select(*kept, day=found.start).rename(record_person="person_id")
    near = index.join(found, [("person_id", "record_person")])
    away = near.day - near.start
    conditions = [near.day >= near.op_start, near.day <= near.op_end]
    conditions += [away >= window.start] if window.start is not None else []
    conditions += [away <= window.end] if window.end is not None else []
    return near.filter(*conditions)
