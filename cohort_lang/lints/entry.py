"""Entry events that do not say who is meant."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.lints.base import Lint, warning
from cohort_lang.tree import Cohort

_NEED_NO_CONCEPT = ("death", "observation period", "visit", "visit detail")


def any_record_enters(cohort: Cohort) -> Iterator[Lint]:
    """An entry event without a concept set takes every record of its kind."""
    for event in cohort.entry.events:
        if event.concepts is None and event.source is None and event.domain not in _NEED_NO_CONCEPT:
            message = f"any {event.domain} at all is an entry event; name a concept set with 'of'"
            yield warning("any-record", message, event.at)


def first_without_history(cohort: Cohort) -> Iterator[Lint]:
    """A first record is only known to be the first where there was time to see an earlier one."""
    if cohort.entry.prior_days == 0 and any(event.first for event in cohort.entry.events):
        message = (
            "'first' without prior observation: the first record seen may be a continuation; add "
            "'with 365 days of prior observation'"
        )
        yield warning("first-without-history", message, cohort.entry.at)


CHECKS = (any_record_enters, first_without_history)
