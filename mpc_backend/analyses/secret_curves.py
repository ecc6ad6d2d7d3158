"""Kaplan-Meier curves, their mixes over strata and restricted means, on shares in fixed point.

The same formulae as `life_table`. Scales are chosen so that no product is truncated before it is summed: a variance is a
sum of products of two numbers at 30 fractional bits, kept whole at 60 and cut once to 40.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.operations import divide, prefix_product, sqrt, stack
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.products import dotted

SCALE = 30
WEIGHT_SCALE = 20
VARIANCE_SCALE = 40
UNIT_BITS = SCALE + 2
"""Signed width of a number in [0, 1] at SCALE, with room for errors in the last place."""


def raw(real: SecretFixed) -> SecretInt:
    """The integer v of x = v / 2^scale: products of such integers keep every bit."""
    return SecretInt(real.protocol, real.shares, real.bits)


def real(whole: SecretInt, scale: int) -> SecretFixed:
    """The real v / 2^scale."""
    return SecretFixed(whole.protocol, whole.shares, scale, whole.bits)


def unit(numbers: SecretFixed) -> SecretFixed:
    """Promise that numbers at SCALE lie in [0, 1]."""
    return numbers.with_bits(UNIT_BITS)


def sum_of_products(left: SecretFixed, right: SecretFixed, scale: int) -> SecretFixed:
    """Sum over the last axis of products of numbers in [0, 1], cut once to ``scale`` bits; the sum lies below 2."""
    whole = dotted(left, right)
    return SecretFixed(left.protocol, whole, left.scale + right.scale, 63).rescaled(scale)


@dataclass(frozen=True)
class Hazards:
    """Per bin (..., bins): survival S(t) after it, hazard d / n, and 1 / (n - d), 0 where nobody is left."""

    survival: SecretFixed
    hazard: SecretFixed
    rest: SecretFixed


def hazards(events: SecretInt, at_risk: SecretInt) -> Hazards:
    """Kaplan-Meier of events and numbers at risk (..., bins), integers in ring 64 with their declared bits."""
    one = (events[:1] * 0 + 1).broadcast_to(events.shape)
    above, below = stack([events, one]), stack([at_risk, at_risk - events]).with_bits(at_risk.bits)
    both = unit(divide(above, below, SCALE, quotient_bits=1))
    survival = prefix_product(unit(1.0 - both[0]), axis=-1)
    return Hazards(unit(survival), both[0], both[1])


def weights(persons: SecretInt) -> SecretFixed:
    """Shares of the strata (strata,) among all persons, at SCALE, from counts (strata,)."""
    return unit(divide(persons, persons.sum(0).reshape(1), SCALE, quotient_bits=1))


def mixed(numbers: SecretFixed, share: SecretFixed) -> SecretFixed:
    """sum_g w_g x_g over the last axis, numbers in [0, 1]: (..., strata), (strata,) -> (...)."""
    return unit(sum_of_products(numbers, share.broadcast_to(numbers.shape), SCALE))


@dataclass(frozen=True)
class Means:
    """Restricted means as shares of tau (...), at SCALE, and their variances at VARIANCE_SCALE."""

    mean: SecretFixed
    variance: SecretFixed


def restricted_means(found: Hazards, share: SecretFixed, tau: int) -> Means:
    """Restricted means standardised over strata: hazards (..., strata, bins >= tau), weights (strata,) -> (...).

    Var = sum_g w_g^2 sum_t (area after t)^2 d / (n (n - d)), areas as shares of tau.
    """
    curve = found.survival[..., :tau]
    area = unit(curve[..., ::-1].cumsum(curve.ndim - 1)[..., ::-1] * (1.0 / tau))
    mean = mixed(area[..., 0], share)
    spread = sum_of_products(
        unit(area * found.hazard[..., :tau]), unit(area * found.rest[..., :tau]), VARIANCE_SCALE
    )
    return Means(mean, weighted_variance(spread, share))


def weighted_variance(spread: SecretFixed, share: SecretFixed) -> SecretFixed:
    """sum_g w_g^2 v_g over the last axis, at VARIANCE_SCALE; v below 2."""
    squared = (share * share).rescaled(WEIGHT_SCALE).with_bits(WEIGHT_SCALE + 2)
    return (spread.with_bits(VARIANCE_SCALE + 2) * squared).sum(spread.ndim - 1)


ROOT_SCALE = 24
FLOOR = 8 * 2.0**-VARIANCE_SCALE
"""Added to a variance before its root: truncation may have taken it a little below zero."""


def root(variance: SecretFixed) -> SecretFixed:
    """The standard error at ROOT_SCALE of a variance in [0, 1) at VARIANCE_SCALE."""
    return sqrt((variance + FLOOR).with_bits(VARIANCE_SCALE + 2), ROOT_SCALE)


def curve_variance(found: Hazards, share: SecretFixed) -> SecretFixed:
    """Var S(t) of a mix: sum_g w_g^2 S_g(t)^2 G_g(t), G the Greenwood sum: (..., strata, bins) -> (..., bins)."""
    terms = raw(found.hazard) * raw(found.rest)
    sums = (
        real(terms.cumsum(terms.ndim - 1), 2 * SCALE).rescaled(VARIANCE_SCALE).with_bits(VARIANCE_SCALE + 3)
    )
    part = unit(found.survival * share[:, None])
    squared = (part * part).rescaled(WEIGHT_SCALE).with_bits(WEIGHT_SCALE + 2)
    return (sums * squared).sum(sums.ndim - 2)
