"""Every person of a hospital as a count sees them that recognises persons of several hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from ibis.backends import BaseBackend
from ibis.expr.types import Table
from numpy.typing import NDArray

from cohort_lang.evaluation.criteria import satisfied
from cohort_lang.evaluation.entries import entry_events, limited
from cohort_lang.evaluation.events import containing, events, observation_periods, persons
from cohort_lang.evaluation.exits import cohort_periods
from cohort_lang.evaluation.records import records
from cohort_lang.evaluation.site import Site
from cohort_lang.linking import LinkedRule, linked
from cohort_lang.tree import Cohort, Occurrence, Window

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spans:
    """Days of entry, from ``earliest`` to ``latest`` (m,), that records of persons (m,) fit; no two of a person touch."""

    person_id: NDArray[np.int64]
    earliest: Floats
    latest: Floats


@dataclass(frozen=True)
class LinkedPersons:
    """All persons of a hospital, in the order of ``person_id`` (n,). Days count from 1970-01-01; infinity: on no day.

    ``steps``: for each step of `cohort_lang.linking.linked` a day (n,), of the entry or from which it holds (minus infinity:
    from ever), a truth value (n,) of the entry here, or the `Spans` of days that fit its records. ``died``: day of death.
    ``first``: day of the first record of the event that lets people in, None where the definition does not ask for the first.
    """

    person_id: NDArray[np.int64]
    steps: tuple[Floats | NDArray[np.bool_] | Spans, ...]
    died: Floats
    first: Floats | None


def evaluate_linked(connection: BaseBackend, cohort: Cohort) -> LinkedPersons:
    """Judge every step by itself, for every person of this database.

    Raises CohortRefused for a definition that cannot be linked, UnknownConcept and MissingTable as `evaluate`.
    """
    meaning = linked(cohort)
    with Site(connection, cohort.concept_sets) as site:
        site.check_concepts()
        people = np.sort(persons(site).person_id.to_pyarrow().to_numpy().astype(np.int64))
        index = entry_events(site, cohort.entry)
        death = records(site, "death")
        first = None if meaning.first is None else _days(people, events(site, meaning.first), "start")
        return LinkedPersons(
            people,
            tuple(_judged(site, cohort, people, index, step) for step in meaning.steps),
            _days(people, death, "start"),
            first,
        )


def _judged(
    site: Site, cohort: Cohort, people: NDArray[np.int64], index: Table, step: LinkedRule
) -> Floats | NDArray[np.bool_] | Spans:
    if step.how == "entry":
        return _days(people, index, "start")
    if step.how == "since":
        earliest: Floats = np.minimum.reduce([_since(site, people, one) for one in step.any_of])
        return earliest
    if step.how == "within":
        return joined_spans(pd.concat([_fitting(site, one) for one in step.any_of], ignore_index=True))
    if step.rule is None:
        kept = cohort_periods(site, limited(index, cohort.keep), cohort)
    else:
        kept = index.semi_join(satisfied(site, index, step.rule.criterion), "key")
    there = kept.person_id.to_pyarrow().to_numpy()
    return np.isin(people, there)


def _since(site: Site, people: NDArray[np.int64], one: Occurrence) -> Floats:
    """The first day of entry for which it holds: that of the record, less the last day of its window."""
    days = _days(people, _records(site, one), "start")
    last = one.windows[0].end if one.windows else None
    return np.where(np.isinf(days), np.inf, -np.inf) if last is None else days - last


def _records(site: Site, one: Occurrence) -> Table:
    """The records that may settle it: those within a period of observation, unless these are ignored."""
    found = events(site, one.event)
    return found if one.ignore_observation else containing(found, observation_periods(site))


def _fitting(site: Site, one: Occurrence) -> pd.DataFrame:
    """person_id, earliest, latest: days of entry that each record fits."""
    found = _records(site, one).select("person_id", "start").distinct().to_pyarrow().to_pandas()
    window = one.windows[0] if one.windows else Window()
    day = found["start"].astype("float64")
    return pd.DataFrame(
        {
            "person_id": found["person_id"].astype("int64"),
            "earliest": -np.inf if window.end is None else day - window.end,
            "latest": np.inf if window.start is None else day - window.start,
        }
    )


def _days(people: NDArray[np.int64], found: Table, column: str) -> Floats:
    """The earliest day of each person (persons,) among records."""
    least = found.group_by("person_id").aggregate(day=found[column].min()).to_pyarrow().to_pandas()
    days = np.full(len(people), np.inf)
    known = least[np.isin(least["person_id"], people)]
    days[np.searchsorted(people, known["person_id"])] = known["day"]
    return days


def joined_spans(fitting: pd.DataFrame) -> Spans:
    """Spans of a person that overlap, or follow each other by a day, put together."""
    rows = fitting.sort_values(["person_id", "earliest"], kind="stable", ignore_index=True)
    reached = rows.groupby("person_id")["latest"].cummax().shift(1)
    opens = (rows["person_id"] != rows["person_id"].shift(1)) | (rows["earliest"] > reached + 1)
    joined = rows.groupby(opens.cumsum()).agg({"person_id": "first", "earliest": "first", "latest": "max"})
    return Spans(*(joined[name].to_numpy() for name in ("person_id", "earliest", "latest")))
