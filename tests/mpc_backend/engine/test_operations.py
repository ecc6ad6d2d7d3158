"""Operations against numpy with stated error bounds."""

import inspect
import re

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.testing import World

PROTOCOLS = ("plain", "rep3", "rep4")


def spread(bits: int, seed: int, n: int = 120) -> np.ndarray:
    """Positive integers below 2^(bits-1) of all magnitudes, with the limits."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 1 << (bits - 1), n) >> rng.integers(0, bits - 1, n)
    values[:3] = 1, (1 << (bits - 1)) - 1, 1 << (bits - 2)
    return np.maximum(values, 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", [10, 31, 40, 61])
def test_floor_division_by_a_public_number_is_exact(protocol: str, bits: int) -> None:
    half = 1 << (bits - 1)
    divisors = [1, 2, 3, 10, 11, 4096, 999_983, (1 << 33) + 1, (1 << 59) - 55]
    x = np.concatenate((spread(bits, 1, 40), -spread(bits, 2, 40), [0, -1, -half, half - 1]))
    near = np.concatenate(
        [[d * q - 1, d * q, d * q + 1] for d in divisors for q in (1, -1, 7) if d * 7 < half]
    )
    x = np.concatenate((x, near))
    with World(protocol) as world:
        out = world.run(lambda _, a: [op.floor_divide(a, d) for d in divisors], world.share(x, bits=bits))
    for divisor, found in zip(divisors, out, strict=True):
        assert np.array_equal(found, x // divisor), divisor


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", [8, 20, 30, 45, 60])
def test_reciprocal_root_and_logarithm_keep_their_stated_error(protocol: str, bits: int) -> None:
    x = spread(bits, bits)
    with World(protocol) as world:
        inverse, root, logarithm = world.run(
            lambda _, a: [op.reciprocal(a, 25), op.sqrt(a, 20), op.log(a, 25)], world.share(x, bits=bits)
        )
    assert np.all(np.abs(inverse - 1 / x) <= 4 * 2.0**-25 + 2.0**-27 / x)
    assert np.all(np.abs(root - np.sqrt(x)) <= 3 * 2.0**-20 + 2.0**-25 * np.sqrt(x))
    assert np.all(np.abs(logarithm - np.log(x)) <= 2.0**-25 + 2.0**-24)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_division_of_wide_numbers_and_by_zero(protocol: str) -> None:
    y, x = spread(30, 3), spread(29, 4)
    part = np.minimum(x, y)
    zero = x.copy()
    zero[::2] = 0
    with World(protocol) as world:
        a, b, c, z = (world.share(v, bits=30) for v in (y, x, part, zero))
        out = world.run(
            lambda _, a, b, c, z: [op.divide(a, b, 20), op.divide(c, b, 30, quotient_bits=1), op.divide(a, z, 20)],
            a, b, c, z,
        )  # fmt: skip
    assert np.all(np.abs(out[0] - y / x) <= 4 * 2.0**-20 + y / x * 2.0**-27)
    assert np.all(np.abs(out[1] - part / x) <= 4 * 2.0**-30 + 2.0**-27)
    assert np.all(np.abs(out[2][::2]) <= 4 * 2.0**-20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_results_that_could_outgrow_the_ring_are_refused_by_their_declared_widths(protocol: str) -> None:
    """61 bits before and after the point are right, 62 would wrap: the largest results there are of the widths declared."""
    wide, small = np.array([2.0**29 - 1, 2.0**28]), np.array([2.0**-20, 2.0**-19])
    with World(protocol) as world:
        a, one = world.share(wide.astype(np.int64), bits=30), world.share(np.ones(2, np.int64), bits=3)
        b, square = world.share(small, scale=20, bits=30), world.share((wide**2).astype(np.int64), bits=59)
        quotient, inverse, root, over = world.run(
            lambda _, a, one, b, square: [
                op.divide(a, one, 32), op.reciprocal(b, 41), op.sqrt(square, 32), op.divide(a, b, 12)
            ],
            a, one, b, square,
        )  # fmt: skip
        assert np.all(np.abs(quotient - wide) <= wide * 2.0**-27 + 4 * 2.0**-32)
        assert np.all(np.abs(inverse - 1 / small) <= 2.0**-27 / small + 4 * 2.0**-41)
        assert np.all(np.abs(root - wide) <= 2.0**-25 * wide + 3 * 2.0**-32)
        assert np.all(np.abs(over - wide / small) <= wide / small * 2.0**-27 + 4 * 2.0**-12)
        for beyond in (
            lambda _, a, one, b, square: op.divide(a, one, 33),
            lambda _, a, one, b, square: op.reciprocal(b, 42),
            lambda _, a, one, b, square: op.sqrt(square, 33),
            lambda _, a, one, b, square: op.divide(a, b, 13),
        ):
            with pytest.raises(ValueError, match="62 bits of the 61 that a result may have"):
                world.run(beyond, a, one, b, square)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scale", [15, 20])
def test_reals_keep_relative_accuracy_over_their_range(protocol: str, scale: int) -> None:
    x = np.rint(np.geomspace(0.01, 9e4, 80) * 2**scale) / 2**scale
    with World(protocol) as world:
        inverse, root, logarithm = world.run(
            lambda _, a: [op.reciprocal(a, 24), op.sqrt(a, 24), op.log(a, 24)],
            world.share(x, scale=scale, bits=40),
        )
    assert np.all(np.abs(inverse - 1 / x) <= 4 * 2.0**-24 + 2.0**-27 / x)
    assert np.all(np.abs(root - np.sqrt(x)) <= 4 * 2.0**-24 + 2.0**-25 * np.sqrt(x))
    assert np.all(np.abs(logarithm - np.log(x)) <= 2.0**-25 + 2 * 2.0**-24)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_logarithms_and_logistic_functions_of_as_many_places_as_fit(protocol: str) -> None:
    """One place more is refused."""
    x = np.array([1, 2, (1 << 61) - 1])
    with World(protocol) as world:
        given = world.share(x, bits=62)
        found, near = world.run(lambda _, a: [op.log(a, 55), op.sigmoid(a.with_bits(3)[:2], 60)], given)
        assert np.all(np.abs(found - np.log(x)) <= 2.0**-25)
        assert np.all(np.abs(near - 1 / (1 + np.exp(-x[:2]))) <= 2.0**-22)
        for beyond in (
            lambda _, a: op.log(a, 56), lambda _, a: op.sigmoid(a, 61), lambda _, a: op.sigmoid_and_softplus(a, 61)[1]
        ):  # fmt: skip
            with pytest.raises(
                ValueError, match=r"62 bits of the 61 that a result may have.* fractional bits$"
            ):
                world.run(beyond, given)


@pytest.mark.parametrize(("shape", "ring"), [((), 64), ((3, 0), 64), ((2, 64), 64), ((2, 17), 16)])
def test_bits_that_are_no_number_are_refused(shape: tuple[int, ...], ring: int) -> None:
    with World("plain") as world, pytest.raises(ValueError, match=f"integers in ring {ring} have 1 to"):
        world.run(lambda _, a: op.from_bits(a, ring), world.share(np.zeros(shape, bool)))


def test_a_division_without_room_is_refused() -> None:
    with World("plain") as world, pytest.raises(ValueError, match="quotient_bits"):
        world.run(lambda _, a: op.divide(a, a, 20), world.share([3], bits=40))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_choosing_joining_and_extremes(protocol: str) -> None:
    rng = np.random.default_rng(8)
    x, y, flags = rng.integers(-99, 99, (50, 3)), rng.integers(-99, 99, (50, 3)), rng.random(50) < 0.5
    with World(protocol) as world:
        out = world.run(
            lambda _, a, b, c: [
                op.select(c.reshape(50, 1), a, b), op.select(c, ~c, c), op.select(c.reshape(50, 1), a, 7),
                op.minimum(a, b), op.maximum(a, b), op.minimum(a, 5), op.maximum(a, 5), op.dot(a, b),
                op.concatenate([a, b], 1), op.stack([a, b], 1), op.concatenate([c, ~c]),
            ],
            world.share(x, bits=8), world.share(y, bits=8), world.share(flags),
        )  # fmt: skip
    column = flags[:, None]
    wanted = [
        np.where(column, x, y), np.where(flags, ~flags, flags), np.where(column, x, 7), np.minimum(x, y), np.maximum(x, y),
        np.minimum(x, 5), np.maximum(x, 5), (x * y).sum(1), np.concatenate([x, y], 1), np.stack([x, y], 1),
        np.concatenate([flags, ~flags]),
    ]  # fmt: skip
    for found, expected in zip(out, wanted, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_running_products_of_a_survival_curve(protocol: str) -> None:
    factors = 1 - np.random.default_rng(2).random((100, 2)) * 0.05
    with World(protocol) as world:
        out = world.run(lambda _, a: op.prefix_product(a), world.share(factors, scale=28, bits=30))
    assert np.abs(out - np.cumprod(factors, axis=0)).max() < 300 * 2.0**-28


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shuffled_rows_stay_whole_and_move(protocol: str) -> None:
    rng = np.random.default_rng(6)
    x, small, flags = np.arange(600).reshape(200, 3), rng.integers(0, 99, 200), rng.random(200) < 0.5
    with World(protocol) as world:
        a, b, c = world.share(x), world.share(small, bits=8, ring=16), world.share(flags)
        first, second, third = world.run(lambda _, a, b, c: op.shuffle([a, b, c]), a, b, c)
    order = first[:, 0] // 3
    assert sorted(order) == list(range(200))
    assert not np.array_equal(order, np.arange(200))
    assert np.array_equal(first, x[order])
    assert np.array_equal(second, small[order])
    assert np.array_equal(third, flags[order])


def test_every_operation_names_its_source() -> None:
    """A paper with its year; but for what only puts arrays side by side."""
    functions = {name for name in op.__all__ if not inspect.isclass(getattr(op, name))}
    nameless = {
        name for name in functions if not re.search(r"\b(19|20)\d\d\b", getattr(op, name).__doc__ or "")
    }
    assert nameless == {"concatenate", "stack"}
