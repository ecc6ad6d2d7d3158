"""FHIR R4 resources to staged rows: which are taken, and where each element goes.

The rules follow the HL7 FHIR-to-OMOP guide (requirement numbers f2o-NNN in docs/mappings.md). A rule returns None
when it staged something, else the reason why the resource yields nothing. A rule may assume nothing about
optional elements; wrong JSON types raise and are counted as not FHIR R4 by the caller.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from fhir_mappings import codes as c
from fhir_mappings.profile import FhirOptions
from fhir_mappings.sources.fhir_elements import (
    NO_CODE,
    all_codes,
    codings,
    excluded,
    first_code,
    period,
    target,
    us_core,
)
from fhir_mappings.sources.fhir_medicines import MedicineRules
from fhir_mappings.sources.fhir_read import Resource
from fhir_mappings.staging import Codes, EventRow, Stage

TEXT_LIMIT = 60
"""Longest string value kept, as in the CDM; longer ones are prose, which may name people."""

ABSENT = "value absent with a reason"


class Extractor:
    """The rules of one run; ``rules`` maps resource types to them. Notes count what loaded resources lost."""

    def __init__(self, stages: dict[str, Stage], codes: Codes, options: FhirOptions) -> None:
        self._persons = stages["stage_person"].add
        self._deaths = stages["stage_death"].add
        self._visits = stages["stage_visit"].add
        self._events = stages["stage_event"].add
        self._codes = codes
        medicines = MedicineRules(stages, codes, options)
        self.notes: Counter[str] = Counter()
        self.rules: dict[str, Callable[[int, Resource], str | None]] = {
            "Patient": self.patient,
            "Encounter": self.encounter,
            "Condition": self.condition,
            "Procedure": self.procedure,
            "Observation": self.observation,
            "Medication": medicines.medication,
            "MedicationRequest": medicines.medication_request,
            "MedicationStatement": medicines.medication_statement,
            "MedicationAdministration": medicines.medication_administration,
            "Immunization": medicines.immunization,
            "AllergyIntolerance": self.allergy,
        }

    def code(self, home: str, concept: Any) -> int | None:
        """Key of a coded idea; None when the CodeableConcept has neither code nor text."""
        return self._codes(home, codings(concept), concept.get("text") if concept else None)

    # -- people and visits

    def patient(self, seq: int, r: Resource) -> str | None:
        if any(link.get("type") == "replaced-by" for link in r.get("link") or ()):
            return "replaced by another patient record"
        race, race_source = us_core(r, "race", c.RACE)
        ethnicity, ethnicity_source = us_core(r, "ethnicity", c.ETHNICITY)
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
            return excluded("status", status)
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
                c.VISIT_CLASS.get(kind or "", 0),
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
            return excluded("verificationStatus", certainty)
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
            return excluded("status", r.get("status"))
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
            return excluded("status", status)
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

    def allergy(self, seq: int, r: Resource) -> str | None:
        certainty = first_code(r.get("verificationStatus")) or "confirmed"
        if certainty != "confirmed":
            return excluded("verificationStatus", certainty)
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
