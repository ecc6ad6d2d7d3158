"""FHIR rules for what was found or given: laboratory values, observations, allergies, medicines."""

from datetime import date, datetime

from fhir_mappings.profile import Profile
from tests.fhir_mappings.conftest import LOINC, RXNORM, SNOMED


def test_laboratory_value(site, build):
    ranges = [{"low": {"value": 3.9}, "high": {"value": 5.6}}]
    quantity = {
        "value": 7.5,
        "comparator": ">=",
        "unit": "mmol/L",
        "system": "http://unitsofmeasure.org",
        "code": "mmol/L",
    }
    site.load(build["patient"](), build["lab"](valueQuantity=quantity, referenceRange=ranges))
    assert site.rows(
        """SELECT measurement_concept_id, measurement_date, measurement_datetime, value_as_number, operator_concept_id,
        unit_concept_id, unit_source_value, range_low, range_high, measurement_type_concept_id FROM measurement"""
    ) == [
        (3001, date(2021, 3, 4), datetime(2021, 3, 4, 5, 6, 7), 7.5, 4171755, 8753, "mmol/L", 3.9, 5.6, 32856)
    ]


def test_moments_convert_to_the_declared_zone(site, build):
    profile = Profile.model_validate({"extract_date": "2024-01-01", "time_zone": "Europe/Berlin"})
    site.load(build["patient"](), build["lab"](effectiveDateTime="2021-03-04T23:30:00Z"), profile=profile)
    assert site.rows("SELECT measurement_date, measurement_datetime FROM measurement") == [
        (date(2021, 3, 5), datetime(2021, 3, 5, 0, 30))
    ]


def test_coded_boolean_text_and_absent_values(site, build):
    def smoking(ident, **value):
        return build["lab"](
            ident, category=None, code=build["coded"](LOINC, "SM"), valueQuantity=None, **value
        )

    site.load(
        build["patient"](),
        smoking("a", valueCodeableConcept=build["coded"](SNOMED, "Q1")),
        smoking("b", valueBoolean=False),
        smoking("c", valueString="ex-smoker"),
        smoking("d", valueString="x" * 61),
        smoking("e", dataAbsentReason=build["coded"]("urn:x", "unknown")),
        smoking("f", valueInteger=3),
    )
    assert site.rows(
        "SELECT value_as_number, value_as_concept_id, value_as_string FROM observation ORDER BY observation_id"
    ) == [
        (None, 2006, None),
        (None, 4188540, None),
        (None, None, "ex-smoker"),
        (None, None, "(long text not kept)"),
        (3.0, None, None),
    ]
    assert site.input("Observation").rejected == {"value absent with a reason": 1}


def test_components_become_rows_and_the_panel_does_not(site, build):
    def part(code, **value):
        return {"code": build["coded"](LOINC, code), **value}

    components = [
        part("BP-S", valueQuantity={"value": 120}),
        part("BP-D", valueQuantity={"value": 80}),
        part("BP-D", dataAbsentReason=build["coded"]("urn:x", "unknown")),
    ]
    site.load(
        build["patient"](),
        build["lab"](code=build["coded"](LOINC, "BP"), valueQuantity=None, component=components),
        build["lab"]("panel", valueQuantity=None, hasMember=[{"reference": "Observation/o1"}]),
        build["lab"]("status", status="preliminary"),
    )
    assert site.rows("SELECT measurement_concept_id, value_as_number FROM measurement ORDER BY 1") == [
        (3002, 120.0),
        (3003, 80.0),
    ]
    assert site.input("Observation").rejected == {
        "a panel without a value of its own": 1,
        "status preliminary": 1,
    }
    assert site.report.notes["Observation component: value absent with a reason"] == 1


def test_a_denied_finding_never_becomes_a_condition(site, build):
    site.load(
        build["patient"](),
        build["lab"](code=build["coded"](SNOMED, "D1"), valueQuantity=None, valueBoolean=False),
    )
    assert site.rows("SELECT count(*) FROM condition_occurrence") == [(0,)]
    assert site.rows("SELECT observation_concept_id, value_as_concept_id FROM observation") == [
        (2001, 4188540)
    ]
    assert site.report.notes["finding with a value kept as observation"] == 1


