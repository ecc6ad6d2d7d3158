"""Windows that are missing, impossible, or reach beyond what is observed."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.lints.base import Lint, error, warning
from cohort_lang.tree import Cohort, Criterion, Occurrence
from cohort_lang.walk import all_criteria, index_criteria


def occurrences(criteria: Iterator[Criterion]) -> Iterator[Occurrence]:
    """The occurrences among criteria."""
    return (criterion for criterion in criteria if isinstance(criterion, Occurrence))


def no_window(cohort: Cohort) -> Iterator[Lint]:
    """Without a window, records after the index count as much as those before it."""
    for found in occurrences(all_criteria(cohort)):
        if not found.windows:
            message = (
                f"this {found.event.domain} criterion has no window: records before and after the index count alike; "
                "say when, or write 'at any time'"
            )
            yield warning("no-window", message, found.at)


def reversed_window(cohort: Cohort) -> Iterator[Lint]:
    """A window that ends before it starts holds no day."""
    for found in occurrences(all_criteria(cohort)):
        for window in found.windows:
            if window.start is not None and window.end is not None and window.start > window.end:
                message = f"the window runs from day {window.start} to day {window.end}, so no day lies in it"
                yield error("reversed-window", message, found.at)


def unobserved_look_back(cohort: Cohort) -> Iterator[Lint]:
    """Looking back further than observation is required: absence of a record is then no evidence of absence."""
    prior = cohort.entry.prior_days
    for rule in cohort.rules:
        for found in occurrences(index_criteria(rule.criterion)):
            furthest = min((window.start for window in found.windows if window.start is not None), default=0)
            if -furthest > prior:
                message = (
                    f"{rule.label!r} looks back {-furthest} days, but entry requires only {prior} days of prior "
                    "observation: some persons could not have shown the record"
                )
                yield warning("unobserved-look-back", message, found.at)


CHECKS = (no_window, reversed_window, unobserved_look_back)
