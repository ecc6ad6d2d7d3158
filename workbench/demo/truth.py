"""The pooled cleartext answers: what one would compute with every hospital's records in one table.

Taken from the generator's own tables, not from the extracts, so that a fault anywhere on the way (extract,
mapping, cohort, sharing, protocol, release) shows as a difference. The ranking's part is in `similar`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from workbench.demo import diabetes, resistance
from workbench.demo.curves import TAU, Curve, Standardised, by_strata, kaplan_meier, log_rank, on_grid
from workbench.demo.population import Population

ARMS: Final = ("sulfonylurea", "DPP-4 inhibitor")


def attrition(population: Population) -> list[tuple[str, int]]:
    """Persons left after the entry event and after each criterion of the count example."""
    people = population.diabetes
    steps = {
        "Entry event": people["on_metformin"] & people["observed_before_metformin"],
        "18 years or older": ~people["young"],
        "type 2 diabetes recorded before": people["kind"] <= 2,
        "type 1 diabetes recorded before": people["excluded"] != "type 1",
    }
    left = pd.Series(True, index=people.index)
    counts = []
    for label, kept in steps.items():
        left &= kept
        counts.append((label, int(left.sum())))
    return counts


@dataclass(frozen=True)
class Comparison:
    """Pooled answers of the survival example, arms in the order of `ARMS`."""

    persons: tuple[int, int]
    events: tuple[int, int]
    crude: tuple[Curve, Curve]
    adjusted: tuple[Standardised, Standardised]
    causal_mean: tuple[float, float]
    log_rank: tuple[float, float]
    stratified_log_rank: tuple[float, float]


def comparison(population: Population) -> Comparison:
    """Second-line therapies among the persons the survival example admits and whose HbA1c is known."""
    people = population.diabetes
    people = people[people["eligible"] & people["hba1c_known"]]
    months, events = on_grid(people)
    arm = people["therapy"].to_numpy()
    strata = (people["kidney"] * 4 + people["high"] * 2 + people["late"]).to_numpy()
    hospital = people["hospital"].to_numpy()
    weights = np.bincount(strata, minlength=8) / len(people)
    selected = [arm == number for number in (0, 1)]
    true_means = [_causal_mean(people, number) for number in (0, 1)]
    return Comparison(
        persons=_pair([int(one.sum()) for one in selected]),
        events=_pair([int(events[one].sum()) for one in selected]),
        crude=_pair([kaplan_meier(months[one], events[one]) for one in selected]),
        adjusted=_pair([by_strata(months[one], events[one], strata[one], weights) for one in selected]),
        causal_mean=_pair(true_means),
        log_rank=log_rank(months, events, arm, hospital),
        stratified_log_rank=log_rank(months, events, arm, hospital * 8 + strata),
    )


def _pair(values: list) -> tuple:  # type: ignore[type-arg]
    first, second = values
    return first, second


def _causal_mean(people: pd.DataFrame, therapy: int) -> float:
    """Restricted mean had everybody been given ``therapy``, from the true hazards."""
    hazard = diabetes.hazard(people, np.full(len(people), therapy))
    return float(resistance.restricted_mean(hazard, TAU).mean())
