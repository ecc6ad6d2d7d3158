"""Weighted Kaplan-Meier curves on an integer grid with robust variances, in the clear: exact release, and the oracle.

With weights w_i of persons, N(t) the weights at risk just before t and D(t) those of the failures, S = prod (1 - D/N). What a
person's weight changes in a functional of S with derivative -a(u) in the hazard at u, divided by 1 - hazard, is

    psi(T_i) - failed_i phi(T_i),   phi(u) = a(u) / (N(u) - D(u)),   psi(t) = sum over u <= t of phi(u) D(u) / N(u),

and the infinitesimal jackknife variance, with weights taken as known, is the sum of w_i^2 times its square: as R's
``survfit(weights = w, robust = TRUE)``. a(u) is the area under S from u to tau for the restricted mean, and S(tau) for S(tau).
It depends on time and failure alone, so sums of w^2 by time and failure suffice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WeightedTables:
    """Sums of weights by time 0..tau (..., tau + 1), of all who leave then and of those who fail; the last bin has everybody
    who is followed further. ``exit_squares`` and ``event_squares`` the same of squared weights."""

    exits: Floats
    events: Floats
    exit_squares: Floats
    event_squares: Floats


@dataclass(frozen=True)
class WeightedEstimates:
    """By arm (...,): restricted mean up to tau and probability of failure by tau, with variances; effective size."""

    survival: Floats
    mean: Floats
    mean_variance: Floats
    risk: Floats
    risk_variance: Floats
    effective: Floats


def weighted_estimates(tables: WeightedTables) -> WeightedEstimates:
    """See the module's docstring."""
    at_risk = np.cumsum(tables.exits[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = np.where(at_risk > 0, tables.events / at_risk, 0.0)
        left = at_risk - tables.events
        inverse = np.where(left > 1e-12 * at_risk[..., :1], 1 / left, 0.0)
    survival = np.cumprod(1 - hazard, axis=-1)
    until = survival[..., :-1]
    area = np.cumsum(until[..., ::-1], axis=-1)[..., ::-1]
    area = np.concatenate([area, np.zeros_like(survival[..., :1])], axis=-1)
    end = np.broadcast_to(survival[..., -1:], survival.shape)
    variances = []
    for derivative in (area, end):
        phi = derivative * inverse
        psi = np.cumsum(phi * hazard, axis=-1)
        censored = (tables.exit_squares - tables.event_squares).clip(min=0)
        variances.append((tables.event_squares * (psi - phi) ** 2 + censored * psi**2).sum(axis=-1))
    squares = tables.exit_squares.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(squares > 0, at_risk[..., 0] ** 2 / squares, 0.0)
    return WeightedEstimates(
        survival, until.sum(axis=-1), variances[0], 1 - survival[..., -1], variances[1], effective
    )
