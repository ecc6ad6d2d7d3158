"""Each extract loads with exactly the counts it was written with, and gives the persons the truth knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from cohort_lang import evaluate, evaluate_variables, parse
from cohort_lang.variables import Variable
from fhir_mappings.cdm import connect
from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.csv import load_csv
from fhir_mappings.sources.fhir import load_fhir
from fhir_mappings.sources.omop import load_omop
from workbench.demo import curves, truth
from workbench.demo.examples import examples_folder
from workbench.demo.extracts_csv import MAPPING, write_csv
from workbench.demo.extracts_fhir import write_fhir
from workbench.demo.extracts_omop import write_omop
from workbench.demo.planted import Extract
from workbench.demo.population import HOSPITALS, Population
from workbench.demo.similar import marker_columns
from workbench.demo.vocabulary import write_vocabulary

WRITERS = {"north": write_fhir, "south": write_omop, "west": write_csv}
Loaded = dict[str, tuple[Extract, LoadReport, Path]]


@pytest.fixture(scope="module")
def loaded(small: Population, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    root = tmp_path_factory.mktemp("hospitals")
    vocabulary = write_vocabulary(root / "vocabulary")
    found = {}
    for number, name in enumerate(HOSPITALS):
        extract = WRITERS[name](small.at(number), root / name)
        database = root / f"{name}.duckdb"
        profile = Profile.load(extract.folder / "profile.toml")
        found[name] = extract, _load(name, extract, database, vocabulary, profile), database
    return found


def _load(name: str, extract: Extract, database: Path, vocabulary: Path, profile: Profile) -> LoadReport:
    if name == "west":
        return load_csv(extract.folder, database, vocabulary, profile, extract.folder / MAPPING)
    load: Callable[..., LoadReport] = load_fhir if name == "north" else load_omop
    return load(extract.folder, database, vocabulary, profile)


def _inputs(report: LoadReport) -> dict[str, tuple[int, int, int, dict[str, int]]]:
    return {one.name: (one.rows_in, one.loaded, one.duplicates, one.rejected) for one in report.inputs}


def test_north_reports_what_was_planted(loaded: Loaded) -> None:
    extract, report, _ = loaded["north"]
    inputs, planted = _inputs(report), extract.planted
    for name in extract.rows:
        assert inputs[name][0] == extract.rows_in(name)
    rows, kept, duplicates, rejected = inputs["Observation"]
    faults = planted["Observation"]
    assert duplicates == faults["duplicate"]
    assert sum(rejected.values()) == faults["undated"] + faults["entered_in_error"] + faults["no_value"]
    assert kept == rows - duplicates - sum(rejected.values())
    rejected = inputs["Condition"][3]
    assert sorted(rejected.values()) == sorted(
        [planted["Condition"]["future"], planted["Condition"]["ancient"]]
    )


def test_south_reports_what_was_planted(loaded: Loaded) -> None:
    extract, report, _ = loaded["south"]
    inputs, planted = _inputs(report), extract.planted
    for name in extract.rows:
        assert inputs[name][0] == extract.rows_in(name)
    assert inputs["measurement"][2] == planted["measurement"]["duplicate"]
    rejected = inputs["condition_occurrence"][3]
    assert sorted(rejected.values()) == sorted(planted["condition_occurrence"].values())


def test_west_reports_what_was_planted(loaded: Loaded) -> None:
    extract, report, _ = loaded["west"]
    inputs, planted = _inputs(report), extract.planted
    laboratory = inputs["laboratory.csv: measurement"]
    assert laboratory[0] == extract.rows_in("laboratory")
    assert laboratory[2] == planted["laboratory"]["duplicate"]
    assert (
        sum(laboratory[3].values())
        == planted["laboratory"]["undated"] + planted["laboratory"]["no_such_date"]
    )
    diagnoses = inputs["diagnoses.csv: condition_occurrence"]
    assert sorted(diagnoses[3].values()) == sorted(planted["diagnoses"].values())
    assert inputs["prescriptions.csv: drug_exposure"][2] == planted["prescriptions"]["duplicate"]


@pytest.mark.parametrize("name", HOSPITALS)
def test_unmapped_codes_are_reported_with_their_counts(loaded: Loaded, name: str) -> None:
    extract, report, _ = loaded[name]
    assert {str(one.code): one.count for one in report.unmapped_codes} == extract.unmapped


@pytest.mark.parametrize("number", range(3))
def test_observation_is_as_generated(loaded: Loaded, small: Population, number: int) -> None:
    database = loaded[HOSPITALS[number]][2]
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.sql(
            """SELECT regexp_extract(p.person_source_value, '([1-9][0-9]*)$', 1)::BIGINT AS person,
            o.observation_period_start_date AS start, o.observation_period_end_date AS "end"
            FROM observation_period o JOIN person p USING (person_id) ORDER BY person"""
        ).df()
    people = small.at(number).persons[["person", "start", "end"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, people, check_dtype=False)


def _evaluated(example: str, database: Path) -> tuple[pd.DataFrame, list[int], int]:
    """Variables by person of the generator, persons after each step, and the hospital's persons."""
    fields = yaml.safe_load((examples_folder() / f"{example}.yaml").read_text("utf-8"))
    cohort = parse(next(iter(fields["cohorts"].values())))
    variables = TypeAdapter(dict[str, Variable]).validate_python(fields.get("variables", {}))
    connection = connect(database, read_only=True)
    result = evaluate(connection, cohort)
    frame = evaluate_variables(connection, cohort, result.entries, variables)
    people = connection.table("person").select("person_id", "person_source_value").to_pandas()
    connection.disconnect()
    ordered = result.entries.sort_values(["person_id", "start_date"], ignore_index=True)
    source = ordered.merge(people, on="person_id", how="left")["person_source_value"]
    frame["person"] = source.str.extract(r"([1-9]\d*)$", expand=False).astype(int)
    return frame.sort_values("person", ignore_index=True), [n for _, n in result.attrition], result.population


