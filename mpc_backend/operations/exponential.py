"""Exponential and logistic function of secret numbers."""

from __future__ import annotations

import math

import numpy as np

from mpc_backend.circuits.carry import bit_planes
from mpc_backend.circuits.convert import bits_to_ring
from mpc_backend.circuits.truncate import truncate
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations.arrange import select
from mpc_backend.operations.divide import FIRST_GUESS, ITERATIONS
from mpc_backend.operations.normalise import check_result
from mpc_backend.operations.reduce import maximum
from mpc_backend.operations.roots import LOG_FRACTION, LOGARITHM, coefficients, polynomial
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.numbers import SecretNumber

FRACTION = 29
"""Fractional bits of 2^g in [1, 2)."""
FINEST = 24
"""Fractional bits of x that are used: x stays below 2^6 and x log2(e) 2^54 below 2^62."""
LOG2E_BITS = 30
EXPONENT_FRACTION = 26
WHOLE_BITS, HALF = 6, 32
SPARE = 3
"""2^-SPARE units of the last place stand for every smaller result."""
_POWER = coefficients(lambda u: 2 ** ((u + 1) / 2), (-1.0, 1.0), 6)
"""2^g for u = 2 g - 1, g in [0, 1): relative error below 4e-9."""
SIGMOID_FRACTION = 28


def exp(x: SecretNumber, scale: int) -> SecretFixed:
    """e^x with ``scale`` fractional bits for e^x 2^scale < 2^61: relative error 2^-22, plus 2 * 2^-scale.

    x / ln 2 = t + g with t whole: 2^t is a product of factors chosen by the bits of t, and 2^g a polynomial of degree 6 (Aly
    and Smart, ACNS 2019). An error of x itself comes on top. About 50 rounds; four nodes send some 420 bytes a value.
    """
    protocol, lowest = x.protocol, scale + SPARE
    exponent = _binary_exponent(x, lowest)
    whole = _whole_bits(protocol, exponent)
    weights = np.array([1 << (EXPONENT_FRACTION + k) for k in range(WHOLE_BITS)], np.uint64)
    fraction = exponent - np.add.reduce(whole * weights[:, None], axis=1, dtype=np.uint64)
    part = SecretFixed(protocol, fraction << np.uint64(FRACTION - EXPONENT_FRACTION), FRACTION)
    shares = _times_power(protocol, polynomial(part * 2 - 1.0, _POWER).shares, whole)
    return SecretFixed(protocol, shares.reshape(len(shares), *x.shape), scale)


def _binary_exponent(x: SecretNumber, lowest: int) -> Words:
    """x / ln 2 + lowest, at least about 1, with EXPONENT_FRACTION fractional bits (c, size)."""
    real = x.to_fixed(0) if isinstance(x, SecretInt) else x
    assert isinstance(real, SecretFixed)
    clipped = maximum(real, -(lowest - 1) * math.log(2)).with_bits(7 + real.scale)
    clipped = clipped.rescaled(min(real.scale, FINEST))
    product = clipped.flat * np.uint64(round(2**LOG2E_BITS / math.log(2)))
    down = clipped.scale + LOG2E_BITS - EXPONENT_FRACTION
    scaled = truncate(x.protocol, product, down)
    return x.protocol.add_constant(scaled, np.full((), lowest << EXPONENT_FRACTION, np.uint64))


def _whole_bits(protocol: Protocol, exponent: Words) -> Words:
    """The bits of the whole part in the ring (c, WHOLE_BITS, n)."""
    n = exponent.shape[1]
    planes = bit_planes(protocol, exponent, EXPONENT_FRACTION + WHOLE_BITS)[:, EXPONENT_FRACTION:]
    padded = word_count(n) * 64
    ring = bits_to_ring(protocol, planes.reshape(len(planes), -1), WHOLE_BITS * padded, ring_type(64))
    return ring.reshape(len(ring), WHOLE_BITS, padded)[:, :, :n]


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
    return small + protocol.multiply(large - small, np.ascontiguousarray(whole[:, WHOLE_BITS - 1]))


def sigmoid(x: SecretNumber, scale: int) -> SecretFixed:
    """1 / (1 + e^-x) with ``scale`` fractional bits: relative error 2^-22, plus 2^-25 and 2 * 2^-scale.

    From e = e^-|x|, which is at most 1 (Aly and Smart, ACNS 2019): 1 / (1 + e) by Newton's iteration on [1/2, 1) (Catrina and
    Saxena, FC 2010), times e for negative x. About 80 rounds; four nodes send some 720 bytes a value. Raises ValueError for a
    ``scale`` above 60.
    """
    check_result("a share", 1, scale)
    real = x.to_fixed(0) if isinstance(x, SecretInt) else x
    assert isinstance(real, SecretFixed)
    negative = real < 0
    return _sigmoid(negative, _decay(real, negative), scale)


def sigmoid_and_softplus(x: SecretNumber, scale: int) -> tuple[SecretFixed, SecretFixed]:
    """`sigmoid` and log(1 + e^x), absolute error 2^-22 + 3 * 2^-scale for the latter; two fifths dearer than the first.

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
