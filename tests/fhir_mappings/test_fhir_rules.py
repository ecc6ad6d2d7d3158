"""Each FHIR rule on a record small enough to know the answer."""

from datetime import date, datetime

import pytest

from fhir_mappings.profile import Profile

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM, ICD = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"


def us_core(name, *codes):
    return {
        "url": US_CORE + name,
        "extension": [{"url": "ombCategory", "valueCoding": {"code": code}} for code in codes],
    }


def test_patient_fields(site, build):
    site.load(build["patient"](extension=[us_core("race", "2106-3"), us_core("ethnicity", "2186-5")]))
    assert site.rows(
        """SELECT gender_concept_id, gender_source_value, year_of_birth, month_of_birth, day_of_birth, race_concept_id,
        ethnicity_concept_id, person_source_value FROM person"""
    ) == [(8532, "female", 1960, 2, 3, 8527, 38003564, "p1")]


@pytest.mark.parametrize(
    ("birth", "expected"),
    [("1950", (1950, None, None, None)), ("1950-07", (1950, 7, None, None))],
)
def test_partial_birth_dates_keep_their_precision(site, build, birth, expected):
    site.load(build["patient"](birthDate=birth))
    assert site.rows("SELECT year_of_birth, month_of_birth, day_of_birth, birth_datetime FROM person") == [
        expected
    ]


def test_several_races_and_unknown_gender_are_concept_zero(site, build):
    site.load(build["patient"](gender="other", extension=[us_core("race", "2106-3", "2028-9")]))
    assert site.rows("SELECT gender_concept_id, race_concept_id, race_source_value FROM person") == [
        (0, 0, "2106-3|2028-9")
    ]


