"""Hospital ``south``: OMOP CDM 5.4 tables, most as Parquet and two as CSV, as a warehouse would export them.

Planted: rows delivered twice, events with concept id 0 under a local code, events of persons the extract
does not hold, events dated 2099, and HbA1c repeated in IFCC units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from workbench.demo.planted import Extract, some_rows, tally, unmapped_codes
from workbench.demo.population import Population
from workbench.demo.records import KEYS
from workbench.demo.vocabulary import CODES

PROFILE: Final = """\
extract_date = 2024-12-31

[source]
name = "Hospital South, synthetic"
abbreviation = "south"
holder = "Hospital South"
"""

_EHR: Final = 32817
_VISITS: Final = {"inpatient": 9201, "outpatient": 9202}
_AS_CSV: Final = ("death", "observation")
_STANDARD: Final = np.array([0, *(code.standard_id for code in CODES.values())])
_SOURCE: Final = np.array([0, *(code.concept_id for code in CODES.values())])
_TEXT: Final = np.array(["", *(code.code for code in CODES.values())], dtype=object)
_DOMAIN: Final = np.array(["", *(code.domain for code in CODES.values())], dtype=object)

Tables = dict[str, pd.DataFrame]
Ints = NDArray[np.int64]


def write_omop(population: Population, folder: Path, seed: int = 1) -> Extract:
    """Write the tables and ``profile.toml`` into ``folder``; ``population`` holds one hospital."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 102])
    (folder / "profile.toml").write_text(PROFILE, encoding="utf-8")
    true = _tables(population)
    spoilt, unmapped = _spoilt_measurements(true["measurement"], rng)
    planted = {"measurement": spoilt, "condition_occurrence": _spoilt_conditions(true, rng)}
    for name, table in true.items():
        _write(folder, name, pd.concat([table, *planted.get(name, {}).values()]))
    return Extract(
        hospital="south",
        folder=folder,
        rows={name: len(table) for name, table in true.items()},
        planted={
            name: {kind: len(rows) for kind, rows in faults.items()} for name, faults in planted.items()
        },
        unmapped=unmapped,
    )


def _write(folder: Path, name: str, table: pd.DataFrame) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if name in _AS_CSV:
        pa.csv.write_csv(arrow, folder / f"{name}.csv")
    else:
        pa.parquet.write_table(arrow, folder / f"{name}.parquet")


def _dates(column: pd.Series) -> pd.Series:
    """Days as Arrow dates, missing kept."""
    return (
        column.astype("datetime64[s]")
        .astype(pd.ArrowDtype(pa.timestamp("s")))
        .astype(pd.ArrowDtype(pa.date32()))
    )


def _tables(population: Population) -> Tables:
    persons = population.persons
    tables = {
        "person": _person(persons),
        "observation_period": _observation_period(persons),
        "death": _death(persons[persons["death"].notna()]),
        "visit_occurrence": _visit(population.visits),
        "condition_occurrence": _event(population.conditions, "condition"),
        "drug_exposure": _drug(population.drugs),
    }
    domain = _DOMAIN[_codes(population.results["key"])]
    tables["measurement"] = _measurement(population.results[domain == "Measurement"])
    tables["observation"] = _observation(population.results[domain == "Observation"])
    return tables


def _codes(keys: pd.Series) -> Ints:
    """Position of each key in `KEYS`, which is also its position in the tables of codes above."""
    return np.asarray(keys.astype(KEYS).cat.codes, dtype=np.int64)


def _person(persons: pd.DataFrame) -> pd.DataFrame:
    female = persons["female"] == 1
    return pd.DataFrame(
        {
            "person_id": persons["person"],
            "gender_concept_id": np.where(female, 8532, 8507),
            "year_of_birth": persons["birth"].dt.year,
            "month_of_birth": persons["birth"].dt.month,
            "day_of_birth": persons["birth"].dt.day,
            "race_concept_id": 0,
            "ethnicity_concept_id": 0,
            "person_source_value": "S" + persons["person"].astype(str),
            "gender_source_value": np.where(female, "F", "M"),
        }
    )


def _observation_period(persons: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "observation_period_id": np.arange(1, len(persons) + 1),
            "person_id": persons["person"],
            "observation_period_start_date": _dates(persons["start"]),
            "observation_period_end_date": _dates(persons["end"]),
            "period_type_concept_id": _EHR,
        }
    )


