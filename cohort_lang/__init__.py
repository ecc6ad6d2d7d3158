"""Cohort definitions: text, tree, lints, prose, and their evaluation on a hospital's own database.

Reading, checking and explaining need no database library; ``check_concepts``, ``evaluate``,
``evaluate_variables`` and ``diagnose`` load Ibis when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohort_lang.errors import (
    CohortError,
    CohortRefused,
    CohortSyntaxError,
    MissingTable,
    UnknownConcept,
    UnknownConceptSet,
)
from cohort_lang.formatting import format_cohort, format_concept_sets
from cohort_lang.lints import ConceptFacts, ConceptLookup, Lint, lint, lint_variables
from cohort_lang.parsing import parse, parse_concept_sets
from cohort_lang.prose import explain
from cohort_lang.tree import Cohort, ConceptSet

if TYPE_CHECKING:
    from cohort_lang.evaluation import (
        CohortResult,
        Diagnosis,
        SiteConcepts,
        check_concepts,
        diagnose,
        evaluate,
        evaluate_variables,
    )

__all__ = [
    "Cohort",
    "CohortError",
    "CohortRefused",
    "CohortResult",
    "CohortSyntaxError",
    "ConceptFacts",
    "ConceptLookup",
    "ConceptSet",
    "Diagnosis",
    "Lint",
    "MissingTable",
    "SiteConcepts",
    "UnknownConcept",
    "UnknownConceptSet",
    "check_concepts",
    "diagnose",
    "evaluate",
    "evaluate_variables",
    "explain",
    "format_cohort",
    "format_concept_sets",
    "lint",
    "lint_variables",
    "parse",
    "parse_concept_sets",
]

_EVALUATION = (
    "CohortResult",
    "Diagnosis",
    "SiteConcepts",
    "check_concepts",
    "diagnose",
    "evaluate",
    "evaluate_variables",
)


def __getattr__(name: str) -> Any:
    if name in _EVALUATION:
        return getattr(import_module("cohort_lang.evaluation"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
