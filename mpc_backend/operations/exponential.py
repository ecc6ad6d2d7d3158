"""Exponential and logistic function of secret numbers."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mpc_backend.circuits.carry import plane_input, sum_planes
from mpc_backend.circuits.convert import bits_to_ring, ring_input
from mpc_backend.circuits.truncate import truncate
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations.arrange import select
from mpc_backend.operations.divide import FIRST_GUESS, ITERATIONS
from mpc_backend.operations.normalise import check_result
from mpc_backend.operations.reduce import maximum
from mpc_backend.operations.roots import LOG_FRACTION, LOGARITHM, polynomial
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.numbers import SecretNumber

HALF_FRACTION = 29
"""Fractional bits of what a node makes of its half: a product of two such numbers below 2 stays below 2^60."""
TABLE_BITS, TABLE_FRACTION, WORKING_BITS = 9, 31, 96
"""Of the tables of powers of two: bits that one of them is asked for, fractional bits of its numbers and of their making."""
FRACTION = 28
"""Fractional bits of a mantissa in [1, 4)."""
FINEST = 24
"""Fractional bits of x that are used: x stays below 2^6 and x log2(e) 2^54 below 2^62."""
LOG2E_BITS = 30
EXPONENT_FRACTION = 26
WHOLE_BITS, HALF = 6, 31
SPARE = 3
"""2^-SPARE units of the last place stand for every smaller result."""
SURELY = 2.0**-15
"""More than all roundings of an exponent together."""
SIGMOID_FRACTION = 28


def exp(x: SecretNumber, scale: int) -> SecretFixed:
    """e^x with ``scale`` fractional bits for e^x 2^scale < 2^61: relative error 2^-22, plus 2 * 2^-scale.

    x / ln 2 = h0 + h1 for the halves that nodes know: each node takes 2^g of the fractional part of its half by itself, and
    the product of both is one product of halves (Kelkar, Le, Raykova, Seth, USENIX Security 2022). The whole parts are added
    as bits, and 2 to their sum is a product of factors that they choose (Aly and Smart, ACNS 2019). An error of x itself
    comes on top. About 30 rounds; four nodes send some 250 bytes a value.
    """
    protocol, lowest = x.protocol, scale + SPARE
    mantissa, whole = _mantissa_and_whole(protocol, _binary_exponent(x, lowest))
    shares = _times_power(protocol, mantissa, whole)
    return SecretFixed(protocol, shares.reshape(len(shares), *x.shape), scale)


def _binary_exponent(x: SecretNumber, lowest: int) -> Words:
    """x / ln 2 + lowest, at least 1, with EXPONENT_FRACTION fractional bits (c, size)."""
    real = x.to_fixed(0) if isinstance(x, SecretInt) else x
    assert isinstance(real, SecretFixed)
    least = math.ceil((SURELY - (lowest - 1) * math.log(2)) * 2**real.scale) / 2**real.scale
    clipped = maximum(real, least).with_bits(7 + real.scale)
    clipped = clipped.rescaled(min(real.scale, FINEST))
    product = clipped.flat * np.uint64(round(2**LOG2E_BITS / math.log(2)))
    down = clipped.scale + LOG2E_BITS - EXPONENT_FRACTION
    scaled = truncate(x.protocol, product, down)
    return x.protocol.add_constant(scaled, np.full((), lowest << EXPONENT_FRACTION, np.uint64))


def _mantissa_and_whole(protocol: Protocol, exponent: Words) -> tuple[Words, Words]:
    """m in [1, 4) with FRACTION fractional bits (c, n), and the bits of t in the ring (c, WHOLE_BITS, n): 2^exponent = m 2^t.

    t is the sum of the whole parts of both halves mod 2^WHOLE_BITS, without the carry of their fractional parts, which is in
    m: an exponent of at least 1 keeps t from falling below 0. With a = 2^g0 - 1 and b = 2^g1 - 1, m = 1 + a + b + a b.
    """
    known = protocol.halves(exponent, xor=False).known
    above = power_of_fraction(known & np.uint64((1 << EXPONENT_FRACTION) - 1)) - np.uint64(1 << HALF_FRACTION)
    wholes = plane_input(known >> np.uint64(EXPONENT_FRACTION), WHOLE_BITS)
    both, planes = protocol.joint_input([ring_input(above, exponent.dtype), wholes])
    product = protocol.own_product(both, both << np.uint64(HALF_FRACTION), 1)
    protocol.shift(product, np.full((), 1 << 2 * HALF_FRACTION, np.uint64))
    mantissa = truncate(protocol, product, 2 * HALF_FRACTION - FRACTION)
    return mantissa, _bits_in_ring(protocol, sum_planes(protocol, planes), exponent.shape[1])


def power_of_fraction(fraction: Words) -> Words:
    """2^g with HALF_FRACTION fractional bits, to two units of the last place, for g with EXPONENT_FRACTION ones (n,).

    In whole numbers, from tables that were made in whole numbers: two nodes that know one half must agree in every bit, and
    the floating point of two processors need not.
    """
    found, below = np.full(fraction.shape, 1 << TABLE_FRACTION, np.uint64), EXPONENT_FRACTION
    for first in range(0, EXPONENT_FRACTION, TABLE_BITS):
        count = min(TABLE_BITS, EXPONENT_FRACTION - first)
        below -= count
        place = (fraction >> np.uint64(below)) & np.uint64((1 << count) - 1)
        found = found * _table(first, count)[place] >> np.uint64(TABLE_FRACTION)
    return np.asarray((found + np.uint64(1)) >> np.uint64(TABLE_FRACTION - HALF_FRACTION))


@cache
def _table(first: int, count: int) -> Words:
    """2^(i 2^-(first + count)) for i below 2^count, with TABLE_FRACTION fractional bits."""
    one, power = 1 << WORKING_BITS, 2 << WORKING_BITS
    values = [one]
    for level in range(1, first + count + 1):
        power = math.isqrt(power << WORKING_BITS)  # 2^(2^-level)
        if level > first:
            values = [value * factor >> WORKING_BITS for value in values for factor in (one, power)]
    down = WORKING_BITS - TABLE_FRACTION
    return np.array([(value + (1 << down - 1)) >> down for value in values], np.uint64)


def _bits_in_ring(protocol: Protocol, planes: Words, n: int) -> Words:
    """Bit planes (c, p, words) in the ring (c, p, n)."""
    count, padded = planes.shape[1], word_count(n) * 64
    ring = bits_to_ring(protocol, planes.reshape(len(planes), -1), count * padded, ring_type(64))
    return ring.reshape(len(ring), count, padded)[:, :, :n]


def _times_power(protocol: Protocol, mantissa: Words, whole: Words) -> Words:
    """mantissa 2^(t - FRACTION - SPARE) for t given by its bits: below and above 2^HALF apart, so that nothing overflows."""
    factors = []
    for k in range(WHOLE_BITS - 1):
        chosen = whole[:, k] * np.uint64((1 << (1 << k)) - 1)
        factors.append(protocol.add_constant(chosen, np.ones((), np.uint64)))
    first, second = protocol.multiply(
        np.stack(factors[0:4:2], axis=1), np.stack(factors[1:4:2], axis=1)
    ).transpose(1, 0, 2)
    power = protocol.multiply(protocol.multiply(first, second), factors[4])
    large = protocol.multiply(np.ascontiguousarray(mantissa), power)
    small = truncate(protocol, large, HALF)
    return small + protocol.multiply(
        large * np.uint64(2) - small, np.ascontiguousarray(whole[:, WHOLE_BITS - 1])
    )


def sigmoid(x: SecretNumber, scale: int) -> SecretFixed:
    """1 / (1 + e^-x) with ``scale`` fractional bits: relative error 2^-22, plus 2^-25 and 2 * 2^-scale.

    From e = e^-|x|, which is at most 1 (Aly and Smart, ACNS 2019): 1 / (1 + e) by Newton's iteration on [1/2, 1) (Catrina and
    Saxena, FC 2010), times e for negative x. About 67 rounds; four nodes send some 540 bytes a value. Raises ValueError for a
    ``scale`` above 60.
    """
    check_result("a share", 1, scale)
    real = x.to_fixed(0) if isinstance(x, SecretInt) else x
    assert isinstance(real, SecretFixed)
    negative = real < 0
    return _sigmoid(negative, _decay(real, negative), scale)


def sigmoid_and_softplus(x: SecretNumber, scale: int) -> tuple[SecretFixed, SecretFixed]:
    """`sigmoid` and log(1 + e^x), absolute error 2^-22 + 3 * 2^-scale for the latter; half as dear again as the first.

    log(1 + e^x) = max(x, 0) + log(1 + e), by the polynomial of the logarithm on [1/2, 1] (Aly and Smart, ACNS 2019); times
    2^scale, and times 2^(x's own scale), it stays below 2^61. Raises ValueError for a ``scale`` above 60.
    """
    check_result("a share", 1, scale)
    real = x.to_fixed(0) if isinstance(x, SecretInt) else x
    assert isinstance(real, SecretFixed)
    negative = real < 0
    small = _decay(real, negative)
    inner = polynomial(small.rescaled(LOG_FRACTION) * 2 - 1.0, LOGARITHM) + math.log(2)
    above: SecretFixed = select(negative, real * 0, real)
    wide = max(scale, real.scale)  # the sum is cut once, not each of its terms
    return _sigmoid(negative, small, scale), (inner.rescaled(wide) + above.rescaled(wide)).rescaled(scale)


def _decay(real: SecretFixed, negative: SecretBits) -> SecretFixed:
    """e^-|x| at SIGMOID_FRACTION."""
    return exp(select(negative, real, -real), SIGMOID_FRACTION).with_bits(SIGMOID_FRACTION + 2)


def _sigmoid(negative: SecretBits, small: SecretFixed, scale: int) -> SecretFixed:
    half = SecretFixed(small.protocol, small.shares, SIGMOID_FRACTION + 1) + 0.5
    inverse = FIRST_GUESS - half * 2
    for _ in range(ITERATIONS):
        inverse = inverse * (2.0 - half * inverse)
    chosen = select(negative, small, small * 0 + 1.0).with_bits(SIGMOID_FRACTION + 2)
    inverse = SecretFixed(small.protocol, inverse.shares, inverse.scale + 1, inverse.bits)
    return (chosen * inverse).rescaled(scale)
