"""The three extracts hold what they say: true rows, planted faults, codes that the vocabulary explains."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import duckdb
import orjson
import pytest

from workbench.demo.extracts_fhir import write_fhir
from workbench.demo.extracts_omop import write_omop
from workbench.demo.planted import Extract
from workbench.demo.population import Population
from workbench.demo.vocabulary import CODES, write_vocabulary


@pytest.fixture(scope="module")
def north(small: Population, tmp_path_factory: pytest.TempPathFactory) -> Extract:
    return write_fhir(small.at(0), tmp_path_factory.mktemp("north"))


@pytest.fixture(scope="module")
def south(small: Population, tmp_path_factory: pytest.TempPathFactory) -> Extract:
    return write_omop(small.at(1), tmp_path_factory.mktemp("south"))


def _resources(extract: Extract, name: str) -> list[dict[str, object]]:
    lines = (extract.folder / f"{name}.ndjson").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def test_fhir_files_hold_the_rows_they_announce(north: Extract) -> None:
    for name in north.rows:
        resources = _resources(north, name)
        assert len(resources) == north.rows_in(name)
        assert {one["resourceType"] for one in resources} == {name}
    results = _resources(north, "Observation")
    repeated = len(results) - len({one["id"] for one in results})
    assert repeated == north.planted["Observation"]["duplicate"]
    status = Counter(one["status"] for one in results)
    assert status["entered-in-error"] == north.planted["Observation"]["entered_in_error"]


def test_fhir_conditions_carry_both_codings_and_refer_to_patients(north: Extract) -> None:
    patients = {f"Patient/{one['id']}" for one in _resources(north, "Patient")}
    systems = Counter()
    for condition in _resources(north, "Condition"):
        assert condition["subject"]["reference"] in patients
        systems[len(condition["code"]["coding"])] += 1
    assert systems[2] > systems[1] > 0


def test_omop_tables_hold_the_rows_they_announce(south: Extract) -> None:
    for name in south.rows:
        suffix = "csv" if name in ("death", "observation") else "parquet"
        found = duckdb.sql(f"SELECT count(*) FROM '{south.folder / name}.{suffix}'").fetchone()
        assert found == (south.rows_in(name),)
    zero = duckdb.sql(
        f"SELECT count(*) FROM '{south.folder}/measurement.parquet' WHERE measurement_concept_id = 0"
    ).fetchone()
    assert zero == (sum(south.unmapped.values()),)


def test_same_seed_writes_the_same_bytes(small: Population, north: Extract, tmp_path: Path) -> None:
    again = write_fhir(small.at(0), tmp_path)
    for file in north.folder.iterdir():
        assert (again.folder / file.name).read_bytes() == file.read_bytes()


def test_vocabulary_explains_every_code(tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    with (folder / "CONCEPT.csv").open(encoding="utf-8") as stream:
        concepts = {int(row["concept_id"]): row for row in csv.DictReader(stream, delimiter="\t")}
    assert len(concepts) == len(CODES) + 1
    for code in CODES.values():
        assert concepts[code.standard_id]["standard_concept"] == "S"
        assert concepts[code.concept_id]["concept_code"] == code.code
    local = [code for code in CODES.values() if code.vocabulary == "Tessera Demo"]
    assert min(code.concept_id for code in local) >= 2_000_000_000
