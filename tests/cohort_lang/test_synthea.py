"""Definitions on 28 synthetic persons against SQL written by hand on the CSV files themselves."""

from datetime import timedelta

import duckdb
import pytest

from cohort_lang import evaluate, parse
from fhir_mappings.cdm import open_omop

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def folder(shared_dir):
    return shared_dir / "data" / "synthea27_omop"


@pytest.fixture(scope="module")
def site(folder):
    backend = open_omop(folder)
    yield backend
    backend.disconnect()


@pytest.fixture(scope="module")
def sql(folder):
    connection = duckdb.connect()
    for name in (
        "person",
        "observation_period",
        "visit_occurrence",
        "measurement",
        "condition_occurrence",
        "death",
    ):
        connection.execute(f"create view {name} as select * from read_csv('{folder / name.upper()}.csv')")
    connection.execute(
        "create view op as select person_id p, observation_period_start_date s, observation_period_end_date e "
        "from observation_period"
    )
    return connection


def rows(site, text):
    found = evaluate(site, parse(text)).entries
    return [(p, start.date(), end.date()) for p, start, end in found.itertuples(index=False)]


def test_adults_at_their_first_outpatient_visit_after_a_year(site, sql):
    text = """
    cohort "c" concept set outpatient: 9202
    enter on visit of outpatient with 365 days of prior observation taking earliest event per person
    require "Adult": age 18 or more
    """
    expected = sql.execute("""
        with first as (
            select person_id, min(visit_start_date) d, any_value(e) e from visit_occurrence join op on p = person_id
            where visit_concept_id = 9202 and visit_start_date between s + 365 and e group by 1)
        select person_id, d, e from first join person using (person_id)
        where year(d) - year_of_birth >= 18 order by 1
    """).fetchall()
    assert rows(site, text) == expected
    assert len(expected) > 5


def test_weight_measured_twice_in_the_year_before_a_visit(site, sql):
    text = """
    cohort "c" concept set outpatient: 9202 concept set weight: 3025315
    enter on visit of outpatient
    require "Weighed": at least 2 distinct days with measurement of weight where value 50 or more in "kg"
      365 days before to 1 day before index
    exclude "Died": death any time on or after index
    keep every entry
    exit 10 days after index
    """
    expected = sql.execute("""
        with hit as (
            select v.person_id, v.visit_start_date d, least(v.visit_start_date + 10, e) x
            from visit_occurrence v join op on p = v.person_id and v.visit_start_date between s and e
            where visit_concept_id = 9202
              and (select count(distinct measurement_date) from measurement m
                   where m.person_id = v.person_id and measurement_concept_id = 3025315 and value_as_number >= 50
                     and unit_concept_id = 9529 and measurement_date between s and e
                     and measurement_date between v.visit_start_date - 365 and v.visit_start_date - 1) >= 2
              and not exists (select 1 from death t where t.person_id = v.person_id
                   and t.death_date between v.visit_start_date and e))
        select distinct person_id, cast(unnest(generate_series(d, x, interval 1 day)) as date) from hit
    """).fetchall()
    spans = [(p, start, (end - start).days) for p, start, end in rows(site, text)]
    days = [(p, start + timedelta(days=n)) for p, start, length in spans for n in range(length + 1)]
    assert sorted(days) == sorted(expected)
    assert len({person for person, _ in expected}) > 5


def test_first_condition_of_each_person_by_sex(site, sql):
    text = 'cohort "c" enter on first condition require "Woman": sex female exit 0 days after index end'
    expected = sql.execute("""
        with first as (
            select *, row_number() over (partition by person_id order by condition_start_date, condition_occurrence_id) n
            from condition_occurrence)
        select person_id, condition_start_date,
               least(e, coalesce(condition_end_date, condition_start_date + 1))
        from first join op on p = person_id and condition_start_date between s and e join person using (person_id)
        where n = 1 and gender_concept_id = 8532 order by 1
    """).fetchall()
    assert rows(site, text) == expected
    assert len(expected) > 5
