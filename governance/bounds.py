"""What a study's texts may say: cohorts that parse, variables that name declared sets, counts within signed
bounds."""

from __future__ import annotations

from functools import lru_cache

from cohort_lang.errors import CohortSyntaxError
from cohort_lang.parsing.parser import parse, parse_concept_sets
from cohort_lang.tree import Cohort, ConceptSet
from cohort_lang.variables import named_concept_sets
from governance.errors import DocumentError, ForeignParameters
from governance.study import StudyProtocol


@lru_cache(maxsize=256)
def _cohort(text: str) -> Cohort:
    return parse(text)


@lru_cache(maxsize=64)
def _concept_sets(text: str) -> tuple[ConceptSet, ...]:
    return parse_concept_sets(text)


def check_texts(study: StudyProtocol) -> None:
    """Refuse a study whose cohorts do not parse, or whose variables name concept sets no cohort declares.

    Raises:
        DocumentError: names the field; for a cohort also line and column.
    """
    declared: set[str] = set()
    for name, text in study.cohorts.items():
        try:
            declared |= {one.name for one in _cohort(text).concept_sets}
        except CohortSyntaxError as error:
            raise DocumentError(f"cohorts.{name}: {error}") from error
    if study.feasibility is not None:
        _allowed(study.feasibility.concept_sets)
    for name, variable in study.variables.items():
        unknown = [wanted for wanted in named_concept_sets(variable) if wanted not in declared]
        if unknown:
            raise DocumentError(
                f"variables.{name}: no cohort declares the concept set {unknown[0]!r}; declared: "
                f"{sorted(declared)}"
            )


def check_cohort_within(cohort_text: str, concept_sets: str) -> None:
    """Refuse a cohort that declares a concept set the study does not name, or names with other concepts.

    A cohort names clinical concepts only through the sets it declares, so equal declarations bound all it can ask.

    Raises:
        ForeignParameters: names the sets at fault, or says where the cohort does not parse.
        DocumentError: the study's own declarations do not parse.
    """
    allowed = _allowed(concept_sets)
    try:
        cohort = _cohort(cohort_text)
    except CohortSyntaxError as error:
        raise ForeignParameters(f"the cohort to count does not parse: {error}") from error
    foreign = [one.name for one in cohort.concept_sets if allowed.get(one.name) != one]
    if foreign:
        raise ForeignParameters(
            f"the cohort uses concept sets {foreign} that this feasibility study does not name, or names "
            f"otherwise; it names {sorted(allowed)}"
        )


def _allowed(concept_sets: str) -> dict[str, ConceptSet]:
    try:
        return {one.name: one for one in _concept_sets(concept_sets)}
    except CohortSyntaxError as error:
        raise DocumentError(f"feasibility.concept_sets: {error}") from error
