"""Cumulative incidence with competing risks on an integer grid, in the clear: for released tables, and for tests.

Aalen and Johansen, Scand. J. Stat. 5 (1978) 141. F_k(t) = sum over u <= t of S(u-) d_k(u) / n(u). Its variance is the sum over
risk sets of the multinomial variance of what each adds,

    sum over u <= t of  a^2 d_k (1 - d_k/n) - 2 a b d_k (1 - d/n) + b^2 d (1 - d/n),
    a = S(u-)/n,  b = (F_k(t) - F_k(u)) / (n - d),

which equals the infinitesimal jackknife of R's multi-state ``survfit``. cmprsk's ``cuminc`` differs from it by terms of the
order of 1/n. All arrays have the bins on their last axis; events come before censorings in the same bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Incidence:
    """``at_risk`` (..., B); for each cause (..., K, B) ``events``, the cumulative incidence ``curve`` and its ``variance``."""

    at_risk: Floats
    events: Floats
    curve: Floats
    variance: Floats


@dataclass(frozen=True)
class _Parts:
    """What every variance is made of, each (..., K, B): ``own`` weighs a^2, ``shared`` a b, ``every`` b^2."""

    own: Floats
    shared: Floats
    every: Floats


def incidence(exits: NDArray[np.generic]) -> Incidence:
    """From counts of persons who leave (..., K + 1, B): each cause, then the censored."""
    at_risk, failed, curve, parts = _curves(exits)
    sums = [np.cumsum(each, axis=-1) for each in _powers(parts, curve)]
    variance = sums[0] - 2 * (curve * sums[1] - sums[2]) + curve**2 * sums[3] - 2 * curve * sums[4] + sums[5]
    return Incidence(at_risk, failed, curve, np.maximum(variance, 0.0))


def _curves(exits: NDArray[np.generic]) -> tuple[Floats, Floats, Floats, _Parts]:
    counts = np.asarray(exits, dtype=np.float64)
    failed, everybody = counts[..., :-1, :], counts.sum(axis=-2)
    at_risk = np.cumsum(everybody[..., ::-1], axis=-1)[..., ::-1]
    risk, gone = at_risk[..., None, :], failed.sum(axis=-2)[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(risk > 0, 1 / risk, 0.0)
        rest = np.where(risk > gone, 1 / (risk - gone), 0.0)
    survival = np.cumprod(1 - gone * inverse, axis=-1)
    before = np.concatenate([np.ones_like(survival[..., :1]), survival[..., :-1]], axis=-1)
    hazard = failed * inverse
    jump = before * hazard
    own, shared = jump * before * (1 - hazard) * inverse, jump * inverse
    every = np.broadcast_to(gone * inverse * rest, jump.shape)
    return at_risk, failed, np.cumsum(jump, axis=-1), _Parts(own, shared, every)


def _powers(parts: _Parts, curve: Floats) -> tuple[Floats, ...]:
    return (
        parts.own,
        parts.shared,
        parts.shared * curve,
        parts.every,
        parts.every * curve,
        parts.every * curve**2,
    )


def time_lost(exits: NDArray[np.generic], tau: int) -> tuple[Floats, Floats]:
    """The area under each curve from 0 to ``tau`` in units of the grid, the mean time lost to the cause, and its variance,
    both (..., K); as R's ``summary(survfit, rmean = tau)`` and ``residuals(survfit, type = "auc")``."""
    _, _, curve, parts = _curves(exits)
    until = curve[..., :tau]
    left = tau - np.arange(tau)
    area = np.cumsum(until[..., ::-1], axis=-1)[..., ::-1] - left * until
    own, shared, every = (each[..., :tau] for each in (parts.own, parts.shared, parts.every))
    variance = (left**2 * own - 2 * left * area * shared + area**2 * every).sum(axis=-1)
    return until.sum(axis=-1), np.maximum(variance, 0.0)
