"""The extracts of all three hospitals: for the demonstration, and by themselves to try the connector on."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from workbench.demo.extracts_csv import write_csv
from workbench.demo.extracts_fhir import write_fhir
from workbench.demo.extracts_omop import write_omop
from workbench.demo.layout import Layout
from workbench.demo.planted import Extract
from workbench.demo.population import HOSPITALS, Population, make_population
from workbench.demo.vocabulary import write_vocabulary

KINDS: Final = {"north": "fhir", "south": "omop", "west": "csv"}
"""Hospital -> option of ``tessera site load`` that reads its extract."""
_WRITERS: Final[dict[str, Callable[[Population, Path, int], Extract]]] = {
    "fhir": write_fhir,
    "omop": write_omop,
    "csv": write_csv,
}


def write_extracts(population: Population, layout: Layout, seed: int) -> Iterator[Extract]:
    """Write the vocabulary, then one hospital's extract with its profile after the other."""
    write_vocabulary(layout.vocabulary)
    for number, name in enumerate(HOSPITALS):
        yield _WRITERS[KINDS[name]](population.at(number), layout.extract(name), seed)


def load_words(layout: Layout, hospital: str) -> list[str]:
    """The words after ``tessera`` that load a hospital's extract into its site."""
    extract = layout.extract(hospital)
    source = ["site", "load", str(layout.site(hospital).path), f"--{KINDS[hospital]}", str(extract)]
    return [*source, "--profile", str(extract / "profile.toml"), "--vocabulary", str(layout.vocabulary)]


def example_extracts(folder: Path, patients: int, seed: int) -> list[str]:
    """Write the extracts of the same hospitals as the demonstration's into ``folder``, whole or not at all.

    Returns:
        What to read: where everything is, and the commands that set the sites up and load them.
    """
    folder = folder.absolute()
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for _ in write_extracts(make_population(patients, seed), Layout(unfinished), seed):
            pass
        folder.mkdir(exist_ok=True)
        for part in unfinished.iterdir():
            part.rename(folder / part.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    layout = Layout(folder)
    sites = [
        ["site", "init", str(layout.site(name).path), "--id", name, "--name", f"Hospital {name.title()}"]
        for name in HOSPITALS
    ]
    return [
        f"Three synthetic hospitals' extracts are in {folder / 'extracts'}, each with its profile.toml (and west with its",
        f"mapping.yaml); their vocabulary is in {layout.vocabulary}.",
        "",
        "Make a site for each hospital; its steward's passphrase is asked for:",
        *(f"  {shlex.join(['tessera', *words, '--synthetic'])}" for words in sites),
        "",
        "Load the extracts:",
        *(f"  {shlex.join(['tessera', *load_words(layout, name)])}" for name in HOSPITALS),
    ]
