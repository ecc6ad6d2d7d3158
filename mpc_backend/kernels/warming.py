"""Every kernel called once, so that it is compiled, kept on disk, and in this process before a job needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mpc_backend.kernels import gather, halves, matrices, planes, products, rows, triples
from mpc_backend.kernels.arrays import RING_TYPES, operand, ring_words
from mpc_backend.kernels.kept import note_all_kept


def each_kernel() -> Iterator[None]:
    """Call every kernel once for every word type it is used with, a few between two yields.

    About 40 s of processor time where nothing is on disk yet, less than a second where all is.
    """
    for ring, dtype in RING_TYPES.items():
        _compile_rows(dtype)
        yield
        _compile_planes(dtype, ring)
        yield
        if ring > 8:
            _compile_products(dtype)
            yield
    _compile_and()
    yield
    _compile_gather()


def compile_all() -> float:
    """Call every kernel once, and note on disk that all are compiled; returns seconds."""
    start = time.perf_counter()
    for _ in each_kernel():
        pass
    note_all_kept()
    return time.perf_counter() - start


def _compile_products(dtype: np.dtype[np.uint64]) -> None:
    out, masks = np.zeros((3, 4), dtype), np.zeros((5, 4), dtype)
    tail = (masks, True, True, *np.zeros((3, 4), dtype))
    rows, index = out[:, None].copy(), np.zeros((2, 1), np.int64)
    x, table = operand(out), operand(rows)
    products.multiply_block(table, table, index, rows, 0, 4, *tail)
    products.mask_block(x, out, 0, 4, *tail)
    products.pair_sums(x, x, x, 0, np.zeros((3, 3, 4), dtype))
    one, third = ring_words((1,), dtype), np.zeros((3, 1), np.int64)
    halves.multiply_cycle(
        table, table, table, third, one, rows, np.arange(3), 0, 4, masks[:3], out[0], out[1]
    )
    pair, cuts = operand(rows[:2]), operand(np.array([0, 1, 2, 4]))
    halves.multiply_thirds(pair, pair, pair, third, one, rows[:2], cuts, 0, 0, 4, *out)
    triples.multiply_pairs(table[:2], table[:2], index, rows[:2], 0, 4, masks[:2], out[2])
    triples.mask_sums(x[0], out[:2], 0, 4, masks[:2], out[2])
    matrices.matrix_product(x, x)
    matrices.across(x, np.zeros((4, 3), dtype))
    matrices.dot_rows(x, x, np.zeros(3, dtype))


def _compile_and() -> None:
    out, masks = np.zeros((3, 1, 4), np.uint64), np.zeros((5, 4), np.uint64)
    index, x = np.array([[0], [0], [-1], [-1]], np.int64), operand(out)
    products.and_block(x, x, x, index, out, 0, 4, masks, True, True, *np.zeros((3, 4), np.uint64))
    first, second, third = out[:, 0]
    halves.and_cycle(
        operand(out[:, 0]), first, second, third, np.arange(3), 0, 4, masks[:3], masks[3], masks[4]
    )
    cuts, part = operand(np.array([0, 1, 2, 4])), np.zeros((3, 4), np.uint64)
    halves.and_thirds(operand(out[:2]), out[0], out[1], cuts, 0, 0, 4, *part)
    triples.and_pairs(x[:2], x[:2], x[:2], index, out[:2], 0, 4, masks[:2], np.zeros(4, np.uint64))


def _compile_planes(dtype: np.dtype[np.uint64], ring: int) -> None:
    values = np.zeros(65, dtype)
    some = planes.planes_of(values, ring)
    planes.from_planes(some, values, ring)
    planes.unpacked(planes.packed(values), 65, dtype.type)


def _compile_rows(dtype: np.dtype[np.uint64]) -> None:
    out, order = np.zeros((3, 4, 2), dtype), np.arange(4)
    rows.fisher_yates(np.zeros(4, np.uint64), order)
    for permute in (rows.permute_add, rows.permute_xor):
        permute(operand(out), order, 0, out[:, :2].copy(), out.copy())
    rows.taken(out, order)


def _compile_gather() -> None:
    table, index, one = np.zeros((2, 3), np.uint64), np.zeros(2, np.int64), np.ones(3, np.int64)
    gather.row_planes(table, index, one, np.zeros((1, 3, 1), np.uint64))
    gather.move_rows(table, index, index)
    gather.move_rows(index[:, None], index, index)
    gather.split_rows(index[:1], one[:1], one[:1], one[:1], index[:0], *np.zeros((4, 1), np.int64))
    gather.pivot_places(index, index, one, one, one, 0, index.copy())
    gather.next_buckets(np.zeros(2, np.bool_), index, one, 0, index.copy())
