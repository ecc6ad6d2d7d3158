"""Restricted means of a ranking together with the standardised risk of failure at tau, on shares, in the rounds of the means.

The risk is 1 - sum_g w_g S_g(tau), its variance sum_g (w_g S_g(tau))^2 sum_t d / (n (n - d)), the Greenwood sum; ratios of
risks carry the E-value, which no restricted mean has.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.analyses.secret_curves import (
    VARIANCE_SCALE,
    Hazards,
    Means,
    mixed,
    parts,
    sum_of_products,
    unit,
    weighted_variances,
)
from mpc_backend.operations import concatenate
from mpc_backend.values import SecretFixed


@dataclass(frozen=True)
class Risks:
    """Risks of failure before tau (groups, treatments), at SCALE, and their variances at VARIANCE_SCALE."""

    risk: SecretFixed
    variance: SecretFixed


def means_and_risks(
    found: Hazards, share: SecretFixed, weight: SecretFixed, tau: int
) -> tuple[Means, Risks, SecretFixed]:
    """`restricted_means` of every outcome, and the risks of the first: hazards (groups, outcomes, treatments, strata, bins >=
    tau), ``share`` (groups, strata). Third, one over the effective number of persons, from ``weight`` (groups, outcomes,
    treatments, strata), 1 / n of each stratum."""
    curve, hazard, rest = (x[..., :tau] for x in (found.survival, found.hazard, found.rest))
    area = unit(curve[..., ::-1].cumsum(curve.ndim - 1)[..., ::-1] * (1.0 / tau))
    height = curve[:, 0, :, :, tau - 1]
    mix = share.reshape(len(share), 1, -1).broadcast_to(height.shape)
    sides = ([area, area, height], [hazard, rest, mix])
    left, right = (concatenate([each.ravel() for each in side]) for side in sides)
    first, second, standing = parts(unit(left * right), sides[0])
    # The Greenwood sum of the first outcome is one outcome more whose areas are 1.
    spread = sum_of_products(
        concatenate([first, hazard[:, :1]], axis=1),
        concatenate([second, rest[:, :1]], axis=1),
        VARIANCE_SCALE,
    )
    outcomes = curve.shape[1]
    by_group = share.reshape(len(share), 1, 1, -1)
    variance, risk, inverse = weighted_variances(
        [(spread[:, :outcomes], by_group), (spread[:, outcomes], standing), (weight, by_group)]
    )
    means = Means(mixed(area[..., 0], by_group), variance)
    return means, Risks(1.0 - standing.sum(2), risk), inverse
