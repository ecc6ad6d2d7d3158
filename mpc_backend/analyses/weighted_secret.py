"""Weighted Kaplan-Meier curves with robust variances on shares; formulae as in `weighted_curves`.

Sums of weights by time are matrix products of weights with one-hot times: traffic counts arms and times, not persons.
Numbers are taken as shares of the arm's total weight, so that ranges are public: a hazard, a share at risk and a share of
the squared weights lie in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.analyses.secret_curves import SCALE, fractions, raw, real, unit
from mpc_backend.operations import concatenate, divide, prefix_product, reciprocal, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SUM_BITS = 58
"""2^20 squares of weights below 2^36 as integers."""
SENSITIVITY_SCALE = 16
LEAST_LEFT = 2.0**-12
"""Share of an arm's weight without failure at tau below which there is no estimate: its inverse, and what a person's weight
changes, stay below 2^12, and squares at SENSITIVITY_SCALE below 2^58."""
SQUARE_SCALE = 20
SPREAD_SCALE, SIZE_SCALE = 24, 32
"""Of the variance times the effective size (below 2^6), and of 1 / effective size (below 2^-3): products below 2^61."""
VARIANCE_SCALE = 40
PERSON_BITS = 22
"""Signed width of a number of persons, at most 2^20."""
SIZE_PLACES = 10


@dataclass(frozen=True)
class SecretTables:
    """Integers behind sums of weights (2, bins) and of squared weights; see `weighted_curves.WeightedTables`."""

    exits: SecretInt
    events: SecretInt
    exit_squares: SecretInt
    event_squares: SecretInt


@dataclass(frozen=True)
class SecretEstimates:
    """By arm (2,): survival at tau and the restricted mean as a share of tau, at SCALE, both with variances at VARIANCE_SCALE,
    and whether enough weight is left at tau."""

    survival: SecretFixed
    survival_variance: SecretFixed
    mean: SecretFixed
    mean_variance: SecretFixed
    followed: SecretBits


def sums_by_time(rows: SecretInt, times: SecretInt) -> SecretInt:
    """Sums of rows (k, n) by one-hot time (n, bins) -> (k, bins), exact."""
    return (rows @ times).with_bits(SUM_BITS)


def estimates(tables: SecretTables, size: SecretFixed) -> SecretEstimates:
    """``size``: 1 / effective size (2,) at SIZE_SCALE."""
    tau = tables.exits.shape[1] - 1
    at_risk = tables.exits[:, ::-1].cumsum(1)[:, ::-1].with_bits(SUM_BITS)
    everybody = at_risk[:, :1].broadcast_to(at_risk.shape)
    squares = tables.exit_squares.sum(1)[:, None].with_bits(SUM_BITS).broadcast_to(at_risk.shape)
    censored = (tables.exit_squares - tables.event_squares).with_bits(SUM_BITS)
    hazard, left, failed, lost = fractions(
        [
            (tables.events, at_risk),
            ((at_risk - tables.events).with_bits(SUM_BITS), everybody),
            (tables.event_squares, squares),
            (censored, squares),
        ]
    )
    survival = unit(prefix_product(unit(1.0 - hazard), axis=-1))
    behind = survival[:, :tau][:, ::-1].cumsum(1)[:, ::-1] * (1.0 / tau)
    area = unit(concatenate([behind, behind[:, :1] * 0], axis=1))
    end = survival[:, tau:].broadcast_to(survival.shape)
    inverse = reciprocal(left.with_bits(SCALE + 2), SENSITIVITY_SCALE)
    spread = _spread(stack([area, end]), inverse, hazard, stack([failed, lost]))
    variance = _times_size(spread, size)
    followed = left[:, tau] > LEAST_LEFT  # the least of all, as it falls from time to time
    return SecretEstimates(survival[:, tau], variance[1], area[:, 0], variance[0], followed)


def _spread(
    derivative: SecretFixed, inverse: SecretFixed, hazard: SecretFixed, shares: SecretFixed
) -> SecretFixed:
    """Sum over times of shares of squared weights times squared sensitivities: (measures, 2) at SPREAD_SCALE.

    Derivatives (measures, 2, bins); inverse and hazard (2, bins); shares (failed and not, 2, bins).
    """
    phi = real(raw(derivative) * raw(inverse)[None], SCALE + SENSITIVITY_SCALE).rescaled(SENSITIVITY_SCALE)
    terms = raw(phi) * raw(hazard)[None]
    psi = real(terms.cumsum(2), SENSITIVITY_SCALE + SCALE).rescaled(SENSITIVITY_SCALE)
    both = stack([psi - phi, psi]).with_bits(SENSITIVITY_SCALE + 14)
    squares = real(raw(both) * raw(both), 2 * SENSITIVITY_SCALE).rescaled(SQUARE_SCALE)
    weighted = raw(squares) * raw(shares)[:, None]
    return real(weighted.sum(3).sum(0), SQUARE_SCALE + SCALE).rescaled(SPREAD_SCALE)


def _times_size(spread: SecretFixed, size: SecretFixed) -> SecretFixed:
    """Variance (measures, 2) from the spread and 1 / effective size (2,)."""
    product = raw(spread) * raw(size)[None]
    return real(product, SPREAD_SCALE + SIZE_SCALE).rescaled(VARIANCE_SCALE)


def effective_size(total: SecretInt, squares: SecretInt, persons: SecretInt, scale: int) -> SecretFixed:
    """(sum w)^2 / sum w^2 at SIZE_PLACES, 0 where there is nobody; all of one shape.

    ``total`` and ``squares``: integers behind weights at ``scale`` below 2^30, and squares at 2 scale - 24. From the mean
    weight and the mean square, whose ranges are those of one weight: the share of persons is their ratio, at most 1.
    """
    places = 2 * scale - 24
    mean = divide(real(total.with_bits(52), scale), persons, scale, quotient_bits=30)
    square = divide(real(squares.with_bits(SUM_BITS), places), persons, places, quotient_bits=36)
    squared = real(raw(mean) * raw(mean), 2 * scale).rescaled(places).with_bits(38)
    share = unit(divide(squared, square.with_bits(38), SCALE, quotient_bits=1))
    return real(raw(share) * persons, SCALE).rescaled(SIZE_PLACES).with_bits(SIZE_PLACES + PERSON_BITS)


def inverse_size(size: SecretFixed) -> SecretFixed:
    """1 / effective size at SIZE_SCALE."""
    return reciprocal(size, SIZE_SCALE)
