"""Ranges of numbers and dates that nobody, or everybody, fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cohort_lang.lints.base import Lint, error, warning
from cohort_lang.tree import (
    AgeAt,
    Amount,
    Cohort,
    Criterion,
    Dated,
    Ended,
    Lasting,
    Occurrence,
    Position,
    Range,
    ValueNumber,
)
from cohort_lang.walk import all_criteria, all_events, criteria_of

OLDEST = 130
"""Years beyond which an age is a slip of the pen."""


def reversed_range(cohort: Cohort) -> Iterator[Lint]:
    """A range whose end lies before its beginning."""
    for of, at in _ranges(cohort):
        if of.high is not None and of.low > of.high:
            yield error("reversed-range", f"the range {of.low} to {of.high} is reversed", at)


def impossible_age(cohort: Cohort) -> Iterator[Lint]:
    """An age nobody has."""
    for of, at in _ages(cohort):
        highest = max(of.low, of.high or of.low)
        if of.low < 0 or highest > OLDEST:
            yield error("impossible-age", f"age is stated with {of.low if of.low < 0 else highest} years", at)
        elif of.op == "less than" and of.low == 0:
            yield error("impossible-age", "nobody is younger than 0 years", at)


def pointless_count(cohort: Cohort) -> Iterator[Lint]:
    """At least 0 is always true."""
    for found in all_criteria(cohort):
        if isinstance(found, Occurrence) and found.count.op == "at least" and found.count.n == 0:
            yield warning("pointless-count", "'at least 0' is true of everybody", found.at)


def _ranges(cohort: Cohort) -> Iterator[tuple[Range[Any], Position | None]]:
    for event in all_events(cohort):
        for attribute in event.attributes:
            if isinstance(attribute, AgeAt | Dated | Ended | ValueNumber | Lasting | Amount):
                yield attribute.range, event.at
    for criterion, at in _placed_criteria(cohort):
        if isinstance(criterion, AgeAt | Dated | Ended):
            yield criterion.range, at
    if cohort.period is not None:
        yield cohort.period, None


def _ages(cohort: Cohort) -> Iterator[tuple[Range[Any], Position | None]]:
    for event in all_events(cohort):
        yield from ((found.range, event.at) for found in event.attributes if isinstance(found, AgeAt))
    for criterion, at in _placed_criteria(cohort):
        if isinstance(criterion, AgeAt):
            yield criterion.range, at


def _placed_criteria(cohort: Cohort) -> Iterator[tuple[Criterion, Position | None]]:
    """Every criterion with the position of the statement it belongs to."""
    for event in (*cohort.entry.events, *cohort.censors):
        yield from ((found, event.at) for found in criteria_of(event.having))
    yield from ((found, cohort.entry.at) for found in criteria_of(cohort.entry.qualify))
    for rule in cohort.rules:
        yield from ((found, rule.at) for found in criteria_of(rule.criterion))


CHECKS = (reversed_range, impossible_age, pointless_count)
