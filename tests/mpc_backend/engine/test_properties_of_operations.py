"""Every operation against numpy: arrays of many numbers drawn anew, edges among them.

What costs many rounds takes three and four nodes in turn.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpc_backend import operations as op
from mpc_backend.session import Session
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.engine.test_edges_of_values import RINGS, WIDTHS, limits, numbers, some, wrapped
from tests.mpc_backend.views import surface

PROTOCOLS = ("rep3", "rep4")
both = st.sampled_from(PROTOCOLS)
COVERED: set[str] = set()


def covers(*names: str) -> Callable[[Any], Any]:
    """Operations that a test compares with numpy for numbers drawn anew."""
    COVERED.update(names)
    return lambda test: test


def flags(n: int) -> st.SearchStrategy[np.ndarray]:
    """Truth values in runs of every length."""
    return st.floats(0, 1).flatmap(
        lambda share: st.integers(0, 1 << 30).map(lambda seed: np.random.default_rng(seed).random(n) < share)
    )


def test_every_operation_is_covered() -> None:
    assert surface() == COVERED


@covers("amax", "amin", "argmax", "argmin")
@given(data=st.data(), protocol=both)
@some
def test_extremes(data: st.DataObject, protocol: str) -> None:
    """Widest values: |x| < 2^61, as a difference of two has to keep its sign."""
    bits = data.draw(st.sampled_from([*WIDTHS[:3], 62]))
    x = data.draw(numbers(bits, (data.draw(st.sampled_from([1, 2, 3, 5])), 30)))
    axis = data.draw(st.sampled_from([0, -2]))
    with World(protocol) as world:
        found = world.run(
            lambda _, a: [f(a, axis) for f in (op.amax, op.amin, op.argmax, op.argmin)],
            world.share(x, bits=bits),
        )
    for one, wanted in zip(found, (x.max(0), x.min(0), x.argmax(0), x.argmin(0)), strict=True):
        assert np.array_equal(one, wanted)


@covers("minimum", "maximum", "select", "concatenate", "stack")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_the_smaller_the_greater_and_the_chosen(protocol: str, data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([*WIDTHS[:3], 62]))
    x, y = data.draw(numbers(bits, (2, 60)))
    flag, public = data.draw(flags(60)), data.draw(st.sampled_from(limits(bits)))

    def program(_: Session, a: SecretInt, b: SecretInt, f: SecretBits) -> object:
        return [
            op.minimum(a, b), op.maximum(a, b), op.minimum(a, public), op.maximum(a, public), op.select(f, a, b),
            op.select(f, a, public), op.select(f, f, ~f), op.concatenate([a, b]), op.stack([a, b], -1), op.stack([f, ~f]),
        ]  # fmt: skip

    with World(protocol) as world:
        found = world.run(program, *(world.share(v, bits=bits) for v in (x, y)), world.share(flag))
    wanted = [
        np.minimum(x, y), np.maximum(x, y), np.minimum(x, public), np.maximum(x, public), np.where(flag, x, y),
        np.where(flag, x, public), np.ones(60, bool), np.concatenate([x, y]), np.stack([x, y], -1), np.stack([flag, ~flag]),
    ]  # fmt: skip
    for place, (one, expected) in enumerate(zip(found, wanted, strict=True)):
        assert np.array_equal(one, expected), place


@covers("popcount")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_set_bits(protocol: str, data: st.DataObject) -> None:
    """A width of 64 is one of 63: as many bits of a negative number are set as the declared width kept to 63 has."""
    bits = data.draw(st.sampled_from([2, 7, *WIDTHS, 63]))
    x = data.draw(numbers(bits))
    flag = data.draw(flags(data.draw(st.sampled_from([1, 64, 200]))))
    with World(protocol) as world:
        found, true = world.run(
            lambda _, a, f: [op.popcount(a), op.popcount(f)], world.share(x, bits=bits), world.share(flag)
        )
    assert found.tolist() == [(int(v) % (1 << min(bits, 63))).bit_count() for v in x]
    assert true == flag.sum()


@covers("to_bits", "from_bits")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_numbers_as_bits_and_back(protocol: str, data: st.DataObject) -> None:
    """In two's complement, whatever the width and the rings."""
    bits = data.draw(st.sampled_from([2, 3, 7, *WIDTHS, 63]))
    count = min(bits, 63)
    rings = [ring for ring in RINGS if ring >= count]
    own, other = (data.draw(st.sampled_from(rings)) for _ in range(2))
    x = data.draw(numbers(bits, st.sampled_from([(0, 2), (1,), (70,), (9, 7)])))
    with World(protocol) as world:
        found, back = world.run(
            lambda _, a: [taken := op.to_bits(a), op.from_bits(taken, other)],
            world.share(x, bits=bits, ring=own),
        )
    assert np.array_equal(found, (x[..., None] >> np.arange(count)) & 1 == 1)
    assert np.array_equal(back, x)


