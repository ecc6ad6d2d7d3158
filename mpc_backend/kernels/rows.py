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
def permute_add(x: Words, order: Indices, start: int, masks: Words, out: Words) -> None:
    """out[c, r] = x[c, order[r]] + masks[c, r - start] in the ring, for the rows (c, n, w) that masks (c, b, w) cover.

    Flat and unsigned positions spare the test for negative ones: half the time for rows of few words.
    """
    width = np.uint64(x.shape[2])
    for c in range(x.shape[0]):
        table, mask, rows = x[c].reshape(-1), masks[c].reshape(-1), out[c].reshape(-1)
        for i in range(masks.shape[1]):
            source, place = np.uint64(order[start + i]) * width, np.uint64(start + i) * width
            drawn = np.uint64(i) * width
            for w in range(width):
                rows[place + w] = table[source + w] + mask[drawn + w]


@_jit
def permute_xor(x: Words, order: Indices, start: int, masks: Words, out: Words) -> None:
    """The same with XOR."""
    width = np.uint64(x.shape[2])
    for c in range(x.shape[0]):
        table, mask, rows = x[c].reshape(-1), masks[c].reshape(-1), out[c].reshape(-1)
        for i in range(masks.shape[1]):
            source, place = np.uint64(order[start + i]) * width, np.uint64(start + i) * width
            drawn = np.uint64(i) * width
            for w in range(width):
                rows[place + w] = table[source + w] ^ mask[drawn + w]
