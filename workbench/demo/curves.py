"""Kaplan-Meier, its standardisation over strata and the log-rank test, from the textbook, in floating point.

Nothing here imports the engine or its analyses: these are the numbers the answers on shares are judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HORIZON_DAYS: Final = 730
TAU: Final = 24
"""Months; the horizon of both time-to-event examples."""


def on_grid(frame: pd.DataFrame) -> tuple[Ints, Ints]:
    """Whole months (by ceiling, 365.25 / 12 days) to the event or the end of follow-up; 1 for an event."""
    event = (frame["event"] == 1) & (frame["failure_days"] <= HORIZON_DAYS)
    days = np.where(event, frame["failure_days"], np.minimum(frame["follow_up"], HORIZON_DAYS))
    return -(-days.astype(np.int64) * 16 // 487), event.to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Curve:
    """Kaplan-Meier on the months 0..TAU: survival, its Greenwood variance, persons at risk, events."""

    survival: Floats
    variance: Floats
    at_risk: Ints
    events: Ints

    @property
    def mean(self) -> float:
        """Restricted mean up to TAU, in months."""
        return float(self.survival[:TAU].sum())

    @property
    def mean_variance(self) -> float:
        """Variance of the restricted mean, as R's ``summary(survfit, rmean)``."""
        total = 0.0
        for month in range(1, TAU):
            d, n = self.events[month], self.at_risk[month]
            if d and n > d:
                total += self.survival[month:TAU].sum() ** 2 * d / (n * (n - d))
        return total


def kaplan_meier(months: Ints, events: Ints) -> Curve:
    """The curve of persons with ``months`` to an event (1) or censoring (0); events first within a month."""
    survival, variance = np.ones(TAU + 1), np.zeros(TAU + 1)
    at_risk = np.array([(months >= month).sum() for month in range(TAU + 1)])
    failed = np.array([((months == month) & (events == 1)).sum() for month in range(TAU + 1)])
    factor, greenwood = 1.0, 0.0
    for month in range(TAU + 1):
        n, d = at_risk[month], failed[month]
        factor *= 1 - d / n if n else 1.0
        greenwood += d / (n * (n - d)) if d and n > d else 0.0
        survival[month], variance[month] = factor, factor**2 * greenwood
    return Curve(survival, variance, at_risk, failed)


@dataclass(frozen=True)
class Standardised:
    """Curves of the strata mixed with fixed weights: survival and error by month, restricted mean."""

    survival: Floats
    standard_error: Floats
    mean: float
    mean_error: float


def standardise(curves: Sequence[Curve], weights: Floats) -> Standardised:
    """Direct standardisation over strata."""
    survival = sum(w * curve.survival for w, curve in zip(weights, curves, strict=True))
    variance = sum(w**2 * curve.variance for w, curve in zip(weights, curves, strict=True))
    mean = sum(w * curve.mean for w, curve in zip(weights, curves, strict=True))
    mean_variance = sum(w**2 * curve.mean_variance for w, curve in zip(weights, curves, strict=True))
    return Standardised(np.asarray(survival), np.sqrt(variance), float(mean), float(np.sqrt(mean_variance)))


def by_strata(months: Ints, events: Ints, strata: Ints, weights: Floats) -> Standardised:
    """One arm's curves within each stratum, mixed with ``weights`` (strata,)."""
    used = [
        kaplan_meier(months[strata == s], events[strata == s]) for s in range(len(weights)) if weights[s] > 0
    ]
    return standardise(used, weights[weights > 0])


def log_rank(months: Ints, events: Ints, arm: Ints, strata: Ints) -> tuple[float, float]:
    """Chi-square and p of the log-rank test of two arms (0, 1), stratified."""
    score = variance = 0.0
    for stratum in np.unique(strata):
        here = strata == stratum
        for month in np.unique(months[here & (events == 1)]):
            risk = here & (months >= month)
            failed = risk & (months == month) & (events == 1)
            n, d, n1 = risk.sum(), failed.sum(), (risk & (arm == 1)).sum()
            score += (failed & (arm == 1)).sum() - d * n1 / n
            variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1) if n > 1 else 0.0
    statistic = score**2 / variance
    return float(statistic), float(chdtrc(1, statistic))