def _death(dead: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "person_id": dead["person"],
        "death_date": _dates(dead["death"]),
        "death_type_concept_id": _EHR,
    }
    return pd.DataFrame(columns)


def _visit(visits: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "visit_occurrence_id": np.arange(1, len(visits) + 1),
            "person_id": visits["person"],
            "visit_concept_id": visits["kind"].map(_VISITS),
            "visit_start_date": _dates(visits["start"]),
            "visit_end_date": _dates(visits["end"]),
            "visit_type_concept_id": _EHR,
            "visit_source_value": visits["kind"],
        }
    )


def _event(
    frame: pd.DataFrame, name: str, *, table: str = "_occurrence", date: str = "_start_date"
) -> pd.DataFrame:
    """The columns every event table has, under the names of domain ``name``."""
    codes = _codes(frame["key"])
    return pd.DataFrame(
        {
            f"{name}{table}_id": np.arange(1, len(frame) + 1),
            "person_id": frame["person"].to_numpy(),
            f"{name}_concept_id": _STANDARD[codes],
            f"{name}{date}": _dates(frame["date"].reset_index(drop=True)),
            f"{name}_type_concept_id": _EHR,
            f"{name}_source_value": _TEXT[codes],
            f"{name}_source_concept_id": _SOURCE[codes],
        }
    )


def _drug(frame: pd.DataFrame) -> pd.DataFrame:
    table = _event(frame, "drug", table="_exposure", date="_exposure_start_date")
    days = frame["days"].to_numpy()
    end = pd.Series(frame["date"].to_numpy() + (days - 1).astype("timedelta64[D]"))
    return table.assign(drug_exposure_end_date=_dates(end), days_supply=days)


def _measurement(frame: pd.DataFrame) -> pd.DataFrame:
    units = _codes(frame["unit"])
    return _event(frame, "measurement", table="", date="_date").assign(
        value_as_number=frame["value"].to_numpy(),
        unit_concept_id=_STANDARD[units],
        unit_source_value=_TEXT[units],
    )


def _observation(frame: pd.DataFrame) -> pd.DataFrame:
    answers = _codes(frame["answer"])
    return _event(frame, "observation", table="", date="_date").assign(
        value_as_concept_id=_STANDARD[answers], value_source_value=_TEXT[answers]
    )


def _renumbered(rows: pd.DataFrame, key: str, first: int) -> pd.DataFrame:
    """The rows under identifiers of their own, from ``first``."""
    return rows.assign(**{key: np.arange(first, first + len(rows))})


def _spoilt_measurements(table: pd.DataFrame, rng: np.random.Generator) -> tuple[Tables, dict[str, int]]:
    glycated = table[table["measurement_concept_id"] == CODES["hba1c"].concept_id]
    local = _renumbered(some_rows(table, 0.006, rng), "measurement_id", 10_000_000)
    codes = unmapped_codes("SL", len(local), rng)
    local = local.assign(
        measurement_source_value=codes, measurement_concept_id=0, measurement_source_concept_id=0
    )
    other = _renumbered(some_rows(glycated, 0.04, rng), "measurement_id", 20_000_000)
    ifcc, unit = CODES["hba1c_ifcc"], CODES["mmol_mol"]
    other = other.assign(
        measurement_concept_id=ifcc.concept_id,
        measurement_source_concept_id=ifcc.concept_id,
        measurement_source_value=ifcc.code,
        value_as_number=np.round(10.93 * other["value_as_number"] - 23.5),
        unit_concept_id=unit.concept_id,
        unit_source_value=unit.code,
    )
    return {"duplicate": some_rows(table, 0.004, rng), "unmapped": local, "other_unit": other}, tally(codes)


def _spoilt_conditions(true: Tables, rng: np.random.Generator) -> Tables:
    table, key = true["condition_occurrence"], "condition_occurrence_id"
    orphan = _renumbered(some_rows(table, 0.003, rng), key, 10_000_000)
    future = _renumbered(some_rows(table, 0.003, rng), key, 20_000_000)
    beyond = _dates(pd.Series(np.full(len(future), np.datetime64("2099-01-01", "s")), index=future.index))
    unknown = true["person"]["person_id"].max() + 1_000_000
    return {
        "orphan": orphan.assign(person_id=unknown + np.arange(len(orphan))),
        "future": future.assign(condition_start_date=beyond),
    }
