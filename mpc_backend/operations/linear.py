"""Symmetric positive definite systems on shares: inverse, solution, standard errors, quadratic forms; many at a time.

A (p, p) is scaled by secret powers of two to N with its diagonal in [1/4, 1), which makes ranges public, and is cut to
`MATRIX_SCALE` fractional bits. N is inverted by sweeping one column after the other (Goodnight, The American Statistician
1979), the whole matrix at once and without exchange of rows, in coarse fixed point; three Newton steps X (2 - N X) then
square the error each. Their residual 1 - N X is small while its terms are not: computed mod 2^64 it is exact, to 2^-70.

A pivot is a column's variance that the columns before it do not explain: where it falls below 2^-`TOLERANCE_BITS` of the
whole, or the last residual is not small, the system is `PositiveInverse.deficient` and its numbers mean nothing. Comparing
adds no cut, but N, the pivots and X come of many cuts whose last unit depends on masks. Close to the tolerance the flag may
therefore fall either way for one and the same A. It says then something about masks, and of A no more than that it is near
the tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpc_backend.circuits.truncate import floor_shift
from mpc_backend.kernels.arrays import Words
from mpc_backend.operations.arrange import concatenate, stack
from mpc_backend.operations.divide import reciprocal
from mpc_backend.operations.normalise import leading_bit, magnitude_bits, weighted
from mpc_backend.operations.reduce import dot
from mpc_backend.operations.roots import sqrt
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.products import dotted

MOST_COLUMNS = 24
TOLERANCE_BITS = 14
"""The smallest pivot is 2^-14 of the column's diagonal: a variance inflation of 16,384."""
MATRIX_SCALE = 40
SWEEP_SCALE = 23
"""Swept elements lie below 2^14 as long as no pivot is below the tolerance; products of two of them below 2^60."""
INVERSE_SCALE = 30
RESIDUAL_SCALES = (23, 26, 29)
"""Of 1 - N X at each Newton step; its product with X stays below 2^61, as it shrinks from step to step."""
LARGEST_RESIDUAL_BITS = -10
"""The root of the sum of squares of the last residual lies below 2^-10."""
PIVOT_BITS, RESIDUAL_SIZE_BITS = 56, 60
"""Signed widths at which pivots and the residual are compared; argued where they are."""
DAMPED_SCALE = 30
MOST_DOUBLINGS = 18
CHAIN = 4
"""Doublings from one residual, each of which doubles its error of 2^-17 at most."""
WIDEST = 60
"""Signed width of the elements of A; narrower declarations are cheaper."""


