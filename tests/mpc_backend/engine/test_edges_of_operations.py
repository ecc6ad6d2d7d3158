"""Every operation at the limits of what it is declared for, three and four nodes; one run for all edges of a kind."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend import operations as op
from mpc_backend.session import Session
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.engine.test_edges_of_values import WIDTHS, limits, wrapped

PROTOCOLS = ("rep3", "rep4")
few = settings(max_examples=2, deadline=None)
BOTTOM, TOP = -(1 << 62) + 1, (1 << 62) - 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_extremes_and_set_bits_at_every_width(protocol: str, bits: int) -> None:
    """Widest values: |x| < 2^61, as a difference of two has to keep its sign."""
    x = np.array(limits(min(bits, 62)))
    table = np.stack([x, x[::-1], np.roll(x, 2), x])

    def program(_: Session, a: SecretInt) -> object:
        first, second = a[0], a[1]
        extremes = [f(a.ravel()) for f in (op.amax, op.amin, op.argmax, op.argmin)]
        return (
            extremes,
            [f(a, 0) for f in (op.amax, op.amin, op.argmax, op.argmin)],
            [op.minimum(first, second), op.maximum(first, second), op.minimum(first, 1), op.maximum(first, -1)],
            op.popcount(first),
        )  # fmt: skip

    with World(protocol) as world:
        whole, along, between, set_bits = world.run(program, world.share(table, bits=min(bits, 62)))
    flat = table.ravel()
    assert [int(v) for v in whole] == [flat.max(), flat.min(), flat.argmax(), flat.argmin()]
    for found, wanted in zip(
        along, (table.max(0), table.min(0), table.argmax(0), table.argmin(0)), strict=True
    ):
        assert np.array_equal(found, wanted)
    wanted = [np.minimum(x, x[::-1]), np.maximum(x, x[::-1]), np.minimum(x, 1), np.maximum(x, -1)]
    for found, expected in zip(between, wanted, strict=True):
        assert np.array_equal(found, expected)
    assert set_bits.tolist() == [(int(v) % (1 << min(bits, 62))).bit_count() for v in x]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ring", [16, 32])
def test_floor_division_in_narrow_rings(protocol: str, ring: int) -> None:
    x = np.array(limits(ring))
    divisors = [1, 2, 3, 7, (1 << (ring - 1)) - 1, 1 << (ring - 1), (1 << ring) + 1]
    with World(protocol) as world:
        out = world.run(
            lambda _, a: [op.floor_divide(a, d) for d in divisors], world.share(x, bits=ring, ring=ring)
        )
    for d, found in zip(divisors, out, strict=True):
        assert np.array_equal(found, x // d), d


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(st.lists(st.integers(-(1 << 60), 1 << 60), min_size=1, max_size=20), st.integers(1, (1 << 60) - 1))
@few
def test_floor_division_of_any_number(protocol: str, values: list[int], divisor: int) -> None:
    x = np.array([*values, divisor - 1, -divisor, -divisor - 1, 0])
    with World(protocol) as world:
        found = world.run(lambda _, a: op.floor_divide(a, divisor), world.share(x, bits=62))
    assert found.tolist() == [int(v) // divisor for v in x]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_quotients_at_the_limits_of_their_room(protocol: str) -> None:
    """Bits of the divisor and of the quotient, 59 in all: from 1 with 58 to 58 with 1; negative and zero numerators."""
    for length in (1, 29, 31, 50):
        room = 59 - length
        b = np.array([1, (1 << length) - 1, max(1, 1 << (length - 1)), max(1, (1 << (length - 1)) - 1), 0])
        most = np.minimum(b * ((1 << room) - 1), (1 << 60) - 1)
        a = np.concatenate((most, -most, b, 0 * b, -b))
        divisor = np.tile(b, 5)
        scale = max(0, min(20, 58 - room))
        with World(protocol) as world:
            found, inverse = world.run(
                lambda _, a, b: [op.divide(a, b, scale, quotient_bits=room), op.reciprocal(b, 20)],  # noqa: B023
                world.share(a, bits=62), world.share(divisor, bits=length + 1),
            )  # fmt: skip
        some = divisor > 0
        exact = a[some] / divisor[some]
        assert np.all(np.abs(found[some] - exact) <= 4 * 2.0**-scale + np.abs(exact) * 2.0**-27), length
        assert np.all(np.abs(found[~some]) <= 4 * 2.0**-scale), length
        assert np.all(np.abs(inverse[some] - 1 / divisor[some]) <= 4 * 2.0**-20 + 2.0**-27 / divisor[some])
        assert np.all(np.abs(inverse[~some]) <= 4 * 2.0**-20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("own", [0, 1, 20, 31])
def test_roots_and_logarithms_from_the_smallest_to_the_largest_number(protocol: str, own: int) -> None:
    raw = np.array([1, 2, 3, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 52) + 1, 1 << 60, (1 << 61) - 1])
    x = raw / 2.0**own

    def program(_: Session, a: SecretInt) -> object:
        real = SecretFixed(a.protocol, a.shares, own, 62)
        return [op.sqrt(real, 20), op.log(real[:-1], 26)]

    with World(protocol) as world:
        root, logarithm = world.run(program, world.share(np.array([*raw, 0]), bits=62))
    assert np.all(np.abs(root[:-1] - np.sqrt(x)) <= 3 * 2.0**-20 + 2.0**-25 * np.sqrt(x))
    assert abs(root[-1]) <= 3 * 2.0**-20
    assert np.all(np.abs(logarithm - np.log(x)) <= 2.0**-25 + 2 * 2.0**-26)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exponential_and_logistic_function_of_the_widest_arguments(protocol: str) -> None:
    """From where nothing is left of the result to the largest that fits, at every step of the exponent."""
    scale = 26
    highest = (61 - scale) * math.log(2) - 2**-7
    steps = np.arange(-30, 35) * math.log(2)
    x = np.concatenate(([0, 2.0**-20, -(2.0**-20), highest, -(2.0**39), -(2.0**31)], steps, steps + 2.0**-19))
    x = np.rint(x[x <= highest] * 2**20) / 2**20
    both = np.concatenate((x, [2.0**39, 2.0**31, 40.0, -40.0]))
    with World(protocol) as world:
        grown, logistic = world.run(
            lambda _, a, b: [op.exp(a, scale), op.sigmoid(b, scale)],
            world.share(x, bits=61), world.share(both, bits=61),
        )  # fmt: skip
    assert np.all(np.abs(grown - np.exp(x)) <= 2.0**-22 * np.exp(x) + 2 * 2.0**-scale)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-both))
    assert np.all(np.abs(logistic - exact) <= 2.0**-22 * exact + 2.0**-25 + 2 * 2.0**-scale)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ring", [16, 32, 64])
def test_scans_of_limits_in_segments_of_every_kind(protocol: str, ring: int) -> None:
    x = np.array(limits(ring) * 3)
    n = x.size
    flags = [np.ones(n, bool), np.zeros(n, bool), np.arange(n) % 5 > 0]
    with World(protocol) as world:
        out = world.run(
            lambda _, a, *fs: [[op.segmented_cumsum(a, f), op.segmented_copy(a, f)] for f in fs],
            world.share(x, bits=ring, ring=ring), *(world.share(f) for f in flags),
        )  # fmt: skip
    for same, (sums, copied) in zip(flags, out, strict=True):
        starts = [i for i in range(n) if i == 0 or not same[i]]
        for start, stop in zip(starts, [*starts[1:], n], strict=True):
            with np.errstate(over="ignore"):
                assert np.array_equal(sums[start:stop], wrapped(np.cumsum(x[start:stop]), ring))
            assert np.all(copied[start:stop] == x[start])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", ["radix", "quicksort"])
def test_sorting_limits_of_every_width(protocol: str, method: str) -> None:
    """By radix up to 32 bits; wider keys take it as long as they are wide."""
    widths = WIDTHS if method == "quicksort" else WIDTHS[:3]
    columns = [np.array((limits(bits) * 3)[:21][::-1]) for bits in widths]

    def program(_: Session, *keys: SecretInt) -> object:
        return [op.sort([k], [k], method=method, descending=d) for k in keys for d in (False, True)]  # type: ignore[arg-type]

    with World(protocol) as world:
        out = world.run(program, *(world.share(c, bits=b) for c, b in zip(columns, widths, strict=True)))
    for place, ((up,), (down,)) in enumerate(zip(out[::2], out[1::2], strict=True)):
        assert np.array_equal(up, np.sort(columns[place]))
        assert np.array_equal(down, np.sort(columns[place])[::-1])


def keys_of_128_bits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of words in which one of both differs by one bit, at the top, the bottom or 2^31, or nothing does."""
    rng = np.random.default_rng(seed)
    words = np.array([0, 1, -1, BOTTOM, TOP, TOP - 1, 1 << 31, (1 << 31) - 1])
    return rng.choice(words, n), rng.choice(words[[0, 3, 4]], n)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_groups_distinct_rows_and_joins_by_keys_of_128_bits(protocol: str) -> None:
    high, low = keys_of_128_bits(40, 1)
    amount = np.array(limits(58) * 6)[:40]
    unique = sorted({(int(a), int(b)) for a, b in zip(high, low, strict=True)})
    right = np.array([*unique[::2], (5, 5), (BOTTOM, 5)])[::-1]
    worth = np.array((limits(62) * 4)[: len(right)])

    def program(
        _: Session, a: SecretInt, b: SecretInt, v: SecretInt, c: SecretInt, d: SecretInt, w: SecretInt
    ) -> object:
        groups = op.group_by([a, b], [v])
        found, valid = op.distinct([a, b])
        return (
            groups.keys,
            groups.sums[0],
            groups.counts,
            groups.valid,
            found,
            valid,
            op.join([a, b], [c, d], [w]),
        )

    with World(protocol) as world:
        shared = [world.share(v) for v in (high, low)]
        shared += [
            world.share(amount, bits=58),
            *(world.share(v) for v in right.T),
            world.share(worth, bits=62),
        ]
        keys, sums, counts, valid, found, real, (matched, (got,)) = world.run(program, *shared)
    m = len(unique)
    for columns, flags in ((keys, valid), (found, real)):
        assert flags.tolist() == [True] * m + [False] * (40 - m)
        assert list(zip(*(c[:m].tolist() for c in columns), strict=True)) == unique
        assert not any(c[m:].any() for c in columns)
    rows = list(zip(high.tolist(), low.tolist(), strict=True))
    assert counts[:m].tolist() == [rows.count(key) for key in unique]
    assert sums[:m].tolist() == [
        sum(int(v) for v, row in zip(amount, rows, strict=True) if row == key) for key in unique
    ]
    expected = {tuple(key): value for key, value in zip(right.tolist(), worth.tolist(), strict=True)}
    assert matched.tolist() == [row in expected for row in rows]
    assert got.tolist() == [expected.get(row, 0) for row in rows]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shuffles_of_few_rows_and_of_limits(protocol: str) -> None:
    tables = [
        np.array(limits(64) * 2)[: n * 3].reshape(n, -1) if n else np.zeros((0, 3), int) for n in (0, 1, 2, 6)
    ]

    def program(_: Session, *given: SecretInt) -> object:
        return [op.shuffle([t, t[:, 0] > 0]) for t in given]

    with World(protocol) as world:
        out = world.run(program, *(world.share(t) for t in tables))
    for table, (rows, flags) in zip(tables, out, strict=True):
        assert sorted(rows.tolist()) == sorted(table.tolist())
        assert np.array_equal(flags, rows[:, 0] > 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sums_by_code_of_limits_and_of_codes_left_out(protocol: str) -> None:
    code = np.arange(64) % 8
    x = np.array((limits(57) * 12)[:64])
    flags = code == 7

    def program(_: Session, c: SecretInt, a: SecretInt, f: SecretBits) -> object:
        alone = op.sums_by_code(f.to_int(16), 1)
        return op.sums_by_code(c, 6, [a]), alone, op.sums_by_code(c, 256, [a]), op.popcount(f)

    with World(protocol) as world:
        (counts, (sums,)), (one, _), (every, (wide,)), seven = world.run(
            program, world.share(code, bits=9, ring=16), world.share(x, bits=57), world.share(flags)
        )
    wanted = np.array([x[code == c].sum() for c in range(8)])
    assert counts.tolist() == [8] * 6
    assert np.array_equal(sums, wanted[:6])
    assert one.tolist() == [56]
    assert every.tolist() == [8] * 8 + [0] * 248
    assert np.array_equal(wide, np.concatenate((wanted, np.zeros(248))))
    assert seven == 8


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_running_products_of_zeros_ones_and_of_nearly_nothing(protocol: str) -> None:
    ulp = 2.0**-28
    factors = np.array([[1, 0, 1 - ulp, 0.5]] * 9)
    factors[4] = [1, 1, ulp, 1]
    with World(protocol) as world:
        found = world.run(lambda _, a: op.prefix_product(a), world.share(factors, scale=28, bits=30))
    lost = np.cumprod(factors, axis=0) - found
    assert np.all((lost > -ulp) & (lost <= 2 * ulp * np.arange(9)[:, None]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("bits", "ring"), [(26, 32), (27, 64)])
def test_sums_by_code_take_the_narrow_ring_where_no_sum_outgrows_it(
    protocol: str, bits: int, ring: int
) -> None:
    """64 rows: sums have six bits more than what is added."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    column, code = np.array([low] * 64 + [high] * 64), np.repeat([0, 1], 64)
    seen: list[int] = []

    def program(_: Session, c: SecretInt, a: SecretInt) -> object:
        first = op.sums_by_code(c[:64], 2, [a[:64]])[1][0]
        second = op.sums_by_code(c[64:], 2, [a[64:]])[1][0]
        seen.extend((first.ring, second.ring))
        return first, second

    with World(protocol) as world:
        first, second = world.run(program, world.share(code, bits=2), world.share(column, bits=bits, ring=64))
    assert set(seen) == {ring}
    assert (first.tolist(), second.tolist()) == ([64 * low, 0], [0, 64 * high])
