"""Hospital ``west``: flat CSV files as hospital departments send them, and the mapping file that explains them.

Semicolons, decimal commas, German dates, Windows' western encoding; one wide line per patient from virology.
Planted: lines sent twice, local codes that no vocabulary knows, dates that are no date or lie in 2099,
lines without a date, lines of patients the extract does not hold, and several spellings of one unit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from workbench.demo.examples import examples_folder
from workbench.demo.planted import Extract, some_rows, tally, unmapped_codes
from workbench.demo.population import Population
from workbench.demo.vocabulary import CODES, MARKERS, marker

MAPPING: Final = "mapping.yaml"
PROFILE: Final = f"""\
extract_date = 2024-12-31
csv_mapping = "{MAPPING}"

[source]
name = "Hospital West, synthetic"
abbreviation = "west"
holder = "Hospital West"

[observation_period]
start = "first-event"
end = "last-event"
"""

_CATALOGUES: Final = {"ICD10CM": "ICD", "RxNorm": "RXNORM", "LOINC": "LOINC"}
_CATALOGUE: Final = {key: _CATALOGUES.get(code.vocabulary, "OWN") for key, code in CODES.items()}
_CODE: Final = {key: code.code for key, code in CODES.items()}
_VIROLOGY: Final = ["genotype_panel", "stage", *(marker(n) for n in range(1, MARKERS + 1))]

Tables = dict[str, pd.DataFrame]


def write_csv(population: Population, folder: Path, seed: int = 1) -> Extract:
    """Write the files, ``mapping.yaml`` and ``profile.toml``; ``population`` holds one hospital."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 103])
    (folder / "profile.toml").write_text(PROFILE, encoding="utf-8")
    shutil.copyfile(examples_folder() / "csv-mapping.yaml", folder / MAPPING)
    true = _tables(population, rng)
    laboratory, unmapped = _spoilt_laboratory(true["laboratory"], rng)
    planted: dict[str, Tables] = {
        "laboratory": laboratory,
        "diagnoses": _spoilt_diagnoses(true["diagnoses"], rng),
        "prescriptions": {"duplicate": some_rows(true["prescriptions"], 0.01, rng)},
    }
    for name, table in true.items():
        _write(folder / f"{name}.csv", pd.concat([table, *planted.get(name, {}).values()]))
    return Extract(
        hospital="west",
        folder=folder,
        rows={name: len(table) for name, table in true.items()},
        planted={
            name: {kind: len(rows) for kind, rows in faults.items()} for name, faults in planted.items()
        },
        unmapped=unmapped,
    )


def _write(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, sep=";", index=False, encoding="cp1252", lineterminator="\r\n")


def _tables(population: Population, rng: np.random.Generator) -> Tables:
    results = population.results
    wide = results["key"].isin(_VIROLOGY)
    persons, visits = population.persons, population.visits
    return {
        "patients": pd.DataFrame(
            {
                "PATIENT": _patient(persons["person"]),
                "BORN": _dates(persons["birth"]),
                "SEX": np.where(persons["female"] == 1, "f", "m"),
                "DIED": _dates(persons["death"]),
            }
        ),
        "stays": pd.DataFrame(
            {
                "CASE": np.arange(1, len(visits) + 1),
                "PATIENT": _patient(visits["person"]),
                "KIND": visits["kind"].to_numpy(),
                "FROM": _dates(visits["start"]),
                "TO": _dates(visits["end"]),
            }
        ),
        "diagnoses": _coded(population.conditions),
        "prescriptions": _coded(population.drugs).assign(DAYS=population.drugs["days"].to_numpy()),
        "laboratory": _laboratory(results[~wide], rng),
        "virology": _virology(results[wide]),
    }


def _patient(person: pd.Series) -> pd.Series:
    return "W" + person.reset_index(drop=True).astype(str).str.zfill(6)


def _dates(column: pd.Series) -> pd.Series:
    """DD.MM.YYYY, empty where missing."""
    days = column.to_numpy().astype("datetime64[D]")
    known, position = np.unique(days, return_inverse=True)
    texts = pd.Series(known).dt.strftime("%d.%m.%Y").fillna("").to_numpy()
    return pd.Series(texts[position])


def _coded(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "PATIENT": _patient(frame["person"]),
            "DATE": _dates(frame["date"]),
            "CATALOGUE": frame["key"].astype(str).map(_CATALOGUE).to_numpy(),
            "CODE": frame["key"].astype(str).map(_CODE).to_numpy(),
        }
    )


def _laboratory(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Numbers with decimal commas; percent is spelt two ways, cells per microlitre two ways."""
    percent = (frame["unit"] == "percent").to_numpy()
    other = rng.random(len(frame)) < 0.3
    unit = np.where(percent, np.where(other, "percent", "%"), np.where(other, "/µl", "cells/µl"))
    return _coded(frame).assign(VALUE=_decimal_comma(frame["value"]), UNIT=unit)


def _decimal_comma(values: pd.Series) -> np.ndarray:
    return values.map("{:g}".format).str.replace(".", ",", regex=False).to_numpy()


def _virology(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per patient: sample date and markers (empty without a genotype), stage and its date."""
    people = pd.Index(frame["person"].unique())
    panel = frame[frame["key"] == "genotype_panel"].set_index("person")
    stage = frame[frame["key"] == "stage"].set_index("person")
    table = pd.DataFrame({"PATIENT": _patient(pd.Series(people))})
    table["SAMPLED"] = _dates(panel["date"].reindex(people))
    for number in range(1, MARKERS + 1):
        found = people.isin(frame.loc[frame["key"] == marker(number), "person"])
        table[f"M{number:02d}"] = np.where(people.isin(panel.index), found.astype(int).astype(str), "")
    table["STAGED"] = _dates(stage["date"].reindex(people))
    answers = stage["answer"].astype(str).str.removeprefix("stage_").reindex(people)
    return table.assign(STAGE=answers.fillna("").to_numpy())


def _spoilt_laboratory(table: pd.DataFrame, rng: np.random.Generator) -> tuple[Tables, dict[str, int]]:
    local = some_rows(table, 0.05, rng)
    codes = unmapped_codes("WL", len(local), rng)
    local = local.assign(CATALOGUE="OWN", CODE=codes).drop_duplicates()
    glycated = table[table["CODE"] == CODES["hba1c"].code]
    other = some_rows(glycated, 0.04, rng)
    percent = other["VALUE"].str.replace(",", ".", regex=False).astype(float)
    ifcc = _decimal_comma((10.93 * percent - 23.5).round())
    spoilt = {
        "duplicate": some_rows(table, 0.01, rng),
        "unmapped": local,
        "other_unit": other.assign(CODE=CODES["hba1c_ifcc"].code, VALUE=ifcc, UNIT="mmol/mol"),
        "undated": some_rows(glycated, 0.02, rng).assign(DATE=""),
        "no_such_date": some_rows(glycated, 0.02, rng).assign(DATE="31.02.2019"),
    }
    return spoilt, tally(local["CODE"].to_numpy())


def _spoilt_diagnoses(table: pd.DataFrame, rng: np.random.Generator) -> Tables:
    unknown = some_rows(table, 0.004, rng)
    return {
        "future": some_rows(table, 0.004, rng).assign(DATE="01.01.2099"),
        "orphan": unknown.assign(PATIENT=[f"W9{n:05d}" for n in range(len(unknown))]),
    }
