"""Whether a cohort stays within the concept sets a feasibility study was signed for."""

from __future__ import annotations

from governance.errors import DocumentError, ForeignParameters


def check_cohort_within(cohort_text: str, concept_sets: str) -> None:
    """Refuse a cohort that declares a concept set the study does not name, or names with other concepts.

    A cohort names concepts only through the sets it declares, so equal declarations bound all it can ask
    about.

    Raises:
        ForeignParameters: names the sets at fault, or says where the cohort does not parse.
        DocumentError: the study's own declarations do not parse.
    """
    from cohort_lang import CohortSyntaxError, parse, parse_concept_sets  # noqa: PLC0415

    try:
        allowed = {one.name: one for one in parse_concept_sets(concept_sets)}
    except CohortSyntaxError as error:
        raise DocumentError(f"feasibility.concept_sets: {error}") from error
    try:
        cohort = parse(cohort_text)
    except CohortSyntaxError as error:
        raise ForeignParameters(f"the cohort to count does not parse: {error}") from error
    foreign = [one.name for one in cohort.concept_sets if allowed.get(one.name) != one]
    if foreign:
        raise ForeignParameters(
            f"the cohort uses concept sets {foreign} that this feasibility study does not name, or names "
            f"otherwise; "
            f"it names {sorted(allowed)}"
        )
