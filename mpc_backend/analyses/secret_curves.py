"""Kaplan-Meier curves, their mixes over strata and restricted means, on shares in fixed point.

The same formulae as `life_table`. Scales are chosen so that no product is truncated before it is summed: a variance is a
sum of products of two numbers at 30 fractional bits, kept whole at 60 and cut once to 40.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc_backend.operations import concatenate, divide, prefix_product, stack
from mpc_backend.values import SecretFixed, SecretInt, SecretValue
from mpc_backend.values.products import dotted, multiplied

Secret = TypeVar("Secret", bound=SecretValue)
SCALE = 30
WEIGHT_SCALE = 20
VARIANCE_SCALE = 40
GREENWOOD_SCALE, HEIGHT_SCALE = 36, 24
"""A Greenwood sum lies below 2, a squared height at most at 1."""
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


def fractions(pairs: Sequence[tuple[SecretInt | None, SecretInt]]) -> list[SecretFixed]:
    """a / b at SCALE for pairs of counts with 0 <= a <= b, 0 where b is 0, all in the same rounds; a None means 1.

    The arrays of a pair have one shape, or a is broadcast against b.
    """
    bits = max(below.bits for _, below in pairs)
    above = concatenate([_numerator(a, b).with_bits(bits).ravel() for a, b in pairs])
    below = concatenate([b.with_bits(bits).ravel() for _, b in pairs])
    quotients = unit(divide(above, below, SCALE, quotient_bits=1))
    return parts(quotients, [b for _, b in pairs])


def parts(flat: Secret, like: Sequence[SecretValue]) -> list[Secret]:
    """What arrays of these shapes became that were put one behind the other, to be worked on in the same rounds."""
    ends = np.cumsum([each.size for each in like])
    return [flat[end - each.size : end].reshape(each.shape) for end, each in zip(ends, like, strict=True)]


def _numerator(above: SecretInt | None, below: SecretInt) -> SecretInt:
    return below * 0 + 1 if above is None else above.broadcast_to(below.shape)


def hazards(hazard: SecretFixed, rest: SecretFixed) -> Hazards:
    """Kaplan-Meier from d / n and 1 / (n - d), each (..., bins)."""
    survival = prefix_product(unit(1.0 - hazard), axis=-1)
    return Hazards(unit(survival), hazard, rest)


def whole(persons: SecretInt) -> SecretInt:
    """The sum of counts (strata,), repeated (strata,): what shares of strata are taken of."""
    return persons.sum(0).reshape(1).broadcast_to(persons.shape).with_bits(persons.bits)


def mixed(numbers: SecretFixed, share: SecretFixed) -> SecretFixed:
    """sum_g w_g x_g over the last axis, numbers in [0, 1]; (..., strata) and weights broadcast against each other."""
    shape = np.broadcast_shapes(numbers.shape, share.shape)
    return unit(sum_of_products(numbers.broadcast_to(shape), share.broadcast_to(shape), SCALE))


@dataclass(frozen=True)
class Means:
    """Restricted means as shares of tau (...), at SCALE, and their variances at VARIANCE_SCALE."""

    mean: SecretFixed
    variance: SecretFixed


def restricted_means(found: Hazards, share: SecretFixed, tau: int) -> Means:
    """Restricted means standardised over strata: hazards (..., strata, bins >= tau), weights (..., strata) -> (...).

    Var = sum_g w_g^2 sum_t (area after t)^2 d / (n (n - d)), areas as shares of tau.
    """
    curve = found.survival[..., :tau]
    area = unit(curve[..., ::-1].cumsum(curve.ndim - 1)[..., ::-1] * (1.0 / tau))
    both = unit(stack([area, area]) * stack([found.hazard[..., :tau], found.rest[..., :tau]]))
    spread = sum_of_products(both[0], both[1], VARIANCE_SCALE)
    return Means(mixed(area[..., 0], share), weighted_variance(spread, share))


def weighted_variance(spread: SecretFixed, share: SecretFixed) -> SecretFixed:
    """sum_g w_g^2 v_g over the last axis, at VARIANCE_SCALE; v below 2."""
    return weighted_variances([(spread, share)])[0]


def weighted_variances(pairs: Sequence[tuple[SecretFixed, SecretFixed]]) -> list[SecretFixed]:
    """`weighted_variance` of several pairs v, w, which are broadcast against each other, in the same rounds.

    Products are cut once they are summed, which keeps them below 2^61.
    """
    shares = [share for _, share in pairs]
    shapes = [np.broadcast_shapes(spread.shape, share.shape) for spread, share in pairs]
    flat = concatenate([share.ravel() for share in shares])
    squared = SecretFixed(flat.protocol, multiplied(flat, flat), 2 * flat.scale).rescaled(WEIGHT_SCALE)
    sides = ([spread.rescaled(VARIANCE_SCALE) for spread, _ in pairs], parts(squared, shares))
    left, right = (
        concatenate(
            [one.broadcast_to(shape).reshape(-1, shape[-1]) for one, shape in zip(side, shapes, strict=True)]
        )
        for side in sides
    )
    words = dotted(left, right)
    sums = SecretFixed(flat.protocol, words, VARIANCE_SCALE + WEIGHT_SCALE).rescaled(VARIANCE_SCALE)
    ends = np.cumsum([math.prod(shape[:-1]) for shape in shapes])
    starts = [0, *ends[:-1]]
    return [sums[a:b].reshape(shape[:-1]) for a, b, shape in zip(starts, ends, shapes, strict=True)]


def mean_decimals(tau: int) -> int:
    """Decimals of a released restricted mean: four significant digits of tau; its standard error has one more."""
    return max(0, 3 - math.floor(math.log10(tau)))


def variance_decimals(places: int) -> int:
    """Decimals with which a variance is opened whose mean is opened with ``places``: enough for its root to have about
    three digits, too few to show the noise of truncation."""
    return 2 * places + 1


def error_of(variance: NDArray[np.generic], places: int) -> NDArray[np.float64]:
    """The standard error of a variance opened as whole numbers of its last decimal, to one decimal more than the mean."""
    whole = np.maximum(np.asarray(variance, dtype=np.float64), 0)
    return np.asarray(np.round(np.sqrt(whole / 10.0 ** variance_decimals(places)), places + 1))


def rounded_numbers(numbers: Sequence[tuple[SecretFixed, int]]) -> list[SecretInt]:
    """Each array times its public factor, rounded to a whole number, all in the same rounds.

    Numbers of more than SCALE fractional bits are cut to SCALE first, down by less than two units of the last of these, which
    depends on masks; from there on rounding is exact. Needs |x| factor 2^SCALE < 2^61. The form in which reals may be
    released.
    """
    scaled = concatenate([(x.rescaled(SCALE) * factor).ravel() for x, factor in numbers])
    rounded = scaled.exact_round(0)
    return parts(rounded, [x for x, _ in numbers])


def curve_variance(found: Hazards, share: SecretFixed) -> SecretFixed:
    """Var S(t) of a mix: sum_g w_g^2 S_g(t)^2 G_g(t), G the Greenwood sum.

    Hazards (..., strata, bins), weights (..., strata) -> (..., bins).
    """
    terms = raw(found.hazard) * raw(found.rest)
    sums = real(terms.cumsum(terms.ndim - 1), 2 * SCALE).rescaled(GREENWOOD_SCALE)
    part = unit(found.survival * share[..., None])
    squared = (part * part).rescaled(HEIGHT_SCALE).with_bits(HEIGHT_SCALE + 2)
    weighted = sums.with_bits(GREENWOOD_SCALE + 3) * squared
    return weighted.sum(weighted.ndim - 2)
