"""Operators and conversions at the limits of every width, for numbers drawn anew each time: exact, whatever the shares."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpc_backend import operations as op
from mpc_backend.circuits.carry import bit_planes
from mpc_backend.circuits.convert import unpack_shares
from mpc_backend.circuits.truncate import floor_shift, truncate
from mpc_backend.session import Session
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

PROTOCOLS = ("rep3", "rep4")
WIDTHS = (8, 16, 32, 64)
RINGS = (16, 32, 64)
LENGTHS = st.integers(50, 120)
some = settings(max_examples=10, deadline=None, phases=(Phase.reuse, Phase.generate))
"""Examples, each of an array of many numbers: edges and any others mixed. To make a failing one small would take minutes."""


def limits(bits: int) -> list[int]:
    """0, 1, -1, the limits of a signed width and their neighbours, and both sides of 2^31 where it reaches them."""
    half = 1 << (min(bits, 63) - 1)
    low = -half + 1 if bits >= 63 else -half
    near = [sign * ((1 << 31) + d) for sign in (-1, 1) for d in (-1, 0, 1)]
    return sorted({0, 1, -1, low, low + 1, half - 2, half - 1, *(v for v in near if low <= v < half)})


def numbers(bits: int, shape: Any = LENGTHS) -> st.SearchStrategy[np.ndarray]:
    """Arrays of numbers of a width, about half of them `limits`."""
    edges = limits(bits)
    elements = st.sampled_from(edges) | st.integers(edges[0], edges[-1])
    return arrays(np.int64, shape, elements=elements, fill=st.nothing())


def pairs(edges: list[int]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.array(edges), np.array(edges))
    return x.reshape(-1), y.reshape(-1)


def wrapped(values: np.ndarray, ring: int) -> np.ndarray:
    return values.astype(f"i{ring // 8}").astype(np.int64)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_order_and_equality_among_secret_and_public_limits(protocol: str, bits: int) -> None:
    x, y = pairs(limits(bits))
    beyond = [-(1 << 62) + 1, -(1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << 62) - 1]
    public = [v for v in [*limits(bits), *beyond] if abs(v) < 1 << 62]

    def program(_: Session, a: SecretInt, b: SecretInt) -> object:
        both = [a < b, a <= b, a > b, a >= b, a == b, a != b]
        return both, [[a < v, a == v] for v in public] if bits < 64 else [[a < y, a == y]]

    with World(protocol) as world:
        secret, mixed = world.run(program, world.share(x, bits=bits), world.share(y, bits=bits))
    for found, wanted in zip(secret, [x < y, x <= y, x > y, x >= y, x == y, x != y], strict=True):
        assert np.array_equal(found, wanted)
    if bits < 64:
        for found, v in zip(mixed, public, strict=True):
            assert all(np.array_equal(f, w) for f, w in zip(found, [x < v, x == v], strict=True)), v
    else:
        assert np.array_equal(mixed[0][0], x < y)
        assert np.array_equal(mixed[0][1], x == y)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bits", WIDTHS)
@given(data=st.data())
@some
def test_order_and_equality_of_any_numbers(protocol: str, bits: int, data: st.DataObject) -> None:
    """Beside a number: another one, its neighbours, itself."""
    x = data.draw(numbers(bits))
    away = data.draw(arrays(np.int64, x.size, elements=st.sampled_from([-1, 0, 1]), fill=st.nothing()))
    y = np.where(np.arange(x.size) % 2, np.roll(x, 1), x) + away
    y = np.clip(y, limits(bits)[0], limits(bits)[-1])
    with World(protocol) as world:
        less, same = world.run(
            lambda _, a, b: [a < b, a == b], world.share(x, bits=bits), world.share(y, bits=bits)
        )
    assert np.array_equal(less, x < y)
    assert np.array_equal(same, x == y)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bits_to_every_ring_and_numbers_to_their_bits(protocol: str) -> None:
    flags = np.arange(131) % 3 == 0
    edges = np.array([v for bits in WIDTHS for v in limits(bits)])

    def program(_: Session, f: SecretBits, a: SecretInt) -> object:
        planes = bit_planes(a.protocol, a.flat, 64)
        bits = np.stack([unpack_shares(planes[:, p], a.size) for p in range(64)], axis=1)
        return [f.to_int(ring) for ring in RINGS], SecretBits.from_unpacked(a.protocol, bits)

    with World(protocol) as world:
        rings, bits = world.run(program, world.share(flags), world.share(edges))
    assert all(np.array_equal(found, flags) for found in rings)
    assert np.array_equal(bits, (edges >> np.arange(64)[:, None]) & 1 == 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ring", RINGS)
def test_shifts_exact_and_nearly_at_the_limits(protocol: str, ring: int) -> None:
    """|x| < 2^(ring - 2), every shift that is permitted: exactly the floor, and the floor or one less. Others are refused."""
    most = (1 << (ring - 2)) - 1
    x = np.array([0, 1, -1, most, -most, most - 1, 1 << (ring // 2 - 1), -(1 << (ring // 2 - 1))] * 8)
    shifts = sorted({1, 2, ring // 4, ring // 2 - 1, ring // 2, ring - 3, ring - 2})

    def program(_: Session, a: SecretInt) -> object:
        return [
            [SecretInt(a.protocol, cut(a.protocol, a.flat, f), ring) for f in shifts]
            for cut in (floor_shift, truncate)
        ]

    with World(protocol) as world:
        exact, nearly = world.run(program, world.share(x, bits=ring - 1, ring=ring))
    for f, found, rough in zip(shifts, exact, nearly, strict=True):
        assert np.array_equal(found, x >> f), f
        assert np.isin((x >> f) - rough, (0, 1)).all(), f
    for cut in (floor_shift, truncate):
        for f in (-1, ring - 1):
            with World(protocol) as world, pytest.raises(ValueError, match=f"shift of {f} bits"):
                world.run(lambda _, a: cut(a.protocol, a.flat, f), world.share(x, bits=ring - 1, ring=ring))  # noqa: B023


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(numbers(62), st.integers(1, 61))
@some
def test_shifts_of_any_number(protocol: str, x: np.ndarray, f: int) -> None:
    with World(protocol) as world:
        exact, nearly = world.run(
            lambda _, a: [
                SecretInt(a.protocol, cut(a.protocol, a.flat, f), 63) for cut in (floor_shift, truncate)
            ],
            world.share(x, bits=62),
        )
    assert np.array_equal(exact, x >> f)
    assert np.isin((x >> f) - nearly, (0, 1)).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reals_are_released_exactly_at_the_limits(protocol: str) -> None:
    """|x| 10^d 2^scale < 2^61, halves between two numbers rounded up."""
    raw = {
        d: [0, 1, -1, 512, -512, 1 << 31, -(1 << 31), (1 << 61) // 10**d - 1, -(1 << 61) // 10**d + 1]
        for d in (0, 2, 6)
    }

    def program(_: Session, *given: SecretInt) -> object:
        reals = [SecretFixed(x.protocol, x.shares, 10, 62) for x in given]
        return [[x.exact_round(d), x.floor(), x < 0] for x, d in zip(reals, raw, strict=True)]

    with World(protocol) as world:
        out = world.run(program, *(world.share(np.array(v), bits=62) for v in raw.values()))
    for (d, values), (rounded, floor, negative) in zip(raw.items(), out, strict=True):
        assert rounded.tolist() == [(v * 10**d + 512) >> 10 for v in values]
        assert floor.tolist() == [v >> 10 for v in values]
        assert negative.tolist() == [v < 0 for v in values]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ring", RINGS)
def test_sums_products_and_choices_wrap_as_numpy_does(protocol: str, ring: int) -> None:
    edges = limits(ring)
    x, y = pairs(edges)
    left, right = x.reshape(len(edges), -1), y.reshape(len(edges), -1)
    flags = np.arange(x.size) % 3 == 0

    def program(_: Session, a: SecretInt, b: SecretInt, f: SecretBits) -> object:
        matrix, other = (v.reshape(len(edges), -1) for v in (a, b))
        return [
            a.cumsum(), matrix.cumsum(1), a.sum(), matrix.sum(0), matrix @ other, matrix @ other[:, 0], op.dot(matrix, other),
            matrix[:, :0] @ other[:0], op.select(f, a, b), op.select(f, a, 7), a * f, a.reshape(-1, 1)[:1] @ b.reshape(1, -1)
        ]  # fmt: skip

    with World(protocol) as world:
        out = world.run(program, *(world.share(v, bits=ring, ring=ring) for v in (x, y)), world.share(flags))
    with np.errstate(over="ignore"):
        wanted = [
            x.cumsum(), left.cumsum(1), x.sum(), left.sum(0), left @ right, left @ right[:, 0], (left * right).sum(1),
            np.zeros((len(edges), len(edges)), np.int64), np.where(flags, x, y), np.where(flags, x, 7), x * flags,
            x[:1, None] @ y[None],
        ]  # fmt: skip
    for place, (found, expected) in enumerate(zip(out, wanted, strict=True)):
        assert np.array_equal(found, wrapped(np.asarray(expected), ring)), place


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_matrix_product_sends_one_word_an_output(protocol: str) -> None:
    """(n, p) by (p, q): traffic knows n and q, not p; 1 and 1.5 words an output for three and four nodes."""
    sent = []
    for p in (3, 300):
        with World(protocol) as world:
            a, b = world.share(np.ones((20, p), np.int64)), world.share(np.ones((p, 30), np.int64))
            world.run(lambda _, a, b: (a @ b, None)[1], a, b)
            sent.append([traffic.bytes_sent for traffic in world.traffic])
    assert sent[0] == sent[1]
    assert max(sent[0]) <= 20 * 30 * 8 * {"rep3": 1, "rep4": 1.5}[protocol]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reals_keep_their_stated_error_at_the_limits_of_a_product(protocol: str) -> None:
    """x y 2^(sum of scales) up to 2^62: down by less than two units; sums of products truncated once."""
    near = math.sqrt(2) * 2**10
    x = np.rint(np.array([0, 2.0**-20, -(2.0**-20), near, -near, 1, -1, near]) * 2**20) / 2**20
    y = x[::-1].copy()
    with World(protocol) as world:
        product, total = world.run(
            lambda _, a, b: [a * b, op.dot(a[:3], b[:3])], *(world.share(v, bits=33) for v in (x, y))
        )
    exact = (x * 2**20).astype(object) * (y * 2**20).astype(object)
    found = np.rint(product * 2**20).astype(np.int64)
    for got, value in zip(found.tolist(), exact, strict=True):
        assert 0 <= int(value) - (got << 20) < 2 << 20
    assert abs(total - (x[:3] * y[:3]).sum()) < 2 * 2.0**-20