@dataclass(frozen=True)
class ScaledInverse:
    """The inverse of A (..., p, p) as D X D 2^(-2 half), D the ``power`` of two of each column (..., p).

    ``standard``: X (..., p, p) at `INVERSE_SCALE`, the inverse of the scaled matrix. ``half``: half of the difference between
    the width of A's elements and their scale.
    """

    standard: SecretFixed
    power: SecretInt
    half: int

    def solve(self, right: SecretFixed, scale: int, bound_bits: int = 12) -> SecretFixed:
        """A^-1 b for b (..., p), with ``scale`` fractional bits.

        ``bound_bits``: |x_i| sqrt(A_ii) < 2^bound_bits, a number of standard errors where A is an information matrix. 7 to
        11 rounds, by what has to be cut. The error grows with the variance inflation A_ii (A^-1)_ii. Measured after
        `positive_inverse`, largest of 16 systems of 3 to 6 columns, in units of 1 / sqrt(A_ii) and in standard errors
        sqrt((A^-1)_ii): 2^-24.6 and 2^-24.8 at inflations near 1 (bound_bits 3), 2^-22.1 and 2^-23.6 up to 9 (8), 2^-14.2
        and 2^-19.1 up to 1,284 (8).
        """
        own = (61 - bound_bits) // 2
        scaled = self._scaled(right, own)
        solved = self._product(scaled, own, 61 - bound_bits)
        return self._unscaled(solved, scale, bound_bits)

    def _scaled(self, right: SecretFixed, scale: int) -> SecretFixed:
        """D b 2^-half: products with X are then the same whatever A's size."""
        words = right.protocol.multiply(right.flat, self.power.flat)
        return (
            SecretFixed(right.protocol, words, right.scale + self.half).reshape(right.shape).rescaled(scale)
        )

    def _product(self, scaled: SecretFixed, own: int, total: int) -> SecretFixed:
        standard = self.standard.rescaled(min(total - own, INVERSE_SCALE))
        words = dotted(standard, scaled[..., None, :])
        return SecretFixed(scaled.protocol, words, own + standard.scale)

    def _unscaled(self, solved: SecretFixed, scale: int, bound_bits: int) -> SecretFixed:
        """y D 2^-half for |y| < 2^bound_bits; the power of two leaves as many places as the declared width of A."""
        kept = min(solved.scale, 61 - bound_bits, max(scale - self.half, 61 - bound_bits - self._power_bits))
        words = solved.protocol.multiply(solved.rescaled(kept).flat, self.power.flat)
        return SecretFixed(solved.protocol, words, kept + self.half).reshape(solved.shape).rescaled(scale)

    @property
    def _power_bits(self) -> int:
        return self.power.bits - 1

    def matrix(self, scale: int, largest_bits: int = 0) -> SecretFixed:
        """A^-1 (..., p, p) with ``scale`` fractional bits, every element below 2^largest_bits.

        Four rounds, six where X is cut first.
        """
        kept = min(INVERSE_SCALE, 61 - largest_bits - 2 * self.half)
        both = self.power[..., :, None] * self.power[..., None, :]
        words = both.protocol.multiply(self.standard.rescaled(kept).flat, both.flat)
        return (
            SecretFixed(both.protocol, words, kept + 2 * self.half)
            .reshape(self.standard.shape)
            .rescaled(scale)
        )

    def errors(self, scale: int) -> SecretFixed:
        """The square roots of the diagonal of A^-1 (..., p), with ``scale`` fractional bits: relative error 2^-24."""
        places = np.arange(self.standard.shape[-1])
        roots = sqrt(self.standard[..., places, places].with_bits(INVERSE_SCALE + 16), 26)
        return self._unscaled(roots, scale, 8)

    def form(self, right: SecretFixed, scale: int, bound_bits: int = 12) -> SecretFixed:
        """b' A^-1 b (...) for b (..., p), below 2^(2 bound_bits). 11 to 15 rounds."""
        own = (61 - bound_bits) // 2
        scaled = self._scaled(right, own)
        solved = self._product(scaled, own, 61 - bound_bits)
        kept = min((60 - 2 * bound_bits) // 2, own)
        return dot(scaled.rescaled(kept), solved.rescaled(kept)).rescaled(scale)


@dataclass(frozen=True)
class PositiveInverse(ScaledInverse):
    """With ``deficient`` (...): there is no inverse, and the numbers mean nothing."""

    deficient: SecretBits


def positive_inverse(matrix: SecretFixed) -> PositiveInverse:
    """The inverse of symmetric positive definite matrices (..., p, p), p <= 24; about 46 rounds a column and 64 more.

    Goodnight, The American Statistician 1979, and Newton's steps of Schulz, ZAMM 13, 1933.

    The declared width (at most 60 bits) bounds the diagonal; tell it with `with_bits` where it is known, because the result
    keeps more places then. Measured relative errors: 2^-28 of the inverse where its ``scale`` has that many places, 2^-24.7 of
    its standard errors; `ScaledInverse.solve` says what a solution has.

    Raises:
        ValueError: not square, or more columns than `MOST_COLUMNS`.
    """
    scaled, power, half = _scaled(matrix)
    swept, pivots = _swept(scaled)
    inverse, loose = _refined(scaled, swept)
    deficient = (_low(scaled, pivots).any(axis=1) | loose).reshape(matrix.shape[:-2])
    return PositiveInverse(inverse.reshape(matrix.shape), power.reshape(matrix.shape[:-1]), half, deficient)


def damped_inverse(matrix: SecretFixed, doublings: int = 16) -> ScaledInverse:
    """A matrix between 0 and the inverse of A (..., p, p), which it is but for directions that A hardly has.

    Newton's iteration (Schulz, ZAMM 13, 1933) from a multiple of the identity, so that rounds do not grow with p: three a
    doubling, and three more for every fourth. A direction whose share of N's eigenvalues is l comes out as
    1 - (1 - l)^(2^doublings) of its inverse, to about 2^-13: enough to set the step of an iteration, which it never makes too
    long. Raises ValueError as `positive_inverse`.
    """
    scaled, power, half = _scaled(matrix)
    p = matrix.shape[-1]
    start = np.eye(p) / (1 << (p - 1).bit_length())
    coarse = scaled.rescaled(DAMPED_SCALE)
    inverse = coarse * 0 + start
    for done in range(0, doublings, CHAIN):
        inverse = _doubled(coarse, inverse, done, min(CHAIN, doublings - done))
    return ScaledInverse(
        inverse.rescaled(INVERSE_SCALE).reshape(matrix.shape), power.reshape(matrix.shape[:-1]), half
    )


def _doubled(matrix: SecretFixed, inverse: SecretFixed, done: int, count: int) -> SecretFixed:
    """X (1 + R)(1 + R^2)(1 + R^4)... of ``count`` factors, R = 1 - N X: as many of Newton's steps, after ``done`` of them.

    A power is squared in the rounds in which X takes it in. What it was cut by doubles each time, and X grows as much: after
    a few, R is worked out anew.
    """
    largest = max(0, min(done + count, MOST_DOUBLINGS) - (matrix.shape[-1] - 1).bit_length())
    power = _residual(matrix, inverse).rescaled(DAMPED_SCALE - largest)
    for _ in range(count - 1):
        # Both products are cut by the places of the power, whatever stands to its left.
        left = concatenate([inverse, inverse.like(power.shares, inverse.bits)])
        made = _times(left, concatenate([power, power]), DAMPED_SCALE)
        inverse, power = inverse + made[: len(inverse)], power.like(made[len(inverse) :].shares, power.bits)
    return inverse + _times(inverse, power, DAMPED_SCALE)


def _products(left: SecretFixed, right: SecretFixed) -> Words:
    """Matrix products (b, p, p), not truncated."""
    return dotted(left[:, :, None, :], right.rearranged(lambda words: words.swapaxes(1, 2))[:, None, :, :])


def _times(left: SecretFixed, right: SecretFixed, scale: int) -> SecretFixed:
    return SecretFixed(left.protocol, _products(left, right), left.scale + right.scale).rescaled(scale)


def _scaled(matrix: SecretFixed) -> tuple[SecretFixed, SecretInt, int]:
    """N (b, p, p) at MATRIX_SCALE with its diagonal in [1/4, 1), the powers of two D (b, p), and half: N = D A D 4^-half."""
    rows, columns = matrix.shape[-2:]
    if rows != columns or not 1 <= rows <= MOST_COLUMNS:
        raise ValueError(
            f"a square matrix of 1 to {MOST_COLUMNS} columns is needed, found shape {matrix.shape}"
        )
    flat = matrix.reshape(math.prod(matrix.shape[:-2]), rows, rows)
    flat = flat if flat.scale % 2 == 0 else flat.rescaled(flat.scale + 1)
    protocol, places = matrix.protocol, np.arange(rows)
    diagonal = flat[:, places, places].with_bits(min(flat.bits, WIDEST))
    length = magnitude_bits(diagonal)
    even = length + length % 2
    hot = leading_bit(protocol, diagonal.flat, length)
    words = weighted(hot, [1 << ((even - 1 - place) // 2) for place in range(length)])
    power = SecretInt(protocol, words.reshape(len(words), *diagonal.shape), even // 2 + 1)
    whole = SecretInt(protocol, flat.shares, WIDEST) * power[:, :, None]
    scaled = SecretFixed(protocol, (whole.with_bits(WIDEST) * power[:, None, :]).shares, even)
    return scaled.rescaled(MATRIX_SCALE).with_bits(MATRIX_SCALE + 2), power, (even - flat.scale) // 2


def _swept(matrix: SecretFixed) -> tuple[SecretFixed, SecretFixed]:
    """Minus the inverse (b, p, p), coarse, and the pivots (b, p), from N (b, p, p).

    Sweeping k: a_ij - a_ik a_kj / d off the cross, a_ik / d on it, -1 / d in its middle; symmetry is kept.
    """
    state, p, pivots = matrix.rescaled(SWEEP_SCALE), matrix.shape[-1], []
    for k in range(p):
        here = np.arange(p) == k
        column, pivot = state[:, :, k], state[:, k, k]
        pivots.append(pivot)
        inverse = reciprocal(pivot.with_bits(SWEEP_SCALE + 2), SWEEP_SCALE)[:, None]
        factor = column * inverse
        outer = factor[:, :, None] * column[:, None, :]
        arm = factor * (~here).astype(np.int64) - inverse * here.astype(np.int64)
        rest = np.outer(~here, ~here).astype(np.int64)
        state = (
            (state - outer) * rest
            + arm[:, :, None] * here[None, :].astype(np.int64)
            + arm[:, None, :] * np.outer(here, ~here).astype(np.int64)
        )
    return -state, stack(pivots, axis=1)


def _low(matrix: SecretFixed, pivots: SecretFixed) -> SecretBits:
    """Which pivots (b, p) are below the tolerance, or below 17 / 16 of it where the diagonal is 1.

    Nothing more is cut for it: pivot - 2^-14 diagonal < 2^-18, times 2^(40 + 14), is a statement about whole numbers. A
    pivot lies below 1, so that 2^31 times its words is below 2^54; the diagonal's words are below 2^40. After the first
    pivot that is too small, later ones do not matter. That one which the errors of the sweep take below zero stays above
    -1 is not proved: they grow some 2^8 with each pivot close to the tolerance. The residual is compared for this too.
    """
    protocol, places = matrix.protocol, np.arange(matrix.shape[-1])
    whole, up = matrix.scale + TOLERANCE_BITS, matrix.scale + TOLERANCE_BITS - SWEEP_SCALE
    words = (pivots.shares << np.uint64(up)) - matrix[:, places, places].shares
    return SecretInt(protocol, words, PIVOT_BITS) < 1 << (whole - TOLERANCE_BITS - 4)


def _refined(matrix: SecretFixed, start: SecretFixed) -> tuple[SecretFixed, SecretBits]:
    """X by Newton steps, and whether the last residual was too large (b,)."""
    inverse = start
    *first, last = RESIDUAL_SCALES
    for scale in first:
        inverse = _stepped(inverse, _residual(matrix, inverse).rescaled(scale))
    exact = _residual(matrix, inverse)
    words = floor_shift(exact.protocol, exact.flat, exact.scale - last)
    residual = SecretFixed(exact.protocol, words, last).reshape(exact.shape)
    return _stepped(inverse, residual).with_bits(INVERSE_SCALE + 16), _loose(residual)


def _stepped(inverse: SecretFixed, residual: SecretFixed) -> SecretFixed:
    """X (2 - N X) = X + X (1 - N X)."""
    inverse = inverse.rescaled(INVERSE_SCALE)
    return inverse + _times(inverse, residual, INVERSE_SCALE)


def _loose(residual: SecretFixed) -> SecretBits:
    """Whether the sum of squares of a residual (b, p, p) is too large: summed and compared as it is.

    Cut exactly to 29 fractional bits, words are below 2^21 where the residual is right, and below 2^24 where it outgrew the
    ring; at most 2^10 squares of them stay below 2^58.
    """
    flat = residual.reshape(len(residual), math.prod(residual.shape[1:]))
    size = SecretInt(residual.protocol, dotted(flat, flat), RESIDUAL_SIZE_BITS)
    return size > 1 << 2 * (residual.scale + LARGEST_RESIDUAL_BITS)


def _residual(matrix: SecretFixed, inverse: SecretFixed) -> SecretFixed:
    """1 - N X (b, p, p), exact mod 2^64: right where it lies below 2^(62 - its scale)."""
    protocol, p = matrix.protocol, matrix.shape[-1]
    words, scale = _products(matrix, inverse), matrix.scale + inverse.scale
    one = np.eye(p, dtype=np.uint64) * np.uint64((1 << scale) % (1 << 64))
    shares = protocol.add_constant(np.negative(words), np.broadcast_to(one, words.shape[1:]).copy())
    return SecretFixed(protocol, shares, scale)
