"""FHIR R4 resources to staged rows: which are taken, and where each element goes.

The rules follow the HL7 FHIR-to-OMOP guide (requirement numbers f2o-NNN in docs/mappings.md). A rule returns
None when it staged something, else the reason why the resource yields nothing. A rule may assume nothing
about optional elements; wrong JSON types raise and are counted as not FHIR R4 by the caller.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from fhir_mappings import codes as c
from fhir_mappings.profile import FhirOptions
from fhir_mappings.sources.fhir_read import Resource
from fhir_mappings.staging import Codes, EventRow, Stage

Codings = tuple[tuple[str | None, str, bool], ...]

TEXT_LIMIT = 60
"""Longest string value kept, as in the CDM; longer ones are prose, which may name people."""

NO_CODE = "no code"
ABSENT = "value absent with a reason"

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


class Extractor:
    """The rules of one run; ``rules`` maps resource types to them. Notes count what loaded resources lost."""

    def __init__(self, stages: dict[str, Stage], codes: Codes, options: FhirOptions) -> None:
        self._persons = stages["stage_person"].add
        self._deaths = stages["stage_death"].add
        self._visits = stages["stage_visit"].add
        self._medications = stages["stage_medication"].add
        self._events = stages["stage_event"].add
        self._codes = codes
        self._intents = frozenset(options.medication_request_intents)
        self._statuses = frozenset(options.medication_request_statuses)
        self.notes: Counter[str] = Counter()
        self.rules: dict[str, Callable[[int, Resource], str | None]] = {
            "Patient": self.patient,
            "Encounter": self.encounter,
            "Condition": self.condition,
            "Procedure": self.procedure,
            "Observation": self.observation,
            "Medication": self.medication,
            "MedicationRequest": self.medication_request,
            "MedicationStatement": self.medication_statement,
            "MedicationAdministration": self.medication_administration,
            "Immunization": self.immunization,
            "AllergyIntolerance": self.allergy,
        }

    def code(self, home: str, concept: Any) -> int | None:
        """Key of a coded idea; None when the CodeableConcept has neither code nor text."""
        return self._codes(home, codings(concept), concept.get("text") if concept else None)

    # -- people and visits

    def patient(self, seq: int, r: Resource) -> str | None:
        if any(link.get("type") == "replaced-by" for link in r.get("link") or ()):
            return "replaced by another patient record"
        race, race_source = _us_core(r, "race", c.RACE)
        ethnicity, ethnicity_source = _us_core(r, "ethnicity", c.ETHNICITY)
        gender = r.get("gender")
        self._persons(
            (
                seq,
                r["id"],
                c.GENDER.get(gender or "", 0),
                gender,
                r.get("birthDate"),
                race,
                race_source,
                ethnicity,
                ethnicity_source,
            )
        )
        moment = r.get("deceasedDateTime")
        if moment is not None or r.get("deceasedBoolean") is True:
            self._deaths((seq, r["id"], moment, None))
        return None

    def encounter(self, seq: int, r: Resource) -> str | None:
        status = r.get("status")
        if status not in ("finished", "in-progress", "arrived", "triaged"):
            return _excluded("status", status)
        span = r.get("period") or {}
        kind = (r.get("class") or {}).get("code")
        stay = r.get("hospitalization") or {}
        admitted, discharged = (
            first_code(stay.get("admitSource")),
            first_code(stay.get("dischargeDisposition")),
        )
        self._visits(
            (
                seq,
                r["id"],
                target(r.get("subject"), "Patient"),
                c.VISIT_CLASS.get(kind, 0),
                kind,
                span.get("start"),
                span.get("end"),
                status != "finished",
                c.ADMITTED_FROM.get(admitted or "", 0) if admitted else None,
                admitted,
                c.DISCHARGED_TO.get(discharged or "", 0) if discharged else None,
                discharged,
            )
        )
        return None

    # -- events

    def condition(self, seq: int, r: Resource) -> str | None:
        certainty = first_code(r.get("verificationStatus")) or "confirmed"
        if certainty not in ("confirmed", "provisional", "differential", "refuted"):
            return _excluded("verificationStatus", certainty)
        key = self.code("Condition", r.get("code"))
        if key is None:
            return NO_CODE
        start, finish = period(r, "onset")
        abated, _ = period(r, "abatement")
        clinical = first_code(r.get("clinicalStatus"))
        confirmed = certainty == "confirmed"
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("subject"), "Patient"),
                visit=target(r.get("encounter"), "Encounter"),
                code=key,
                home="Condition" if confirmed else "Observation",
                fixed=not confirmed,
                type=c.TYPE_PROBLEM_LIST
                if "problem-list-item" in all_codes(r.get("category"))
                else c.TYPE_EHR,
                start=start,
                finish=abated or finish,
                late=r.get("recordedDate"),
                qualifier=None
                if confirmed
                else (c.PRELIMINARY_DIAGNOSIS if certainty == "provisional" else 0),
                qualifier_source=None if confirmed else certainty,
                status=c.RESOLVED_CONDITION if clinical == "resolved" else c.CONFIRMED_DIAGNOSIS,
                status_source=clinical,
            )
        )
        return None

    def procedure(self, seq: int, r: Resource) -> str | None:
        if r.get("status") != "completed":
            return _excluded("status", r.get("status"))
        key = self.code("Procedure", r.get("code"))
        if key is None:
            return NO_CODE
        start, finish = period(r, "performed")
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("subject"), "Patient"),
                visit=target(r.get("encounter"), "Encounter"),
                code=key,
                home="Procedure",
                type=c.TYPE_EHR,
                start=start,
                finish=finish,
            )
        )
        return None

    def observation(self, seq: int, r: Resource) -> str | None:
        status = r.get("status")
        if status not in ("final", "amended", "corrected"):
            return _excluded("status", status)
        categories = all_codes(r.get("category"))
        lab = "laboratory" in categories
        home = "Measurement" if lab or "vital-signs" in categories else "Observation"
        start, _ = period(r, "effective")
        shared = {
            "person": target(r.get("subject"), "Patient"),
            "visit": target(r.get("encounter"), "Encounter"),
            "home": home,
            "type": c.TYPE_LAB if lab else c.TYPE_EHR,
            "start": start,
            "late": r.get("issued"),
        }
        components = r.get("component") or ()
        whole = not components and not r.get("hasMember")
        reason = self._statement(seq, 0, r, shared, needs_value=not whole)
        staged = reason is None
        for part, component in enumerate(components, start=1):
            lost = self._statement(seq, part, component, shared, needs_value=True)
            if lost is None:
                staged = True
            else:
                self.notes[f"Observation component: {lost}"] += 1
        return None if staged else reason

    def _statement(
        self, seq: int, part: int, r: Resource, shared: dict[str, Any], needs_value: bool
    ) -> str | None:
        """Stage an Observation or one of its components."""
        if r.get("dataAbsentReason"):
            return ABSENT
        value = self._value(r)
        if needs_value and not value:
            return "a panel without a value of its own"
        key = self.code(shared["home"], r.get("code"))
        if key is None:
            return NO_CODE
        ranges = r.get("referenceRange")
        if ranges:
            value["low"] = (ranges[0].get("low") or {}).get("value")
            value["high"] = (ranges[0].get("high") or {}).get("value")
        self._events(EventRow(seq, part, code=key, **shared, **value))
        return None

    def _value(self, r: Resource) -> dict[str, Any]:  # noqa: PLR0911 -- one return for each type of value[x]
        """Columns for ``value[x]``; empty when there is none."""
        quantity = r.get("valueQuantity")
        if quantity is not None:
            return self._quantity(quantity)
        concept = r.get("valueCodeableConcept")
        if concept is not None:
            key = self.code("Value", concept)
            return {} if key is None else {"value": key}
        flag = r.get("valueBoolean")
        if flag is not None:
            return {"value_concept": c.YES if flag else c.NO, "text": "true" if flag else "false"}
        number = r.get("valueInteger")
        if number is not None:
            return {"number": number}
        text = r.get("valueString") or r.get("valueDateTime") or r.get("valueTime")
        if text is None:
            if any(name.startswith("value") for name in r):
                self.notes["Observation value of a type not carried over"] += 1
            return {}
        if len(text) > TEXT_LIMIT:
            self.notes["Observation text value too long to keep"] += 1
            return {"text": "(long text not kept)"}
        return {"text": text}

    def _quantity(self, quantity: Resource) -> dict[str, Any]:
        number = quantity.get("value")
        if number is None:
            return {}
        written, code = quantity.get("unit"), quantity.get("code")
        found: list[tuple[str | None, str, bool]] = []
        if code is not None:
            found.append((quantity.get("system"), code, False))
        if written is not None and written != code:
            found.append(("http://unitsofmeasure.org", written, False))
        comparator = quantity.get("comparator")
        return {
            "number": number,
            "unit": self._codes("Unit", tuple(found), None),
            "operator": c.OPERATORS[comparator] if comparator else None,
        }

    # -- medicines

    def medication(self, seq: int, r: Resource) -> str | None:
        if r.get("status") == "entered-in-error":
            return _excluded("status", "entered-in-error")
        key = self.code("Drug", r.get("code"))
        if key is None:
            return NO_CODE
        self._medications((seq, r["id"], key))
        return None

    def _drug(self, r: Resource) -> dict[str, Any] | None:
        """Columns naming the medicine: its code, or the Medication resource referred to."""
        reference = r.get("medicationReference")
        if reference is None:
            key = self.code("Drug", r.get("medicationCodeableConcept"))
            return None if key is None else {"code": key}
        raw = reference.get("reference") or ""
        if raw.startswith("#"):
            inner = [x for x in r.get("contained") or () if x.get("id") == raw[1:]]
            key = self.code("Drug", inner[0].get("code")) if inner else None
            return None if key is None else {"code": key}
        found = target(reference, "Medication")
        return None if found is None else {"medication": found}

    def medication_request(self, seq: int, r: Resource) -> str | None:
        if r.get("intent") not in self._intents:
            return _excluded("intent", r.get("intent"))
        if r.get("status") not in self._statuses:
            return _excluded("status", r.get("status"))
        if r.get("doNotPerform") is True:
            return "asks for the medicine not to be given"
        drug = self._drug(r)
        if drug is None:
            return NO_CODE
        supply = r.get("dispenseRequest") or {}
        dosage = (r.get("dosageInstruction") or ({},))[0]
        bounds = ((dosage.get("timing") or {}).get("repeat") or {}).get("boundsPeriod") or {}
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("subject"), "Patient"),
                visit=target(r.get("encounter"), "Encounter"),
                home="Drug",
                type=c.TYPE_SELF_REPORT if r.get("reportedBoolean") is True else c.TYPE_PRESCRIPTION,
                start=r.get("authoredOn") or bounds.get("start"),
                finish=bounds.get("end"),
                quantity=(supply.get("quantity") or {}).get("value"),
                days=_days(supply.get("expectedSupplyDuration")),
                refills=supply.get("numberOfRepeatsAllowed"),
                route=self.code("Route", dosage.get("route")),
                stop=first_code(r.get("statusReason")),
                **drug,
            )
        )
        return None

    def medication_statement(self, seq: int, r: Resource) -> str | None:
        if r.get("status") not in ("active", "completed"):
            return _excluded("status", r.get("status"))
        return self._taken(
            seq, r, "context", _reporter(r.get("informationSource"), c.TYPE_EHR), r.get("dateAsserted")
        )

    def medication_administration(self, seq: int, r: Resource) -> str | None:
        if r.get("status") != "completed":
            return _excluded("status", r.get("status"))
        return self._taken(seq, r, "context", c.TYPE_ADMINISTRATION, None)

    def _taken(self, seq: int, r: Resource, visit: str, kind: int, late: str | None) -> str | None:
        drug = self._drug(r)
        if drug is None:
            return NO_CODE
        dosage = r.get("dosage") or {}
        dosage = dosage[0] if isinstance(dosage, list) else dosage
        start, finish = period(r, "effective")
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("subject"), "Patient"),
                visit=target(r.get(visit), "Encounter"),
                home="Drug",
                type=kind,
                start=start,
                finish=finish or (start if kind == c.TYPE_ADMINISTRATION else None),
                late=late,
                quantity=(dosage.get("dose") or {}).get("value"),
                route=self.code("Route", dosage.get("route")),
                **drug,
            )
        )
        return None

    def immunization(self, seq: int, r: Resource) -> str | None:
        if r.get("status") != "completed":
            return _excluded("status", r.get("status"))
        key = self.code("Drug", r.get("vaccineCode"))
        if key is None:
            return NO_CODE
        day = r.get("occurrenceDateTime")
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("patient"), "Patient"),
                visit=target(r.get("encounter"), "Encounter"),
                code=key,
                home="Drug",
                type=_ORIGINS.get(first_code(r.get("reportOrigin")) or "", c.TYPE_ADMINISTRATION),
                start=day,
                finish=day,
                late=r.get("recorded"),
                quantity=(r.get("doseQuantity") or {}).get("value"),
                route=self.code("Route", r.get("route")),
                lot=r.get("lotNumber"),
            )
        )
        return None

    def allergy(self, seq: int, r: Resource) -> str | None:
        certainty = first_code(r.get("verificationStatus")) or "confirmed"
        if certainty != "confirmed":
            return _excluded("verificationStatus", certainty)
        key = self.code("Observation", r.get("code"))
        if key is None:
            return NO_CODE
        kinds = c.INTOLERANCE if r.get("type") == "intolerance" else c.ALLERGY
        start, _ = period(r, "onset")
        self._events(
            EventRow(
                seq,
                0,
                person=target(r.get("patient"), "Patient"),
                visit=target(r.get("encounter"), "Encounter"),
                code=key,
                home="Observation",
                fixed=True,
                type=c.TYPE_EHR,
                start=r.get("recordedDate") or start,
                about=kinds.get((r.get("category") or ("",))[0], c.ALLERGY_UNSPECIFIED),
            )
        )
        return None


_ORIGINS = {
    "recall": c.TYPE_SELF_REPORT,
    "record": c.TYPE_GOVERNMENT_REPORT,
    "school": c.TYPE_GOVERNMENT_REPORT,
}
_DAYS = {"d": 1.0, "wk": 7.0, "mo": 30.0, "a": 365.0, "h": 1 / 24}


def _excluded(element: str, value: Any) -> str:
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


def _days(duration: Any) -> int | None:
    if not duration or duration.get("value") is None:
        return None
    factor = _DAYS.get(duration.get("code") or "d")
    return None if factor is None else max(1, round(duration["value"] * factor))


def _reporter(source: Any, otherwise: int) -> int:
    raw = (source or {}).get("reference") or ""
    return c.TYPE_SELF_REPORT if raw.startswith(("Patient/", "RelatedPerson/")) else otherwise


def _us_core(r: Resource, name: str, concepts: dict[str, int]) -> tuple[int, str | None]:
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
