"""Least squares on shares, from pooled sums of products.

All from inverses of positive definite matrices, which keep relative accuracy where differences of sums would not: the
element of the outcome in the inverse of the whole matrix is one over the residual sum of squares.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.analyses.regression_parameters import LinearParameters
from mpc_backend.analyses.regression_release import Found, intercept_weights
from mpc_backend.operations import concatenate, divide, positive_inverse, reciprocal, sqrt
from mpc_backend.operations.normalise import leading_bit, weighted
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

ROWS_BITS = 26
"""Persons in all, and so residual degrees of freedom, stay below 2^26."""
MEAN_SCALE = 36
MEAN_BITS = MEAN_SCALE + 14
"""Mean squares stay below 64^2 times a step of four."""
INVERSE_SCALE, INVERSE_BITS = 28, 20
LARGEST_BITS = 8
"""Coefficients of the standardised variables lie below 2^8."""
SMALLEST = 2.0**-7
"""Mean square of a number about its declared centre, in scales, below which the declared scale is wrong."""


def solved(parameters: LinearParameters, products: SecretFixed, persons: SecretInt) -> Found:
    """Coefficients (terms,), their errors, sigma and R squared, in standardised units; the first coefficient is the
    intercept over its size.

    ``products`` (q, q): sums of products of constant, covariates and outcome; ``persons`` ().
    """
    terms = len(parameters.terms)
    freedom = (persons - terms).reshape(1)
    rest, power, root = normalised(freedom)
    words = (SecretInt(products.protocol, products.shares, 62) * power.reshape(1, 1)).shares
    mean = SecretFixed(products.protocol, words, products.scale + ROWS_BITS).rescaled(MEAN_SCALE)
    inverse = positive_inverse(_systems(mean.with_bits(MEAN_BITS), terms))
    whole = inverse.matrix(INVERSE_SCALE, INVERSE_BITS).with_bits(INVERSE_SCALE + INVERSE_BITS + 1)
    left, total = whole[1, terms, terms].reshape(1), whole[2, terms, terms].reshape(1)
    narrow = left.with_bits(INVERSE_SCALE + 19)
    slopes = -divide(whole[1, :terms, terms], narrow, INVERSE_SCALE, quotient_bits=LARGEST_BITS)
    ratio = divide(total, narrow, INVERSE_SCALE, quotient_bits=1)
    spread = _root_of(narrow, rest)
    row, _ = intercept_weights(parameters.back)
    errors = _errors(inverse.errors(26)[0, :terms], whole[0, :terms, :terms], row)
    numbers = {
        "coefficient": _with_intercept(slopes, row),
        "error": _shrunk(divide(errors, spread, INVERSE_SCALE, quotient_bits=16), root),
        "sigma": reciprocal(spread, INVERSE_SCALE)[0],
        "r_squared": (1.0 - ratio)[0],
    }
    usual = _in_range(parameters, mean, whole, left) & ~inverse.deficient.any()
    return Found(numbers, usual & (freedom[0] > 0))


def normalised(freedom: SecretInt) -> tuple[SecretFixed, SecretInt, SecretInt]:
    """f 4^l / 2^ROWS_BITS in [1/4, 1) at ROWS_BITS, 4^l, and 2^l, of f degrees of freedom (1,)."""
    protocol, places = freedom.protocol, range(ROWS_BITS)
    hot = leading_bit(protocol, freedom.widen(64).with_bits(ROWS_BITS + 1).flat, ROWS_BITS)
    halves = [(ROWS_BITS - 1 - place) // 2 for place in places]
    power = SecretInt(protocol, weighted(hot, [4**half for half in halves]), ROWS_BITS + 1)
    root = SecretInt(protocol, weighted(hot, [2**half for half in halves]), ROWS_BITS // 2 + 1)
    whole = (freedom.widen(64) * power).with_bits(ROWS_BITS + 1)
    return SecretFixed(protocol, whole.shares, ROWS_BITS, ROWS_BITS + 1), power, root


def _systems(mean: SecretFixed, terms: int) -> SecretFixed:
    """(3, q, q): without the outcome; whole; constant and outcome alone. What is left out has 1 on the diagonal."""
    q = terms + 1
    masks = np.zeros((3, q, q), dtype=np.int64)
    masks[0, :terms, :terms] = 1
    masks[1] = 1
    ends = np.ix_([2], [0, terms], [0, terms])
    masks[ends] = 1
    filled = np.eye(q) * (1 - masks[:, np.arange(q), np.arange(q)])[:, None, :]
    return (mean[None].broadcast_to((3, q, q)) * masks + filled).with_bits(MEAN_BITS)


def _root_of(left: SecretFixed, rest: SecretFixed) -> SecretFixed:
    """The root of 1 / (residual mean square), at scale 26: below 2^10."""
    product = left.rescaled(22).with_bits(42) * rest.rescaled(20).with_bits(22)
    return sqrt(product.with_bits(44), 26).with_bits(26 + 11)


def _errors(own: SecretFixed, covariance: SecretFixed, row: np.ndarray) -> SecretFixed:
    """Roots of the variances (terms,), that of the intercept from the row of weights that gives it."""
    outer = (covariance.rescaled(22) * np.outer(row, row)).sum(1).sum(0)
    first = sqrt(outer.reshape(1).with_bits(22 + INVERSE_BITS + 6), 26)
    return concatenate([first, own[1:]]).with_bits(26 + 14)


def _shrunk(errors: SecretFixed, root: SecretInt) -> SecretFixed:
    """Errors times 2^l / 2^(ROWS_BITS / 2): the root of one over the degrees of freedom that `normalised` left out."""
    words = (SecretInt(errors.protocol, errors.shares, 46) * root).shares
    return SecretFixed(errors.protocol, words, errors.scale + ROWS_BITS // 2).rescaled(34)


def _with_intercept(slopes: SecretFixed, row: np.ndarray) -> SecretFixed:
    """Coefficients (terms,) with the intercept over its size in the first place."""
    scale = 22
    weights = np.rint(row * 2.0**scale).astype(np.int64)
    total = SecretInt(slopes.protocol, slopes.shares, 62) * weights
    first = SecretFixed(slopes.protocol, total.sum(0).shares, slopes.scale + scale).rescaled(slopes.scale)
    return concatenate([first.reshape(1), slopes[1:]])


def _in_range(
    parameters: LinearParameters, mean: SecretFixed, whole: SecretFixed, left: SecretFixed
) -> SecretBits:
    """Whether the numbers vary on the scale that was declared for them, and coefficients keep to their bound ()."""
    terms = len(parameters.terms)
    numeric = [place for place, name in enumerate(parameters.terms) if name in parameters.covariates]
    diagonal = mean.rescaled(INVERSE_SCALE)[np.array([*numeric, terms]), np.array([*numeric, terms])]
    slopes, bound = whole[1, :terms, terms], left * (1 << LARGEST_BITS)
    checks = concatenate([SMALLEST - diagonal, slopes - bound, -slopes - bound])
    return (checks < 0).all()
