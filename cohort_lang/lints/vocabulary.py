"""Concepts a vocabulary does not know, or that records of the kind never carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cohort_lang.lints.base import ConceptFacts, ConceptLookup, Lint, error, warning
from cohort_lang.tree import Cohort, ConceptItem, ConceptSet, Event
from cohort_lang.walk import all_events

_DOMAINS = {
    "condition": "Condition",
    "condition era": "Condition",
    "drug exposure": "Drug",
    "drug era": "Drug",
    "procedure": "Procedure",
    "measurement": "Measurement",
    "observation": "Observation",
    "device exposure": "Device",
    "visit": "Visit",
    "visit detail": "Visit",
}


def lint_concepts(cohort: Cohort, lookup: ConceptLookup) -> Iterator[Lint]:
    """Every remark that needs a vocabulary."""
    items = [(declared, item) for declared in cohort.concept_sets for item in declared.items]
    facts = lookup.find({item.concept_id for _, item in items})
    for declared, item in items:
        yield from _known(declared, item, facts)
    for event in dict.fromkeys(all_events(cohort)):
        yield from _fitting(cohort, event, facts)


def _known(declared: ConceptSet, item: ConceptItem, facts: Mapping[int, ConceptFacts]) -> Iterator[Lint]:
    known = facts.get(item.concept_id)
    if known is None:
        message = f"concept {item.concept_id} in {declared.name!r} is not in the vocabulary"
        yield error("unknown-concept", message, item.at)
    elif not known.valid:
        message = f"concept {item.concept_id} ({known.name}) in {declared.name!r} is no longer valid"
        yield warning("invalid-concept", message, item.at)


def _fitting(cohort: Cohort, event: Event, facts: Mapping[int, ConceptFacts]) -> Iterator[Lint]:
    if event.concepts is None or event.domain not in _DOMAINS:
        return
    for item in cohort.concept_set(event.concepts).items:
        known = facts.get(item.concept_id)
        if known is None or item.excluded:
            continue
        if known.domain != _DOMAINS[event.domain]:
            message = (
                f"{event.domain} of {event.concepts!r}: concept {item.concept_id} ({known.name}) is of domain "
                f"{known.domain}, so such records are kept elsewhere"
            )
            yield warning("wrong-domain", message, event.at)
        elif not known.standard and not item.descendants:
            message = (
                f"concept {item.concept_id} ({known.name}) is not a standard concept: records carry the standard "
                "one; use that, or 'recorded as'"
            )
            yield warning("not-standard", message, item.at)
