"""Rules that repeat or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.lints.base import Lint, error, warning
from cohort_lang.tree import Cohort, Criterion, Rule


def repeated_label(cohort: Cohort) -> Iterator[Lint]:
    """Two rules of one name cannot be told apart in the attrition."""
    seen: set[str] = set()
    for rule in cohort.rules:
        if rule.label in seen:
            yield warning("repeated-label", f"two rules are called {rule.label!r}", rule.at)
        seen.add(rule.label)


def repeated_rule(cohort: Cohort) -> Iterator[Lint]:
    """A rule stated twice, or required and excluded."""
    seen: dict[Criterion, Rule] = {}
    for rule in cohort.rules:
        before = seen.setdefault(rule.criterion, rule)
        if before.excludes != rule.excludes:
            message = f"{rule.label!r} contradicts {before.label!r}: nobody satisfies both"
            yield error("contradiction", message, rule.at)
        elif before is not rule:
            yield warning("repeated-rule", f"{rule.label!r} says the same as {before.label!r}", rule.at)


CHECKS = (repeated_label, repeated_rule)
