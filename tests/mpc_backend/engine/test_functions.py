"""Functions with a stated error over their whole range, counts of bits, and extremes along an axis."""

import math

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.operations.exponential import power_of_fraction
from mpc_backend.testing import World

PROTOCOLS = ("plain", "rep3", "rep4")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("own", "scale"), [(20, 20), (24, 10), (28, 28), (8, 0)])
def test_exponential_over_its_whole_range(protocol: str, own: int, scale: int) -> None:
    highest = (61 - scale) * math.log(2) - 2**-7
    x = np.concatenate(([0, 2.0**-own, -(2.0**-own), highest, -900], np.linspace(-30, highest, 400)))
    x = np.rint(x * 2**own) / 2**own
    with World(protocol) as world:
        found = world.run(lambda _, a: op.exp(a, scale), world.share(x, scale=own, bits=own + 12))
    assert np.all(np.abs(found - np.exp(x)) <= 2.0**-22 * np.exp(x) + 2 * 2.0**-scale)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exponential_where_it_is_cut_off(protocol: str) -> None:
    """Where halves' fractional parts carry into a whole part that is next to nothing."""
    own, scale = 24, 20
    x = -(scale + 2) * math.log(2) + np.arange(-600, 600) * 2.0**-17
    x = np.rint(x * 2**own) / 2**own
    with World(protocol) as world:
        found = world.run(lambda _, a: op.exp(a, scale), world.share(x, scale=own, bits=own + 12))
    assert np.all(np.abs(found - np.exp(x)) <= 2 * 2.0**-scale)


def test_powers_of_fractions_are_the_same_whole_numbers_on_every_machine() -> None:
    """Within one of what 40 decimals give: nodes that know one half in common compare what they make of it bit by bit."""
    known = {0: 1 << 29, 1: 536870917, 12_345_678: 609886245, 1 << 25: 759250125, (1 << 26) - 1: 1073741812}
    found = power_of_fraction(np.array(list(known), np.uint64))
    assert found.dtype == np.uint64
    assert found.tolist() == list(known.values())


def test_powers_of_fractions_are_right_to_two_units() -> None:
    fraction = np.arange(0, 1 << 26, 1_009, dtype=np.uint64)
    exact = np.exp2(fraction / 2**26) * 2**29
    assert np.abs(power_of_fraction(fraction) - exact).max() < 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exponential_of_integers(protocol: str) -> None:
    x = np.arange(-20, 20)
    with World(protocol) as world:
        found = world.run(lambda _, a: op.exp(a, 30), world.share(x, bits=8, ring=16))
    assert np.all(np.abs(found - np.exp(x)) <= 2.0**-22 * np.exp(x) + 2 * 2.0**-30)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("own", "scale"), [(20, 20), (24, 26), (10, 12)])
def test_logistic_function_over_its_whole_range(protocol: str, own: int, scale: int) -> None:
    x = np.concatenate(([0, 2.0**-own, -(2.0**-own), 500, -500], np.linspace(-25, 25, 400)))
    x = np.rint(x * 2**own) / 2**own
    with World(protocol) as world:
        found = world.run(lambda _, a: op.sigmoid(a, scale), world.share(x, scale=own, bits=own + 12))
    exact = 1 / (1 + np.exp(-x))
    assert np.all(np.abs(found - exact) <= 2.0**-22 * exact + 2.0**-25 + 2 * 2.0**-scale)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("own", "scale"), [(24, 26), (24, 20), (20, 12), (24, 10)])
def test_logarithm_of_one_plus_the_exponential(protocol: str, own: int, scale: int) -> None:
    x = np.concatenate(([0, 500, -500], np.linspace(-25, 25, 400)))
    x = np.rint(x * 2**own) / 2**own
    with World(protocol) as world:
        shared = world.share(x, scale=own, bits=own + 12)
        share, softplus = world.run(lambda _, a: list(op.sigmoid_and_softplus(a, scale)), shared)
    exact = 1 / (1 + np.exp(-x))
    assert np.all(np.abs(share - exact) <= 2.0**-22 * exact + 2.0**-25 + 2 * 2.0**-scale)
    assert np.all(np.abs(softplus - np.logaddexp(0, x)) <= 2.0**-22 + 3 * 2.0**-scale)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", [1, 9, 16])
