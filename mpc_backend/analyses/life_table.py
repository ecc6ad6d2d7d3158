"""Kaplan-Meier on an integer grid, in the clear: for released tables at the recipient, and for tests.

Bins are times 0, 1, ..., B-1 on the grid; events come before censorings in the same bin. All arrays have the bins on
their last axis. Kaplan and Meier, JASA 53 (1958) 457; Greenwood's variance; log-log interval as R's
``survfit(conf.type = "log-log")``; the variance of the restricted mean as R's ``summary(survfit, rmean = tau)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.distributions import normal_reach

Floats = NDArray[np.float64]
FLAT = 1e-8
"""Curves closer than this to a quantile count as flat on it, as in R."""


@dataclass(frozen=True)
class LifeTable:
    """``events``, ``censored``, ``at_risk`` (..., B) counts; ``survival`` S(t) after bin t; ``log_variance`` the
    Greenwood sum, the variance of log S(t) (infinite where S is 0)."""

    events: Floats
    censored: Floats
    at_risk: Floats
    survival: Floats
    log_variance: Floats

    @property
    def standard_error(self) -> Floats:
        """Greenwood's standard error of S(t); NaN where S is 0, as in R."""
        with np.errstate(invalid="ignore"):
            return np.where(self.survival > 0, self.survival * np.sqrt(self.log_variance), np.nan)


def life_table(events: NDArray[np.generic], censored: NDArray[np.generic]) -> LifeTable:
    """The life table of counts of events and censorings, each (..., B)."""
    failed = np.asarray(events, dtype=np.float64)
    left = np.asarray(censored, dtype=np.float64)
    at_risk = np.cumsum((failed + left)[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.asarray(
            np.cumprod(np.where(at_risk > 0, 1 - failed / at_risk, 1.0), axis=-1), np.float64
        )
        terms = np.where(failed > 0, failed / (at_risk * (at_risk - failed)), 0.0)
    return LifeTable(failed, left, at_risk, survival, np.cumsum(terms, axis=-1))


def log_log_interval(survival: Floats, log_variance: Floats, confidence: float) -> tuple[Floats, Floats]:
    """S^exp(+-z sqrt(V)/|log S|) with V the variance of log S: lower and upper, NaN where S is 1 or 0."""
    z = normal_reach(confidence)
    inside = (survival > 0) & (survival < 1)
    log_survival = np.log(np.where(inside, survival, 0.5))
    spread = np.exp(z * np.sqrt(np.where(inside, log_variance, 0.0)) / np.abs(log_survival))
    lower = np.where(inside, np.exp(log_survival * spread), np.nan)
    return lower, np.where(inside, np.exp(log_survival / spread), np.nan)


def crossing(curve: Floats, last: int, level: float = 0.5) -> float | None:
    """The time at which a falling curve (B,) reaches ``level``; the midpoint where it is flat there, as in R.

    ``last`` is the last time of follow-up, the end of a curve that stays flat at the level. None: not reached.
    """
    known = np.where(np.isnan(curve), np.inf, curve)
    reached = np.flatnonzero(known <= level + FLAT)
    if not reached.size:
        return None
    below = np.flatnonzero(known < level - FLAT)
    end = below[0] if below.size else last
    flat = abs(known[reached[0]] - level) <= FLAT
    return float(reached[0] + end) / 2 if flat else float(reached[0])


def restricted_mean(survival: Floats, tau: int) -> Floats:
    """The area under the curve from 0 to ``tau`` in units of the grid, over the last axis."""
    return np.asarray(survival[..., :tau].sum(axis=-1))


def restricted_mean_variance(table: LifeTable, tau: int) -> Floats:
    """sum over events before tau of (area from the event to tau)^2 d / (n (n - d)), over the last axis."""
    area = np.cumsum(table.survival[..., :tau][..., ::-1], axis=-1)[..., ::-1]
    failed, at_risk = table.events[..., :tau], table.at_risk[..., :tau]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(at_risk > failed, area**2 * failed / (at_risk * (at_risk - failed)), 0.0)
    return np.asarray(np.where(failed > 0, terms, 0.0).sum(axis=-1))


@dataclass(frozen=True)
class Standardised:
    """A curve mixed over strata with fixed weights: ``survival`` and ``log_variance`` (..., B), ``mean`` and
    ``mean_variance`` the restricted mean and its variance (...)."""

    survival: Floats
    log_variance: Floats
    mean: Floats
    mean_variance: Floats


def standardise(table: LifeTable, weights: Floats, tau: int) -> Standardised:
    """Mix strata, the axis before the bins, with ``weights`` (strata,) that sum to one and are taken as fixed.

    Direct standardisation: S(t) = sum_g w_g S_g(t), Var S(t) = sum_g w_g^2 Var S_g(t), likewise the restricted mean.
    A stratum's curve stays flat after its last follow-up (Gill's convention).
    """
    share = np.asarray(weights, dtype=np.float64)
    survival = np.einsum("g,...gb->...b", share, table.survival)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(table.survival > 0, table.survival**2 * table.log_variance, 0.0)
        mixed = np.einsum("g,...gb->...b", share**2, spread) / survival**2
    mean = np.einsum("g,...g->...", share, restricted_mean(table.survival, tau))
    variance = np.einsum("g,...g->...", share**2, restricted_mean_variance(table, tau))
    return Standardised(survival, np.where(survival > 0, mixed, np.inf), mean, variance)
