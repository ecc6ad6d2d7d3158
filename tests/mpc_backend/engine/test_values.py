"""Operators against numpy, at edge values, for every protocol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_backend.testing import World

PROTOCOLS = ("plain", "rep3", "rep4")
FORMS = ((16, 8), (16, 15), (16, 16), (32, 20), (32, 32), (64, 8), (64, 33), (64, 64))
few = settings(max_examples=12, deadline=None)


def edges(bits: int) -> list[int]:
    """Limits of the width, zero, one, and powers of two inside."""
    half = 1 << (min(bits, 63) - 1)
    low = -half + 1 if bits >= 63 else -half
    inside = [sign * (1 << e) for e in (15, 31, 47, 61) for sign in (-1, 1)]
    return [0, 1, -1, low, half - 1, *(v for v in inside if low <= v < half)]


def wrapped(values: np.ndarray, ring: int) -> np.ndarray:
    """Signed values mod 2^ring."""
    return values.astype(np.int64).astype(f"i{ring // 8}").astype(np.int64)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("ring", "bits"), FORMS)
def test_every_operator_on_every_pair_of_edge_values(protocol: str, ring: int, bits: int) -> None:
    values = np.array(edges(bits))
    x, y = (part.reshape(-1) for part in np.meshgrid(values, values))
    with World(protocol) as world:
        a, b = world.share(x, bits=bits, ring=ring), world.share(y, bits=bits, ring=ring)
        out = world.run(
            lambda _, a, b: {
                "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b,
                "+": a + b, "-": a - b, "*": a * b, "neg": -a, "<1": a < 1, ">1": a > 1, "==0": a == 0,
            },
            a, b,
        )  # fmt: skip
    assert np.array_equal(out["<"], x < y)
    assert np.array_equal(out["<="], x <= y)
    assert np.array_equal(out[">"], x > y)
    assert np.array_equal(out[">="], x >= y)
    assert np.array_equal(out["=="], x == y)
    assert np.array_equal(out["!="], x != y)
    assert np.array_equal(out["<1"], x < 1)
    assert np.array_equal(out[">1"], x > 1)
    assert np.array_equal(out["==0"], x == 0)
    with np.errstate(over="ignore"):
        assert np.array_equal(out["+"], wrapped(x + y, ring))
        assert np.array_equal(out["-"], wrapped(x - y, ring))
        assert np.array_equal(out["*"], wrapped(x * y, ring))
        assert np.array_equal(out["neg"], wrapped(-x, ring))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("ring", "bits"), [form for form in FORMS if form[0] < 64])
def test_widening_is_exact_up_to_the_full_width(protocol: str, ring: int, bits: int) -> None:
    values = np.array(edges(bits) * 20)
    with World(protocol) as world:
        out = world.run(lambda _, a: a.widen(64), world.share(values, bits=bits, ring=ring))
    assert np.array_equal(out, values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_matrix_products_public_and_secret(protocol: str) -> None:
    rng = np.random.default_rng(5)
    x, y, v = rng.integers(-99, 99, (7, 33)), rng.integers(-99, 99, (33, 6)), rng.integers(-99, 99, 33)
    with World(protocol) as world:
        a, b, c = (world.share(part, bits=8, ring=32) for part in (x, y, v))
        out = world.run(
            lambda _, a, b, c: [a @ b, a @ c, c @ b, c @ c, a @ y, x @ b, v @ b, a @ (b[:, 0] > 0)], a, b, c
        )
    expected = [x @ y, x @ v, v @ y, v @ v, x @ y, x @ y, v @ y, x @ (y[:, 0] > 0)]
    for found, wanted in zip(out, expected, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
@few
def test_logic_on_packed_bits(protocol: str, pairs: list[tuple[bool, bool]]) -> None:
    x, y = np.array(pairs).T
    with World(protocol) as world:
        out = world.run(
            lambda _, a, b: [a & b, a | b, a ^ b, ~a, a == b, a & y, a | y, a.sum(), a.all(), a.any(), a.to_int(16), a * 7],
            world.share(x), world.share(y),
        )  # fmt: skip
    wanted = [x & y, x | y, x ^ y, ~x, x == y, x & y, x | y, x.sum(), x.all(), x.any(), x, x * 7]
    for found, expected in zip(out, wanted, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shapes_follow_numpy(protocol: str) -> None:
    x = np.arange(24).reshape(4, 6)
    flags = x % 3 == 0
    changes = [
        lambda v: v[1], lambda v: v[:, 2], lambda v: v[1:3, ::2], lambda v: v[[0, 3]], lambda v: v[x > 7],
        lambda v: v.T, lambda v: v.reshape(3, 8), lambda v: v.reshape((2, -1)), lambda v: v.ravel(), lambda v: v[..., None],
    ]  # fmt: skip
    with World(protocol) as world:
        out = world.run(
            lambda _, a, b: [
                [c(a) for c in changes], [c(b) for c in changes],
                a.sum(0), a.sum(1), a.cumsum(1), b.sum(-1), b.all(0), b.any(1),
            ],
            world.share(x), world.share(flags),
        )  # fmt: skip
    for change, number, flag in zip(changes, out[0], out[1], strict=True):
        assert np.array_equal(number, change(x))
        assert np.array_equal(flag, change(flags))
    wanted = (x.sum(0), x.sum(1), x.cumsum(1), flags.sum(-1), flags.all(0), flags.any(1))
    for found, expected in zip(out[2:], wanted, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40), st.floats(-100, 100))
@few
def test_fixed_point_within_a_unit_and_release_exact(
    protocol: str, reals: list[float], factor: float
) -> None:
    x = np.rint(np.array(reals) * 2**20) / 2**20
    y = np.roll(x, 1) / 64
    y = np.rint(y * 2**20) / 2**20
    ulp = 2.0**-20
    with World(protocol) as world:
        a, b = world.share(x), world.share(y)
        out = world.run(
            lambda _, a, b: [
                a + b,
                a - b,
                a * b,
                a * 3,
                a * factor,
                a < b,
                a.exact_round(2),
                a.floor(),
                1.0 - a,
            ],
            a,
            b,
        )
    assert np.array_equal(out[0], x + y)
    assert np.array_equal(out[1], x - y)
    error = x * y - out[2]
    assert ((error >= 0) & (error < 2 * ulp)).all()
    assert np.array_equal(out[3], x * 3)
    assert np.abs(out[4] - x * factor).max() <= 2 * ulp + np.abs(x).max() * ulp
    assert np.array_equal(out[5], x < y)
    assert np.array_equal(
        out[6], np.floor(np.rint(x * 2**20).astype(object) * 100 / 2**20 + 0.5).astype(np.int64)
    )
    assert np.array_equal(out[7], np.floor(x))
    assert np.array_equal(out[8], 1.0 - x)


def test_a_secret_is_no_truth_value_and_rings_do_not_mix() -> None:
    with World("plain") as world:
        a, b = world.share([1, 2], ring=16, bits=8), world.share([1, 2])
        with pytest.raises(TypeError, match="select"):
            world.run(lambda _, a: bool(a[0] > 1), a)
        with pytest.raises(ValueError, match="widen"):
            world.run(lambda _, a, b: a + b, a, b)
        with pytest.raises(TypeError, match="to_fixed"):
            world.run(lambda _, a: a * 0.5, b)


@pytest.mark.parametrize(
    ("values", "bits"), [([128], 8), ([-129], 8), ([1 << 62], 64), ([-(1 << 62)], 64), ([1 << 15], 16)]
)
def test_values_outside_the_declared_width_are_refused(values: list[int], bits: int) -> None:
    with World("rep4") as world, pytest.raises(ValueError, match="outside"):
        world.share(np.array(values), bits=bits)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**42])
def test_reals_that_do_not_fit_are_refused(value: float) -> None:
    with World("rep4") as world, pytest.raises(ValueError, match="finite"):
        world.share([value], fixed=True)