def test_ratios_of_counts(protocol: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    below = np.concatenate(([0, 0, 1, 1, 2**bits - 1, 2 ** (bits - 1)], rng.integers(0, 2**bits, 2_000)))
    above = np.concatenate(([0, 2**bits - 1] * 3, rng.integers(0, 2**bits, 2_000)))
    with World(protocol) as world:
        given = [world.share(each, bits=bits + 1, ring=32) for each in (above, below)]
        found = world.run(lambda _, a, b: op.ratio_of_counts(a, b, 16), *given)
    exact = np.divide(above, below, out=np.zeros(len(above)), where=below > 0)
    assert np.all(np.abs(found - exact) <= 2 * 2.0**-16 + exact * 2.0**-17)


def test_ratios_of_longer_numbers_are_refused() -> None:
    with World("plain") as world:
        given = [world.share(np.arange(3), bits=bits) for bits in (17, 18)]
        with pytest.raises(ValueError, match="counts below 2\\^16 are needed, found widths up to 2\\^17"):
            world.run(lambda _, a, b: op.ratio_of_counts(a, b, 16), *given)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_root_and_logarithm_at_the_ends_of_their_range(protocol: str) -> None:
    whole = np.array([1, 2, 3, 4, (1 << 61) - 1, 1 << 60, (1 << 60) + 1, (1 << 31) - 1])
    with World(protocol) as world:
        root, log = world.run(lambda _, a: [op.sqrt(a, 8), op.log(a, 28)], world.share(whole, bits=62))
    assert np.all(np.abs(root - np.sqrt(whole)) <= 3 * 2.0**-8 + 2.0**-25 * np.sqrt(whole))
    assert np.all(np.abs(log - np.log(whole)) <= 2.0**-25 + 2 * 2.0**-28)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 5000])
def test_counting_true_values(protocol: str, n: int) -> None:
    flags = np.random.default_rng(n).random(n) < 0.5
    with World(protocol) as world:
        shared = world.share(flags)
        found = world.run(lambda _, a: [op.popcount(a), op.popcount(~a), op.popcount(a | True)], shared)
    assert found == [flags.sum(), n - flags.sum(), n]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", [2, 8, 33, 60])
def test_counting_the_bits_of_integers(protocol: str, bits: int) -> None:
    half = 1 << (bits - 1)
    x = np.array([[0, -1, 1], [half - 1, -half, half // 2]])
    with World(protocol) as world:
        found = world.run(lambda _, a: op.popcount(a), world.share(x, bits=bits))
    assert found.tolist() == [[(int(v) % (1 << bits)).bit_count() for v in row] for row in x]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("shape", "axis"), [((1,), 0), ((7,), 0), ((8,), -1), ((5, 3), 1), ((6, 2, 3), 0)])
def test_extremes_along_an_axis_and_their_first_place(
    protocol: str, shape: tuple[int, ...], axis: int
) -> None:
    x = np.random.default_rng(len(shape)).integers(-3, 3, shape)
    with World(protocol) as world:
        found = world.run(
            lambda _, a: [f(a, axis) for f in (op.amax, op.amin, op.argmax, op.argmin)],
            world.share(x, bits=4),
        )
    for got, expected in zip(found, [x.max(axis), x.min(axis), x.argmax(axis), x.argmin(axis)], strict=True):
        assert np.array_equal(got, expected)


def test_an_empty_axis_has_no_extremes() -> None:
    with World("plain") as world, pytest.raises(ValueError, match="empty"):
        world.run(lambda _, a: op.amax(a), world.share(np.zeros(0, np.int64)))