def test_unusable_patients_are_rejected_with_their_records(site, build):
    site.load(
        build["patient"](),
        build["patient"]("nobirth", birthDate=None),
        build["patient"]("future", birthDate="2030-01-01"),
        build["patient"]("old", birthDate="1700-01-01"),
        build["patient"]("merged", link=[{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]),
        build["condition"]("c1", subject={"reference": "Patient/nobirth"}),
        build["condition"]("c2", subject={"reference": "Patient/absent"}),
        build["condition"]("c3", subject={"reference": "Group/p1"}),
    )
    assert site.input("Patient").rejected == {
        "no birth date": 1,
        "birth date after the extract date": 1,
        "birth date before the earliest date accepted": 1,
        "replaced by another patient record": 1,
    }
    assert site.input("Condition").rejected == {
        "patient was rejected": 1,
        "patient not in the extract": 1,
        "no reference to a patient": 1,
    }
    assert site.rows("SELECT count(*) FROM condition_occurrence") == [(0,)]


@pytest.mark.parametrize(
    "reference",
    ["Patient/p1", "Patient/p1/_history/3", "https://server.example/fhir/Patient/p1", "urn:uuid:p1"],
)
def test_references_resolve(site, build, reference):
    site.load(build["patient"](), build["condition"](subject={"reference": reference}))
    assert site.input("Condition").loaded == 1


@pytest.mark.parametrize("reference", ["Patient?identifier=x|p1", "Practitioner/p1", "#p1", "p1"])
def test_other_references_do_not(site, build, reference):
    site.load(build["patient"](), build["condition"](subject={"reference": reference}))
    assert site.input("Condition").loaded == 0


def test_death_from_deceased(site, build):
    site.load(
        build["patient"](deceasedDateTime="2022-03-04T10:00:00Z"),
        build["patient"]("p2", deceasedBoolean=True),
        build["patient"]("p3", deceasedBoolean=False),
        build["condition"](),
    )
    assert site.rows("SELECT death_date FROM death") == [(date(2022, 3, 4),)]
    assert site.report.notes["death not recorded: no date of death"] == 1
    assert site.input("Patient").loaded == 3
    assert "without a date is counted" in site.report.death_rule


def test_death_at_the_last_event_when_the_profile_says_so(site, build):
    profile = Profile.model_validate({"extract_date": "2024-01-01", "death": {"without_date": "last-event"}})
    site.load(
        build["patient"](deceasedBoolean=True),
        build["condition"](onsetDateTime="2020-05-06"),
        build["lab"](effectiveDateTime="2021-03-04"),
        profile=profile,
    )
    assert site.rows("SELECT death_date FROM death") == [(date(2021, 3, 4),)]


def encounter(build, ident, status="finished", kind="AMB", **period):
    return build["make"]("Encounter", ident, status=status, **{"class": {"code": kind}}, period=period)


def test_encounters(site, build):
    site.load(
        build["patient"](),
        encounter(
            build, "e1", kind="IMP", start="2020-01-01T23:30:00-05:00", end="2020-01-05T08:00:00-05:00"
        ),
        encounter(build, "e2", start="2020-02-01"),
        encounter(build, "e3", status="in-progress", kind="IMP", start="2023-12-30"),
        encounter(build, "e4", status="planned", start="2020-02-01"),
        encounter(build, "e5", kind="ODD", start="2020-03-01", end="2020-02-01"),
        encounter(build, "e6"),
    )
    assert site.rows(
        """SELECT visit_concept_id, visit_start_date, visit_end_date, visit_source_value FROM visit_occurrence
        ORDER BY visit_start_date"""
    ) == [
        (9201, date(2020, 1, 1), date(2020, 1, 5), "IMP"),
        (9202, date(2020, 2, 1), date(2020, 2, 1), "AMB"),
        (0, date(2020, 3, 1), date(2020, 3, 1), "ODD"),
        (9201, date(2023, 12, 30), date(2024, 1, 1), "IMP"),
    ]
    assert site.input("Encounter").rejected == {"status planned": 1, "no start date": 1}
    assert site.report.notes["visit end derived"] == 3
    assert ("visit_occurrence", "encounter class", "ODD", 1) in [
        (u.table, u.vocabulary, u.code, u.count) for u in site.report.unmapped_codes
    ]


def test_condition_verification_routes_and_excludes(site, build):
    status = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    certainties = ["confirmed", "provisional", "differential", "refuted", "unconfirmed", "entered-in-error"]
    site.load(
        build["patient"](),
        *[build["condition"](c, verificationStatus=build["coded"](status, c)) for c in certainties],
        build["condition"]("none"),
    )
    assert site.rows("SELECT count(*) FROM condition_occurrence") == [(2,)]
    assert site.rows(
        """SELECT observation_concept_id, qualifier_concept_id, qualifier_source_value FROM observation
        ORDER BY qualifier_source_value"""
    ) == [(2001, 0, "differential"), (2001, 32899, "provisional"), (2001, 0, "refuted")]
    assert site.input("Condition").rejected == {
        "verificationStatus unconfirmed": 1,
        "verificationStatus entered-in-error": 1,
    }


def test_condition_dates(site, build):
    site.load(
        build["patient"](),
        encounter(build, "e1", start="2019-09-09"),
        build["condition"]("a", abatementDateTime="2021-01-02", recordedDate="2022-02-02"),
        build["condition"]("b", onsetDateTime=None, recordedDate="2018-08"),
        build["condition"]("c", onsetDateTime=None, encounter={"reference": "Encounter/e1"}),
        build["condition"]("d", onsetDateTime=None),
        build["condition"]("e", onsetDateTime="sometime"),
        build["condition"]("f", onsetDateTime="1066-10-14"),
        build["condition"]("g", onsetDateTime="2024-01-02"),
        build["condition"]("last", onsetDateTime="2024-01-01"),
        build["condition"]("h", onsetPeriod={"start": "2017-01-01", "end": "2016-01-01"}, onsetDateTime=None),
    )
    assert site.rows(
        """SELECT condition_start_date, condition_end_date, condition_type_concept_id FROM condition_occurrence
        ORDER BY 1"""
    ) == [
        (date(2017, 1, 1), None, 32817),
        (date(2018, 8, 1), None, 32882),
        (date(2019, 9, 9), None, 32882),
        (date(2020, 5, 6), date(2021, 1, 2), 32817),
        (date(2024, 1, 1), None, 32817),
    ]
    assert site.input("Condition").rejected == {
        "no date": 1,
        "date not readable": 1,
        "date before the earliest date accepted": 1,
        "date after the extract date": 1,
    }
    assert site.report.notes["start date completed by rule"] == 2
    assert site.report.notes["end before start, end left out"] == 1


def test_the_concept_decides_the_table(site, build):
    site.load(build["patient"](), build["condition"](code=build["coded"](SNOMED, "P1")))
    assert site.rows("SELECT procedure_concept_id FROM procedure_occurrence") == [(2004,)]
    assert site.rows("SELECT count(*) FROM condition_occurrence") == [(0,)]


def test_source_codes_map_to_standard_concepts(site, build):
    site.load(
        build["patient"](),
        build["condition"]("dotted", code=build["coded"](ICD, "E11.9")),
        build["condition"]("undotted", code=build["coded"](ICD, "E119")),
        build["condition"]("two", code=build["coded"](ICD, "E99.1")),
        build["condition"]("value", code=build["coded"](ICD, "Z80.1")),
    )
    assert site.rows(
        """SELECT condition_concept_id, condition_source_value, condition_source_concept_id FROM condition_occurrence
        ORDER BY ALL"""
    ) == [(2001, "E11.9", 1001), (2001, "E119", 1001), (2001, "E99.1", 1002), (2002, "E99.1", 1002)]
    assert site.rows("SELECT observation_concept_id, value_as_concept_id FROM observation") == [(2005, 2002)]
    assert site.report.notes["code with several standard concepts"] == 1


@pytest.mark.parametrize(
    ("codings", "concept", "source"),
    [
        ([(ICD, "E11.9"), (SNOMED, "D2")], 2002, "D2"),
        ([("urn:local", "x"), (ICD, "E11.9")], 2001, "E11.9"),
        ([(SNOMED, "D1"), (SNOMED, "D3")], 2003, "D3"),
        ([(SNOMED, "D2"), (SNOMED, "D3", True)], 2003, "D3"),
        ([(SNOMED, "D2"), (SNOMED, "D3")], 2002, "D2"),
        ([(SNOMED, "unknown"), (ICD, "E11.9")], 2001, "E11.9"),
        ([(SNOMED, "R1")], 0, "R1"),
    ],
)
def test_choice_among_codings(site, build, codings, concept, source):
    coding = [{"system": s, "code": c, **({"userSelected": u[0]} if u else {})} for s, c, *u in codings]
    site.load(build["patient"](), build["condition"](code={"coding": coding}))
    assert site.rows("SELECT condition_concept_id, condition_source_value FROM condition_occurrence") == [
        (concept, source)
    ]


def test_unmapped_codes_are_kept_and_counted(site, build):
    site.load(
        build["patient"](),
        *[build["condition"](f"c{i}", code=build["coded"]("urn:local", "L1")) for i in range(3)],
        build["condition"]("text", code={"text": "sore knee"}),
        build["condition"]("none", code={}),
    )
    assert sorted(
        site.rows("SELECT condition_concept_id, condition_source_value FROM condition_occurrence")
    ) == [
        (0, "L1"),
        (0, "L1"),
        (0, "L1"),
        (0, "sore knee"),
    ]
    assert [(u.table, u.vocabulary, u.code, u.count) for u in site.report.unmapped_codes] == [
        ("condition_occurrence", "urn:local", "L1", 3),
        ("condition_occurrence", "(no code system)", None, 1),
    ]
    assert site.input("Condition").rejected == {"no code": 1}
    assert "sore knee" not in site.report.model_dump_json()


def test_procedures(site, build):
    code = build["coded"](SNOMED, "P1")
    period = {"start": "2020-01-01T10:00:00Z", "end": "2020-01-01T11:00:00Z"}
    site.load(
        build["patient"](),
        build["make"]("Procedure", "a", status="completed", code=code, performedPeriod=period),
        build["make"]("Procedure", "b", status="not-done", code=code, performedDateTime="2020-01-01"),
        build["make"]("Procedure", "c", status="completed", code=code, performedString="in youth"),
    )
    assert site.rows("SELECT procedure_datetime, procedure_end_datetime FROM procedure_occurrence") == [
        (datetime(2020, 1, 1, 10), datetime(2020, 1, 1, 11))
    ]
    assert site.input("Procedure").rejected == {"status not-done": 1, "no date": 1}


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


def test_visit_link_and_dangling_encounters(site, build):
    site.load(
        build["patient"](),
        encounter(build, "e1", start="2020-05-06"),
        build["condition"]("a", encounter={"reference": "Encounter/e1"}),
        build["condition"]("b", encounter={"reference": "Encounter/gone"}),
        build["patient"]("p2"),
        build["condition"](
            "other", subject={"reference": "Patient/p2"}, encounter={"reference": "Encounter/e1"}
        ),
    )
    assert site.rows(
        """SELECT count(visit_occurrence_id), count(*) FROM condition_occurrence
        LEFT JOIN visit_occurrence USING (visit_occurrence_id)"""
    ) == [(1, 3)]
    assert (
        site.report.notes["encounter not in the extract or of another patient, event kept without visit"] == 2
    )


def test_duplicates_count_once_and_the_newest_version_wins(site, build):
    old, new = {"lastUpdated": "2020-01-01T00:00:00Z"}, {"lastUpdated": "2021-01-01T00:00:00+02:00"}
    site.load(
        build["patient"](),
        build["patient"](),
        build["condition"](meta=new, onsetDateTime="2020-01-02"),
        build["condition"](meta=old, onsetDateTime="2019-01-01"),
        build["condition"](onsetDateTime="2018-01-01"),
    )
    assert site.rows("SELECT condition_start_date FROM condition_occurrence") == [(date(2020, 1, 2),)]
    assert (site.input("Condition").duplicates, site.input("Patient").duplicates) == (2, 1)


def test_a_later_correction_removes_the_record(site, build):
    error = build["coded"]("http://terminology.hl7.org/CodeSystem/condition-ver-status", "entered-in-error")
    site.load(
        build["patient"](),
        build["condition"](meta={"lastUpdated": "2020-01-01T00:00:00Z"}),
        build["condition"](meta={"lastUpdated": "2020-02-01T00:00:00Z"}, verificationStatus=error),
    )
    assert site.rows("SELECT count(*) FROM condition_occurrence") == [(0,)]


def test_unknown_modifiers_are_not_transformed(site, build):
    site.load(
        build["patient"](),
        build["condition"](modifierExtension=[{"url": "urn:negated", "valueBoolean": True}]),
    )
    assert site.input("Condition").rejected == {"carries a modifier this mapping does not know": 1}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"start": "first-event", "end": "last-event"}, (date(2020, 5, 6), date(2022, 2, 3))),
        ({"start": "first-encounter", "end": "last-encounter"}, (date(2021, 1, 1), date(2021, 6, 1))),
        ({"start": "first-event", "end": "extract-date"}, (date(2020, 5, 6), date(2023, 1, 1))),
    ],
)
def test_observation_period_rules(site, build, rule, expected):
    profile = Profile.model_validate({"extract_date": "2023-01-01", "observation_period": rule})
    site.load(
        build["patient"](),
        build["patient"]("silent"),
        encounter(build, "e1", start="2021-01-01"),
        encounter(build, "e2", start="2021-05-01", end="2021-06-01"),
        build["condition"](),
        build["lab"](effectiveDateTime="2022-02-03"),
        profile=profile,
    )
    period = "SELECT observation_period_start_date, observation_period_end_date FROM observation_period"
    assert site.rows(period) == [expected]
    assert site.report.notes["person without a period of observation"] == 1


def test_observation_ends_with_death(site, build):
    site.load(build["patient"](deceasedDateTime="2021-01-01"), build["condition"]())
    assert site.rows("SELECT observation_period_end_date FROM observation_period") == [(date(2021, 1, 1),)]


def test_person_ids_are_the_same_in_every_load(site, build):
    site.load(build["patient"]("a"), build["patient"]("b"))
    first = dict(site.rows("SELECT person_source_value, person_id FROM person"))
    digest = site.report.snapshot
    site.load(build["patient"]("b"), build["patient"]("a"))
    assert site.report.snapshot == digest
    site.load(build["patient"]("c"), build["patient"]("b"), build["patient"]("a"))
    second = dict(site.rows("SELECT person_source_value, person_id FROM person"))
    assert first.items() <= second.items()
    assert site.report.snapshot != digest
    assert max(second.values()) < 2**53


def test_source_ids_can_be_left_out(site, build):
    profile = Profile.model_validate({"extract_date": "2024-01-01", "keep_source_ids": False})
    site.load(build["patient"](), profile=profile)
    assert site.rows("SELECT person_source_value FROM person") == [(None,)]
