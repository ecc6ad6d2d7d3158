"""Segmented scans, group-by, distinct and join against plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend import operations as op
from mpc_backend.operations import categories
from mpc_backend.testing import World

PROTOCOLS = ("plain", "rep3", "rep4")
WIDE = (1 << 62) - 1


def grouped(protocol: str, first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> dict[tuple, tuple]:
    """Group-by of two wide keys: {key: (count, sum, sum of reals)}, after checking what pads it."""

    def program(_, a, b, v):  # type: ignore[no-untyped-def]
        found = op.group_by([a, b], [v, v.to_fixed(4)])
        return [*found.keys, found.counts, *found.sums, found.valid]

    with World(protocol) as world:
        *columns, valid = world.run(
            program, world.share(first), world.share(second), world.share(amount, bits=20)
        )
    groups = int(valid.sum())
    assert np.array_equal(valid, np.arange(valid.size) < groups)
    assert all(not column[groups:].any() for column in columns)
    rows = list(zip(*(column[:groups].tolist() for column in columns), strict=True))
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    return {row[:2]: row[2:] for row in rows}


def check_grouped(protocol: str, first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> None:
    expected: dict[tuple, tuple] = {}
    for a, b, v in zip(first.tolist(), second.tolist(), amount.tolist(), strict=True):
        count, total, real = expected.get((a, b), (0, 0, 0.0))
        expected[a, b] = (count + 1, total + v, real + v)
    assert grouped(protocol, first, second, amount) == expected


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    pool = draw(st.lists(st.sampled_from([0, -1, 1, WIDE, -WIDE, 1 << 31, 5]), min_size=1, max_size=4))
    row = st.tuples(st.sampled_from(pool), st.sampled_from(pool), st.integers(-(1 << 19), (1 << 19) - 1))
    return draw(st.lists(row, max_size=30))


@settings(max_examples=40, deadline=None)
@given(tables())
def test_groups_of_128_bit_keys(rows: list[tuple[int, int, int]]) -> None:
    first, second, amount = np.array(rows, np.int64).reshape(-1, 3).T
    check_grouped("plain", first, second, amount)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("n", [0, 1, 40])
def test_groups_among_nodes(protocol: str, n: int) -> None:
    rng = np.random.default_rng(n)
    check_grouped(protocol, rng.choice([WIDE, -5], n), rng.choice([-WIDE, 0, 7], n), rng.integers(-99, 99, n))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("values", [[], [3], [3, 3, 3], [-2, 7, -2, 0, 7, 1, -8]])
def test_distinct_keys_come_once_and_in_order(protocol: str, values: list[int]) -> None:
    with World(protocol) as world:
        (found,), valid = world.run(
            lambda _, a: op.distinct([a]), world.share(np.array(values, np.int64), bits=4)
        )
    expected = sorted(set(values))
    assert found.tolist() == expected + [0] * (len(values) - len(expected))
    assert valid.tolist() == [True] * len(expected) + [False] * (len(values) - len(expected))


def check_join(protocol: str, left: np.ndarray, right: np.ndarray) -> None:
    """Join on keys that are split into two 64-bit columns, with an integer and a real column."""
    value = np.arange(1, right.size + 1) * 3

    def program(_, a, b, c, d, v):  # type: ignore[no-untyped-def]
        return op.join([a, b], [c, d], [v, v.to_fixed(3)])

    with World(protocol) as world:
        keys = [world.share(part) for key in (left, right) for part in (key // 5 * (1 << 58), key % 5)]
        matched, (whole, real) = world.run(program, *keys, world.share(value, bits=20, ring=32))
    expected = dict(zip(right.tolist(), value.tolist(), strict=True))
    assert matched.tolist() == [key in expected for key in left.tolist()]
    assert whole.tolist() == [expected.get(key, 0) for key in left.tolist()]
    assert real.tolist() == whole.tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-40, 40), max_size=30),
    st.lists(st.integers(-40, 40), max_size=30, unique=True),
)
def test_join_of_repeated_keys_with_unique_ones(left: list[int], right: list[int]) -> None:
    check_join("plain", np.array(left, np.int64), np.array(right, np.int64))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 1), (1, 0), (1, 1), (30, 20)])
def test_join_among_nodes(protocol: str, n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    check_join(protocol, rng.integers(0, 30, n), rng.permutation(60)[:m])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("n", [1, 2, 3, 37])
def test_scans_stay_within_their_segments(protocol: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x, more, flags = rng.integers(-50, 50, n), rng.normal(size=(n, 2)), rng.random(n) < 0.6
    with World(protocol) as world:
        sums, reals, copied = world.run(
            lambda _, a, b, f: [op.segmented_cumsum(a, f), op.segmented_cumsum(b, f), op.segmented_copy(a, f)],
            world.share(x, bits=8, ring=16), world.share(more), world.share(flags),
        )  # fmt: skip
    starts = [i for i in range(n) if i == 0 or not flags[i]]
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        assert np.array_equal(sums[start:stop], np.cumsum(x[start:stop]))
        assert np.abs(reals[start:stop] - np.cumsum(more[start:stop], axis=0)).max() < 1e-4
        assert np.all(copied[start:stop] == x[start])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("groups", "block"), [(1, 90), (2, 90), (5, 40), (16, 90), (37, 30)])
def test_sums_by_public_codes(
    protocol: str, groups: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 90 rows at once or in blocks of at most 40 or 30."""
    monkeypatch.setattr(categories, "BLOCK_ROWS", block)
    rng = np.random.default_rng(groups)
    code, x, y = rng.integers(0, groups, 90), rng.integers(-9, 9, 90), rng.integers(-64, 64, 90) / 8
    with World(protocol) as world:
        counts, (whole, real) = world.run(
            lambda _, c, a, b: op.sums_by_code(c, groups, [a, b]),
            world.share(code, bits=8, ring=16), world.share(x, bits=6, ring=16), world.share(y),
        )  # fmt: skip
    assert np.array_equal(counts, np.bincount(code, minlength=groups))
    assert np.array_equal(whole, np.bincount(code, x, groups))
    assert np.array_equal(real, np.bincount(code, y, groups))
