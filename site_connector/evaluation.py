"""Cohorts and variables of a study on this hospital's own database, in the clear; nothing here leaves the site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ibis.backends.duckdb import Backend

from cohort_lang import (
    check_concepts,
    diagnose,
    evaluate,
    evaluate_variables,
    parse,
    parse_concept_sets,
)
from cohort_lang.errors import CohortError
from cohort_lang.tree import Cohort
from cohort_lang.variables import Variable, named_concept_sets
from fhir_mappings.cdm import connect
from fhir_mappings.errors import MappingError
from mpc_backend.analyses.base import SiteData
from site_connector.errors import CannotEvaluate
from site_connector.linked import Recognition
from site_connector.models import AttritionStep, CohortPreview, UnmappedCode


@contextmanager
def opened(database: Path) -> Iterator[Backend]:
    """The hospital's database, read-only.

    Raises:
        CannotEvaluate: absent, in use by a writer, or not the common model.
    """
    try:
        connection = connect(database, read_only=True)
    except MappingError as error:
        raise CannotEvaluate(str(error)) from error
    try:
        yield connection
    finally:
        connection.disconnect()


def site_data(
    connection: Backend,
    name: str,
    text: str,
    variables: Mapping[str, Variable],
    persons_by: Recognition | None = None,
) -> SiteData:
    """One cohort with the study's variables, as the analyses take it.

    A variable that names concept sets of another cohort is left out; an analysis that needs it says so. ``persons_by``: how
    persons are recognised across hospitals, where an analysis of this cohort asks for it.

    Raises:
        CannotEvaluate: a concept the vocabulary lacks, or a table or column the database lacks.
        LinkageRefused: identifiers that the study names were not loaded.
    """
    try:
        cohort = parse(text)
        result = evaluate(connection, cohort)
        usable = _usable(cohort, variables)
        frame = evaluate_variables(connection, cohort, result.entries, usable)
        linked = persons_by.rows(connection, cohort, usable) if persons_by is not None else None
    except CohortError as error:
        raise CannotEvaluate(f"cohort {name}: {error}") from error
    # Rows follow persons and dates, as `evaluate_variables` gives them.
    persons = result.entries["person_id"].sort_values(kind="stable").to_numpy(dtype="int64")
    return SiteData(frame, result.attrition, result.population, persons, linked)


def check_vocabulary(connection: Backend, concept_sets: str) -> None:
    """Whether this hospital's vocabulary has every concept that a feasibility study lets cohorts use.

    Raises:
        CannotEvaluate: it lacks some, by id, or there is no vocabulary.
    """
    try:
        check_concepts(connection, parse_concept_sets(concept_sets))
    except CohortError as error:
        raise CannotEvaluate(f"feasibility.concept_sets: {error}") from error


def preview(connection: Backend, name: str, text: str, data: SiteData) -> CohortPreview:
    """The cohort's attrition, and why it is empty if it is."""
    steps = tuple(AttritionStep(label=label, persons=persons) for label, persons in data.attrition)
    whole = CohortPreview(name=name, population=data.population, attrition=steps)
    if not steps or steps[-1].persons:
        return whole
    found = diagnose(connection, parse(text))
    return whole.model_copy(
        update={
            "emptied_by": found.emptied_by,
            "note": found.note,
            "sought": tuple(
                _sought(one.domain, one.concepts, one.records, one.fitting) for one in found.sought
            ),
            "unmapped": tuple(
                UnmappedCode(
                    domain=one.domain, code=one.source_value, records=one.records, persons=one.persons
                )
                for one in found.unmapped
            ),
        }
    )


def _sought(domain: str, concepts: str | None, records: int, fitting: int) -> str:
    what = f"{domain} of “{concepts}”" if concepts else f"any {domain}"
    return f"{what}: {records} records here, {fitting} fit all that is demanded of them"


def _usable(cohort: Cohort, variables: Mapping[str, Variable]) -> dict[str, Variable]:
    declared = {one.name for one in cohort.concept_sets}
    return {name: one for name, one in variables.items() if set(named_concept_sets(one)) <= declared}
