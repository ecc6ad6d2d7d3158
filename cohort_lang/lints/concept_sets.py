"""Concept sets that bring nothing, contradict themselves, or are not used."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.lints.base import Lint, error, warning
from cohort_lang.tree import Cohort
from cohort_lang.walk import used_concept_sets


def empty_concept_set(cohort: Cohort) -> Iterator[Lint]:
    """A set of exclusions only includes no concept."""
    for declared in cohort.concept_sets:
        if all(item.excluded for item in declared.items):
            message = f"concept set {declared.name!r} only excludes concepts, so it is empty"
            yield error("empty-concept-set", message, declared.at)


def unused_concept_set(cohort: Cohort) -> Iterator[Lint]:
    """A set nobody refers to here; study variables may."""
    used = used_concept_sets(cohort)
    for declared in cohort.concept_sets:
        if declared.name not in used:
            message = (
                f"concept set {declared.name!r} is not used in this definition (study variables may use it)"
            )
            yield warning("unused-concept-set", message, declared.at)


def cancelled_concept(cohort: Cohort) -> Iterator[Lint]:
    """A concept included and excluded in one set."""
    for declared in cohort.concept_sets:
        barred = {item.concept_id for item in declared.items if item.excluded}
        for item in declared.items:
            if not item.excluded and item.concept_id in barred:
                message = f"concept {item.concept_id} is both included and excluded in {declared.name!r}"
                yield error("cancelled-concept", message, item.at)


def repeated_concept(cohort: Cohort) -> Iterator[Lint]:
    """A concept listed twice in one set."""
    for declared in cohort.concept_sets:
        seen: set[tuple[int, bool]] = set()
        for item in declared.items:
            if (item.concept_id, item.excluded) in seen:
                message = f"concept {item.concept_id} stands twice in {declared.name!r}"
                yield warning("repeated-concept", message, item.at)
            seen.add((item.concept_id, item.excluded))


def no_concept_zero(cohort: Cohort) -> Iterator[Lint]:
    """Concept 0 stands for every unmapped record."""
    for declared in cohort.concept_sets:
        for item in declared.items:
            if item.concept_id == 0:
                message = f"concept 0 in {declared.name!r} means every record that could not be mapped"
                yield error("concept-zero", message, item.at)


CHECKS = (empty_concept_set, unused_concept_set, cancelled_concept, repeated_concept, no_concept_zero)
