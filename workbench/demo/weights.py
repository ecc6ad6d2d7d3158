"""What one patient weighs in a mean that is mixed from strata, and whether that is too much; in the clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.demo.curves import TAU, Floats, Ints, kaplan_meier

NEAR: Final = 1e-6
"""Shares closer than this count as equal."""


@dataclass(frozen=True)
class Even:
    """Whether nobody at risk up to TAU weighs more than a ``smallest``-th of those at risk, and no event before TAU, on
    average of its stratum, more than that of all events; the same of the persons outside each hospital that asks."""

    persons: bool
    events: bool


@dataclass(frozen=True)
class _Stratum:
    """One stratum's weight by month, of one person at risk (TAU + 1,) and of one event; months and events of its persons."""

    person: Floats
    event: float
    months: Ints
    events: Ints
    hospitals: Ints


def judge_weights(
    months: Ints,
    events: Ints,
    strata: Ints,
    hospitals: Ints,
    mix: Floats,
    receiving: tuple[int, ...],
    smallest: int,
) -> Even:
    """Persons (n,) on one regimen with their strata, which are mixed by ``mix``, and their hospitals."""
    found = [
        _stratum(months[here], events[here], hospitals[here], float(mix[number]))
        for number in range(len(mix))
        if (here := strata == number).any()
    ]
    times = list(range(TAU + 1))
    persons, failures = _held(found, None, times, smallest)
    for hospital in receiving:
        outside = _held(found, hospital, [0, TAU], smallest)
        persons, failures = persons and outside[0], failures and outside[1]
    return Even(persons, failures)


def _stratum(months: Ints, events: Ints, hospitals: Ints, share: float) -> _Stratum:
    curve = kaplan_meier(months, events)
    height = share * np.concatenate([[1.0], curve.survival[:TAU]])
    weight = np.divide(height, curve.at_risk, out=np.zeros(TAU + 1), where=curve.at_risk > 0)
    failed = int(curve.events[:TAU].sum())
    return _Stratum(weight, (share - height[TAU]) / failed if failed else 0.0, months, events, hospitals)


def _held(found: list[_Stratum], without: int | None, times: list[int], smallest: int) -> tuple[bool, bool]:
    """Whether persons, and events, weigh little enough among those who are not of one hospital."""
    counted = [each.hospitals != without if without is not None else each.months >= 0 for each in found]
    persons = []
    for month in times:
        here = [int((kept & (each.months >= month)).sum()) for each, kept in zip(found, counted, strict=True)]
        persons.append(_light([each.person[month] for each in found], here, smallest))
    failed = [
        int((kept & (each.months < TAU) & (each.events == 1)).sum())
        for each, kept in zip(found, counted, strict=True)
    ]
    return all(persons), _light([each.event for each in found], failed, smallest)


def _light(weights: list[float], counts: list[int], smallest: int) -> bool:
    """Whether none of so many of each weight weighs more than a ``smallest``-th of all."""
    total = float(np.dot(weights, counts))
    return all(
        smallest * weight <= total + NEAR for weight, count in zip(weights, counts, strict=True) if count
    )
