"""Balance of covariates between two arms on shares: standardised mean differences before and after weighting.

d = (mean of the treated - mean of the comparator) / sqrt of the mean of both arms' variances before weighting; of a level,
p (1 - p). Before weighting from the hospitals' sums, after it from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.analyses.comparative_tables import COVARIATE_SCALE
from mpc_backend.analyses.secret_curves import SCALE
from mpc_backend.operations import divide, sqrt, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

MEAN_BITS = 4
"""An arm's mean lies within 16 scales of the centre, as every value does."""
WEIGHT_BITS, VALUE_BITS, SUM_BITS = 30, COVARIATE_SCALE + MEAN_BITS, 60
"""Of weights, covariates and sums of their products, as integers: weights lose bits here where rows are many, and no more,
for all rows that weigh nothing are then off by up to the last one."""
ROOT_SCALE = 20
LEAST_VARIANCE = 2.0**-10
"""A covariate of less variance, in its scales, counts as constant."""
DIFFERENCE_BITS = 6


@dataclass(frozen=True)
class Moments:
    """By arm: persons (2,), and sums and sums of squares of the covariates (2, columns) over all hospitals."""

    persons: SecretInt
    sums: SecretFixed
    squares: SecretFixed


@dataclass(frozen=True)
class Balance:
    """Standardised differences (columns,) at SCALE, and whether the covariate varies at all (columns,)."""

    before: SecretFixed
    after: SecretFixed
    varies: SecretBits


def balance(weights: SecretFixed, covariates: SecretFixed, moments: Moments) -> Balance:
    """``weights`` (2, n), zero in the other arm's rows; ``covariates`` (n, columns)."""
    persons = moments.persons[:, None].broadcast_to(moments.sums.shape).with_bits(22)
    mean = divide(moments.sums, persons, ROOT_SCALE, quotient_bits=COVARIATE_SCALE + MEAN_BITS + 1)
    square = divide(moments.squares, persons, ROOT_SCALE, quotient_bits=COVARIATE_SCALE + 2 * MEAN_BITS + 1)
    variance = (square - (mean * mean)).sum(0) * 0.5
    after = _weighted_means(weights, covariates)
    root = sqrt(variance.with_bits(ROOT_SCALE + 10), ROOT_SCALE).with_bits(ROOT_SCALE + 6)
    differences = stack([mean[1] - mean[0], after[1] - after[0]])
    bottom = root[None].broadcast_to(differences.shape)
    found = divide(differences.with_bits(ROOT_SCALE + 7), bottom, SCALE, quotient_bits=DIFFERENCE_BITS + 2)
    return Balance(found[0], found[1], variance > LEAST_VARIANCE)


def _weighted_means(weights: SecretFixed, covariates: SecretFixed) -> SecretFixed:
    """Weighted means (2, columns) at ROOT_SCALE; shortened weights are summed and divided by alike."""
    row_bits = (weights.shape[1] - 1).bit_length()
    bits = min(WEIGHT_BITS, SUM_BITS - VALUE_BITS - row_bits)
    short = weights.rescaled(weights.scale - (WEIGHT_BITS - bits)).with_bits(bits + 1)
    top = (short @ covariates).with_bits(SUM_BITS + 1)
    bottom = short.sum(1).with_bits(bits + row_bits + 1)[:, None].broadcast_to(top.shape)
    return divide(top, bottom, ROOT_SCALE, quotient_bits=MEAN_BITS + 1 + top.scale - short.scale)
