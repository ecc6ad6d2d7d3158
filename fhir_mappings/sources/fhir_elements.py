"""Elements of FHIR R4 resources that several rules read: codes, references, periods, reasons to leave one out."""

from typing import Any

from fhir_mappings.sources.fhir_read import Resource

Codings = tuple[tuple[str | None, str, bool], ...]

NO_CODE = "no code"
"""Reason for a statement that says nothing codable: neither code nor text."""

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"


def codings(concept: Any) -> Codings:
    """The codings of a CodeableConcept that have a code, as ``(system, code, userSelected)``."""
    found = concept.get("coding") if concept else None
    if not found:
        return ()
    if len(found) == 1:  # by far the most frequent case
        coding = found[0]
        code = coding.get("code")
        return () if code is None else ((coding.get("system"), code, coding.get("userSelected") is True),)
    return tuple(
        [
            (x.get("system"), x["code"], x.get("userSelected") is True)
            for x in found
            if x.get("code") is not None
        ]
    )


def first_code(concept: Any) -> str | None:
    """The first code of a CodeableConcept."""
    found = codings(concept)
    return found[0][1] if found else None


def all_codes(concepts: Any) -> list[str]:
    """Every code of several CodeableConcepts."""
    return [x["code"] for concept in concepts or () for x in concept.get("coding") or () if "code" in x]


def target(reference: Any, kind: str) -> str | None:
    """Id of the ``kind`` a reference points to: relative, absolute, versioned or ``urn:uuid:``; else None."""
    raw = reference.get("reference") if reference else None
    if raw is None:
        return None
    if raw.startswith("urn:uuid:"):
        return str(raw[9:])
    head, _, last = raw.partition("/_history/")[0].rpartition("/")
    known = head == kind or head.endswith("/" + kind)
    return str(last) if known and "?" not in last else None


def period(resource: Resource, name: str) -> tuple[str | None, str | None]:
    """Start and end of ``name[x]`` as written: dateTime, instant or Period."""
    moment = resource.get(name + "DateTime") or resource.get(name + "Instant")
    if moment is not None:
        return moment, None
    span = resource.get(name + "Period")
    return (span.get("start"), span.get("end")) if span else (None, None)


def excluded(element: str, value: Any) -> str:
    """Reason for a resource whose ``element`` says the event did not happen or must not count."""
    return f"{element} {value if value in _KNOWN else 'missing' if value is None else 'not a FHIR R4 code'}"


_KNOWN = frozenset(
    {
        "planned",
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "cancelled",
        "entered-in-error",
        "unknown",
        "unconfirmed",
        "provisional",
        "differential",
        "confirmed",
        "refuted",
        "preparation",
        "not-done",
        "on-hold",
        "stopped",
        "completed",
        "registered",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "active",
        "intended",
        "not-taken",
        "draft",
        "proposal",
        "plan",
        "order",
        "original-order",
        "reflex-order",
        "filler-order",
        "instance-order",
        "option",
    }
)


def us_core(r: Resource, name: str, concepts: dict[str, int]) -> tuple[int, str | None]:
    """Concept and source value of US Core race or ethnicity; several categories have no single concept: 0."""
    for extension in r.get("extension") or ():
        if extension.get("url") == _US_CORE + name:
            found = [
                part["valueCoding"]["code"]
                for part in extension.get("extension") or ()
                if part.get("url") == "ombCategory" and "code" in part.get("valueCoding", ())
            ]
            if len(found) == 1:
                return concepts.get(found[0], 0), found[0]
            return 0, "|".join(found) or None
    return 0, None
