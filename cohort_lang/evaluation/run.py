"""Evaluating a whole definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from ibis.backends import BaseBackend
from ibis.expr.types import Table

from cohort_lang.evaluation.criteria import satisfied
from cohort_lang.evaluation.entries import entry_events, limited
from cohort_lang.evaluation.events import persons
from cohort_lang.evaluation.exits import cohort_periods
from cohort_lang.evaluation.site import Site, as_date
from cohort_lang.tree import Cohort, ConceptSet, Group, Rule

ENTRY_STEP = "Entry event"
PERIOD_STEP = "Study period"


@dataclass(frozen=True)
class CohortResult:
    """What a definition means at one site.

    ``entries``: person_id (int64), start_date, end_date (datetime64[s], midnight), one row a time in the
    cohort, ordered by person and start. ``attrition``: label and distinct persons left, first the entry
    event, then each rule in order, then the study period if there is one; the labels depend on the
    definition alone. ``population``: distinct persons.
    """

    entries: pd.DataFrame
    attrition: tuple[tuple[str, int], ...]
    population: int

    @property
    def persons(self) -> int:
        """Distinct persons in the cohort."""
        return int(self.entries["person_id"].nunique())


def evaluate(connection: BaseBackend, cohort: Cohort) -> CohortResult:
    """Evaluate a cohort on a site's OMOP tables.

    Raises UnknownConcept for concept ids the vocabulary lacks, MissingTable for tables or columns the database lacks.
    """
    with Site(connection, cohort.concept_sets) as site:
        site.check_concepts()
        attrition: list[tuple[str, int]] = []
        included: Table | None = None
        for label, left in narrowing(site, cohort):
            attrition.append((label, person_count(left)))
            included = left
        assert included is not None
        periods = site.hold(cohort_periods(site, limited(included, cohort.keep), cohort))
        if cohort.period is not None:
            attrition.append((PERIOD_STEP, person_count(periods)))
        return CohortResult(_frame(periods), tuple(attrition), person_count(persons(site)))


def check_concepts(connection: BaseBackend, concept_sets: Sequence[ConceptSet]) -> None:
    """Look every concept that these sets name up in the site's vocabulary, without evaluating anything.

    Raises UnknownConcept for concept ids the vocabulary lacks, MissingTable where there is none.
    """
    with Site(connection, concept_sets) as site:
        site.check_concepts()


def narrowing(site: Site, cohort: Cohort) -> Iterator[tuple[str, Table]]:
    """The index events left after the entry event and after each rule, each held, with the step's label."""
    index = entry_events(site, cohort.entry)
    yield ENTRY_STEP, index
    for rule in cohort.rules:
        index = site.hold(index.semi_join(satisfied(site, index, as_criterion(rule)), "key"))
        yield rule.label, index


def as_criterion(rule: Rule) -> Group:
    """A rule as Circe states it: all of its criterion, or at most 0 of it where it excludes."""
    return Group("at most", (rule.criterion,), 0) if rule.excludes else Group("all", (rule.criterion,))


def person_count(table: Table) -> int:
    """Distinct persons of a table."""
    return int(table.person_id.nunique().to_pyarrow().as_py())


def _frame(periods: Table) -> pd.DataFrame:
    dated = periods.select(
        "person_id", start_date=as_date(periods.start), end_date=as_date(periods.end)
    ).order_by(["person_id", "start_date"])
    frame: pd.DataFrame = dated.to_pyarrow().to_pandas(date_as_object=False)
    typed: pd.DataFrame = frame.astype(
        {"person_id": "int64", "start_date": "datetime64[s]", "end_date": "datetime64[s]"}
    )
    return typed
