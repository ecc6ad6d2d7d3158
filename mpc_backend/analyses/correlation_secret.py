"""Means, variances, covariances and correlations on shares, from pooled sums of products."""

from __future__ import annotations

import numpy as np

from mpc_backend.analyses.linear_secret import MEAN_SCALE, ROWS_BITS, normalised
from mpc_backend.analyses.regression_release import Found
from mpc_backend.operations import concatenate, divide, sqrt
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SCALE = 28
LARGEST_MEAN, LARGEST_SQUARE = 4.0, 16.0
"""In declared scales: beyond them the declaration is wrong, and products would not fit."""
SMALLEST_SQUARE = 2.0**-10
"""Below it a variable has no correlations."""


def moments(products: SecretFixed, persons: SecretInt) -> tuple[Found, SecretBits]:
    """Mean and variance of each variable (q,), covariance and correlation of each pair i < j (pairs,), in declared scales;
    and which variables vary (q,).

    ``products`` (q + 1, q + 1): sums of products of constant and variables; ``persons`` (1,). Sums are divided by the
    persons to a power of four first, so that nothing depends on how many there are.
    """
    q = products.shape[0] - 1
    first, second = np.triu_indices(q, 1)
    whole, power, _ = normalised(persons)
    rest = (persons.widen(64) - 1) * power
    words = (SecretInt(products.protocol, products.shares, 62) * power.reshape(1, 1)).shares
    mean_products = SecretFixed(products.protocol, words, products.scale + ROWS_BITS).rescaled(MEAN_SCALE)
    sums = mean_products[0, 1:].rescaled(SCALE).with_bits(SCALE + 8)
    mean = divide(sums, whole, SCALE, quotient_bits=12)
    outer = (sums[:, None] * mean[None, :]).rescaled(SCALE)
    square = (mean_products[1:, 1:].rescaled(SCALE) - outer).with_bits(SCALE + 6)
    places = np.arange(q)
    divisor = SecretFixed(rest.protocol, rest.shares, ROWS_BITS, ROWS_BITS + 1)
    spread = divide(square, divisor, SCALE, quotient_bits=10)
    roots = sqrt(square[places, places].with_bits(SCALE + 6), SCALE).with_bits(SCALE + 4)
    numbers = {"mean": mean, "variance": spread[places, places]}
    if len(first):
        both = (roots[first] * roots[second]).with_bits(SCALE + 6)
        numbers["covariance"] = spread[first, second]
        numbers["pearson"] = divide(square[first, second], both, SCALE, quotient_bits=2)
    varies = square[places, places] > SMALLEST_SQUARE
    usual = concatenate([mean - LARGEST_MEAN, -mean - LARGEST_MEAN, square[places, places] - LARGEST_SQUARE])
    return Found(numbers, (usual < 0).all() & (persons > 1)[0]), varies
