"""Generated patients with a known truth, and the pooled pandas answer that a ranking is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MARKERS = [f"m{number}" for number in range(8)]
TAU = 12


def patients(count: int, treatments: int, seed: int = 7, *, equal: bool = False) -> pd.DataFrame:
    """Sicker patients (``severe``) fare worse and are given higher-numbered treatments, which are better within strata
    (unless ``equal``): confounding by indication, so that crude numbers mislead."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.random((count, len(MARKERS))) < 0.3, columns=MARKERS).astype(int)
    frame["age"] = rng.integers(40, 80, count)
    frame["stage"] = rng.choice(["I", "II", "III"], count)
    frame["year"] = rng.integers(2014, 2022, count)
    severe = rng.integers(0, 2, count)
    place = rng.beta(1 + 2 * severe, 3 - 2 * severe, count)
    arm = np.minimum((place * treatments).astype(int), treatments - 1)
    frame["severe"], frame["drug"] = severe, [f"t{each:02d}" for each in arm]
    benefit = 0.0 if equal else 0.6 * arm / max(1, treatments - 1)
    hazard = 0.05 * np.exp(1.6 * severe - benefit)
    failure, leaving = rng.exponential(1 / hazard), rng.uniform(6, 60, count)
    frame["o_time"] = np.ceil(np.minimum(failure, leaving)).astype(int)
    frame["o_event"] = (failure <= leaving).astype(int)
    return frame


def harmed(frame: pd.DataFrame, seed: int = 3) -> pd.DataFrame:
    """With a harm ``h`` that later treatments bring sooner, its follow-up ending with that of the outcome or before."""
    rng = np.random.default_rng(seed)
    rate = 0.01 + 0.01 * frame.drug.str[1:].astype(int) + 0.02 * frame.severe
    harm, leaving = rng.exponential(1 / rate), np.minimum(rng.uniform(6, 60, len(frame)), frame.o_time)
    return frame.assign(
        h_time=np.ceil(np.minimum(harm, leaving)).astype(int), h_event=(harm <= leaving).astype(int)
    )


def parameters(treatments: int, **changes: Any) -> dict[str, Any]:
    return {
        "treatment": "drug",
        "treatments": [f"t{each:02d}" for each in range(treatments)],
        "outcome": "o",
        "time_unit": "month",
        "unit": "month",
        "tau": TAU,
        "markers": MARKERS,
        "age": "age",
        "equal": [{"variable": "stage", "levels": ["I", "II", "III"]}],
        "tiers": [
            {"name": "strict", "max_distance": 1, "age_within": 3, "equal": ["stage"]},
            {"name": "middle", "max_distance": 3, "age_within": 10, "equal": ["stage"]},
            {"name": "loose", "max_distance": 8, "age_within": None, "equal": []},
        ],
        "period": {"variable": "year", "cuts": [2018]},
        "strata": [{"variable": "severe", "levels": ["0", "1"]}],
        **changes,
    }


GROUPS = {"first": (MARKERS[:4], (1,)), "second": (MARKERS[4:], (1, 3))}


def cells(treatments: int, *groups: str, **changes: Any) -> dict[str, Any]:
    """The same in mode ``cells``: three age bands, stages, and marker groups by name."""
    cuts = {name: list(GROUPS[name][1]) for name in groups}
    tiers = [
        {"name": "cell", "age_cuts": [50, 65], "equal": ["stage"], "marker_cuts": cuts},
        {
            "name": "wider",
            "age_cuts": [65],
            "equal": ["stage"],
            "marker_cuts": {name: [1] for name in groups},
        },
        {"name": "any"},
    ]
    plan = {
        "age_cuts": [50, 65],
        "marker_groups": [
            {"name": name, "markers": GROUPS[name][0], "cuts": GROUPS[name][1]} for name in groups
        ],
        "tiers": tiers,
    }
    markers = [marker for name in groups for marker in GROUPS[name][0]]
    return parameters(
        treatments, **{"mode": "cells", "tiers": [], "markers": markers, "cells": plan, **changes}
    )


def united(frame: pd.DataFrame, facts: dict[str, object], tier: dict[str, Any]) -> NDArray[np.bool_]:
    """Who is in the patient's union of cells."""
    close = pd.Series(True, index=frame.index)
    if facts.get("age") is not None:
        for cut in tier.get("age_cuts", ()):
            close &= (frame.age >= cut) == (facts["age"] >= cut)
    for name in tier.get("equal", ()):
        if facts.get(name) is not None:
            close &= frame[name] == facts[name]
    for name, cuts in tier.get("marker_cuts", {}).items():
        markers = GROUPS[name][0]
        if all(facts.get(marker) is not None for marker in markers):
            mine, theirs = sum(int(facts[marker]) for marker in markers), frame[markers].sum(axis=1)
            for cut in cuts:
                close &= (theirs >= cut) == (mine >= cut)
    return close.to_numpy()


