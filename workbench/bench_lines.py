"""Benchmark lines of what a hospital does in the clear, added to those of the engine for `tessera bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import typer

from cohort_lang import evaluate, parse
from fhir_mappings.bench import write_codes, write_extract
from fhir_mappings.cdm import connect
from fhir_mappings.profile import Profile
from fhir_mappings.sources.fhir import load_fhir
from fhir_mappings.sources.omop import load_omop
from mpc_backend.bench.cli import bench_app
from mpc_backend.bench.lines import clear_line
from workbench.demo.examples import examples_folder
from workbench.demo.extracts_omop import write_omop
from workbench.demo.population import EXTRA_SHARE, SMALLEST_DIABETES, make_population
from workbench.demo.vocabulary import write_vocabulary

__all__ = ["bench_app", "cohort_eval", "fhir_load"]

COHORT: Final = "type-2-diabetes-on-metformin"
FEWEST_PATIENTS: Final = 500
Timed = tuple[int, Callable[[], object]]


@clear_line("fhir_load", 100_000)
@contextmanager
def fhir_load(n: int) -> Iterator[Timed]:
    """About n FHIR R4 resources (NDJSON, 750 bytes each) from disk into a new database."""
    with TemporaryDirectory(prefix="tessera-bench-") as folder:
        extract = Path(folder) / "extract"
        written, codes = write_extract(extract, n), write_codes(Path(folder) / "vocabulary")
        yield written, lambda: load_fhir(extract, Path(folder) / "cdm.duckdb", codes, Profile())


@clear_line("cohort_eval", 20_000)
@contextmanager
def cohort_eval(n: int) -> Iterator[Timed]:
    """The example cohort of adults with diabetes on about n persons of the demonstration, all in one hospital."""
    people = make_population(_patients(n))
    with TemporaryDirectory(prefix="tessera-bench-") as folder:
        root = Path(folder)
        extract = write_omop(people, root / "extract")
        profile = Profile.load(extract.folder / "profile.toml")
        load_omop(extract.folder, root / "cdm.duckdb", write_vocabulary(root / "vocabulary"), profile)
        text = (examples_folder() / "cohorts" / f"{COHORT}.cohort").read_text(encoding="utf-8")
        connection = connect(root / "cdm.duckdb")
        try:
            yield len(people.persons), lambda: evaluate(connection, parse(text))
        finally:
            connection.disconnect()


def _patients(n: int) -> int:
    """Ranking patients of a population of about n persons: extra and diabetes patients come on top.

    Raises:
        typer.BadParameter: n is smaller than the demonstration's smallest population.
    """
    few = (n - SMALLEST_DIABETES) / (1 + EXTRA_SHARE)
    many = n / (1 + EXTRA_SHARE + 0.25)
    patients = round(min(few, many))
    if patients < FEWEST_PATIENTS:
        least = round(FEWEST_PATIENTS * (1 + EXTRA_SHARE)) + SMALLEST_DIABETES
        raise typer.BadParameter(f"{n} persons; the smallest population has {least}", param_hint="--n")
    return patients
