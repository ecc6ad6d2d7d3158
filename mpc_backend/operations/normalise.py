"""Scaling secret positive numbers by a secret power of two into a fixed interval.

Catrina and Saxena, FC 2010: bits of the number, prefix OR from the top, and the leading bit as a one-hot vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_backend.circuits.carry import bit_planes, gates
from mpc_backend.circuits.convert import bits_to_ring
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.protocols.base import Protocol
from mpc_backend.values.numbers import SecretNumber

MOST = 61
"""Widest magnitude that can be normalised: products with the power of two stay below 2^62."""


def magnitude_bits(x: SecretNumber) -> int:
    """L with x < 2^L for non-negative x of its declared width; raises ValueError above 61."""
    bits = min(x.bits - 1, 62)
    if bits > MOST:
        raise ValueError(
            f"a divisor or argument needs a declared width of at most {MOST + 1} bits: use with_bits"
        )
    return max(bits, 1)


def check_result(name: str, whole: int, scale: int, remedy: str = "") -> None:
    """Refuse a result below 2^whole whose ``scale`` fractional bits would not fit: more than 61 bits in all may wrap."""
    if whole + scale > MOST:
        raise ValueError(
            f"{name} below 2^{whole} by the declared widths, with {scale} fractional bits, takes {whole + scale} bits of the "
            f"{MOST} that a result may have: ask for at most {MOST - whole} fractional bits{', ' * bool(remedy)}{remedy}"
        )


@dataclass(frozen=True)
class Normaliser:
    """What brings x into [2^(bits-1), 2^bits): 2^places as ``power`` (c, n), 0 for x = 0; the number of places in binary,
    lowest first, as ``places`` (c, k, n); ``present`` (c, n) is 1 unless x = 0. All in ring 64."""

    power: Words
    places: Words
    present: Words


def normaliser(protocol: Protocol, x: Words, bits: int) -> Normaliser:
    """Of x (c, n) in ring 64, 0 <= x < 2^bits. Three rounds more than `leading_bit`, and a fifth of its bytes.

    Which places are set in binary is an XOR of the one-hot vector, so that k + 1 bits come into the ring instead of ``bits``;
    the power is a product of as many factors.
    """
    hot, n = _hot(protocol, x, bits), x.shape[1]
    count = max(1, (bits - 1).bit_length())
    left = np.arange(bits - 1, -1, -1)
    chosen = [hot[:, (left >> place) & 1 == 1] for place in range(count)]
    planes = np.stack([np.bitwise_xor.reduce(rows, axis=1) for rows in (*chosen, hot)], axis=1)
    ring = _into_ring(protocol, planes, n)
    weights = np.array([*((1 << (1 << place)) - 1 for place in range(count)), 1], np.uint64)
    factors = ring * weights[:, None]
    protocol.shift(factors[:, :count], np.ones((), np.uint64))
    return Normaliser(_multiplied(protocol, factors), ring[:, :count], ring[:, count])


def _multiplied(protocol: Protocol, factors: Words) -> Words:
    """The product of rows (c, k, n) by a tree -> (c, n)."""
    while factors.shape[1] > 1:
        pairs = factors.shape[1] // 2
        made = protocol.multiply_rows(factors, factors, np.arange(2 * pairs).reshape(-1, 2).T.copy())
        alone = factors[:, 2 * pairs :]
        factors = np.concatenate((made, alone), axis=1) if alone.size else made
    return np.ascontiguousarray(factors[:, 0])


def leading_bit(protocol: Protocol, x: Words, bits: int) -> Words:
    """x (c, n) in ring 64, 0 <= x < 2^bits -> (c, bits, n): element i is 1 where bit i is the highest set bit."""
    return _into_ring(protocol, _hot(protocol, x, bits), x.shape[1])


def _into_ring(protocol: Protocol, planes: Words, n: int) -> Words:
    """Packed bits (c, k, words) -> ring 64 (c, k, n)."""
    count, padded = planes.shape[1], planes.shape[2] * 64
    flat = np.ascontiguousarray(planes).reshape(planes.shape[0], -1)
    ring = bits_to_ring(protocol, flat, count * padded, ring_type(64))
    return ring.reshape(len(ring), count, padded)[:, :, :n]


def _hot(protocol: Protocol, x: Words, bits: int) -> Words:
    """The highest set bit as packed one-hot planes (c, bits, words), the lowest bit first."""
    planes = bit_planes(protocol, x, bits)[:, ::-1]
    ones = np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64)
    above_clear = _prefix_and(protocol, protocol.xor_constant(planes, ones))
    clear_before = np.concatenate(
        (protocol.constant(np.full((1, planes.shape[2]), ones)), above_clear[:, :-1]), axis=1
    )
    hot: Words = (clear_before ^ above_clear)[:, ::-1]
    return hot


def _prefix_and(protocol: Protocol, planes: Words) -> Words:
    """Running AND over planes (c, p, w), Sklansky: ceil(log2 p) rounds."""
    count, span, out = planes.shape[1], 1, planes
    while span < count:
        changed = [i for i in range(count) if i & span]
        rows = gates(*((i, (i // span) * span - 1, -1) for i in changed))
        fresh = protocol.and_rows(out, out, out, rows)
        out = out.copy()
        out[:, changed] = fresh
        span *= 2
    return out


def weighted(hot: Words, weights: list[int]) -> Words:
    """Sum over bit positions of public weights times a one-hot vector (c, bits, n) -> (c, n); free."""
    column = np.array([weight % (1 << 64) for weight in weights], np.uint64)
    return np.add.reduce(hot * column[:, None], axis=1, dtype=np.uint64)  # type: ignore[no-any-return]
