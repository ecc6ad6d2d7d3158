"""Permutations of whole rows."""

from __future__ import annotations

import math

import numba
import numpy as np

from mpc_backend.kernels.arrays import Indices, Words, operand
from mpc_backend.kernels.prefetch import AHEAD, prefetch

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

    Flat and unsigned positions spare the test for negative ones, and rows are asked for before their turn: together a
    third of the time for rows of few words in tables larger than the caches.
    """
    width, one = np.uint64(x.shape[2]), np.uint64(1)
    for c in range(x.shape[0] if width else 0):
        table, mask, rows = x[c].reshape(-1), masks[c].reshape(-1), out[c].reshape(-1)
        for i in range(masks.shape[1]):
            soon = np.uint64(order[min(order.size - 1, start + i + AHEAD)]) * width
            prefetch(table, soon)
            prefetch(table, soon + width - one)
            source, place = np.uint64(order[start + i]) * width, np.uint64(start + i) * width
            drawn = np.uint64(i) * width
            for w in range(width):
                rows[place + w] = table[source + w] + mask[drawn + w]


@_jit
def permute_xor(x: Words, order: Indices, start: int, masks: Words, out: Words) -> None:
    """The same with XOR."""
    width, one = np.uint64(x.shape[2]), np.uint64(1)
    for c in range(x.shape[0] if width else 0):
        table, mask, rows = x[c].reshape(-1), masks[c].reshape(-1), out[c].reshape(-1)
        for i in range(masks.shape[1]):
            soon = np.uint64(order[min(order.size - 1, start + i + AHEAD)]) * width
            prefetch(table, soon)
            prefetch(table, soon + width - one)
            source, place = np.uint64(order[start + i]) * width, np.uint64(start + i) * width
            drawn = np.uint64(i) * width
            for w in range(width):
                rows[place + w] = table[source + w] ^ mask[drawn + w]


@_jit
def take_rows(x: Words, order: Indices, out: Words) -> None:
    """out[r] = x[order[r]] for rows of x (n, w), each order in range."""
    width, one = np.uint64(x.shape[1]), np.uint64(1)
    table, rows = x.reshape(-1), out.reshape(-1)
    for i in range(order.size if width else 0):
        soon = np.uint64(order[min(order.size - 1, i + AHEAD)]) * width
        prefetch(table, soon)
        prefetch(table, soon + width - one)
        source, place = np.uint64(order[i]) * width, np.uint64(i) * width
        for w in range(width):
            rows[place + w] = table[source + w]


def taken(x: Words, order: Indices) -> Words:
    """x[:, order] for x (c, n, ...), by whole rows; order holds numbers from 0 to n - 1."""
    if order.size and not 0 <= order.min() <= order.max() < x.shape[1]:
        raise IndexError(f"row numbers from {order.min()} to {order.max()} in a table of {x.shape[1]} rows")
    table = operand(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))
    out = np.empty((len(x), order.size, table.shape[2]), x.dtype)
    for component, rows in zip(table, out, strict=True):
        take_rows(component, order, rows)
    return out.reshape(len(x), order.size, *x.shape[2:])
