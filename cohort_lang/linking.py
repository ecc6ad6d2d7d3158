"""What a definition means for a person whose records lie at several hospitals: which of its steps look at all of them.

A step that asks whether some record lies in a window around the entry can be told by the days of entry that each record fits:
where the window has no first day, by the first day from which it would hold. Such days can be compared over hospitals without
anybody seeing them. Other steps need the records of one hospital together with the entry, and are asked where the entry is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cohort_lang.errors import CohortRefused
from cohort_lang.tree import Cohort, Criterion, Event, Group, Occurrence, Rule


@dataclass(frozen=True)
class LinkedRule:
    """One step of the attrition. ``unless``: a person passes for whom it does not hold.

    ``any_of``: occurrences any of which makes it hold: ``since`` some day, or while the entry is ``within`` their windows.
    ``rule``: what is asked where the entry is; None there is whether the entry lies in the study period.
    """

    how: Literal["entry", "since", "within", "at_entry"]
    unless: bool = False
    any_of: tuple[Occurrence, ...] = ()
    rule: Rule | None = None


@dataclass(frozen=True)
class LinkedCohort:
    """All steps; ``first``: the event whose first record in a person's history the entry must be, if it must."""

    steps: tuple[LinkedRule, ...]
    first: Event | None


def linked(cohort: Cohort) -> LinkedCohort:
    """The steps of a definition, in the order of its attrition.

    Raises:
        CohortRefused: persons may enter more than once, so that no hospital could name one entry of each; or the earliest
            event is only then asked whether it qualifies, which needs the events of all hospitals.
    """
    events = cohort.entry.events
    if cohort.entry.qualify is not None:
        raise CohortRefused(
            "linkage of persons across hospitals cannot tell whether the earliest event of any hospital qualifies; write what "
            "`qualifying when` asks as a rule"
        )
    one_kind = len(events) == 1
    if not (cohort.entry.limit == "first" or (one_kind and events[0].first)):
        raise CohortRefused(
            "linkage of persons across hospitals needs one entry of each person at a hospital, its earliest; write `enter on "
            "first ...` with one event, or `taking earliest event per person`"
        )
    if not one_kind and any(event.first for event in events):
        raise CohortRefused(
            "linkage of persons across hospitals cannot tell the first of several kinds of event; write one event with a "
            "concept set of them all, or leave `first` out"
        )
    period = (LinkedRule("at_entry"),) if cohort.period is not None else ()
    return LinkedCohort(
        (LinkedRule("entry"), *(_rule(rule) for rule in cohort.rules), *period),
        replace(events[0], attributes=(), having=None) if events[0].first else None,
    )


def _rule(rule: Rule) -> LinkedRule:
    criterion = _bare(rule.criterion)
    absent = isinstance(criterion, Occurrence) and criterion.count.n == 0 and criterion.count.op != "at least"
    if absent:
        assert isinstance(criterion, Occurrence)
        criterion = replace(criterion, count=replace(criterion.count, op="at least", n=1))
    any_of = criterion.items if isinstance(criterion, Group) and criterion.kind == "any" else (criterion,)
    settled = tuple(one for one in map(_bare, any_of) if isinstance(one, Occurrence) and _by_one_record(one))
    if len(settled) == len(any_of):
        open_to_the_past = all(window.start is None for one in settled for window in one.windows)
        return LinkedRule("since" if open_to_the_past else "within", rule.excludes != absent, settled)
    return LinkedRule("at_entry", rule.excludes, rule=rule)


def _bare(criterion: Criterion) -> Criterion:
    """A group of one is that one."""
    while isinstance(criterion, Group) and criterion.kind in ("all", "any") and len(criterion.items) == 1:
        criterion = criterion.items[0]
    return criterion


def _by_one_record(one: Occurrence) -> bool:
    """Whether one record settles it, by its own start and that of the entry: not the first of its kind, which another
    hospital may have.
    """
    count, windows = one.count, one.windows
    single = count.op == "at least" and count.n == 1 and count.distinct is None
    settled = single and not one.same_visit and not one.event.first
    by_start = all(window.event == window.index == "start" for window in windows)
    return settled and len(windows) <= 1 and by_start
