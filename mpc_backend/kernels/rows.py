"""Permutations of whole rows."""

from __future__ import annotations

import numba
import numpy as np

from mpc_backend.kernels.arrays import Indices, Words

_jit = numba.njit(cache=True, nogil=True)


@_jit
def fisher_yates(random: Words, order: Indices) -> None:
    """Shuffle order (n,) in place with one 64-bit random word per position (bias below n / 2^64 a step).

    Durstenfeld, CACM 7 (1964), algorithm 235; the bounded draw is the high word of a 64 x 64 bit product
    (Lemire, ACM TOMACS 29, 2019).
    """
    low = np.uint64(0xFFFFFFFF)
    for i in range(order.size - 1, 0, -1):
        bound = np.uint64(i + 1)
        word = random[i]
        j = ((word >> np.uint64(32)) * bound + (((word & low) * bound) >> np.uint64(32))) >> np.uint64(32)
        order[i], order[j] = order[j], order[i]


@_jit
def permute_add(x: Words, order: Indices, mask: Words, out: Words) -> None:
    """out[r] = x[order[r]] + mask[r] for rows (n, w) in the ring."""
    for r in range(out.shape[0]):
        source = order[r]
        for w in range(out.shape[1]):
            out[r, w] = x[source, w] + mask[r, w]


@_jit
def permute_xor(x: Words, order: Indices, mask: Words, out: Words) -> None:
    """out[r] = x[order[r]] XOR mask[r] for rows (n, w)."""
    for r in range(out.shape[0]):
        source = order[r]
        for w in range(out.shape[1]):
            out[r, w] = x[source, w] ^ mask[r, w]
