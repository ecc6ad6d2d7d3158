"""Every person of a hospital as a count sees them that recognises persons of several hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
from cohort_lang.tree import Cohort, Occurrence

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinkedPersons:
    """All persons of a hospital, in the order of ``person_id`` (n,). Days count from 1970-01-01; infinity: on no day.

    ``steps``: for each step of `cohort_lang.linking.linked` a day (n,), of the entry or from which it holds (minus infinity:
    from ever), or a truth value (n,) of the entry here. ``died``: day of death. ``first``: day of the first record of the
    event that lets people in, None where the definition does not ask for the first.
    """

    person_id: NDArray[np.int64]
    steps: tuple[Floats | NDArray[np.bool_], ...]
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
) -> Floats | NDArray[np.bool_]:
    if step.how == "entry":
        return _days(people, index, "start")
    if step.how == "since":
        earliest: Floats = np.minimum.reduce([_since(site, people, one) for one in step.since])
        return earliest
    if step.rule is None:
        kept = cohort_periods(site, limited(index, cohort.keep), cohort)
    else:
        kept = index.semi_join(satisfied(site, index, step.rule.criterion), "key")
    there = kept.person_id.to_pyarrow().to_numpy()
    return np.isin(people, there)


def _since(site: Site, people: NDArray[np.int64], one: Occurrence) -> Floats:
    """The first day of entry for which it holds: that of the record, less the last day of its window."""
    found = events(site, one.event)
    if not one.ignore_observation:
        found = containing(found, observation_periods(site))
    days = _days(people, found, "start")
    last = one.windows[0].end if one.windows else None
    return np.where(np.isinf(days), np.inf, -np.inf) if last is None else days - last


def _days(people: NDArray[np.int64], found: Table, column: str) -> Floats:
    """The earliest day of each person (persons,) among records."""
    least = found.group_by("person_id").aggregate(day=found[column].min()).to_pyarrow().to_pandas()
    days = np.full(len(people), np.inf)
    known = least[np.isin(least["person_id"], people)]
    days[np.searchsorted(people, known["person_id"])] = known["day"]
    return days
