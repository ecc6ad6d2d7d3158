"""From an event of the definition to its records at the site."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import ibis
from ibis.expr.types import BooleanValue, Table, Value

from cohort_lang.errors import MissingTable
from cohort_lang.evaluation.records import RECORDS, records
from cohort_lang.evaluation.site import Site, as_date, day_number
from cohort_lang.tree import (
    AgeAt,
    Amount,
    Attribute,
    Dated,
    DuringVisit,
    Ended,
    Event,
    Lasting,
    Range,
    SexIs,
    TypeAmong,
    UnitIs,
    ValueAmong,
    ValueNumber,
)

_DAY_ZERO = date(1970, 1, 1)


def events(site: Site, event: Event) -> Table:
    """The records an event means: person_id, record_id, start, end, concept_id, visit_id.

    In Circe's order: concepts, then the first of the person's history, then attributes, then what the
    event must have.
    """
    found = records(site, event.domain)
    if event.concepts is not None:
        found = _among(site, found, "concept_id", event.concepts)
    if event.source is not None:
        found = _among(site, found, "source_concept_id", event.source)
    if event.first:
        found = first_per_person(found)
    for attribute in event.attributes:
        found = _with_attribute(site, found, event, attribute)
    if event.having is not None:
        found = _having(site, found, event)
    return found.select("person_id", "record_id", "start", "end", "concept_id", "visit_id")


def first_per_person(found: Table) -> Table:
    """The earliest record of each person, the lowest id among those of one day."""
    order = ibis.row_number().over(group_by=found.person_id, order_by=[found.start, found.record_id])
    numbered = found.mutate(place=order)
    return numbered.filter(numbered.place == 0).drop("place")


def _among(site: Site, found: Table, column: str, name: str) -> Table:
    return found.semi_join(site.concepts(name), [(column, "concept_id")])


def in_range(value: Value, of: Range[Any]) -> BooleanValue:
    """Whether a number, or a day number, lies in a range; missing values do not."""
    low, high = bound(of.low), bound(of.high)
    if of.op == "between":
        return value.between(low, high)
    if of.op == "not between":
        return (value < low) | (value > high)
    return _COMPARE[of.op](value, low)


_COMPARE: dict[str, Callable[[Any, Any], BooleanValue]] = {
    "at least": operator.ge,
    "at most": operator.le,
    "more than": operator.gt,
    "less than": operator.lt,
    "exactly": operator.eq,
    "not exactly": operator.ne,
}


def bound(value: Decimal | date | None) -> float | int | None:
    """A bound as the tables hold it: dates as day numbers."""
    if isinstance(value, date):
        return (value - _DAY_ZERO).days
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


# ---- attributes


def _with_attribute(site: Site, found: Table, event: Event, attribute: Attribute) -> Table:
    match attribute:
        case AgeAt() | SexIs() | Dated() | Ended():
            return demographic(site, found, attribute)
        case ValueAmong() | TypeAmong():
            kind = "value_as" if isinstance(attribute, ValueAmong) else "type"
            _column(found, f"{kind}_concept_id", event)
            return _among(site, found, f"{kind}_concept_id", attribute.concepts)
        case DuringVisit(concepts=name):
            return _during_visit(site, found, name)
        case UnitIs(units=units):
            return found.filter(_column(found, "unit_concept_id", event).isin(site.units(units)))
        case ValueNumber() | Lasting() | Amount():
            return found.filter(in_range(_quantity(found, event, attribute), attribute.range))


def _quantity(found: Table, event: Event, attribute: ValueNumber | Lasting | Amount) -> Value:
    match attribute:
        case ValueNumber():
            return _column(found, "value_as_number", event)
        case Lasting():
            return found.end - found.start
        case Amount(column=column):
            return _column(found, column.replace(" ", "_"), event)


def _column(found: Table, name: str, event: Event) -> Any:
    if name not in found.columns:
        raise MissingTable(f"column {RECORDS[event.domain].table}.{name}", f"{event.domain!r}")
    return found[name]


def _during_visit(site: Site, found: Table, name: str) -> Table:
    visits = _among(site, records(site, "visit"), "concept_id", name)
    visits = visits.select(of_person=visits.person_id, visit=visits.record_id)
    return found.semi_join(visits, [("visit_id", "visit"), ("person_id", "of_person")])


def demographic(site: Site, found: Table, attribute: AgeAt | SexIs | Dated | Ended) -> Table:
    """The rows of a table with person_id, start and end whose person or dates fit."""
    match attribute:
        case Dated(range=of):
            return found.filter(in_range(found.start, of))
        case Ended(range=of):
            return found.filter(in_range(found.end, of))
        case SexIs(concepts=concepts):
            person = persons(site)
            return found.semi_join(person.filter(person.sex.isin(concepts)), "person_id")
        case AgeAt(range=of):
            aged = found.join(persons(site), "person_id")
            fits = aged.filter(in_range(age(aged), of))
            return fits.select(*found.columns)


def persons(site: Site) -> Table:
    """person_id, year_of_birth, sex (concept id): one row a person."""
    person = site.table("person", "every definition")
    return person.select(
        person_id=person.person_id.cast("int64"),
        year_of_birth=person.year_of_birth.cast("int64"),
        sex=person.gender_concept_id.cast("int64"),
    )


def age(aged: Table) -> Value:
    """Circe's age: calendar year of ``start`` minus ``year_of_birth``."""
    return as_date(aged.start).year().cast("int64") - aged.year_of_birth


# ---- nested criteria


def observation_periods(site: Site) -> Table:
    """person_id, op_start, op_end (days since 1970): one row a period, as recorded, overlapping or not."""
    period = site.table("observation_period", "every definition")
    return period.select(
        person_id=period.person_id.cast("int64"),
        op_start=day_number(period.observation_period_start_date),
        op_end=day_number(period.observation_period_end_date),
    )


def containing(found: Table, periods: Table) -> Table:
    """Rows with person_id and start beside each observation period that contains their start."""
    joined = found.join(periods, "person_id")
    return joined.filter(joined.start >= joined.op_start, joined.start <= joined.op_end)


def _having(site: Site, found: Table, event: Event) -> Table:
    from cohort_lang.evaluation.criteria import satisfied  # noqa: PLC0415  they nest in each other

    inside = containing(found, observation_periods(site))
    order = [inside.person_id, inside.record_id, inside.start, inside.end, inside.op_start, inside.op_end]
    index = site.hold(inside.mutate(key=ibis.row_number().over(order_by=order)))
    assert event.having is not None
    kept = index.semi_join(satisfied(site, index, event.having), "key")
    return kept.select(*found.columns).distinct()
