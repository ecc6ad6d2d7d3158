"""Sums by a secret code with a public set of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.circuits.carry import bit_planes, gates
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import unpacked
from mpc_backend.operations.arrays import row_ring
from mpc_backend.protocols.base import HalfProducts, JointInput, Protocol
from mpc_backend.values import SecretInt
from mpc_backend.values.numbers import SecretNumber, sum_bits

MOST_GROUPS = 256
BLOCK_ROWS = 1 << 18
CHUNK = 3
"""Bits of the code whose products are taken before they enter the ring: 2^CHUNK - 1 of them."""
SMALL = 32
"""Bits of the ring in which counts and small sums are computed."""


def sums_by_code(
    code: SecretInt, groups: int, columns: Sequence[SecretNumber] = ()
) -> tuple[SecretInt, list[SecretNumber]]:
    """How many rows have each code 0 ... groups - 1, and the sums of columns (n,) over them, (groups,) each.

    One matrix product and no sort: indicator of a code = indicator of its upper bits times that of its lower bits (Launchbury,
    Diatchki, DuBuisson, Adams-Moran, ICFP 2012), each a fixed linear function of the products of bits. Those of up to three
    bits are taken before they enter the ring, and a bit is multiplied by a column as it enters. Reveals nothing. Rounds: 9
    for 16 groups, 11 for 64. Four nodes send 12 bytes for each such product and row, 9 products for 16 groups and one
    column; half of that, and results in a ring of 32 bits, where the declared widths let no sum of whole numbers outgrow it.

    More than `BLOCK_ROWS` rows are taken in blocks, one after the other, each in three rounds, or four above 32 groups: what
    is made of a row takes some sixty times its own memory. Codes are below 2^ceil(log2 groups); rows with a code from
    ``groups`` on are left out.

    Raises:
        ValueError: no group or more than 256, or other lengths.
    """
    n = len(code)
    if not 1 <= groups <= MOST_GROUPS:
        raise ValueError(f"there are between 1 and {MOST_GROUPS} groups by code, found {groups}")
    if code.ndim != 1 or any(column.shape != (n,) for column in columns):
        raise ValueError(
            f"codes and columns have one axis of one length, found {code.shape} and {[c.shape for c in columns]}"
        )
    protocol, ring, width = code.protocol, _ring(columns, n), max(1, (groups - 1).bit_length())
    split = _Split(width, _low_bits(width, len(columns)), len(columns), ring)
    planes = _products(protocol, bit_planes(protocol, code.flat, width), [*split.chunks, (0, split.low)])
    held = [in_ring(column, ring) for column in columns]
    words, blocks = planes.shape[2], -(-n // BLOCK_ROWS) or 1
    cuts = [slice(words * block // blocks, words * (block + 1) // blocks) for block in range(blocks)]
    parts = [
        _sums(
            protocol,
            planes[:, :, cut],
            [column[64 * cut.start : 64 * cut.stop] for column in held],
            min(n, 64 * cut.stop) - 64 * cut.start,
            split,
        )
        for cut in cuts
    ]
    table = _indicators(np.add.reduce(parts, axis=0, dtype=ring_type(ring)))[..., :groups]
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


@dataclass(frozen=True)
class _Split:
    """Which of the ``width`` bits of a code make the one factor of the matrix product, and which the other."""

    width: int
    low: int
    columns: int
    ring: int

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """The upper bits, a few at a time: products within a chunk are taken before bits enter the ring."""
        return _chunks(self.width, self.low)


def _sums(protocol: Protocol, planes: Words, columns: Sequence[SecretNumber], n: int, split: _Split) -> Words:
    """Counts, then sums of each column, of n rows by product of bits (c, 2^upper, 1 + columns, 2^low), in the ring."""
    upper, lower = _factors(protocol, planes, columns, n, split)
    table = np.zeros(
        (len(upper), 1 << (split.width - split.low), 1 + split.columns, 1 << split.low), upper.dtype
    )
    ones = protocol.constant(np.full(1, n, upper.dtype))
    totals = np.add.reduce(lower, axis=2, dtype=lower.dtype)
    table[:, 0] = _by_column(np.concatenate((ones, totals), axis=1), split)
    table[:, 1:, 0, 0] = np.add.reduce(upper, axis=2, dtype=upper.dtype)
    if lower.shape[1]:
        sums = protocol.matmul(upper, lower.transpose(0, 2, 1)).reshape(-1, lower.shape[1])
        without = np.zeros((len(sums), 1), sums.dtype)
        found = _by_column(np.concatenate((without, sums), axis=1), split)
        table[:, 1:] += found.reshape(len(table), -1, *found.shape[1:])
    return table


def _by_column(rows: Words, split: _Split) -> Words:
    """Numbers (any, rows) in the order of one and then the rows of `_factors` -> (any, 1 + columns, 2^low), subset s at s."""
    some, columns = (1 << split.low) - 1, split.columns
    out = np.empty((len(rows), 1 + columns, 1 << split.low), rows.dtype)
    out[:, 0] = rows[:, : 1 + some]
    out[:, 1:, 1:] = rows[:, 1 + some : 1 + some * (1 + columns)].reshape(len(rows), columns, some)
    out[:, 1:, 0] = rows[:, 1 + some * (1 + columns) :]
    return out


def _low_bits(width: int, columns: int) -> int:
    """How many bits make the factor that is multiplied by every column, for the least work: a product counts twice."""

    def work(low: int) -> int:
        entering = sum((1 << last - first) - 1 for first, last in _chunks(width, low))
        products = (1 << width - low) - 1 - entering
        return entering + 2 * products + ((1 << low) - 1) * (1 + columns)

    return min(range(min(width, 3)), key=work)


def _chunks(width: int, low: int) -> list[tuple[int, int]]:
    return [(first, min(width, first + CHUNK)) for first in range(low, width, CHUNK)]


def _factors(
    protocol: Protocol, planes: Words, columns: Sequence[SecretNumber], n: int, split: _Split
) -> tuple[Words, Words]:
    """Products of bits of the code over rows (c, any, n), by subset from 1 on, in the ring: all subsets of the upper bits; and
    of the lower bits, first by themselves, then times each column, then each column by itself.

    ``planes``: those of the chunks, then of the lower bits, as XOR shares. A bit b is u + w - 2 u w of its XOR halves. Times a
    number g + h, in halves known to the same nodes, it is the sum of the halves g u + h w, which enter the ring like those of
    bits, and a product of halves, (g - 2 g u) w + u (h - 2 h w).
    """
    some, bits = (1 << split.low) - 1, planes.shape[1]
    weighted = some * split.columns
    entered = _entered(protocol, planes, columns if some else (), n, split)
    out = np.empty((len(entered), bits + weighted + split.columns, n), entered.dtype)
    for k, column in enumerate(columns):
        out[:, bits + weighted + k] = column.shares
    left = np.repeat(out[:, bits + weighted :], some, axis=1) - 2 * entered[:, bits:] if weighted else entered
    every, times = np.arange(bits), np.arange(weighted)
    own_rows = np.stack((every * 0 - 1, every, every))
    rows = np.stack((times, bits - some + times % max(1, some), bits + times))
    factors = (-2,) * bits + (1,) * weighted
    every_row = np.concatenate((own_rows, rows), axis=1)
    protocol.multiply_halves(HalfProducts(left, entered, entered, every_row, factors), out)
    del entered, left
    return _combined(protocol, out, split.chunks), out[:, bits - some :]


def _entered(
    protocol: Protocol, planes: Words, columns: Sequence[SecretNumber], n: int, split: _Split
) -> Words:
    """Shares of u + w for the bits, then of g u + h w for every column and the products of lower bits (c, any, n)."""
    some, bits = (1 << split.low) - 1, planes.shape[1]
    known = np.empty((bits + some * len(columns), n), ring_type(split.ring))
    for row, words in zip(known, protocol.halves(planes, xor=True).known, strict=False):
        row[...] = unpacked(words, n, known.dtype.type)
    for k, column in enumerate(columns):
        own = bits + some * k
        halves = protocol.halves(column.shares, xor=False).known
        np.multiply(known[bits - some : bits], halves, out=known[own : own + some])
    [entered] = protocol.joint_input([JointInput(known, xor=False)])
    return entered


def _products(protocol: Protocol, planes: Words, chunks: Sequence[tuple[int, int]]) -> Words:
    """Products of all subsets, from 1 on, of the planes ``first`` to ``last`` of each chunk (c, any, w); a round for every bit
    of the largest chunk after the first.
    """
    starts = np.cumsum([0, *((1 << last - first) - 1 for first, last in chunks)])
    out = np.empty((len(planes), starts[-1], planes.shape[2]), planes.dtype)
    for i in range(max(last - first for first, last in chunks)):
        known, pairs = 1 << i, []
        for start, (first, last) in zip(starts, chunks, strict=False):
            if first + i < last:
                single = start + known - 1
                out[:, single] = planes[:, first + i]
                pairs += [(start + subset - 1, single, single + subset) for subset in range(1, known)]
        if pairs:
            rows = gates(*((left, right, -1) for left, right, _ in pairs))
            out[:, [place for _, _, place in pairs]] = protocol.and_rows(out, out, out, rows)
    return out


def _combined(protocol: Protocol, parts: Words, chunks: Sequence[tuple[int, int]]) -> Words:
    """Subsets of each chunk, one chunk after the other -> subsets of all of them; a round for every chunk after the first."""
    done = (1 << chunks[0][1] - chunks[0][0]) - 1
    out = parts[:, :done]
    for first, last in chunks[1:]:
        count, before = (1 << last - first) - 1, out.shape[1]
        fresh = parts[:, done : done + count]
        pairs = np.stack(np.divmod(np.arange(count * before), before))[::-1]
        both = protocol.multiply_rows(out, fresh, np.ascontiguousarray(pairs))
        joined = np.concatenate((fresh[:, :, None], both.reshape(len(both), count, before, -1)), axis=2)
        out = np.concatenate((out, joined.reshape(len(both), count * (1 + before), -1)), axis=1)
        done += count
    return out


def _indicators(table: Words) -> Words:
    """Sums over products of bits (c, 2^upper, columns, 2^lower) -> sums over codes (c, columns, 2^(upper + lower)).

    A bit's indicators of 0 and 1 are 1 - b and b: for every bit the half without it loses the half with it.
    """
    codes = table.shape[1] * table.shape[3]
    out: Words = table.transpose(0, 2, 1, 3).reshape(len(table), table.shape[2], codes)
    for bit in range(codes.bit_length() - 1):
        halves = out.reshape(*out.shape[:2], -1, 2, 1 << bit)
        halves[:, :, :, 0] -= halves[:, :, :, 1]
    return out