def thirds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: frame.iloc[start::3] for start, name in enumerate(("north", "south", "west"))}


FACTS: dict[str, object] = {**dict.fromkeys(MARKERS, 0), "m1": 1, "age": 60, "stage": "II"}


@dataclass(frozen=True)
class Truth:
    """The pooled answer for one treatment."""

    size: int
    reason: str | None
    estimate: float
    error: float
    failures: int
    information: float


def similar(frame: pd.DataFrame, facts: dict[str, object], tier: dict[str, Any]) -> NDArray[np.bool_]:
    known = [name for name in MARKERS if facts.get(name) is not None]
    close = (frame[known] != pd.Series({name: facts[name] for name in known})).sum(axis=1) <= tier[
        "max_distance"
    ]
    if facts.get("age") is not None and tier["age_within"] is not None:
        close &= (frame.age - facts["age"]).abs() <= tier["age_within"]
    for name in tier["equal"]:
        if facts.get(name) is not None:
            close &= frame[name] == facts[name]
    return close.to_numpy()


def pooled(
    frame: pd.DataFrame, facts: dict[str, object], study: dict[str, Any], k: int = 10
) -> tuple[int, dict[str, Truth]]:
    """The first tier with two treatments that have enough patients; every treatment's answer."""
    least = max(k, 20)
    tiers, find = (study["cells"]["tiers"], united) if study.get("cells") else (study["tiers"], similar)
    for number, tier in enumerate(tiers):
        rows = frame[find(frame, facts, tier)]
        strata = rows.severe * 2 + (rows.year >= 2018)
        mix = strata.value_counts(normalize=True)
        arms = {name: rows[rows.drug == name] for name in study["treatments"]}
        if sum(_supported(arm, strata, mix, k, least) for arm in arms.values()) >= 2:
            return number, {name: _truth(arm, strata, mix, k, least) for name, arm in arms.items()}
    return len(tiers), {}


def _supported(rows: pd.DataFrame, strata: pd.Series, mix: pd.Series, k: int, least: int) -> bool:
    """Enough patients, ten of them followed to TAU, an effective size of twenty, nobody of whom weighs too much."""
    complete = (rows.o_time >= TAU) | (rows.o_event == 1)
    found = complete.groupby(strata.loc[rows.index]).sum().reindex(mix.index, fill_value=0)
    if len(rows) < least or (rows.o_time >= TAU).sum() < 10 or (found == 0).any():
        return False
    return bool((mix**2 / found).sum() <= 1 / 20 and (max(k, 1) * mix <= found).all())


def _truth(rows: pd.DataFrame, strata: pd.Series, mix: pd.Series, k: int, least: int) -> Truth:
    mean = variance = weight_squared = 0.0
    lacks = unfinished = False
    weights, everybody = [], np.zeros(TAU + 1)
    for stratum, share in mix.items():
        mine = rows[strata.loc[rows.index] == stratum]
        if mine.empty:
            lacks = True
            continue
        area, spread, curve = _restricted(mine)
        height = share * np.array([1.0, *curve])
        at_risk = np.array([(mine.o_time >= month).sum() for month in range(TAU + 1)])
        weights.append(np.divide(height, at_risk, out=np.zeros(TAU + 1), where=at_risk > 0))
        everybody += height
        mean, variance = mean + share * area, variance + share**2 * spread
        complete = int(((mine.o_time >= TAU) | (mine.o_event == 1)).sum())
        weight_squared += share**2 / complete if complete else np.inf
        unfinished |= not (mine.o_time >= TAU).any() and curve[-1] > 0
    few, short = len(rows) < least, int((rows.o_time >= TAU).sum()) < k or unfinished
    information = 1 / weight_squared if weight_squared else 0.0
    uneven = any((k * each > everybody + 1e-6).any() for each in weights)
    reason = (
        "few"
        if few
        else "overlap"
        if lacks
        else "short"
        if short
        else "few"
        if information < 20
        else "uneven"
        if uneven
        else None
    )
    failures = int(((rows.o_time < TAU) & (rows.o_event == 1)).sum())
    return Truth(len(rows), reason, mean, variance**0.5, failures, information)


def _restricted(rows: pd.DataFrame) -> tuple[float, float, list[float]]:
    """Area under Kaplan-Meier to TAU, its variance, and the curve after each time before TAU; textbook loops."""
    survival, curve, jumps = 1.0, [], []
    for month in range(TAU):
        at_risk = int((rows.o_time >= month).sum())
        failed = int(((rows.o_time == month) & (rows.o_event == 1)).sum())
        survival *= 1 - failed / at_risk if at_risk else 1.0
        curve.append(survival)
        if failed and at_risk > failed:
            jumps.append((month, failed / (at_risk * (at_risk - failed))))
    return sum(curve), sum(sum(curve[month:]) ** 2 * jump for month, jump in jumps), curve
