"""Bit planes of chosen rows of a table, for comparing many pairs of rows."""

from __future__ import annotations

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words
from mpc_backend.kernels.planes import LANES, _exchange, _jit


@_jit
def pair_planes(
    table: Words, rows: Indices, others: Indices, counts: Indices, differ: Words, second: Words
) -> None:
    """For pairs (rows[i], others[i]) of rows of table (n, k) uint64: the planes of their XOR, and those of the other.

    counts (k,): planes of each column; differ, second (sum of counts, ceil(m / 64)). A row is read once for all columns.
    """
    m, words = rows.size, differ.shape[1]
    first_block = np.zeros((64, LANES), np.uint64)
    second_block = np.zeros((64, LANES), np.uint64)
    for group in range(0, words, LANES):
        lanes = min(LANES, words - group)
        plane = 0
        for column in range(counts.size):
            width = 8
            while width < counts[column]:
                width *= 2
            first_block[:width] = np.uint64(0)
            second_block[:width] = np.uint64(0)
            for lane in range(lanes):
                base = (group + lane) * 64
                for field in range(64 // width):
                    start = base + field * width
                    shift = np.uint64(field * width)
                    for r in range(max(0, min(width, m - start))):
                        b = table[others[start + r], column]
                        second_block[r, lane] |= b << shift
                        first_block[r, lane] |= (table[rows[start + r], column] ^ b) << shift
            _exchange(first_block, width)
            _exchange(second_block, width)
            for p in range(counts[column]):
                for lane in range(lanes):
                    differ[plane + p, group + lane] = first_block[p, lane]
                    second[plane + p, group + lane] = second_block[p, lane]
            plane += counts[column]


@_jit
def pivot_places(
    segment: Indices, bucket: Indices, starts: Indices, depths: Indices, spacing: Indices, level: int, rows: Indices,
    places: Indices,
) -> int:  # fmt: skip
    """The next pivot of every row whose segment's tree has more than ``level`` levels.

    segment, bucket (m,): of each row; starts, depths, spacing: of each segment. Writes the numbers of those rows and the
    places of their pivots; returns how many there are.
    """
    count = 0
    for i in range(segment.size):
        s = segment[i]
        if depths[s] > level:
            step = 1 << (depths[s] - 1 - level)
            rows[count] = i
            places[count] = starts[s] + (bucket[i] + step) * spacing[s] - 1
            count += 1
    return count


@_jit
def next_buckets(
    rows: Indices, before: Words, segment: Indices, depths: Indices, level: int, bucket: Indices
) -> None:
    """Move each compared row to the upper half of its range of buckets unless it comes before the pivot."""
    for i in range(rows.size):
        if not before[i]:
            row = rows[i]
            bucket[row] += 1 << (depths[segment[row]] - 1 - level)
