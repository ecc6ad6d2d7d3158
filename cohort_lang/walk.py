"""Walking a definition's tree."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.tree import (
    Cohort,
    Criterion,
    DuringVisit,
    EndOfExposure,
    Event,
    Group,
    Occurrence,
    TypeAmong,
    ValueAmong,
)


def criteria_of(criterion: Criterion | None) -> Iterator[Criterion]:
    """The criterion and every criterion inside it, nested ones included, outermost first."""
    if criterion is None:
        return
    yield criterion
    if isinstance(criterion, Group):
        for item in criterion.items:
            yield from criteria_of(item)
    elif isinstance(criterion, Occurrence):
        yield from criteria_of(criterion.event.having)


def index_criteria(criterion: Criterion | None) -> Iterator[Criterion]:
    """As ``criteria_of``, without what stands inside "having": only criteria relative to the index itself."""
    if criterion is None:
        return
    yield criterion
    if isinstance(criterion, Group):
        for item in criterion.items:
            yield from index_criteria(item)


def events_of(criterion: Criterion | None) -> Iterator[Event]:
    """Every event a criterion looks for, nested ones included."""
    for found in criteria_of(criterion):
        if isinstance(found, Occurrence):
            yield found.event


def all_criteria(cohort: Cohort) -> Iterator[Criterion]:
    """Every criterion of a definition in the order of its text."""
    for event in (*cohort.entry.events, *cohort.censors):
        yield from criteria_of(event.having)
    yield from criteria_of(cohort.entry.qualify)
    for rule in cohort.rules:
        yield from criteria_of(rule.criterion)


def all_events(cohort: Cohort) -> Iterator[Event]:
    """Every event of a definition: entry, censoring and criteria."""
    yield from cohort.entry.events
    yield from cohort.censors
    for criterion in all_criteria(cohort):
        if isinstance(criterion, Occurrence):
            yield criterion.event


def used_concept_sets(cohort: Cohort) -> frozenset[str]:
    """Names of the concept sets a definition refers to."""
    used = {name for event in all_events(cohort) for name in sets_of(event)}
    if isinstance(cohort.exit, EndOfExposure):
        used.add(cohort.exit.concepts)
    return frozenset(used)


def sets_of(event: Event) -> Iterator[str]:
    """Names of the concept sets an event itself refers to."""
    yield from (name for name in (event.concepts, event.source) if name is not None)
    for attribute in event.attributes:
        if isinstance(attribute, ValueAmong | TypeAmong | DuringVisit):
            yield attribute.concepts
