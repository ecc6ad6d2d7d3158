"""Nobody may be classified by what happens after time zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cohort_lang.lints.base import Lint, warning
from cohort_lang.lints.windows import occurrences
from cohort_lang.tree import Cohort, Occurrence
from cohort_lang.walk import index_criteria


def criterion_after_index(cohort: Cohort) -> Iterator[Lint]:
    """A criterion on days after the index: immortal time if required, conditioning on the future if excluded."""
    for rule in cohort.rules:
        for found in occurrences(index_criteria(rule.criterion)):
            if reaches_after(found):
                yield warning("after-index", _message(rule.label, rule.excludes), found.at or rule.at)


def reaches_after(found: Occurrence) -> bool:
    """Whether every window of the occurrence lets days after the index date in."""
    return bool(found.windows) and all(
        window.end is None or window.end > 0 or window.index == "end" for window in found.windows
    )


def _message(label: str, excludes: bool) -> str:
    if excludes:
        return (
            f"{label!r} removes persons for what happens after the index date: this conditions on the future; "
            "censor on the event instead"
        )
    return (
        f"{label!r} requires something after the index date: persons cannot fail before it happens (immortal time); "
        "make that event the entry, or move the window before the index"
    )


def later_observation(cohort: Cohort) -> Iterator[Lint]:
    """Requiring observation after the index selects survivors."""
    if cohort.entry.later_days:
        message = (
            f"requiring {cohort.entry.later_days} days of later observation leaves out everybody who died or "
            "left sooner"
        )
        yield warning("later-observation", message, cohort.entry.at)


def last_entry(cohort: Cohort) -> Iterator[Lint]:
    """That an event is the last is only known from the future."""
    if "last" in (cohort.keep, cohort.entry.limit, cohort.entry.qualify_limit):
        message = "keeping the latest event: that it is the latest is only known from what happens after it"
        yield warning("latest-event", message, cohort.entry.at)


def lint_variables(variables: Mapping[str, Any]) -> list[Lint]:
    """Remarks on study variables: a baseline variable that sees days after the index."""
    return [
        warning("variable-after-index", f"variable {name!r} reads records from after the index date", None)
        for name, variable in variables.items()
        if getattr(variable, "window", None) is not None and variable.window.reaches_after_index
    ]


CHECKS = (criterion_after_index, later_observation, last_entry)
