"""Division: exact by a public integer, approximate by a secret one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from mpc_backend.circuits import carry, convert
from mpc_backend.circuits.truncate import floor_shift, truncate
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.operations.normalise import check_result, magnitude_bits, normaliser
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.numbers import SecretNumber

N = TypeVar("N", bound=SecretNumber)
FRACTION = 30
"""Fractional bits of normalised numbers: products of two of them stay below 2^62."""
FIRST_GUESS = 2.9142
ITERATIONS = 3
LOW_LIMB = 29
WIDEST_COUNT, COEFFICIENT_FRACTION, START_FRACTION, NEAR_FRACTION = 16, 12, 20, 26
_CUBIC = [
    float(each) for each in ((1 - Chebyshev.basis(4)(Polynomial([3, -4])) / 577) // Polynomial([0, 1])).coef
]
"""(1 - T_4(3 - 4 c) / T_4(3)) / c."""
WIDEST_NUMERATOR = 59
"""A numerator of 59 bits is two limbs of 30 bits, each of which may be multiplied by a 31-bit inverse."""


def floor_divide(a: SecretInt, divisor: int) -> SecretInt:
    """Exactly floor(a / divisor) for a public divisor >= 1 and |a| < 2^61.

    Multiplies by an approximate reciprocal (Granlund and Montgomery, PLDI 1994), thirty bits of the quotient at a time, and
    corrects the last step by exact comparisons of the remainder.

    Raises:
        ValueError: the divisor is below 1 or has more than 60 bits.
    """
    if not 1 <= divisor < 1 << 60:
        raise ValueError(f"a divisor lies between 1 and 2^60, found {divisor}")
    if divisor == 1:
        return a
    protocol, ring = a.protocol, a.ring
    wide = a.widened(64)
    if divisor & (divisor - 1) == 0:
        quotient = floor_shift(protocol, wide.flat, divisor.bit_length() - 1)
    else:
        quotient = _floor_quotient(protocol, wide.flat, min(wide.bits, 62), divisor)
    bits = max(2, a.bits - divisor.bit_length() + 2)
    out = SecretInt(protocol, quotient.reshape(len(quotient), *a.shape), bits)
    return out if ring == 64 else out.narrow(ring)


def _floor_quotient(protocol: Protocol, a: Words, bits: int, divisor: int) -> Words:
    """Steps of about 27 quotient bits until the remainder has a few bits more than the divisor, then exactly."""
    length = divisor.bit_length()
    quotient, remainder = np.zeros_like(a), a
    while bits > max(FRACTION + 1, length + 3):
        quotient, remainder = _quotient_step(protocol, quotient, remainder, bits, divisor)
        bits = max(bits - FRACTION + 3, length + 3)
    if bits >= length:
        quotient, remainder = _quotient_step(protocol, quotient, remainder, bits, divisor)
    return quotient + _correction(protocol, remainder, divisor)


def _quotient_step(
    protocol: Protocol, quotient: Words, remainder: Words, bits: int, divisor: int
) -> tuple[Words, Words]:
    """Subtract about remainder / divisor multiples: the error is below 3 * 2^(bits - 31) / divisor + 2."""
    spare = max(0, bits - FRACTION - 1)
    scale = FRACTION - 1 + divisor.bit_length()
    factor = (2 ** (scale + 1) + divisor) // (2 * divisor)
    product = truncate(protocol, remainder, spare) * np.uint64(factor)
    down = scale - spare
    part = truncate(protocol, product, down) if down > 0 else product << np.uint64(-down)
    return quotient + part, remainder - part * np.uint64(divisor)


def _correction(protocol: Protocol, remainder: Words, divisor: int) -> Words:
    """floor(remainder / divisor) for a remainder in [-divisor, 3 divisor): exact comparisons in the same rounds."""
    n, planes = remainder.shape[1], min(64, divisor.bit_length() + 3)
    thresholds = [0, divisor, 2 * divisor]
    shifted = [protocol.add_constant(remainder, np.full((), -t % (1 << 64), np.uint64)) for t in thresholds]
    below = carry.sign(protocol, np.concatenate(shifted, axis=1), planes)
    counts = convert.bits_to_ring(protocol, below, n * len(thresholds), ring_type(64))
    less = counts.reshape(len(counts), len(thresholds), n).sum(axis=1, dtype=np.uint64)
    return protocol.add_constant(np.negative(less), np.full((), len(thresholds) - 1, np.uint64))


def divide(a: SecretNumber, b: SecretNumber, scale: int, *, quotient_bits: int | None = None) -> SecretFixed:
    """a / b for b > 0, with ``scale`` fractional bits; 0 where b = 0.

    ``quotient_bits`` q promises |A / B| < 2^q for the underlying integers (default: the declared width of a). Error at
    most 4 * 2^-scale + |a / b| 2^-27. Newton's iteration as in Catrina and Saxena, FC 2010: relative error 7.4e-3,
    5.4e-5, 2.9e-9 after 1, 2, 3 steps.

    Raises:
        ValueError: the declared widths leave no room for the product (b's magnitude bits + q > 59) or for the quotient
            (q + scale + b's own scale - a's > 61).
    """
    shape = np.broadcast_shapes(a.shape, b.shape)
    length = magnitude_bits(b)
    room = a.bits - 1 if quotient_bits is None else quotient_bits
    _check_room(length, room)
    extra = _scale_of(b) - _scale_of(a)
    check_result(
        "a quotient", room + extra, scale, "declare narrower widths with with_bits, or promise quotient_bits"
    )
    a, b = a.widened(64), b.widened(64)
    inverse, factor = _inverse(b, length)
    left = a.like(a.broadcast_to(shape).shares, a.bits)
    power = b.like(factor.reshape(len(factor), *b.shape), 63).broadcast_to(shape)
    numerator = a.protocol.multiply(left.flat, power.flat)
    inverse = b.like(inverse.reshape(len(inverse), *b.shape), 63).broadcast_to(shape).flat
    return _scaled_product(a.protocol, numerator, inverse, length + room, length, scale, extra).reshape(shape)


def reciprocal(b: SecretNumber, scale: int) -> SecretFixed:
    """1 / b for b > 0, with ``scale`` fractional bits; 0 where b = 0. Error and source as `divide` (FC 2010).

    Raises:
        ValueError: the declared width of b leaves no room, or scale + b's own scale > 61, which 1 / b may reach.
    """
    length = magnitude_bits(b)
    _check_room(length, 0)
    extra = _scale_of(b)
    check_result("a reciprocal", extra, scale, "or give b fewer of its own with rescaled")
    b = b.widened(64)
    inverse, factor = _inverse(b, length)
    return _scaled_product(b.protocol, factor, inverse, length, length, scale, extra).reshape(b.shape)


def ratio_of_counts(a: SecretInt, b: SecretInt, scale: int) -> SecretFixed:
    """a / b for whole numbers 0 <= a, 0 <= b below 2^`WIDEST_COUNT`, with ``scale`` fractional bits; 0 where b = 0.

    Error at most 2 * 2^-scale + (a / b) 2^-17: coarser than `divide`, in two thirds of its rounds and half of its cuts. The
    start is the cubic polynomial whose relative error on [1/2, 1) is the smallest, 1 / T_4(3) = 1 / 577 with Chebyshev's T_4;
    one step of Newton's, as in Catrina and Saxena (FC 2010), squares it. Of numbers this short all products are exact.

    Raises:
        ValueError: a declared width above `WIDEST_COUNT` bits and a sign.
    """
    length = max(magnitude_bits(a), magnitude_bits(b))
    if length > WIDEST_COUNT:
        raise ValueError(f"counts below 2^{WIDEST_COUNT} are needed, found widths up to 2^{length}")
    shape, protocol = np.broadcast_shapes(a.shape, b.shape), b.protocol
    b = b.widened(64)
    power = b.like(normaliser(protocol, b.flat, length).power.reshape(len(b.shares), *b.shape), length + 1)
    left = np.stack([a.widened(64).broadcast_to(shape).flat, b.broadcast_to(shape).flat], axis=1)
    factor = power.broadcast_to(shape).flat
    scaled = protocol.multiply(left, np.stack([factor, factor], axis=1))
    above, normal = np.ascontiguousarray(scaled[:, 0]), scaled[:, 1] << np.uint64(WIDEST_COUNT - length)
    near = _near_inverse(protocol, normal)
    inverse = truncate(protocol, near, WIDEST_COUNT + 2 * START_FRACTION - NEAR_FRACTION)
    shares = _shifted(protocol, protocol.multiply(above, inverse), length + NEAR_FRACTION - scale)
    return SecretFixed(protocol, shares.reshape(len(shares), *shape), scale)


def _near_inverse(protocol: Protocol, c: Words) -> Words:
    """1 / c with WIDEST_COUNT + 2 START_FRACTION fractional bits for c in [1/2, 1) with WIDEST_COUNT of them (c, n).

    Anything for c = 0, where it is multiplied by 0.
    """
    square = protocol.multiply(c, c)
    cube = protocol.multiply(square, c)
    places = 3 * WIDEST_COUNT + COEFFICIENT_FRACTION
    constant, *others = (round(each * 2**COEFFICIENT_FRACTION) % (1 << 64) for each in _CUBIC)
    terms = [
        part * np.uint64((factor << WIDEST_COUNT * (2 - degree)) % (1 << 64))
        for degree, (part, factor) in enumerate(zip((c, square, cube), others, strict=True))
    ]
    start = terms[0] + terms[1] + terms[2]
    protocol.shift(start, np.full((), (constant << 3 * WIDEST_COUNT) % (1 << 64), np.uint64))
    start = truncate(protocol, start, places - START_FRACTION)
    scale = WIDEST_COUNT + START_FRACTION
    correction = np.negative(protocol.multiply(c, start))
    protocol.shift(correction, np.full((), 2 << scale, np.uint64))
    return protocol.multiply(start, correction)


def _scale_of(x: SecretNumber) -> int:
    return x.scale if isinstance(x, SecretFixed) else 0


def _check_room(length: int, room: int) -> None:
    if length + room > WIDEST_NUMERATOR:
        raise ValueError(
            f"a divisor below 2^{length} with a quotient below 2^{room} leaves no room in 64 bits: "
            "declare narrower widths with with_bits, or promise quotient_bits"
        )


def _inverse(b: SecretNumber, length: int) -> tuple[Words, Words]:
    """(w, p): p a power of two with b p in [2^(length-1), 2^length), and w = 2^FRACTION / (b p / 2^length).

    For b = 0, p = 0 and w = 2: the iteration must not run out of its range, or products with it would wrap.
    """
    protocol = b.protocol
    found = normaliser(protocol, b.flat, length)
    factor = found.power
    normal = protocol.multiply(b.flat, factor)
    normal = _shifted(protocol, normal, length - FRACTION)
    half = np.full((), 1 << (FRACTION - 1), np.uint64)
    where_zero = protocol.add_constant(np.negative(found.present) * half, half)
    c = SecretFixed(protocol, normal + where_zero, FRACTION)
    w = FIRST_GUESS - c * 2
    for _ in range(ITERATIONS):
        w = w * (2.0 - c * w)
    return w.shares, factor


def _scaled_product(
    protocol: Protocol, numerator: Words, inverse: Words, bits: int, length: int, scale: int, extra: int
) -> SecretFixed:
    """numerator inverse 2^(scale + extra - length - FRACTION) for a numerator below 2^bits, bits <= 59."""
    down = length + FRACTION - scale - extra
    if bits <= FRACTION:
        return SecretFixed(protocol, _shifted(protocol, protocol.multiply(numerator, inverse), down), scale)
    high = truncate(protocol, numerator, LOW_LIMB)
    low = numerator - (high << np.uint64(LOW_LIMB))
    n = numerator.shape[1]
    limbs = np.concatenate((high, low), axis=1)
    product = protocol.multiply(limbs, np.concatenate((inverse, inverse), axis=1))
    shares = _shifted(protocol, product[:, :n], down - LOW_LIMB) + _shifted(protocol, product[:, n:], down)
    return SecretFixed(protocol, shares, scale)


def _shifted(protocol: Protocol, x: Words, down: int) -> Words:
    """x 2^-down, truncated; beyond 62 places nothing but the sign is left of |x| < 2^61."""
    return truncate(protocol, np.ascontiguousarray(x), min(down, 62)) if down > 0 else x << np.uint64(-down)
