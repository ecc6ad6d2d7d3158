"""Entry events: which records let a person in, and which of several are kept."""

from __future__ import annotations

import ibis
from ibis.expr.types import Table

from cohort_lang.evaluation.criteria import satisfied
from cohort_lang.evaluation.events import containing, events, observation_periods
from cohort_lang.evaluation.site import Site
from cohort_lang.tree import Entry, Limit


def entry_events(site: Site, entry: Entry) -> Table:
    """The index table of a definition, held: one row per qualifying entry event and period that contains it.

    Columns: key, person_id, start, end, op_start, op_end, visit_id.
    """
    candidates = in_observation(site, entry_records(site, entry), entry)
    order = [
        candidates[name]
        for name in ("person_id", "start", "end", "op_start", "op_end", "source", "record_id")
    ]
    keyed = candidates.mutate(key=ibis.row_number().over(order_by=order))
    columns = ["key", "person_id", "start", "end", "op_start", "op_end", "visit_id"]
    index = site.hold(limited(keyed, entry.limit).select(*columns))
    if entry.qualify is None:
        return index
    fit = index.semi_join(satisfied(site, index, entry.qualify), "key")
    return site.hold(limited(fit, entry.qualify_limit))


def entry_records(site: Site, entry: Entry) -> Table:
    """All records of the entry events, whatever the observation; ``source`` numbers the event they come from."""
    parts = [
        events(site, event).mutate(source=ibis.literal(n, "int32")) for n, event in enumerate(entry.events)
    ]
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def in_observation(site: Site, found: Table, entry: Entry) -> Table:
    """Records beside each observation period that contains their start with the days required around it."""
    joined = containing(found, observation_periods(site))
    return joined.filter(
        joined.start - joined.op_start >= entry.prior_days,
        joined.op_end - joined.start >= entry.later_days,
    )


def limited(index: Table, limit: Limit) -> Table:
    """The earliest or latest index event of each person, or all; several on one day: the lowest key."""
    if limit == "all":
        return index
    day = index.start if limit == "first" else index.start.desc()
    numbered = index.mutate(place=ibis.row_number().over(group_by=index.person_id, order_by=[day, index.key]))
    return numbered.filter(numbered.place == 0).drop("place")
