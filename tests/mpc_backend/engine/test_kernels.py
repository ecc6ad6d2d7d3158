"""Kernels against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend.kernels import planes
from mpc_backend.kernels.matrices import dot_rows, matrix_product
from mpc_backend.kernels.rows import fisher_yates

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
