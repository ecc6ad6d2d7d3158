"""FHIR rules for persons: who is loaded, what refers to them, death, observation periods, ids."""

from datetime import date

import pytest

from fhir_mappings.profile import Profile

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
        build["encounter"]("e1", start="2021-01-01"),
        build["encounter"]("e2", start="2021-05-01", end="2021-06-01"),
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
