"""Division by a power of two, probabilistic and exact.

For |x| < 2^(r-2) in a ring of r bits, x + 2^(r-2) = h0 + h1 - 2^r w with w the OR of the halves' top bits, so

    floor(h0 / 2^f) + floor(h1 / 2^f) - 2^(r-f) w - 2^(r-2-f)

is floor(x / 2^f) or one less: no failure of the wrap (Dalskov, Escudero, Keller, ePrint 2019/131, section 3.2.2). With w =
t0 + t1 - t0 t1, what each half gives is floor(h / 2^f) - 2^(r-f) t, its shift as a signed number, and 2^(r-f) t0 t1 is all
that needs a product. The one less is the missing carry of the low f bits, which depends on a mask some node knows (Li et
al., USENIX Security 2023), so probabilistic truncation is for values that are never opened nor compared with a threshold;
`floor_shift` adds that carry.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.carry import carry_out, plane_input
from mpc_backend.circuits.convert import bits_to_ring, ring_input, signed
from mpc_backend.kernels.arrays import Words, ring_bits
from mpc_backend.protocols.base import JointInput, Protocol


def _known(protocol: Protocol, x: Words) -> Words:
    """What this node knows of the halves of x + 2^(r-2)."""
    return protocol.halves(x, xor=False).plus(1 << (ring_bits(x) - 2)).known


def _parts(known: Words, f: int) -> list[JointInput]:
    """The halves shifted as signed numbers, and their top bits."""
    shifted = (signed(known) >> signed(known).dtype.type(f)).view(known.dtype)
    return [
        ring_input(shifted, known.dtype),
        ring_input(known >> known.dtype.type(ring_bits(known) - 1), known.dtype),
    ]


def _combine(protocol: Protocol, shifted: Words, top: Words, f: int) -> Words:
    ring = ring_bits(shifted)
    wrapped = protocol.own_product(top, shifted, 1 << (ring - f))
    protocol.shift(wrapped, np.negative(np.full((), 1 << (ring - 2 - f), wrapped.dtype)))
    return wrapped


def truncate(protocol: Protocol, x: Words, f: int) -> Words:
    """x (c, n), |x| < 2^(r-2) -> floor(x / 2^f) or one less (never opened, never compared). Two rounds."""
    if f == 0:
        return x
    _check_shift(x, f)
    shifted, top = protocol.joint_input(_parts(_known(protocol, x), f))
    return _combine(protocol, shifted, top, f)


def floor_shift(protocol: Protocol, x: Words, f: int) -> Words:
    """x (c, n), |x| < 2^(r-2) -> exactly floor(x / 2^f). 5 + ceil(log2 f) rounds."""
    if f == 0:
        return x
    _check_shift(x, f)
    known = _known(protocol, x)
    shifted, top, planes = protocol.joint_input([*_parts(known, f), plane_input(known, f)])
    carry = bits_to_ring(protocol, carry_out(protocol, planes), x.shape[1], x.dtype)
    return _combine(protocol, shifted, top, f) + carry


def _check_shift(x: Words, f: int) -> None:
    if not 0 < f <= ring_bits(x) - 2:
        raise ValueError(f"a shift of {f} bits does not go with a ring of {ring_bits(x)}")
