"""A seeded population over three hospitals, as neutral records that extracts are written from.

Two disjoint groups of persons: the ranking story (`resistance`) and the diabetes story (`diabetes`). What
is known of them by construction, never written to any extract, is in ``Population.resistance`` and
``Population.diabetes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.demo import diabetes, records, resistance

HOSPITALS: Final = ("north", "south", "west")
SHARES: Final = np.array([0.36, 0.34, 0.30])
SMALLEST_DIABETES: Final = 3000
EXTRA_SHARE: Final = 0.04
"""Ranking patients generated beside the eligible ones, whom the study's criteria must exclude."""


@dataclass(frozen=True)
class Population:
    """Neutral records of every person, all hospitals together.

    ``persons``: person (from 1), hospital (0..2), story, female, birth, start and end of observation, death
    (or NaT). ``visits``: person, kind (inpatient | outpatient), start, end. ``conditions``: person, key,
    date. ``drugs``: person, key, date, days (supply). ``results``: person, key, date, value, unit (a key of
    `CODES` or ''), answer (key or ''). ``resistance``, ``diabetes``: the truth, one row per person of that
    story; ``eligible`` says whom the examples admit.
    """

    persons: pd.DataFrame
    visits: pd.DataFrame
    conditions: pd.DataFrame
    drugs: pd.DataFrame
    results: pd.DataFrame
    resistance: pd.DataFrame
    diabetes: pd.DataFrame

    def at(self, hospital: int) -> Population:
        """The records of one hospital."""
        here = self.persons.loc[self.persons["hospital"] == hospital, "person"]
        parts = {name: frame[frame["person"].isin(here)] for name, frame in vars(self).items()}
        return Population(**parts)


def make_population(patients: int = 20_000, seed: int = 1) -> Population:
    """Draw ``patients`` persons eligible for the ranking study, and a quarter as many for diabetes.

    Raises:
        ValueError: fewer than 500 patients, with which no arm of the ranking story would have support.
    """
    if patients < 500:
        raise ValueError(f"--patients {patients}: the demonstration needs at least 500")
    rng = np.random.default_rng([seed, 1])
    count = round(patients * (1 + EXTRA_SHARE))
    ranking = resistance.draw(_hospitals(count, rng), resistance.default_truth(), rng)
    other = diabetes.draw(_hospitals(max(SMALLEST_DIABETES, patients // 4), rng), rng)
    identifiers = rng.permutation(len(ranking) + len(other)) + 1
    ranking.insert(0, "person", identifiers[: len(ranking)])
    other.insert(0, "person", identifiers[len(ranking) :])
    return _records(_plan_ranking(ranking, patients, rng), _plan_diabetes(other, rng), rng)


def _hospitals(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hospital numbers in the declared shares, in random order."""
    ends = np.round(SHARES.cumsum() * count).astype(np.int64)
    return rng.permutation(np.searchsorted(ends, np.arange(count), side="right"))


def _plan_ranking(frame: pd.DataFrame, eligible: int, rng: np.random.Generator) -> pd.DataFrame:
    """Add eligibility and history: the extra patients have a short history or no genotype panel."""
    n = len(frame)
    extra = np.arange(n) >= eligible
    short = extra & (np.arange(n) % 2 == 0)
    frame["eligible"], frame["panel"] = ~extra, ~extra | short
    frame["history"] = np.where(short, rng.integers(100, 330, n), rng.integers(420, 2500, n))
    frame["diagnosed"] = rng.integers(90, np.minimum(frame["history"], 1200))
    for name, share in (("cd4_known", 0.985), ("stage_known", 0.99)):
        frame[name] = rng.random(n) < share
    return frame


def _plan_diabetes(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Add history before the diagnosis, and whom the examples admit to the count and to the comparison."""
    n = len(frame)
    young = rng.random(n) < 0.02
    frame["age"] = np.where(young, rng.integers(12, 17, n), np.maximum(frame["age"], 25))
    short = rng.random(n) < 0.05
    frame["history"] = np.where(short, rng.integers(60, 330, n), rng.integers(420, 2000, n))
    frame["hba1c_known"] = rng.random(n) < 0.97
    kind = frame["kind"].to_numpy()
    off_label = (kind >= 3) & (rng.random(n) < 0.4)
    frame["on_metformin"] = (kind <= 1) | off_label
    frame["young"] = young
    frame["observed_before_metformin"] = frame["history"] + frame["diagnosed"] - frame["metformin"] >= 365
    frame["observed"] = frame["history"] + frame["diagnosed"] >= 365
    admitted = frame["on_metformin"] & frame["observed_before_metformin"] & ~young
    frame["counted"] = admitted & (kind <= 1) & (frame["excluded"] != "type 1")
    second_line = (kind == 0) & (frame["therapy"] < 2)
    frame["eligible"] = second_line & ~young & frame["observed"] & (frame["excluded"] == "")
    return frame


def _records(ranking: pd.DataFrame, other: pd.DataFrame, rng: np.random.Generator) -> Population:
    persons = pd.concat([records.persons(ranking, "ranking", rng), records.persons(other, "diabetes", rng)])
    visits = pd.concat([*records.visits(ranking, rng), *records.visits(other, rng), records.stays(other)])
    conditions = pd.concat([*records.ranking_conditions(ranking), *records.diabetes_conditions(other, rng)])
    drugs = pd.concat([*records.ranking_drugs(ranking, rng), *records.diabetes_drugs(other)])
    results = pd.concat([*records.ranking_results(ranking, rng), *records.diabetes_results(other, rng)])
    return Population(
        persons=records.ordered(persons, ["person"]),
        visits=records.ordered(visits, ["person", "start"]),
        conditions=records.ordered(conditions, ["person", "date"]),
        drugs=records.ordered(drugs, ["person", "date"]),
        results=records.ordered(results, ["person", "date"]),
        resistance=records.ordered(ranking, ["person"]),
        diabetes=records.ordered(other, ["person"]),
    )
