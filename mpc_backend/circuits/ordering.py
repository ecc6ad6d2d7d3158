"""Order and equality of XOR-shared numbers, as bit planes (components, planes, words), lowest plane first.

Numbers that are compared many times, as in sorting, are cut into planes once; a comparison then needs no carries: with
e = (a = b) and v = b of each plane, neighbouring groups join by v = e_high ? v_low : v_high, e = e_high AND e_low. That is
2 AND bits a plane (Garay, Schoenmakers, Villegas, PKC 2007) where an arithmetic comparison takes three and an input.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.carry import all_rows
from mpc_backend.kernels.arrays import Words
from mpc_backend.protocols.base import Protocol

ONES = np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64)


def equal(protocol: Protocol, a: Words, b: Words) -> Words:
    """a = b (c, p, w) -> (c, w). ceil(log2 p) rounds, one AND bit a plane."""
    return all_rows(protocol, protocol.xor_constant(a ^ b, ONES))


def less(protocol: Protocol, difference: Words, b: Words) -> Words:
    """a < b (c, p, w) -> (c, w) for unsigned numbers that differ, from a XOR b and b.

    ceil(log2 p) rounds, under 2 AND bits a plane.
    """
    value, alike = b, protocol.xor_constant(difference[:, 1:], ONES)
    while value.shape[1] > 1:
        value, alike = _join(protocol, value, alike)
    return value[:, 0]


def _join(protocol: Protocol, value: Words, alike: Words) -> tuple[Words, Words]:
    """Groups 2t and 2t + 1 become group t; ``alike`` lacks group 0, whose equality nothing depends on."""
    pairs = value.shape[1] // 2
    differs = value[:, 1 : 2 * pairs : 2] ^ value[:, 0 : 2 * pairs : 2]
    other = np.concatenate((differs, alike[:, 1 : 2 * pairs - 1 : 2]), axis=1)
    chosen = [(2 * t, t, 2 * t + 1) for t in range(pairs)]
    joined = [(2 * t, pairs + t - 1, -1) for t in range(1, pairs)]
    rows = np.array(chosen + joined, np.int64).T.copy()
    fresh = protocol.and_rows(alike, other, value, rows)
    value_left, alike_left = value[:, 2 * pairs :], alike[:, 2 * pairs - 1 :]
    return (
        np.concatenate((fresh[:, :pairs], value_left), axis=1),
        np.concatenate((fresh[:, pairs:], alike_left), axis=1),
    )
