"""Matrix and dot products mod 2^16, 2^32, 2^64.

Integer BLAS does not exist; these kernels keep both operands contiguous along the inner loop and eight accumulators in
registers, so that the compiler emits packed multiplies in the width of the ring (16 lanes at 16 bits).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from mpc_backend.kernels.arrays import Words, operand

BLOCK = 2048
"""Inner positions per pass: the six rows a tile reads stay in the first-level cache."""


def _matrix_kernel(word: Any) -> Callable[[Words, Words, Words], None]:
    """A kernel for one word type; the explicit casts keep accumulators in that width.

    It may close over nothing but the type: a compiled function among its free variables would defeat the disk cache.
    """

    @numba.njit(cache=True, nogil=True)
    def product(x: Words, y: Words, out: Words) -> None:
        n, inner = x.shape
        m = y.shape[0]
        zero = word(0)
        for first in range(0, inner, BLOCK):
            last = min(inner, first + BLOCK)
            for j in range(0, m - 1, 2):
                b0, b1 = y[j, first:last], y[j + 1, first:last]
                for i in range(0, n - 3, 4):
                    a0, a1, a2, a3 = (
                        x[i, first:last],
                        x[i + 1, first:last],
                        x[i + 2, first:last],
                        x[i + 3, first:last],
                    )
                    c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = zero
                    for t in range(last - first):
                        c00 = word(c00 + a0[t] * b0[t])
                        c01 = word(c01 + a0[t] * b1[t])
                        c10 = word(c10 + a1[t] * b0[t])
                        c11 = word(c11 + a1[t] * b1[t])
                        c20 = word(c20 + a2[t] * b0[t])
                        c21 = word(c21 + a2[t] * b1[t])
                        c30 = word(c30 + a3[t] * b0[t])
                        c31 = word(c31 + a3[t] * b1[t])
                    out[i, j] += c00
                    out[i, j + 1] += c01
                    out[i + 1, j] += c10
                    out[i + 1, j + 1] += c11
                    out[i + 2, j] += c20
                    out[i + 2, j + 1] += c21
                    out[i + 3, j] += c30
                    out[i + 3, j + 1] += c31
            for i in range(n):  # what tiles of 4 x 2 leave over
                for j in range(0 if i >= n - n % 4 else m - m % 2, m):
                    a0, b0 = x[i, first:last], y[j, first:last]
                    c00 = zero
                    for t in range(last - first):
                        c00 = word(c00 + a0[t] * b0[t])
                    out[i, j] += c00

    return product


_PRODUCTS = {
    np.dtype("u2"): _matrix_kernel(numba.types.uint16),
    np.dtype("u4"): _matrix_kernel(numba.types.uint32),
    np.dtype("u8"): _matrix_kernel(numba.types.uint64),
}


def matrix_product(x: Words, y_transposed: Words, out: Words | None = None) -> Words:
    """x (n, k) times y (k, m) given as its transpose (m, k), mod 2^ring -> (n, m); added to ``out`` if it is given."""
    out = np.zeros((x.shape[0], y_transposed.shape[0]), x.dtype) if out is None else out
    _PRODUCTS[x.dtype](operand(x), operand(y_transposed), out)
    return out


HIGH, WIDE = 64, 32
"""Rows and columns of a tile that is transposed at once, so that both sides of it stay in the first-level cache."""


@numba.njit(cache=True, nogil=True)
def across(x: Words, out: Words) -> None:
    """out (n, m) = the transpose of x (m, n), tile by tile: row by row every write would touch another line of memory."""
    m, n = x.shape
    bottom, right = m - m % HIGH, n - n % WIDE
    for left in range(0, right, WIDE):
        for top in range(0, bottom, HIGH):
            tile = x[top : top + HIGH, left : left + WIDE]
            # Both counts are known to the compiler, which takes a third of the time then.
            for j in range(WIDE):
                line = out[left + j, top : top + HIGH]
                for i in range(HIGH):
                    line[i] = tile[i, j]
    for i in range(m):
        for j in range(right if i < bottom else 0, n):
            out[j, i] = x[i, j]


def lines_across(x: Words) -> bool:
    """Whether the lines of a matrix (n, k) run across memory, as those of a transposed table do."""
    return x.strides[0] < x.strides[1]


@numba.njit(cache=True, nogil=True)
def dot_rows(x: Words, y: Words, out: Words) -> None:
    """out[i] = sum_t x[i, t] * y[i, t] mod 2^ring for x, y (n, k), out (n,)."""
    for i in range(x.shape[0]):
        total = out.dtype.type(0)
        a, b = x[i], y[i]
        for t in range(a.size):
            total += a[t] * b[t]
        out[i] = total
