"""Operations at the limits of what they are declared for, three and four nodes; one run for all edges of a kind."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.session import Session
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.engine.test_edges_of_values import limits

PROTOCOLS = ("rep3", "rep4")


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


NOTHING: dict[str, Callable[[Any, Any], Any]] = {
    "extremes": lambda a, _: [f(a.reshape(0, 3), 1) for f in (op.amax, op.amin, op.argmax, op.argmin)],
    "quotients": lambda a, _: [op.divide(a, a, 5), op.reciprocal(a, 5), op.floor_divide(a, 3), op.floor_divide(a, 4)],
    "ratios": lambda a, _: op.ratio_of_counts(a.with_bits(9), a.with_bits(17), 5),
    "roots": lambda a, _: [op.sqrt(a, 5), op.log(a, 5)],
    "exponentials": lambda a, _: [op.exp(a, 5), op.sigmoid(a, 5), op.sigmoid_and_softplus(a, 5)],
    "scans": lambda a, f: [op.segmented_cumsum(a, f), op.segmented_copy(a, f), op.prefix_product(a.to_fixed(3))],
    "choices": lambda a, f: [op.select(f, a, a), op.minimum(a, 3), op.maximum(a, a), op.concatenate([a, a])],
    "bits": lambda a, f: [op.popcount(a), op.to_bits(a), op.from_bits(f.reshape(0, 3)), f & ~f, f.to_int(16)],
    "order": lambda a, f: [a < 2 * a, a == 3, op.sort([a, f], [a, f]), op.shuffle([a, f]), op.distinct([a])],
    "tables": lambda a, _: [op.join([a], [a], [a]), op.group_by([a], [a]).sums, op.group_by([a], [a]).valid],
    "products": lambda a, f: [a * a, a * f, a.to_fixed(4) * 0.3, a.reshape(0, 2) @ a.reshape(2, 0)],
    "other forms": lambda a, _: [a.narrow(16).widen(64), a.to_fixed(4).exact_round(2), a.to_fixed(4).floor()],
    "systems": lambda a, _: [
        (found := op.positive_inverse(a.to_fixed(4).reshape(0, 2, 2))).deficient, found.errors(20),
        op.damped_inverse(a.to_fixed(4).reshape(0, 2, 2), 2).solve(a.to_fixed(4).reshape(0, 2), 20),
    ],
}  # fmt: skip


def sizes(found: Any) -> set[int]:
    return set().union(*map(sizes, found)) if isinstance(found, list | tuple) else {np.size(found)}


@pytest.mark.parametrize("protocol", ("plain", *PROTOCOLS))
@pytest.mark.parametrize("name", NOTHING)
def test_nothing_comes_of_no_rows(protocol: str, name: str) -> None:
    with World(protocol) as world:
        given = world.share(np.zeros(0, int), bits=8), world.share(np.zeros(0, bool))
        assert sizes(world.run(lambda _, a, f: NOTHING[name](a, f), *given)) == {0}


@pytest.mark.parametrize("protocol", ("plain", *PROTOCOLS))
def test_sums_and_products_of_no_rows_are_those_of_numpy(protocol: str) -> None:
    def program(_: Session, a: SecretInt, f: SecretBits) -> object:
        empty = f.reshape(3, 0)
        return [
            a.sum(), f.sum(), f.all(), f.any(), empty.all(1), empty.any(1), op.popcount(f), op.dot(a, a),
            a.reshape(2, 0) @ a.reshape(0, 2), op.sums_by_code(a, 4, [a])[0],
        ]  # fmt: skip

    with World(protocol) as world:
        found = world.run(program, world.share(np.zeros(0, int), bits=8), world.share(np.zeros(0, bool)))
    wanted = [0, 0, True, False, [True] * 3, [False] * 3, 0, 0, [[0, 0], [0, 0]], [0] * 4]
    assert [np.asarray(one).tolist() for one in found] == wanted


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
