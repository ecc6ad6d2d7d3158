"""FHIR rules for encounters, conditions and procedures: dates, codes, tables, visits, versions."""

from datetime import date, datetime

import pytest

from tests.fhir_mappings.conftest import ICD, SNOMED


def test_encounters(site, build):
    site.load(
        build["patient"](),
        build["encounter"](
            "e1", kind="IMP", start="2020-01-01T23:30:00-05:00", end="2020-01-05T08:00:00-05:00"
        ),
        build["encounter"]("e2", start="2020-02-01"),
        build["encounter"]("e3", status="in-progress", kind="IMP", start="2023-12-30"),
        build["encounter"]("e4", status="planned", start="2020-02-01"),
        build["encounter"]("e5", kind="ODD", start="2020-03-01", end="2020-02-01"),
        build["encounter"]("e6"),
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


def test_visit_link_and_dangling_encounters(site, build):
    site.load(
        build["patient"](),
        build["encounter"]("e1", start="2020-05-06"),
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
        build["encounter"]("e1", start="2019-09-09"),
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
    site.load(build["patient"](), build["condition"](code={"coding": coding}), build["lab"]())
    assert site.rows("SELECT condition_concept_id, condition_source_value FROM condition_occurrence") == [
        (concept, source)
    ]


def test_unmapped_codes_are_kept_and_counted(site, build):
    site.load(
        build["patient"](),
        *[build["condition"](f"c{i}", code=build["coded"]("urn:local", "L1")) for i in range(3)],
        build["condition"]("text", code={"text": "sore knee"}),
        build["condition"]("none", code={}),
        build["lab"](),
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
