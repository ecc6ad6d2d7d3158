"""Bit-sliced addition: carries, signs, zero tests and whole sums of two halves.

A shared x is h0 + h1 with each half known to some nodes, who cut it into bit planes and bring those in as XOR shares;
then a carry tree (Kogge and Stone, IEEE Trans. Computers C-22, 1973; Sklansky 1960 for all prefixes) runs over whole
planes, 64 values to a word. Only the planes that the declared width needs exist: an 8-bit value costs an eighth of a
64-bit one. Measured and explained in docs/engine.md.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words
from mpc_backend.kernels.planes import planes_of
from mpc_backend.protocols.base import JointInput, Protocol


def plane_input(values: Words, count: int) -> JointInput:
    """The low ``count`` bit planes of what this node knows of the halves of n values: shape (count, words)."""
    return JointInput(planes_of(values, count), xor=True)


def gates(*columns: tuple[int, ...]) -> Indices:
    """Row numbers for `Protocol.and_rows`: of x, y and z (-1: none) for each gate, or of x, y, z and a second row of y."""
    return np.array([(*column, -1)[:4] for column in columns], np.int64).reshape(-1, 4).T.copy()


def carry_out(protocol: Protocol, a: Words, b: Words, count: int | None = None) -> Words:
    """The carry out of the sum of the low ``count`` planes of two planar numbers (c, p, w) -> (c, w).

    1 + ceil(log2 count) rounds, under 3 count AND bits a value. All planes if no count is given.
    """
    count = a.shape[1] if count is None else count
    return _top_carry(protocol, _generate_propagate(protocol, a, b, count), count)


def _top_carry(protocol: Protocol, stack: Words, count: int) -> Words:
    """The carry that rows g and p (c, 2 count, w) generate: groups of planes joined until one is left."""
    generate, propagate = list(range(count)), list(range(count, 2 * count))
    while len(generate) > 1:
        stack, generate, propagate = _merge(protocol, stack, generate, propagate)
    return stack[:, generate[0]]


def _generate_propagate(protocol: Protocol, a: Words, b: Words, count: int) -> Words:
    """Rows g = a AND b, then p = a XOR b, of the low ``count`` planes (c, 2 count, w)."""
    stack = np.empty((len(a), 2 * count, a.shape[2]), a.dtype)
    np.bitwise_xor(a[:, :count], b[:, :count], out=stack[:, count:])
    every = np.arange(count)
    none = np.full(count, -1)
    return protocol.and_rows(a, b, stack, np.stack((every, every, none, none)), keep=every, into=stack)


def _merge(
    protocol: Protocol, stack: Words, g: list[int], p: list[int]
) -> tuple[Words, list[int], list[int]]:
    """Join neighbouring groups of planes: g = g_high ^ p_high g_low, p = p_high p_low (unused in the lowest group)."""
    pairs = len(g) // 2
    generated = [(p[2 * t + 1], g[2 * t], g[2 * t + 1]) for t in range(pairs)]
    propagated = [(p[2 * t + 1], p[2 * t], -1) for t in range(1, pairs)]
    keep = [g[-1], p[-1]] if len(g) % 2 else []
    stack = protocol.and_rows(
        stack, stack, stack, gates(*generated, *propagated), keep=np.array(keep, np.int64)
    )
    new_g, new_p = list(range(pairs)), [-1, *range(pairs, 2 * pairs - 1)]
    if keep:
        new_g.append(2 * pairs - 1)
        new_p.append(2 * pairs)
    return stack, new_g, new_p


def sum_planes(protocol: Protocol, a: Words, b: Words) -> Words:
    """All planes of the sum mod 2^p of two planar numbers (c, p, w) -> (c, p, w). 1 + ceil(log2 (p - 1)) rounds."""
    count = a.shape[1]
    half_sum = a ^ b
    carries = count - 1
    if carries == 0:
        return half_sum
    stack = _generate_propagate(protocol, a, b, carries)
    span = 1
    while span < carries:
        stack = _prefix_level(protocol, stack, carries, span)
        span *= 2
    out = half_sum.copy()
    out[:, 1:] ^= stack[:, :carries]
    return out


def _prefix_level(protocol: Protocol, stack: Words, count: int, span: int) -> Words:
    """One Sklansky level: groups that end in an odd block of ``span`` planes absorb the whole block before."""
    changed = [i for i in range(count) if i & span]
    low = {i: (i // span) * span - 1 for i in changed}
    generated = [(count + i, low[i], i) for i in changed]
    propagated = [(count + i, count + low[i], -1) for i in changed]
    fresh = protocol.and_rows(stack, stack, stack, gates(*generated, *propagated))
    out = stack.copy()
    out[:, changed] = fresh[:, : len(changed)]
    out[:, [count + i for i in changed]] = fresh[:, len(changed) :]
    return out


def sign(protocol: Protocol, x: Words, planes: int) -> Words:
    """x (c, n) < 0 for values of ``planes`` signed bits -> packed XOR shares (c, words)."""
    [(a, b)] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).known, planes)])
    top = a[:, planes - 1] ^ b[:, planes - 1]
    if planes == 1:
        return top
    stack = _generate_propagate(protocol, a, b, planes - 1)
    del a, b  # two thirds of the memory of what is left
    return top ^ _top_carry(protocol, stack, planes - 1)


def is_zero(protocol: Protocol, x: Words, planes: int) -> Words:
    """x (c, n) = 0 mod 2^planes -> packed XOR shares (c, words): h0 = -h1 compared plane by plane, no carries."""
    [(a, b)] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).opposed(), planes)])
    same = protocol.xor_constant(a ^ b, np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64))
    return all_rows(protocol, same)


def all_rows(protocol: Protocol, x: Words) -> Words:
    """AND over planes (c, p, w) -> (c, w) in ceil(log2 p) rounds."""
    while x.shape[1] > 1:
        pairs = x.shape[1] // 2
        rows = gates(*((2 * t, 2 * t + 1, -1) for t in range(pairs)))
        keep = np.arange(2 * pairs, x.shape[1])
        x = protocol.and_rows(x, x, x, rows, keep=keep)
    return x[:, 0]


def bit_planes(protocol: Protocol, x: Words, planes: int) -> Words:
    """The low ``planes`` bits of x (c, n) as XOR-shared planes (c, planes, words)."""
    [(a, b)] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).known, planes)])
    return sum_planes(protocol, a, b)