@pytest.mark.parametrize("number", range(3))
def test_count_example_finds_the_persons_of_the_truth(loaded: Loaded, small: Population, number: int) -> None:
    _, steps, population = _evaluated("count", loaded[HOSPITALS[number]][2])
    here = small.at(number)
    assert steps == [count for _, count in truth.attrition(here)]
    assert population == len(here.persons)


@pytest.mark.parametrize("number", range(3))
def test_survival_example_finds_the_persons_of_the_truth(
    loaded: Loaded, small: Population, number: int
) -> None:
    found, _, _ = _evaluated("survival", loaded[HOSPITALS[number]][2])
    people = small.at(number).diabetes.query("eligible").reset_index(drop=True)
    assert found["person"].tolist() == people["person"].tolist()
    months, events = curves.on_grid(people)
    assert found["heart_failure_or_death_time"].tolist() == months.tolist()
    assert found["heart_failure_or_death_event"].tolist() == events.tolist()
    assert found["kidney_disease"].tolist() == people["kidney"].tolist()
    assert found["index_year"].tolist() == people["index"].dt.year.tolist()
    known = people["hba1c_known"]
    assert found["hba1c"].isna().tolist() == (~known).tolist()
    assert found.loc[known, "hba1c"].tolist() == people.loc[known, "hba1c"].tolist()
    assert found["therapy"].tolist() == [truth.ARMS[arm] for arm in people["therapy"]]


@pytest.mark.parametrize("number", range(3))
def test_ranking_example_finds_the_persons_of_the_truth(
    loaded: Loaded, small: Population, number: int
) -> None:
    found, _, _ = _evaluated("ranking", loaded[HOSPITALS[number]][2])
    people = small.at(number).resistance.query("eligible").reset_index(drop=True)
    assert found["person"].tolist() == people["person"].tolist()
    assert found["regimen"].tolist() == [f"regimen {arm:03d}" for arm in people["regimen"]]
    assert (found[marker_columns()].to_numpy() == people[marker_columns()].to_numpy()).all()
    assert found["age"].tolist() == people["age"].tolist()
    months, events = curves.on_grid(people)
    assert found["failure_time"].tolist() == months.tolist()
    assert found["failure_event"].tolist() == events.tolist()
    assert found["cd4"].isna().tolist() == (~people["cd4_known"]).tolist()
    assert found["stage"].isna().tolist() == (~people["stage_known"]).tolist()
    known = people["stage_known"]
    assert found.loc[known, "stage"].tolist() == ["ABC"[stage] for stage in people.loc[known, "stage"]]
