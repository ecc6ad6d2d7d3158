"""Scaling secret positive numbers by a secret power of two into a fixed interval.

Catrina and Saxena, FC 2010: bits of the number, prefix OR from the top, and the leading bit as a one-hot vector.
"""

from __future__ import annotations

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


def leading_bit(protocol: Protocol, x: Words, bits: int) -> Words:
    """x (c, n) in ring 64, 0 <= x < 2^bits -> (c, bits, n): element i is 1 where bit i is the highest set bit."""
    n = x.shape[1]
    planes = bit_planes(protocol, x, bits)[:, ::-1]
    ones = np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64)
    above_clear = _prefix_and(protocol, protocol.xor_constant(planes, ones))
    clear_before = np.concatenate(
        (protocol.constant(np.full((1, planes.shape[2]), ones)), above_clear[:, :-1]), axis=1
    )
    hot = (clear_before ^ above_clear)[:, ::-1]
    padded = hot.shape[2] * 64
    ring = bits_to_ring(protocol, hot.reshape(hot.shape[0], -1), bits * padded, ring_type(64))
    return ring.reshape(-1, bits, padded)[:, :, :n]


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
