"""Leaving the cohort: the end of each entry, and entries joined where they overlap."""

from __future__ import annotations

import ibis
from ibis.expr.types import Table

from cohort_lang.evaluation.events import bound, events
from cohort_lang.evaluation.site import Site
from cohort_lang.tree import Cohort, DateRange, EndOfExposure, EndOfObservation, Event, FixedDays


def cohort_periods(site: Site, included: Table, cohort: Cohort) -> Table:
    """person_id, start, end of each time in the cohort, given the index events that satisfy every rule."""
    ends = _ends(site, included, cohort)
    for event in cohort.censors:
        ends = _censored(site, ends, event)
    # As Circe: an entry whose end would precede its start is dropped.
    rows = ends.filter(ends.out >= ends.start).select("person_id", "start", end=ends.out)
    joined = eras(rows, cohort.combine_days)
    return joined if cohort.period is None else _clipped(joined, cohort.period)


def _ends(site: Site, included: Table, cohort: Cohort) -> Table:
    match cohort.exit:
        case EndOfObservation():
            return included.mutate(out=included.op_end)
        case FixedDays(days=days, after=after):
            day = (included.start if after == "start" else included.end) + days
            return included.mutate(out=ibis.least(day, included.op_end))
        case EndOfExposure():
            return _end_of_exposure(site, included, cohort.exit)


def _end_of_exposure(site: Site, included: Table, leave: EndOfExposure) -> Table:
    """As Circe's custom era: index events outside every run of exposure stay until the end of observation."""
    runs = _exposure_runs(site, leave)
    runs = runs.select(run_person=runs.person_id, run_start=runs.start, run_end=runs.end)
    met = included.join(runs, [("person_id", "run_person")])
    met = met.filter(met.start >= met.run_start, met.start <= met.run_end)
    latest = met.group_by("key").aggregate(run_end=met.run_end.min())
    beside = included.left_join(
        latest.select(run_key=latest.key, run_end=latest.run_end), [("key", "run_key")]
    )
    return beside.mutate(out=ibis.least(ibis.coalesce(beside.run_end, beside.op_end), beside.op_end)).drop(
        "run_key", "run_end"
    )


def _exposure_runs(site: Site, leave: EndOfExposure) -> Table:
    by_concept = events(site, Event("drug exposure", leave.concepts))
    by_source = events(site, Event("drug exposure", None, leave.concepts))
    exposures = by_concept.union(by_source)
    length = exposures.end if leave.supply_days is None else exposures.start + leave.supply_days
    rows = exposures.select("person_id", "start", end=length + leave.extra_days)
    return eras(rows, leave.gap_days)


def _censored(site: Site, ends: Table, event: Event) -> Table:
    """The first such event on or after the index and inside its observation period ends the entry."""
    found = events(site, event)
    found = found.select(c_person=found.person_id, c_start=found.start)
    met = ends.join(found, [("person_id", "c_person")])
    met = met.filter(met.c_start >= met.start, met.c_start <= met.op_end)
    first = met.group_by("key").aggregate(c_start=met.c_start.min())
    beside = ends.left_join(first.select(c_key=first.key, c_start=first.c_start), [("key", "c_key")])
    sooner = ibis.coalesce(ibis.least(beside.out, beside.c_start), beside.out)
    return beside.mutate(out=sooner).drop("c_key", "c_start")


def eras(rows: Table, gap: int) -> Table:
    """person_id, start, end with rows joined that overlap or lie at most ``gap`` days apart (Circe's era padding)."""
    order = [rows.start, rows.end]
    reached = rows.end.max().over(group_by=rows.person_id, order_by=order, rows=(None, -1))
    marked = rows.mutate(opens=ibis.ifelse(reached.notnull() & (reached + gap >= rows.start), 0, 1))
    number = marked.opens.sum().over(
        group_by=marked.person_id, order_by=[marked.start, marked.end], rows=(None, 0)
    )
    numbered = marked.mutate(era=number)
    joined = numbered.group_by(["person_id", "era"]).aggregate(
        start=numbered.start.min(), end=numbered.end.max()
    )
    return joined.drop("era")


def _clipped(rows: Table, period: DateRange) -> Table:
    """As Circe's censor window: time in the cohort is cut to the study period, and what lies outside is dropped."""
    low = bound(period.low) if period.op != "at most" else None
    high = bound(period.high if period.op == "between" else period.low) if period.op != "at least" else None
    start = rows.start if low is None else ibis.greatest(rows.start, low)
    end = rows.end if high is None else ibis.least(rows.end, high)
    cut = rows.select("person_id", start=start, end=end)
    return cut.filter(cut.start <= cut.end)
