"""Why a cohort is empty at a site: the step that empties it, what it looked for, and unmapped codes behind it.

For people inside the hospital: source codes and counts of records are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ibis.backends import BaseBackend
from ibis.expr.types import Table

from cohort_lang.evaluation.entries import entry_records, limited
from cohort_lang.evaluation.events import events
from cohort_lang.evaluation.exits import cohort_periods
from cohort_lang.evaluation.records import RECORDS
from cohort_lang.evaluation.run import ENTRY_STEP, PERIOD_STEP, narrowing, person_count
from cohort_lang.evaluation.site import Site
from cohort_lang.tree import Cohort, Domain, Event, Rule
from cohort_lang.walk import events_of

MOST_CODES = 20
"""Unmapped codes listed per kind of record, the most frequent first."""


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """A source code that no standard concept stands for: records with concept 0."""

    domain: Domain
    source_value: str
    records: int
    persons: int


@dataclass(frozen=True, slots=True)
class Sought:
    """An event the step looks for: records of its concepts at the site, and how many fit all it demands."""

    domain: Domain
    concepts: str | None
    records: int
    fitting: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``emptied_by`` is the label of the step after which no person is left, or None where persons remain.

    ``persons_before`` counts who was left before that step (None for the entry event). ``note`` says in
    one sentence what happened.
    """

    attrition: tuple[tuple[str, int], ...]
    emptied_by: str | None = None
    persons_before: int | None = None
    note: str = "persons remain after every step"
    sought: tuple[Sought, ...] = ()
    unmapped: tuple[UnmappedCode, ...] = ()


def diagnose(connection: BaseBackend, cohort: Cohort) -> Diagnosis:
    """Find the step that leaves nobody. Raises as ``evaluate`` does."""
    with Site(connection, cohort.concept_sets) as site:
        site.check_concepts()
        attrition: list[tuple[str, int]] = []
        included: Table | None = None
        for number, (label, left) in enumerate(narrowing(site, cohort)):
            attrition.append((label, person_count(left)))
            if attrition[-1][1] == 0:
                return _emptied(site, cohort, tuple(attrition), number)
            included = left
        assert included is not None
        return _period(site, cohort, included, tuple(attrition))


def _period(site: Site, cohort: Cohort, included: Table, attrition: tuple[tuple[str, int], ...]) -> Diagnosis:
    if cohort.period is None:
        return Diagnosis(attrition)
    left = person_count(cohort_periods(site, limited(included, cohort.keep), cohort))
    attrition = (*attrition, (PERIOD_STEP, left))
    if left:
        return Diagnosis(attrition)
    note = "everybody's time in the cohort lies outside the study period"
    return Diagnosis(attrition, PERIOD_STEP, attrition[-2][1], note)


def _emptied(site: Site, cohort: Cohort, attrition: tuple[tuple[str, int], ...], step: int) -> Diagnosis:
    label = attrition[-1][0]
    if step == 0:
        return _empty_entry(site, cohort, Diagnosis(attrition, ENTRY_STEP))
    rule = cohort.rules[step - 1]
    diagnosis = Diagnosis(attrition, label, attrition[-2][1])
    if rule.excludes:
        return replace(diagnosis, note="everybody left before this step meets the exclusion")
    return _explained(site, diagnosis, tuple(events_of(rule.criterion)), _note(rule))


def _note(rule: Rule) -> str:
    looked_for = any(True for _ in events_of(rule.criterion))
    missing = "has the records this criterion requires" if looked_for else "fits this criterion"
    return f"nobody left before this step {missing}"


def _empty_entry(site: Site, cohort: Cohort, diagnosis: Diagnosis) -> Diagnosis:
    if person_count(entry_records(site, cohort.entry)):
        note = (
            "there are entry events, but none inside an observation period with the days and facts required"
        )
        wanted = (*cohort.entry.events, *events_of(cohort.entry.qualify))
    else:
        note, wanted = "there is no record of any entry event", cohort.entry.events
    return _explained(site, diagnosis, wanted, note)


def _explained(site: Site, diagnosis: Diagnosis, wanted: tuple[Event, ...], note: str) -> Diagnosis:
    sought = tuple(_sought(site, event) for event in dict.fromkeys(wanted))
    domains = dict.fromkeys(found.domain for found in sought)
    unmapped = tuple(code for domain in domains for code in unmapped_codes(site, domain))
    return replace(diagnosis, note=note, sought=sought, unmapped=unmapped)


def _sought(site: Site, event: Event) -> Sought:
    bare = Event(event.domain, event.concepts, event.source)
    return Sought(event.domain, event.concepts, _rows(events(site, bare)), _rows(events(site, event)))


def _rows(table: Table) -> int:
    return int(table.count().to_pyarrow().as_py())


def unmapped_codes(site: Site, domain: Domain) -> Iterator[UnmappedCode]:
    """The most frequent source codes of a kind of record whose concept is 0."""
    spec = RECORDS[domain]
    if spec.source_value is None or spec.concept is None:
        return
    table = site.table(spec.table, f"{domain!r}")
    if spec.source_value not in table.columns:
        return
    lost = table.filter(table[spec.concept] == 0, table[spec.source_value].notnull())
    counted = lost.group_by(source_value=lost[spec.source_value]).aggregate(
        records=lost.count(), persons=lost.person_id.nunique()
    )
    top = counted.order_by([counted.records.desc(), counted.source_value]).limit(MOST_CODES)
    for row in top.to_pyarrow().to_pylist():
        yield UnmappedCode(domain, row["source_value"], row["records"], row["persons"])
