"""Sums by a secret code with a public set of values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mpc_backend.circuits.carry import bit_planes
from mpc_backend.circuits.convert import bits_to_ring
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations.arrays import row_ring
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretInt
from mpc_backend.values.numbers import SecretNumber, sum_bits

MOST_GROUPS = 1 << 14
BLOCK_ROWS = 1 << 19
"""Rows taken at once for up to 256 groups; fewer for more, as what is made of a row grows with their root."""
SMALL = 32
"""Bits of the ring in which counts and small sums are computed."""


def sums_by_code(
    code: SecretInt, groups: int, columns: Sequence[SecretNumber] = ()
) -> tuple[SecretInt, list[SecretNumber]]:
    """How many rows have each code 0 ... groups - 1, and the sums of columns (n,) over them, (groups,) each.

    One matrix product and no sort: indicator of a code = indicator of its upper bits times that of its lower bits (Launchbury,
    Diatchki, DuBuisson, Adams-Moran, ICFP 2012), each a fixed linear function of the products of bits. Reveals nothing.
    Rounds: 9 for 16 groups. Four nodes send 16 bytes a bit of the code, and 12 a product: 5 for 16 groups and one column; half
    of that, and results in a ring of 32 bits, where the declared widths let no sum of whole numbers outgrow it.

    More than `BLOCK_ROWS` rows are taken in blocks, one after the other, each in as many rounds: what is made of a row takes
    some forty times its own memory. Codes are below 2^ceil(log2 groups); rows with a code from ``groups`` on are left out.

    Raises:
        ValueError: no group or more than `MOST_GROUPS`, or other lengths.
    """
    n = len(code)
    if not 1 <= groups <= MOST_GROUPS:
        raise ValueError(f"there are between 1 and {MOST_GROUPS} groups by code, found {groups}")
    if code.ndim != 1 or any(column.shape != (n,) for column in columns):
        raise ValueError(
            f"codes and columns have one axis of one length, found {code.shape} and {[c.shape for c in columns]}"
        )
    most = max(1, BLOCK_ROWS // max(1, math.isqrt(groups >> 8)))
    protocol, blocks, ring = code.protocol, -(-n // most) or 1, _ring(columns, n)
    cuts = [slice(n * block // blocks, n * (block + 1) // blocks) for block in range(blocks)]
    held = [in_ring(column, ring) for column in columns]
    tables = [_sums(code[cut], groups, [column[cut] for column in held], ring) for cut in cuts]
    table = np.add.reduce(tables, axis=0, dtype=tables[0].dtype)
    counts = SecretInt(protocol, np.ascontiguousarray(table[:, 0]), row_ring(n))
    totals = [
        column.like(np.ascontiguousarray(table[:, 1 + k]), sum_bits(column.bits, n))
        for k, column in enumerate(columns)
    ]
    return counts, totals


def _ring(columns: Sequence[SecretNumber], n: int) -> int:
    """The narrower ring if no count and no sum of the columns can outgrow it."""
    small = all(isinstance(column, SecretInt) and sum_bits(column.bits, n) <= SMALL for column in columns)
    return SMALL if small and row_ring(n) <= SMALL else 64


def in_ring(column: SecretNumber, ring: int) -> SecretNumber:
    """A column in this ring. In a narrower one its words are those of before mod 2^ring, share by share."""
    if ring < column.ring:
        return column.like(column.shares.astype(ring_type(ring)), column.bits)
    return column.widened(ring)


def _sums(code: SecretInt, groups: int, columns: Sequence[SecretNumber], ring: int) -> Words:
    """Counts, then sums of each column in the ring, by code (c, 1 + columns, groups)."""
    protocol, width = code.protocol, max(1, (groups - 1).bit_length())
    low = _low_bits(width, len(columns))
    bits = _ring_bits(protocol, bit_planes(protocol, code.flat, width), len(code), ring)
    upper, lower = _monomials(protocol, bits, low, width), _monomials(protocol, bits, 0, low)
    del bits  # as large as what is made of it
    lower = _weighted(protocol, lower, columns)
    sums = protocol.matmul(upper, lower.transpose(0, 2, 1))
    return _indicators(sums, width - low, low)[..., :groups]


def _low_bits(width: int, columns: int) -> int:
    """How many bits make the factor that is multiplied by every column, for the fewest products."""

    def products(low: int) -> int:
        return (1 << width - low) - (width - low) + (1 << low) - low + ((1 << low) - 1) * columns

    return min(range(width), key=products)


def _ring_bits(protocol: Protocol, planes: Words, n: int, ring: int) -> Words:
    """Planes (c, p, w) -> bits in the ring (c, p, n)."""
    count, padded = planes.shape[1], word_count(n) * 64
    found = bits_to_ring(protocol, planes.reshape(len(planes), -1), count * padded, ring_type(ring))
    return np.ascontiguousarray(found.reshape(-1, count, padded)[:, :, :n])


def _monomials(protocol: Protocol, bits: Words, first: int, last: int) -> Words:
    """Products of all subsets of bits ``first`` to ``last`` of (c, p, n) -> (c, 2^(last - first), n), subset s at s;
    a round for every bit after the first.
    """
    out = np.empty((len(bits), 1 << (last - first), bits.shape[2]), bits.dtype)
    out[:, 0] = protocol.constant(np.ones(bits.shape[2], bits.dtype))
    for i in range(last - first):
        known = 1 << i
        out[:, known] = bits[:, first + i]
        if known > 1:
            rows = np.stack((np.arange(1, known), np.full(known - 1, first + i)))
            out[:, known + 1 : 2 * known] = protocol.multiply_rows(out, bits, rows)
    return out


def _weighted(protocol: Protocol, lower: Words, columns: Sequence[SecretNumber]) -> Words:
    """Monomials (c, s, n), then each column times every monomial -> (c, (1 + columns) s, n)."""
    if not columns:
        return lower
    size = lower.shape[1]
    out = np.empty((len(lower), (1 + len(columns)) * size, lower.shape[2]), lower.dtype)
    out[:, :size] = lower
    for k, column in enumerate(columns):
        out[:, (1 + k) * size] = column.shares
    if size > 1:
        pairs = np.stack(np.divmod(np.arange(len(columns) * size), size))
        pairs = pairs[:, pairs[1] > 0]
        rows = np.stack(((1 + pairs[0]) * size, pairs[1]))
        out[:, (1 + pairs[0]) * size + pairs[1]] = protocol.multiply_rows(out, lower, rows)
    return out


def _indicators(sums: Words, upper: int, lower: int) -> Words:
    """Sums over monomials (c, 2^upper, columns 2^lower) -> sums over codes (c, columns, 2^(upper + lower)).

    A bit's indicators of 0 and 1 are 1 - b and b: for every bit the half without it loses the half with it.
    """
    parts = sums.reshape(len(sums), 1 << upper, -1, 1 << lower).transpose(0, 2, 1, 3)
    table: Words = parts.reshape(*parts.shape[:2], -1).copy()
    for bit in range(upper + lower):
        halves = table.reshape(*table.shape[:2], -1, 2, 1 << bit)
        halves[:, :, :, 0] -= halves[:, :, :, 1]
    return table
