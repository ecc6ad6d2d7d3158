"""Rows of a table that is being sorted: their bit planes, and where they belong."""

from __future__ import annotations

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words
from mpc_backend.kernels.planes import LANES, _exchange, _jit
from mpc_backend.kernels.prefetch import AHEAD, prefetch


@_jit
def row_planes(table: Words, rows: Indices, counts: Indices, planes: Words) -> None:
    """The bit planes of rows (m,) of a table (n, c * l) uint64, l columns for each of c components, lowest planes first.

    counts (l,): planes of each column of a component; planes (c, any, ceil(m / 64)) gets them in its first rows.
    """
    m, words, limbs = rows.size, planes.shape[2], counts.size
    flat, stride = table.reshape(-1), np.uint64(table.shape[1])  # unsigned: not tested for negative positions
    block = np.empty((64, LANES), np.uint64)
    for group in range(0, words, LANES):
        lanes = min(LANES, words - group)
        for component in range(planes.shape[0]):
            plane = 0
            for limb in range(limbs):
                column, width = np.uint64(component * limbs + limb), 8
                while width < counts[limb]:
                    width *= 2
                block[:width] = np.uint64(0)
                for lane in range(lanes):
                    for field in range(64 // width):
                        start = (group + lane) * 64 + field * width
                        shift = np.uint64(field * width)
                        for r in range(max(0, min(width, m - start))):
                            block[r, lane] |= flat[np.uint64(rows[start + r]) * stride + column] << shift
                _exchange(block, width)
                for p in range(counts[limb]):
                    for lane in range(lanes):
                        planes[component, plane + p, group + lane] = block[p, lane]
                plane += counts[limb]


@_jit
def move_rows(table: Words, sources: Indices, places: Indices) -> None:
    """table[places] = table[sources] for a table (n, k), all in range; the same places in another order."""
    width, one = np.uint64(table.shape[1]), np.uint64(1)
    flat, held = table.reshape(-1), np.empty(sources.size * table.shape[1], table.dtype)
    for i in range(sources.size):
        soon = np.uint64(sources[min(sources.size - 1, i + AHEAD)]) * width
        prefetch(flat, soon)
        prefetch(flat, soon + width - one)
        source, place = np.uint64(sources[i]) * width, np.uint64(i) * width
        for w in range(width):
            held[place + w] = flat[source + w]
    for i in range(places.size):
        source, place = np.uint64(i) * width, np.uint64(places[i]) * width
        for w in range(width):
            flat[place + w] = held[source + w]


@_jit
def split_rows(
    starts: Indices, sizes: Indices, samples: Indices, spacing: Indices, bucket: Indices, sources: Indices,
    places: Indices, run_starts: Indices, run_sizes: Indices,
) -> int:  # fmt: skip
    """Put the rows of every segment where they belong among its pivots, those of one bucket together.

    The first ``samples`` rows of a segment are in order and every ``spacing``-th is a pivot; bucket (m,): of all other rows,
    segment after segment. Writes for all rows of all segments where they are and where they go, and the runs of more
    than one row that are left to be sorted; returns how many runs.
    """
    done, told, runs = 0, 0, 0
    count = np.zeros(2 * max(1, samples.max()) + 3, np.int64)
    for s in range(starts.size):
        start, size, first, every = starts[s], sizes[s], samples[s], spacing[s]
        slots = 2 * (first // every) + 1
        count[: slots + 1] = 0
        for i in range(size):
            slot = 2 * (i // every) + ((i + 1) % every == 0) if i < first else 2 * bucket[told + i - first]
            count[slot + 1] += 1
        for slot in range(slots):
            if count[slot + 1] > 1:
                run_starts[runs], run_sizes[runs] = start + count[slot], count[slot + 1]
                runs += 1
            count[slot + 1] += count[slot]
        for i in range(size):
            slot = 2 * (i // every) + ((i + 1) % every == 0) if i < first else 2 * bucket[told + i - first]
            place = done + count[slot]
            sources[place], places[place] = start + i, start + count[slot]
            count[slot] += 1
        done += size
        told += size - first
    return runs


@_jit
def pivot_places(
    segment: Indices, bucket: Indices, starts: Indices, depths: Indices, spacing: Indices, level: int, places: Indices
) -> int:  # fmt: skip
    """The places of the next pivots of all rows whose segment's tree has more than ``level`` levels: the first ones.

    segment, bucket (m,): of each row; starts, depths, spacing: of each segment, deepest first. Returns how many there are.
    """
    for i in range(segment.size):
        s = segment[i]
        if depths[s] <= level:
            return i
        step = 1 << (depths[s] - 1 - level)
        places[i] = starts[s] + (bucket[i] + step) * spacing[s] - 1
    return segment.size


@_jit
def next_buckets(before: Words, segment: Indices, depths: Indices, level: int, bucket: Indices) -> None:
    """Move each compared row to the upper half of its range of buckets unless it comes before the pivot."""
    for i in range(before.size):
        if not before[i]:
            bucket[i] += 1 << (depths[segment[i]] - 1 - level)