@covers("floor_divide")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_floor_division(protocol: str, data: st.DataObject) -> None:
    ring = data.draw(st.sampled_from(RINGS))
    bits = min(ring, 62)
    divisor = data.draw(
        st.sampled_from([1, 2, 3, 1 << (bits - 3), (1 << (bits - 2)) - 1]) | st.integers(1, (1 << 60) - 1)
    )
    x = data.draw(numbers(bits))
    near = [
        v
        for q in (-1, 1)
        for v in (q * divisor - 1, q * divisor, q * divisor + 1)
        if abs(v) < 1 << (bits - 1)
    ]
    x = np.concatenate((x, np.array(near, np.int64)))
    with World(protocol) as world:
        found = world.run(lambda _, a: op.floor_divide(a, divisor), world.share(x, bits=bits, ring=ring))
    assert found.tolist() == [int(v) // divisor for v in x]


@covers("divide", "reciprocal")
@given(data=st.data(), protocol=both)
@some
def test_quotients(data: st.DataObject, protocol: str) -> None:
    """All lengths of the divisor, zero among them, with all quotients that have room."""
    length = data.draw(st.integers(1, 57))
    room = min(59 - length, 40)
    b = np.abs(data.draw(numbers(length + 1, 50)))
    b = np.minimum(b, (1 << length) - 1)
    times = data.draw(
        arrays(np.int64, 50, elements=st.integers(-(1 << room) + 1, (1 << room) - 1), fill=st.nothing())
    )
    a, scale = times * b + np.sign(times) * (b // 3) * (np.abs(times) < (1 << room) - 1), min(20, 58 - room)
    with World(protocol) as world:
        found, inverse = world.run(
            lambda _, a, b: [op.divide(a, b, scale, quotient_bits=room), op.reciprocal(b, 20)],
            world.share(a, bits=62), world.share(b, bits=length + 1),
        )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        exact, one = np.where(b > 0, a / b, 0), np.where(b > 0, 1 / b, 0)
    assert np.all(np.abs(found - exact) <= 4 * 2.0**-scale + np.abs(exact) * 2.0**-27)
    assert np.all(np.abs(inverse - one) <= 4 * 2.0**-20 + one * 2.0**-27)


@covers("ratio_of_counts")
@given(data=st.data(), protocol=both)
@some
def test_ratios_of_counts(data: st.DataObject, protocol: str) -> None:
    length, scale = data.draw(st.integers(1, 16)), data.draw(st.integers(0, 20))
    a, b = (np.minimum(np.abs(data.draw(numbers(length + 1, 50))), (1 << length) - 1) for _ in range(2))
    with World(protocol) as world:
        counts = [world.share(each, bits=length + 1) for each in (a, b)]
        found = world.run(lambda _, a, b: op.ratio_of_counts(a, b, scale), *counts)
    exact = np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
    assert np.all(np.abs(found - exact) <= 2 * 2.0**-scale + exact * 2.0**-17)


@covers("sqrt", "log")
@given(data=st.data(), protocol=both)
@some
def test_roots_and_logarithms(data: st.DataObject, protocol: str) -> None:
    own = data.draw(st.sampled_from([0, 1, 13, 30]))
    raw = np.minimum(np.abs(data.draw(numbers(62))), (1 << 61) - 1) >> data.draw(st.integers(0, 40))
    raw = np.append(np.maximum(raw, 1), 0)
    x = raw / 2.0**own

    def program(_: Session, a: SecretInt) -> object:
        real = SecretFixed(a.protocol, a.shares, own, 62)
        return [op.sqrt(real, 20), op.log(real[:-1], 24)]

    with World(protocol) as world:
        root, logarithm = world.run(program, world.share(raw, bits=62))
    assert np.all(np.abs(root - np.sqrt(x)) <= 3 * 2.0**-20 + 2.0**-25 * np.sqrt(x))
    assert np.all(np.abs(logarithm - np.log(x[:-1])) <= 2.0**-25 + 2 * 2.0**-24)


@covers("exp", "sigmoid", "sigmoid_and_softplus")
@given(data=st.data(), protocol=both)
@some
def test_exponentials(data: st.DataObject, protocol: str) -> None:
    scale, spread = 24, data.draw(st.sampled_from([1, 8, 24]))
    edges = st.sampled_from(
        [0.0, 1.0, -1.0, math.log(2), -math.log(2), 24.0, -24.0, 2.0**-20, -(2.0**-20), -1000.0]
    )
    drawn = data.draw(arrays(np.float64, 60, elements=edges | st.floats(-spread, spread), fill=st.nothing()))
    x = np.rint(drawn * 2**20) / 2**20
    with World(protocol) as world:
        grown, logistic, (same, soft) = world.run(
            lambda _, a: [op.exp(a, scale), op.sigmoid(a, scale), op.sigmoid_and_softplus(a, scale)],
            world.share(x, bits=42),
        )
    assert np.all(np.abs(grown - np.exp(x)) <= 2.0**-22 * np.exp(x) + 2 * 2.0**-scale)
    with np.errstate(over="ignore"):
        exact, softplus = 1 / (1 + np.exp(-x)), np.logaddexp(0, x)
    for found in (logistic, same):
        assert np.all(np.abs(found - exact) <= 2.0**-22 * exact + 2.0**-25 + 2 * 2.0**-scale)
    assert np.all(np.abs(soft - softplus) <= 2.0**-22 + 3 * 2.0**-scale)


@covers("segmented_cumsum", "segmented_copy")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_scans_within_segments(protocol: str, data: st.DataObject) -> None:
    ring = data.draw(st.sampled_from(RINGS))
    x = data.draw(numbers(ring, st.integers(1, 100)))
    same = data.draw(flags(x.size))
    with World(protocol) as world:
        sums, copied = world.run(
            lambda _, a, f: [op.segmented_cumsum(a, f), op.segmented_copy(a, f)],
            world.share(x, bits=ring, ring=ring), world.share(same),
        )  # fmt: skip
    starts = [i for i in range(x.size) if i == 0 or not same[i]]
    for start, stop in zip(starts, [*starts[1:], x.size], strict=True):
        with np.errstate(over="ignore"):
            assert np.array_equal(sums[start:stop], wrapped(np.cumsum(x[start:stop]), ring))
        assert np.all(copied[start:stop] == x[start])


@covers("dot", "prefix_product")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_sums_of_products_and_running_products(protocol: str, data: st.DataObject) -> None:
    ring = data.draw(st.sampled_from(RINGS))
    x, y = data.draw(numbers(ring, (2, 20, data.draw(st.integers(1, 6)))))
    n, ulp = data.draw(st.integers(1, 9)), 2.0**-28
    edges = st.sampled_from([0.0, 1.0, ulp, 1 - ulp, 0.5])
    drawn = data.draw(arrays(np.float64, (n, 12), elements=edges | st.floats(0, 1), fill=st.nothing()))
    factors = np.rint(drawn / ulp) * ulp
    with World(protocol) as world:
        dots, found = world.run(
            lambda _, a, b, f: [op.dot(a, b), op.prefix_product(f)],
            *(world.share(v, bits=ring, ring=ring) for v in (x, y)), world.share(factors, scale=28, bits=30),
        )  # fmt: skip
    with np.errstate(over="ignore"):
        assert np.array_equal(dots, wrapped((x * y).sum(1), ring))
    lost = np.cumprod(factors, axis=0) - found
    assert np.all((lost > -ulp) & (lost <= 2 * ulp * np.arange(n)[:, None] + ulp))


@covers("sums_by_code")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@some
def test_sums_by_code(protocol: str, data: st.DataObject) -> None:
    """Any number of groups; codes that are left out; sums in the narrow ring and in the wide one."""
    groups = data.draw(st.sampled_from([1, 2, 3, 6, 16, 17, 256]))
    codes = 1 << max(1, (groups - 1).bit_length())
    bits = data.draw(st.sampled_from([8, 24, 26, 32, 57]))
    x = data.draw(numbers(bits))
    code = data.draw(arrays(np.int64, x.size, elements=st.integers(0, codes - 1), fill=st.nothing()))
    with World(protocol) as world:
        counts, (sums,) = world.run(
            lambda _, c, a: op.sums_by_code(c, groups, [a]),
            world.share(code, bits=10, ring=16),
            world.share(x, bits=bits),
        )
    assert counts.tolist() == [int((code == c).sum()) for c in range(groups)]
    assert sums.tolist() == [int(x[code == c].sum()) for c in range(groups)]


@covers("shuffle", "sort")
@given(data=st.data(), protocol=both)
@some
def test_shuffled_and_sorted_rows(data: st.DataObject, protocol: str) -> None:
    """By one key or two, each up or down; equal keys keep their order."""
    method = data.draw(st.sampled_from(["radix", "quicksort", None]))
    widths = data.draw(
        st.sampled_from([(8,), (16,), (62,), (8, 32), (64, 64)] if method != "radix" else [(8,), (4, 8)])
    )
    n = data.draw(st.sampled_from([0, 1, 2, 50]))
    keys = [data.draw(numbers(bits, n)) for bits in widths]
    down = [data.draw(st.booleans()) for _ in widths]

    def program(_: Session, place: SecretInt, *given: SecretInt) -> object:
        return op.sort(given, [place, *given], descending=down, method=method), op.shuffle([place, *given])

    with World(protocol) as world:
        shared = [world.share(k, bits=b) for k, b in zip(keys, widths, strict=True)]
        (order, *ordered), (moved, *along) = world.run(program, world.share(np.arange(n), bits=16), *shared)
    wanted = np.lexsort(
        [np.arange(n), *(-k if d else k for k, d in zip(keys[::-1], down[::-1], strict=True))]
    )
    assert np.array_equal(order, wanted) and sorted(moved) == list(range(n))
    for key, one, other in zip(keys, ordered, along, strict=True):
        assert np.array_equal(one, key[wanted]) and np.array_equal(other, key[moved.astype(int)])


@covers("group_by", "distinct", "join")
@given(data=st.data(), protocol=both)
@some
def test_groups_distinct_rows_and_joins(data: st.DataObject, protocol: str) -> None:
    """Keys of two words, 128 bits or fewer in all, of which few differ."""
    bits = data.draw(st.sampled_from([4, 16, 64]))
    known = data.draw(arrays(np.int64, (12, 2), elements=st.sampled_from(limits(bits)), fill=st.nothing()))
    rows = known[data.draw(arrays(np.int64, 40, elements=st.integers(0, 11), fill=st.nothing()))]
    amount = data.draw(numbers(57, 40))
    right = np.unique(known, axis=0)[:: data.draw(st.sampled_from([-1, 2]))]
    worth = data.draw(numbers(62, len(right)))

    def program(_: Session, *given: SecretInt) -> object:
        a, b, v, c, d, w = given
        groups = op.group_by([a, b], [v])
        found = groups.keys, groups.sums[0], groups.counts, groups.valid
        return found, op.distinct([a, b]), op.join([a, b], [c, d], [w])

    with World(protocol) as world:
        shared = [world.share(v, bits=bits) for v in rows.T], [world.share(v, bits=bits) for v in right.T]
        left = [*shared[0], world.share(amount, bits=57)]
        (keys, sums, counts, valid), (found, real), (matched, (got,)) = world.run(
            program, *left, *shared[1], world.share(worth, bits=62)
        )
    listed = [tuple(row) for row in rows.tolist()]
    unique = sorted(set(listed))
    m = len(unique)
    for columns, mask in ((keys, valid), (found, real)):
        assert mask.tolist() == [True] * m + [False] * (40 - m)
        assert list(zip(*(c[:m].tolist() for c in columns), strict=True)) == unique
        assert not any(c[m:].any() for c in columns)
    assert counts.tolist() == [listed.count(key) for key in unique] + [0] * (40 - m)
    totals = [sum(int(v) for v, row in zip(amount, listed, strict=True) if row == key) for key in unique]
    assert sums.tolist() == totals + [0] * (40 - m)
    expected = {tuple(key): value for key, value in zip(right.tolist(), worth.tolist(), strict=True)}
    assert matched.tolist() == [row in expected for row in listed]
    assert got.tolist() == [expected.get(row, 0) for row in listed]


SYSTEMS = [f"ScaledInverse.{name}" for name in ("solve", "matrix", "errors", "form")]


@covers("positive_inverse", "damped_inverse", *SYSTEMS)
@given(seed=st.integers(0, 1 << 30), p=st.sampled_from([1, 2, 3]), protocol=both)
@some
def test_positive_definite_systems(seed: int, p: int, protocol: str) -> None:
    """Columns of any size and correlation up to 0.95, with solutions between half and twice their standard error."""
    rng = np.random.default_rng(seed)
    alike = rng.uniform(-0.95, 0.95, (8, 1, 1))
    rows = alike * rng.normal(size=(8, 100, 1)) + np.sqrt(1 - alike**2) * rng.normal(size=(8, 100, p))
    rows *= 2.0 ** rng.uniform(-4, 3, (8, 1, p))
    matrix = np.rint(np.einsum("bni,bnj->bij", rows, rows) * 2**20) / 2**20
    exact, sizes = np.linalg.inv(matrix), np.sqrt(np.einsum("bii->bi", matrix))
    roots = np.sqrt(np.einsum("bii->bi", exact))
    truth = rng.uniform(0.5, 2, (8, p)) / sizes
    right = np.rint(np.einsum("bij,bj->bi", matrix, truth) * 2**20) / 2**20
    solution = np.einsum("bij,bj->bi", exact, right)

    def program(_: Session, a: SecretFixed, b: SecretFixed) -> object:
        found, near = op.positive_inverse(a), op.damped_inverse(a, 10)
        return [
            found.solve(b, 34, 3), found.matrix(34, 4), found.errors(34), found.form(b, 24, 3), found.deficient,
            near.solve(b, 34, 3),
        ]  # fmt: skip

    with World(protocol) as world:
        x, inverse, errors, form, deficient, near = world.run(
            program, *(world.share(v, scale=20, bits=40) for v in (matrix, right))
        )
    assert not deficient.any()
    assert np.abs((x - solution) / roots).max() < 2.0**-22
    assert np.abs((inverse - exact) / (roots[:, :, None] * roots[:, None, :])).max() < 2.0**-16
    np.testing.assert_allclose(errors, roots, rtol=2.0**-16)
    np.testing.assert_allclose(form, np.einsum("bi,bi->b", right, solution), rtol=2.0**-12)
    assert np.abs((near - solution) * sizes).max() < 2.0**-6
