"""Evaluating definitions on a hospital's own OMOP tables, in the clear, as lazy Ibis expressions.

Dates are counted as whole days since 1970-01-01 (int64) inside, so that windows are integer comparisons on
any backend; they become dates again in what is returned.
"""

from cohort_lang.evaluation.diagnosis import Diagnosis, Sought, UnmappedCode, diagnose
from cohort_lang.evaluation.lookup import SiteConcepts
from cohort_lang.evaluation.run import CohortResult, check_concepts, evaluate
from cohort_lang.evaluation.variables import evaluate_variables

__all__ = [
    "CohortResult",
    "Diagnosis",
    "SiteConcepts",
    "Sought",
    "UnmappedCode",
    "check_concepts",
    "diagnose",
    "evaluate",
    "evaluate_variables",
]
