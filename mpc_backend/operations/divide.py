"""Division: exact by a public integer, approximate by a secret one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from mpc_backend.circuits import carry, convert
from mpc_backend.circuits.truncate import floor_shift, truncate
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.operations.normalise import leading_bit, magnitude_bits, weighted
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.numbers import SecretNumber

N = TypeVar("N", bound=SecretNumber)
FRACTION = 30
"""Fractional bits of normalised numbers: products of two of them stay below 2^62."""
FIRST_GUESS = 2.9142
ITERATIONS = 3


def floor_divide(a: SecretInt, divisor: int) -> SecretInt:
    """Exactly floor(a / divisor) for a public divisor >= 1 and |a| < 2^61.

    Multiplies by an approximate reciprocal, thirty bits of the quotient at a time, and corrects the last step by exact
    comparisons of the remainder.

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
    out = SecretInt(protocol, quotient.reshape(-1, *a.shape), bits)
    return out if ring == 64 else out.narrow(ring)


def _floor_quotient(protocol: Protocol, a: Words, bits: int, divisor: int) -> Words:
    quotient, remainder = np.zeros_like(a), a
    while True:
        part = _approximate(protocol, remainder, bits, divisor)
        quotient, remainder = quotient + part, remainder - part * np.uint64(divisor)
        if bits <= FRACTION + 1:
            break
        bits = max(divisor.bit_length() + 3, bits - FRACTION + 4)
    return quotient + _correction(protocol, remainder, divisor)


def _approximate(protocol: Protocol, a: Words, bits: int, divisor: int) -> Words:
    """floor(a / divisor) - 2 ... floor(a / divisor) + 1 for a of at most 31 signed bits; coarser for wider ones."""
    spare = max(0, bits - FRACTION - 1)
    shift = FRACTION + divisor.bit_length() - 1
    factor = round(2**shift / divisor) if shift < 1000 else 0
    product = truncate(protocol, a, spare) * np.uint64(factor)
    if shift >= spare:
        return truncate(protocol, product, min(62, shift - spare))
    return product << np.uint64(spare - shift)


def _correction(protocol: Protocol, remainder: Words, divisor: int) -> Words:
    """How often the divisor still fits a remainder in [-2 divisor, 4 divisor): comparisons, all in the same rounds."""
    n, planes = remainder.shape[1], min(64, divisor.bit_length() + 4)
    thresholds = [-divisor, 0, divisor, 2 * divisor, 3 * divisor]
    shifted = [protocol.add_constant(remainder, np.full((), -t % (1 << 64), np.uint64)) for t in thresholds]
    below = carry.sign(protocol, np.concatenate(shifted, axis=1), planes)
    counts = convert.bits_to_ring(protocol, below, n * len(thresholds), ring_type(64))
    less = counts.reshape(-1, len(thresholds), n).sum(axis=1, dtype=np.uint64)
    return protocol.add_constant(np.negative(less), np.full((), len(thresholds) - 2, np.uint64))


def divide(a: SecretNumber, b: SecretNumber, scale: int, *, quotient_bits: int | None = None) -> SecretFixed:
    """a / b for b > 0, with ``scale`` fractional bits; 0 where b = 0.

    ``quotient_bits`` q promises |A / B| < 2^q for the underlying integers (default: the declared width of a). Error at
    most 2^-scale + |a/b| 2^-27 + 2^(q - 28), the last only where the widths of b and q add to more than 30.
    Goldschmidt / Newton (Catrina and Saxena, FC 2010): 7.4e-3, 5.4e-5, 2.9e-9 after 1, 2, 3 iterations.

    Raises:
        ValueError: the declared widths leave no room (b's magnitude bits + q > 61).
    """
    shape = np.broadcast_shapes(a.shape, b.shape)
    length = magnitude_bits(b)
    room = a.bits - 1 if quotient_bits is None else quotient_bits
    _check_room(length, room)
    a, b = a.widened(64), b.widened(64)
    inverse, factor = _inverse(b, length)
    left = a.like(a.broadcast_to(shape).shares, a.bits)
    power = b.like(factor.reshape(-1, *b.shape), 63).broadcast_to(shape)
    numerator = a.protocol.multiply(left.flat, power.flat)
    inverse = b.like(inverse.reshape(-1, *b.shape), 63).broadcast_to(shape).flat
    extra = (b.scale if isinstance(b, SecretFixed) else 0) - (a.scale if isinstance(a, SecretFixed) else 0)
    return _scaled_product(a.protocol, numerator, inverse, length, max(room, 1), scale, extra).reshape(shape)


def reciprocal(b: SecretNumber, scale: int) -> SecretFixed:
    """1 / b for b > 0, with ``scale`` fractional bits; 0 where b = 0. Error as `divide`, with a = 1."""
    length = magnitude_bits(b)
    b = b.widened(64)
    inverse, factor = _inverse(b, length)
    extra = b.scale if isinstance(b, SecretFixed) else 0
    return _scaled_product(b.protocol, factor, inverse, length, 1, scale, extra).reshape(b.shape)


def _check_room(length: int, room: int) -> None:
    if length + room > 61:
        raise ValueError(
            f"a divisor below 2^{length} with a quotient below 2^{room} leaves no room in 62 bits: "
            "declare narrower widths with with_bits, or promise quotient_bits"
        )


def _inverse(b: SecretNumber, length: int) -> tuple[Words, Words]:
    """(w, p): p a power of two with b p in [2^(length-1), 2^length), and w = 2^FRACTION / (b p / 2^length)."""
    protocol = b.protocol
    hot = leading_bit(protocol, b.flat, length)
    factor = weighted(hot, [1 << (length - 1 - i) for i in range(length)])
    normal = protocol.multiply(b.flat, factor)
    if length > FRACTION:
        normal = truncate(protocol, normal, length - FRACTION)
    else:
        normal = normal << np.uint64(FRACTION - length)
    c = SecretFixed(protocol, normal, FRACTION)
    w = FIRST_GUESS - c * 2
    for _ in range(ITERATIONS):
        w = w * (2.0 - c * w)
    return w.shares, factor


def _scaled_product(
    protocol: Protocol, numerator: Words, inverse: Words, length: int, room: int, scale: int, extra: int
) -> SecretFixed:
    """numerator inverse 2^(scale + extra - length - FRACTION), the numerator below 2^(length + room)."""
    spare = max(0, length + room - FRACTION)
    product = protocol.multiply(truncate(protocol, numerator, spare), inverse)
    shift = length - spare + FRACTION - scale - extra
    if shift > 62:
        raise ValueError(f"a quotient at scale {scale} lies below the resolution of its operands' scales")
    shares = truncate(protocol, product, shift) if shift > 0 else product << np.uint64(-shift)
    return SecretFixed(protocol, shares, scale)
