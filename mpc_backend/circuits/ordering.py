"""Order and equality of XOR-shared numbers, as bit planes (components, planes, words), lowest plane first.

Numbers that are compared many times, as in sorting, are cut into planes once; a comparison then needs no carries: with
e = (a = b) and v = b of each plane, neighbouring groups join by v = e_high ? v_low : v_high, e = e_high AND e_low. That is
2 AND bits a plane (Garay, Schoenmakers, Villegas, PKC 2007) where an arithmetic comparison takes three and an input.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.carry import all_rows, gates
from mpc_backend.kernels.arrays import Words
from mpc_backend.protocols.base import Protocol

ONES = np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64)


def equal(protocol: Protocol, a: Words, b: Words) -> Words:
    """a = b (c, p, w) -> (c, w). ceil(log2 p) rounds, one AND bit a plane."""
    return all_rows(protocol, protocol.xor_constant(a ^ b, ONES))


def less(protocol: Protocol, stack: Words, planes: int) -> Words:
    """a < b -> (c, w) for unsigned numbers that differ, from the planes of b and then, but for the lowest, those of
    NOT (a XOR b), in one array (c, 2 planes - 1, w).

    ceil(log2 planes) rounds, under 2 AND bits a plane.
    """
    value, alike = list(range(planes)), [-1, *range(planes, 2 * planes - 1)]
    while len(value) > 1:
        stack, value, alike = _joined(protocol, stack, value, alike)
    return stack[:, value[0]]


def _joined(
    protocol: Protocol, stack: Words, v: list[int], e: list[int]
) -> tuple[Words, list[int], list[int]]:
    """Groups 2t and 2t + 1 become group t; whether group 0 is alike is not known, and nothing depends on it."""
    pairs = len(v) // 2
    chosen = [(e[2 * t + 1], v[2 * t], v[2 * t + 1], v[2 * t + 1]) for t in range(pairs)]
    both = [(e[2 * t + 1], e[2 * t], -1) for t in range(1, pairs)]
    keep = [row for row in (v[-1], e[-1]) if len(v) % 2]
    stack = protocol.and_rows(stack, stack, stack, gates(*chosen, *both), keep=np.array(keep, np.int64))
    new_v, new_e = list(range(pairs)), [-1, *range(pairs, 2 * pairs - 1)]
    if keep:
        new_v.append(2 * pairs - 1)
        new_e.append(2 * pairs)
    return stack, new_v, new_e
