"""FHIR R4 medication resources to staged rows."""

from typing import Any

from fhir_mappings import codes as c
from fhir_mappings.profile import FhirOptions
from fhir_mappings.sources.fhir_elements import NO_CODE, codings, excluded, first_code, period, target
from fhir_mappings.sources.fhir_read import Resource
from fhir_mappings.staging import Codes, EventRow, Stage

_ORIGINS = {
    "recall": c.TYPE_SELF_REPORT,
    "record": c.TYPE_GOVERNMENT_REPORT,
    "school": c.TYPE_GOVERNMENT_REPORT,
}
_DAYS = {"d": 1.0, "wk": 7.0, "mo": 30.0, "a": 365.0, "h": 1 / 24}


class MedicineRules:
    """Rules for what was prescribed, given or said to be taken; see ``Extractor`` for what a rule returns."""

    def __init__(self, stages: dict[str, Stage], codes: Codes, options: FhirOptions) -> None:
        self._medications = stages["stage_medication"].add
        self._events = stages["stage_event"].add
        self._codes = codes
        self._intents = frozenset(options.medication_request_intents)
        self._statuses = frozenset(options.medication_request_statuses)

    def code(self, home: str, concept: Any) -> int | None:
        """Key of a coded idea; None when the CodeableConcept has neither code nor text."""
        return self._codes(home, codings(concept), concept.get("text") if concept else None)

    def medication(self, seq: int, r: Resource) -> str | None:
        if r.get("status") == "entered-in-error":
            return excluded("status", "entered-in-error")
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
            return excluded("intent", r.get("intent"))
        if r.get("status") not in self._statuses:
            return excluded("status", r.get("status"))
        if r.get("doNotPerform") is True:
            return "asks for the medicine not to be given"
        drug = self._drug(r)
        if drug is None:
            return NO_CODE
        supply = r.get("dispenseRequest") or {}
        dosage: Resource = (r.get("dosageInstruction") or ({},))[0]
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
            return excluded("status", r.get("status"))
        return self._taken(
            seq, r, "context", _reporter(r.get("informationSource"), c.TYPE_EHR), r.get("dateAsserted")
        )

    def medication_administration(self, seq: int, r: Resource) -> str | None:
        if r.get("status") != "completed":
            return excluded("status", r.get("status"))
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
            return excluded("status", r.get("status"))
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


def _days(duration: Any) -> int | None:
    if not duration or duration.get("value") is None:
        return None
    factor = _DAYS.get(duration.get("code") or "d")
    return None if factor is None else max(1, round(duration["value"] * factor))


def _reporter(source: Any, otherwise: int) -> int:
    raw = (source or {}).get("reference") or ""
    return c.TYPE_SELF_REPORT if raw.startswith(("Patient/", "RelatedPerson/")) else otherwise
