"""Which index events satisfy a criterion.

An index table has one row per index event and observation period that contains it: key (unique), person_id,
start, end, op_start, op_end, visit_id. Everything here returns the satisfied keys, one column, each once.
"""

from __future__ import annotations

import ibis
from ibis.expr.types import BooleanValue, IntegerColumn, Table

from cohort_lang.evaluation.events import demographic, events
from cohort_lang.evaluation.site import Site
from cohort_lang.tree import AgeAt, Count, Criterion, Dated, Ended, Group, Occurrence, SexIs, Window


def satisfied(site: Site, index: Table, criterion: Criterion) -> Table:
    """The keys of the index events for which the criterion holds."""
    match criterion:
        case AgeAt() | SexIs() | Dated() | Ended():
            return demographic(site, index, criterion).select("key")
        case Occurrence():
            return _occurrence(site, index, criterion)
        case Group():
            return _group(site, index, criterion)


# ---- groups


def _group(site: Site, index: Table, group: Group) -> Table:
    parts = [satisfied(site, index, item) for item in group.items]
    every = ibis.union(*parts) if len(parts) > 1 else parts[0]
    tally = every.group_by("key").aggregate(held=every.count())
    match group.kind, group.n:
        case "all", _:
            return _keys(tally.filter(tally.held == len(parts)))
        case "at most", int(n):
            return _without(index, tally.filter(tally.held > n))
        case "at least", 0:
            return _keys(index)
        case "at least", int(n):
            return _keys(tally.filter(tally.held >= n))
        case _:
            return _keys(tally)


def _keys(table: Table) -> Table:
    return table.select("key")


def _without(index: Table, keys: Table) -> Table:
    return _keys(index.anti_join(_keys(keys), "key"))


# ---- occurrences


def _occurrence(site: Site, index: Table, occurrence: Occurrence) -> Table:
    count = occurrence.count
    if count.op == "at least" and count.n == 0:
        return _keys(index)
    pairs = _pairs(site, index, occurrence)
    tally = pairs.group_by("key").aggregate(held=_counted(pairs, count))
    if count.op == "at most" or count.n == 0:
        return _without(index, tally.filter(tally.held > count.n))
    enough = tally.held >= count.n if count.op == "at least" else tally.held == count.n
    return _keys(tally.filter(enough))


def _counted(pairs: Table, count: Count) -> IntegerColumn:
    """Records, or what a distinct count counts, as Circe's CountColumn; records without it count for nothing."""
    columns = {"days": "a_start", "concepts": "a_concept_id", "visits": "a_visit_id"}
    return pairs[columns[count.distinct]].nunique() if count.distinct else pairs.count()


def _pairs(site: Site, index: Table, occurrence: Occurrence) -> Table:
    """Index events beside the records that lie in the windows; record columns are named a_..."""
    found = events(site, occurrence.event)
    found = found.rename({f"a_{name}": name for name in found.columns})
    joined = index.join(found, [("person_id", "a_person_id")])
    conditions = [
        condition for window in occurrence.windows for condition in _window(joined, window, occurrence)
    ]
    if not occurrence.ignore_observation:
        conditions += [joined.a_start >= joined.op_start, joined.a_start <= joined.op_end]
    if occurrence.same_visit:
        conditions.append(joined.a_visit_id == joined.visit_id)
    return joined.filter(*conditions) if conditions else joined


def _window(joined: Table, window: Window, occurrence: Occurrence) -> list[BooleanValue]:
    """As Circe: an open side ends with the observation period, or nowhere if observation periods are ignored."""
    day = joined.a_end if window.event == "end" else joined.a_start
    index_day = joined.end if window.index == "end" else joined.start
    conditions = []
    if window.start is not None:
        conditions.append(day - index_day >= window.start)
    elif not occurrence.ignore_observation:
        conditions.append(day >= joined.op_start)
    if window.end is not None:
        conditions.append(day - index_day <= window.end)
    elif not occurrence.ignore_observation:
        conditions.append(day <= joined.op_end)
    return conditions
