"""Bit-sliced addition: carries, signs, zero tests and whole sums of two halves.

A shared x is h0 + h1 with each half known to some nodes, who cut it into bit planes and bring those in as XOR shares
(components, planes, words) of h0 XOR h1, whose halves they are; h0 AND h1 then costs less than another AND. After that a
carry tree (Kogge and Stone, IEEE Trans. Computers C-22, 1973; Sklansky 1960 for all prefixes) runs over whole planes, 64
values to a word. Only the planes that the declared width needs exist: an 8-bit value costs an eighth of a 64-bit one.
Measured and explained in docs/engine.md.
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


def carry_out(protocol: Protocol, x: Words) -> Words:
    """The carry out of the sum of the two halves of planes x (c, p, w), as they were brought in -> (c, w).

    1 + ceil(log2 p) rounds, under 3 p AND bits a value.
    """
    return _top_carry(protocol, _generate_propagate(protocol, x, x.shape[1]), x.shape[1])


def _top_carry(protocol: Protocol, stack: Words, count: int) -> Words:
    """The carry that rows g and p (c, 2 count, w) generate: groups of planes joined until one is left."""
    generate, propagate = list(range(count)), list(range(count, 2 * count))
    while len(generate) > 1:
        stack, generate, propagate = _merge(protocol, stack, generate, propagate)
    return stack[:, generate[0]]


def _generate_propagate(protocol: Protocol, x: Words, count: int) -> Words:
    """Rows g = h0 AND h1, then p = h0 XOR h1, of the low ``count`` planes (c, 2 count, w)."""
    stack = np.empty((len(x), 2 * count, x.shape[2]), x.dtype)
    stack[:, count:] = x[:, :count]
    protocol.and_halves(x, stack[:, :count])
    return stack


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


def sum_planes(protocol: Protocol, x: Words) -> Words:
    """All planes of the sum mod 2^p of the two halves of planes x (c, p, w), as they were brought in -> (c, p, w).

    1 + ceil(log2 (p - 1)) rounds.
    """
    carries = x.shape[1] - 1
    if carries == 0:
        return x
    stack = _generate_propagate(protocol, x, carries)
    span = 1
    while span < carries:
        stack = _prefix_level(protocol, stack, carries, span)
        span *= 2
    x[:, 1:] ^= stack[:, :carries]
    return x


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
    [found] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).known, planes)])
    top = found[:, planes - 1].copy()
    if planes == 1:
        return top
    stack = _generate_propagate(protocol, found, planes - 1)
    del found  # as large as half of what is left
    return top ^ _top_carry(protocol, stack, planes - 1)


def is_zero(protocol: Protocol, x: Words, planes: int) -> Words:
    """x (c, n) = 0 mod 2^planes -> packed XOR shares (c, words): h0 = -h1 compared plane by plane, no carries."""
    [different] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).opposed(), planes)])
    same = protocol.xor_constant(different, np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64))
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
    [found] = protocol.joint_input([plane_input(protocol.halves(x, xor=False).known, planes)])
    return sum_planes(protocol, found)
