"""Checking a definition for what is probably not meant."""

from __future__ import annotations

from cohort_lang.lints import concept_sets, entry, ranges, rules, time_zero, windows
from cohort_lang.lints.base import Check, ConceptFacts, ConceptLookup, Lint
from cohort_lang.lints.time_zero import lint_variables
from cohort_lang.lints.vocabulary import lint_concepts
from cohort_lang.tree import Cohort

CHECKS: tuple[Check, ...] = (
    *concept_sets.CHECKS,
    *entry.CHECKS,
    *windows.CHECKS,
    *time_zero.CHECKS,
    *ranges.CHECKS,
    *rules.CHECKS,
)
"""Every check that needs the definition alone."""


def lint(cohort: Cohort, concepts: ConceptLookup | None = None) -> list[Lint]:
    """Remarks on a definition in the order of its text; errors and warnings.

    With ``concepts``, a vocabulary, also those that need one.
    """
    found = [remark for check in CHECKS for remark in check(cohort)]
    if concepts is not None:
        found += lint_concepts(cohort, concepts)
    return sorted(found, key=lambda remark: (remark.line or 0, remark.column or 0, remark.code))


__all__ = ["CHECKS", "ConceptFacts", "ConceptLookup", "Lint", "lint", "lint_variables"]