def test_allergies_are_observations_of_a_substance(site, build):
    def allergy(ident, code, **extra):
        base = {"code": build["coded"](SNOMED, code), "recordedDate": "2020-01-01", "category": ["food"]}
        return build["make"]("AllergyIntolerance", ident, **(base | extra))

    refuted = build["coded"](
        "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "refuted"
    )
    site.load(
        build["patient"](),
        allergy("a", "S1"),
        allergy("b", "N1"),
        allergy("c", "S1", type="intolerance", category=["medication"]),
        allergy("d", "S1", verificationStatus=refuted),
    )
    assert site.rows(
        "SELECT observation_concept_id, value_as_concept_id FROM observation ORDER BY observation_id"
    ) == [(4188027, 2007), (2008, None), (4240582, 2007)]
    assert site.input("AllergyIntolerance").rejected == {"verificationStatus refuted": 1}


def test_medication_request_intents_are_the_profiles_choice(site, build):
    requests = [build["request"](intent, intent=intent) for intent in ("order", "instance-order", "plan")]
    site.load(build["patient"](), *requests, build["request"]("not", doNotPerform=True))
    assert site.input("MedicationRequest").rejected == {
        "intent plan": 1,
        "asks for the medicine not to be given": 1,
    }
    narrow = Profile.model_validate(
        {"extract_date": "2024-01-01", "fhir": {"medication_request_intents": ["instance-order"]}}
    )
    site.load(build["patient"](), *requests, profile=narrow)
    assert site.input("MedicationRequest").rejected == {"intent order": 1, "intent plan": 1}


def test_drug_ends(site, build):
    supply = {
        "expectedSupplyDuration": {"value": 2, "code": "wk"},
        "numberOfRepeatsAllowed": 3,
        "quantity": {"value": 28},
    }
    bounds = {"timing": {"repeat": {"boundsPeriod": {"end": "2020-06-10"}}}}
    site.load(
        build["patient"](),
        build["request"]("a", dispenseRequest=supply),
        build["request"]("b", dosageInstruction=[bounds]),
        build["request"]("c"),
    )
    assert site.rows(
        """SELECT drug_exposure_end_date, days_supply, refills, quantity, verbatim_end_date, drug_type_concept_id
        FROM drug_exposure ORDER BY drug_exposure_id"""
    ) == [
        (date(2020, 6, 14), 14, 3, 28.0, None, 32838),
        (date(2020, 6, 10), None, None, None, date(2020, 6, 10), 32838),
        (date(2020, 6, 30), None, None, None, None, 32838),
    ]
    assert site.report.notes["prescription end by the number of days in the profile"] == 1


def test_other_medicine_resources(site, build):
    code = build["coded"](RXNORM, "M1")
    site.load(
        build["patient"](),
        {"resourceType": "Medication", "id": "med", "code": code},
        build["request"](
            "ref", medicationCodeableConcept=None, medicationReference={"reference": "Medication/med"}
        ),
        build["request"](
            "lost", medicationCodeableConcept=None, medicationReference={"reference": "Medication/x"}
        ),
        build["request"](
            "inside",
            medicationCodeableConcept=None,
            medicationReference={"reference": "#m"},
            contained=[{"resourceType": "Medication", "id": "m", "code": code}],
        ),
        build["make"](
            "MedicationStatement",
            "s",
            status="active",
            medicationCodeableConcept=code,
            effectivePeriod={"start": "2020-01-01", "end": "2020-02-01"},
            informationSource={"reference": "Patient/p1"},
        ),
        build["make"](
            "MedicationAdministration",
            "a",
            status="completed",
            medicationCodeableConcept=code,
            effectiveDateTime="2020-03-01",
            dosage={"dose": {"value": 5}},
        ),
        build["make"](
            "Immunization",
            "i",
            status="completed",
            vaccineCode=build["coded"]("http://hl7.org/fhir/sid/cvx", "V1"),
            occurrenceDateTime="2020-04-01",
            lotNumber="L",
        ),
        build["make"](
            "Immunization", "n", status="not-done", vaccineCode=code, occurrenceDateTime="2020-04-01"
        ),
    )
    assert site.rows(
        """SELECT drug_concept_id, drug_exposure_start_date, drug_exposure_end_date, drug_type_concept_id, quantity
        FROM drug_exposure ORDER BY drug_exposure_start_date, drug_exposure_id"""
    ) == [
        (4001, date(2020, 1, 1), date(2020, 2, 1), 32865, None),
        (4001, date(2020, 3, 1), date(2020, 3, 1), 32818, 5.0),
        (4002, date(2020, 4, 1), date(2020, 4, 1), 32818, None),
        (4001, date(2020, 6, 1), date(2020, 6, 30), 32838, None),
        (4001, date(2020, 6, 1), date(2020, 6, 30), 32838, None),
    ]
    assert site.input("MedicationRequest").rejected == {"medication not in the extract": 1}
    assert site.input("Immunization").rejected == {"status not-done": 1}
