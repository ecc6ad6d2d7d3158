"""Whole numbers as bits and back: from a ring to XOR shares, one bit an element, and from these into a ring."""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.carry import bit_planes
from mpc_backend.circuits.convert import unpack_shares
from mpc_backend.kernels.arrays import ring_type
from mpc_backend.values import SecretBits, SecretInt


def to_bits(x: SecretInt) -> SecretBits:
    """The bits (\\*shape, b) of integers of b declared bits in two's complement, the lowest first; the last is the sign.

    A declared width of 64 is one of 63, as everywhere. The halves of a number are brought in as bits (Mohassel and Rindal, CCS
    2018) and added by Sklansky's carry tree (IRE Trans. Electronic Computers EC-9, 1960), in 2 + ceil(log2(b - 1)) rounds for
    b > 1. Four nodes send 4.8 bytes a number of 8 bits, 34 of 32 and 80 of 63.
    """
    count, n = x.bits, x.size
    planes = bit_planes(x.protocol, x.flat, count)
    rows = planes.reshape(len(planes) * count, planes.shape[2])
    bits = unpack_shares(rows, n).reshape(len(planes), count, n).transpose(0, 2, 1)
    return SecretBits.from_unpacked(x.protocol, bits.reshape(len(planes), *x.shape, count))


def from_bits(bits: SecretBits, ring: int = 64) -> SecretInt:
    """Integers (...) from their bits (..., b), as `to_bits` gives them; the reverse of it.

    Every bit enters the ring as u + v - 2 u v of its XOR halves (Mohassel and Rindal, CCS 2018), in two rounds; adding them up
    is free. Four nodes send 12 bytes a bit in the ring of 64.

    Raises:
        ValueError: no bits, more than the ring has, or more than 63.
    """
    count = bits.shape[-1] if bits.ndim else 0
    if not 1 <= count <= min(ring, 63):
        raise ValueError(
            f"integers in ring {ring} have 1 to {min(ring, 63)} bits along the last axis, found {count}"
        )
    weights = [1 << place for place in range(count)]
    weights[-1] = -weights[-1]
    entered = bits.to_int(ring)
    words = np.array([weight % (1 << ring) for weight in weights], np.uint64).astype(ring_type(ring))
    shares = np.add.reduce(entered.shares * words, axis=-1, dtype=words.dtype)
    return SecretInt(bits.protocol, shares, count)
