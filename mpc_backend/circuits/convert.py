"""Between bits and rings, and from a ring to a wider one. All exact.

Each uses that a shared value is the sum of two halves known to some nodes, who bring in non-linear functions of their
half as fresh shares (Mohassel and Rindal, CCS 2018, ePrint 2018/403; for four nodes ePrint 2020/1330).
"""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.carry import carry_out, plane_input
from mpc_backend.kernels.arrays import Words, WordType, ring_bits
from mpc_backend.kernels.planes import packed, unpacked
from mpc_backend.protocols.base import JointInput, Protocol


def pack_shares(values: Words) -> Words:
    """XOR shares with one bit per element (c, n) -> packed (c, words)."""
    return np.stack([packed(component) for component in values])


def unpack_shares(words: Words, n: int) -> Words:
    """Packed XOR shares (c, words) -> one uint8 per bit (c, n)."""
    return np.stack([unpacked(component, n) for component in words])


def bits_to_ring(protocol: Protocol, words: Words, n: int, dtype: WordType) -> Words:
    """n packed bits (c, words) -> the same 0/1 values in a ring (c, n): u + v - 2 u v of the XOR halves. Two rounds."""
    known = protocol.halves(words, xor=True).known
    [both] = protocol.joint_input([JointInput(unpacked(known, n, dtype.type), xor=False)])
    return protocol.own_product(both, both, -2)


def ring_input(values: Words, dtype: WordType) -> JointInput:
    """Ring elements that follow from what this node knows of the halves."""
    return JointInput(values.astype(dtype, copy=False), xor=False)


def signed(words: Words) -> Words:
    """Ring elements as the signed numbers that they stand for: shifts and wider types keep the sign."""
    view: Words = words.view(np.dtype(f"i{words.dtype.itemsize}"))
    return view


def widen(protocol: Protocol, x: Words, bits: int, dtype: WordType) -> Words:
    """x (c, n) of ``bits`` signed bits, into a wider ring, exactly.

    With one bit to spare (bits < ring), x + 2^(r-2) = h0 + h1 - 2^r w lies below 2^(r-1), so the wrap w is the OR of the
    halves' top bits t0, t1: t0 + t1 - t0 t1. A half less 2^r times its top bit is the half as a signed number: two rounds.
    Otherwise w is the carry of the whole addition.
    """
    ring, n = ring_bits(x), x.shape[1]
    spare = bits < ring
    offset = 1 << (ring - 2 if spare else ring - 1)
    known = protocol.halves(x, xor=False).plus(offset).known
    if spare:
        tops = known >> known.dtype.type(ring - 1)
        whole, top = protocol.joint_input([ring_input(signed(known), dtype), ring_input(tops, dtype)])
        wrapped = protocol.own_product(top, whole, 1 << ring)
    else:
        whole, planes = protocol.joint_input([ring_input(known, dtype), plane_input(known, ring)])
        wrap = bits_to_ring(protocol, carry_out(protocol, planes), n, dtype)
        wrapped = whole - (wrap << dtype.type(ring))
    protocol.shift(wrapped, np.negative(np.full((), offset, dtype)))
    return wrapped
