"""Kernels against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend.kernels import planes
from mpc_backend.kernels.matrices import across, dot_rows, matrix_product
from mpc_backend.kernels.rows import fisher_yates, permute_add, permute_xor, taken

WIDTHS = (8, 16, 32, 64)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [1, 63, 64, 65, 1024 + 7])
def test_planes_hold_the_bits_and_give_the_values_back(width: int, n: int) -> None:
    values = np.random.default_rng(n).integers(0, 1 << 63, n).astype(np.uint64).astype(f"u{width // 8}")
    values[0] = np.iinfo(values.dtype).max
    sliced = planes.planes_of(values, width)
    for j in range(width):
        assert np.array_equal(
            planes.unpacked(sliced[j], n), (values.astype(np.uint64) >> np.uint64(j)) & np.uint64(1)
        )
    back = np.empty_like(values)
    planes.from_planes(sliced, back, width)
    assert np.array_equal(back, values)


def test_low_planes_of_a_wide_value_are_its_low_bits() -> None:
    values = np.random.default_rng(3).integers(0, 1 << 62, 200).astype(np.uint64)
    assert np.array_equal(planes.planes_of(values, 9), planes.planes_of(values, 64)[:9])


@given(st.lists(st.booleans(), min_size=1, max_size=300))
@settings(max_examples=30, deadline=None)
def test_packing_is_numpys_little_endian_packing(bits: list[bool]) -> None:
    values = np.array(bits, np.uint8)
    words = planes.packed(values)
    expected = np.packbits(values, bitorder="little")
    assert np.array_equal(words.view(np.uint8)[: expected.size], expected)
    assert np.array_equal(planes.unpacked(words, values.size), values)


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (3, 1, 5), (4, 2, 2049), (9, 7, 4100), (8, 3, 64)])
def test_matrix_products_are_exact_mod_the_ring(dtype: str, n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(n * m)
    x, y = (rng.integers(0, 1 << 63, shape).astype(np.uint64) * np.uint64(3) for shape in ((n, k), (m, k)))
    expected = (x @ y.T).astype(dtype)
    assert np.array_equal(matrix_product(x.astype(dtype), y.astype(dtype)), expected)
    rows = np.zeros(min(n, m), dtype)
    dot_rows(x[: rows.size].astype(dtype), y[: rows.size].astype(dtype), rows)
    assert np.array_equal(rows, np.diagonal(expected)[: rows.size])


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
@pytest.mark.parametrize("shape", [(1, 1), (64, 32), (63, 33), (130, 100), (0, 5), (5, 0)])
def test_matrices_are_transposed_as_numpy_transposes_them(dtype: str, shape: tuple[int, int]) -> None:
    table = np.random.default_rng(7).integers(0, 1 << 63, shape).astype(dtype)
    turned = np.zeros(shape[::-1], dtype)
    across(table, turned)
    assert np.array_equal(turned, table.T)


def test_every_order_of_four_comes_up_equally_often() -> None:
    random = np.random.default_rng(11).integers(0, 1 << 63, (24_000, 4)).astype(np.uint64) * np.uint64(2)
    seen: dict[tuple[int, ...], int] = {}
    for words in random:
        order = np.arange(4)
        fisher_yates(words, order)
        seen[tuple(order)] = seen.get(tuple(order), 0) + 1
    counts = np.array(list(seen.values()))
    assert counts.size == 24
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 60  # chi-square with 23 degrees of freedom: p about 4e-5


@pytest.mark.parametrize("shape", [(3, 100, 5), (2, 7, 1), (3, 40, 2, 3), (1, 0, 4), (2, 5, 0)])
@pytest.mark.parametrize("dtype", ["u1", "u8"])
def test_rows_are_moved_as_numpy_moves_them(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(sum(shape))
    table = rng.integers(0, 256, shape).astype(dtype)
    order = rng.integers(0, max(1, shape[1]), 60 if shape[1] else 0)
    assert np.array_equal(taken(table, order), table[:, order])
    rows = table.reshape(*shape[:2], int(np.prod(shape[2:])))
    order, masks = rng.permutation(shape[1]), rng.integers(0, 256, rows.shape).astype(dtype)
    added, changed = np.empty_like(rows), np.empty_like(rows)
    for first, last in ((0, shape[1] // 3), (shape[1] // 3, shape[1])):
        part = np.ascontiguousarray(masks[:, first:last])
        permute_add(rows, order, first, part, added)
        permute_xor(rows, order, first, part, changed)
    assert np.array_equal(added, rows[:, order] + masks)
    assert np.array_equal(changed, rows[:, order] ^ masks)


@pytest.mark.parametrize("order", [[0, 5], [-1, 2]])
def test_rows_outside_the_table_are_refused(order: list[int]) -> None:
    with pytest.raises(IndexError, match="in a table of 5 rows"):
        taken(np.zeros((3, 5, 2), np.uint64), np.array(order))
