"""What a description of groups computes on shares: means and variances, quartiles, standardised differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.correlation_secret import LARGEST_MEAN, LARGEST_SQUARE, SCALE, SMALLEST_SQUARE
from mpc_backend.analyses.linear_secret import MEAN_SCALE, ROWS_BITS, normalised
from mpc_backend.analyses.secret_curves import fractions
from mpc_backend.operations import concatenate, divide, floor_divide, maximum, positive_inverse, sqrt, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHARE_SCALE = 30
SPREAD = 2.0**-4
"""Added to all elements of a covariance of shares, whose rows add up to zero: it then has an inverse, and gives the same
number for differences, which add up to zero as well."""
DIFFERENCE_SCALE, DIFFERENCE_BITS = 28, 5
COUNT_BITS = 30


@dataclass(frozen=True)
class Moments:
    """Mean and variance in declared scales (...), and whether they hold (...)."""

    mean: SecretFixed
    variance: SecretFixed
    usable: SecretBits


def moments(sums: SecretFixed, persons: SecretInt) -> Moments:
    """From sums of numbers and of their squares (..., 2) of so many persons (...)."""
    shape, flat = persons.shape, persons.ravel()
    whole, power, _ = normalised(flat)
    words = (SecretInt(sums.protocol, sums.shares, 62).reshape(-1, 2) * power[:, None]).shares
    means = SecretFixed(sums.protocol, words, sums.scale + ROWS_BITS).rescaled(MEAN_SCALE).rescaled(SCALE)
    first = means[:, 0].with_bits(SCALE + 8)
    mean = divide(first, whole, SCALE, quotient_bits=12)
    square = (means[:, 1] - (first * mean).rescaled(SCALE)).with_bits(SCALE + 6)
    rest = (flat.widen(64) - 1) * power
    divisor = SecretFixed(rest.protocol, rest.shares, ROWS_BITS, ROWS_BITS + 1)
    variance = divide(square, divisor, SCALE, quotient_bits=10)
    bounds = stack([mean - LARGEST_MEAN, -mean - LARGEST_MEAN, square - LARGEST_SQUARE])
    usable = (bounds < 0).all(axis=0) & (flat > 1)
    return Moments(mean.reshape(shape), variance.reshape(shape), usable.reshape(shape))


def quartiles(bins: Sequence[SecretInt]) -> SecretInt:
    """Quartiles (3, groups, numbers) in quarters of a grid step from its low end, of counts (groups, bins) a number.

    R's type 7: of n sorted values the one at place (n - 1) q, counted from 0, halfway places interpolated. The value at a
    whole place is the number of bins whose running count does not exceed it. All comparisons are made at once.
    """
    running = [each.cumsum(1) for each in bins]
    totals = stack([each[:, -1] for each in running], axis=1).with_bits(COUNT_BITS)
    wanted = stack([(totals - 1) * quarter for quarter in (1, 2, 3)]).with_bits(COUNT_BITS + 2)
    lower = floor_divide(wanted, 4)
    part = wanted - lower * 4
    flags = []
    for place, counts in enumerate(running):
        ends = stack([lower[:, :, place], lower[:, :, place] + 1])[..., None]
        flags.append((counts[None, None] - ends).with_bits(COUNT_BITS + 1))
    passed = (concatenate([each.reshape(-1) for each in flags]) <= 0).to_int(32)
    found, first = [], 0
    for each in flags:
        found.append(passed[first : first + each.size].reshape(each.shape).sum(each.ndim - 1))
        first += each.size
    index = stack(found, axis=3).widen(64).with_bits(18)
    part = part.with_bits(4)
    return index[0] * (4 - part) + index[1] * part


def number_differences(found: Moments) -> tuple[SecretFixed, SecretBits]:
    """Standardised differences of means against the first group (groups - 1, numbers), and whether they hold.

    ``found``: (groups, numbers). d = (m - m_0) / sqrt((v + v_0) / 2).
    """
    difference = (found.mean[1:] - found.mean[:1]).with_bits(SCALE + 5)
    pooled = (found.variance[1:] + found.variance[:1]).with_bits(SCALE + 8)
    root = sqrt(pooled, SCALE).with_bits(SCALE + 5)
    scaled = divide(difference, root, DIFFERENCE_SCALE, quotient_bits=8)
    varies = (pooled > SMALLEST_SQUARE) & found.usable[1:] & found.usable[:1].broadcast_to(pooled.shape)
    return (scaled * float(np.sqrt(2))).rescaled(DIFFERENCE_SCALE), varies


def level_differences(counts: SecretInt, exists: np.ndarray) -> tuple[SecretFixed, SecretBits]:
    """Standardised differences of shares against the first group (groups - 1, variables), and whether they hold.

    ``counts`` (groups, variables, levels), public ``exists`` (variables, levels). Yang and Dalton, SAS Global Forum 2012:
    d^2 = T' S^- T, T the difference of shares and S the mean of their multinomial covariances.
    """
    groups, variables, levels = counts.shape
    whole = counts.sum(2).reshape(groups, variables, 1).broadcast_to(counts.shape)
    (share,) = fractions([(counts.with_bits(COUNT_BITS), whole.with_bits(COUNT_BITS))])
    left, right = share[1:], share[:1].broadcast_to((groups - 1, variables, levels))
    absent = (counts[1:] + counts[:1]).with_bits(COUNT_BITS) == 0
    both = stack([left, right])
    outer = (both[..., :, None] * both[..., None, :]).sum(0)
    unit = np.eye(levels)
    spread = (left + right)[..., None] * unit.astype(np.int64) - outer
    real = (exists[:, :, None] & exists[:, None, :]) * SPREAD
    dead = absent.to_int().to_fixed(SHARE_SCALE)[..., None] * unit.astype(np.int64)
    padded = unit * ~exists[:, :, None]
    halves = SecretFixed(spread.protocol, spread.shares, spread.scale + 1).rescaled(SHARE_SCALE)
    existing = exists.astype(np.int64)
    matrix = (halves + dead * existing[:, :, None] + real + padded).with_bits(SHARE_SCALE + 3)
    inverse = positive_inverse(matrix)
    difference = (left - right) * existing
    square = inverse.form(difference, SHARE_SCALE, DIFFERENCE_BITS)
    some = counts.sum(2) > 0
    both_have = some[1:] & some[:1].broadcast_to((groups - 1, variables))
    size = maximum(square.with_bits(2 * DIFFERENCE_BITS + SHARE_SCALE), 0.0)
    root = sqrt(size.with_bits(2 * DIFFERENCE_BITS + SHARE_SCALE), DIFFERENCE_SCALE)
    return root, ~inverse.deficient & both_have
