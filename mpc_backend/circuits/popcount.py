"""How many of many bits are set, without bringing every bit into the ring.

Carry-save adders (Boyar and Peralta, Theor. Comput. Sci. 396, 2008): one AND per full adder, three rows replaced by
their sums and carries, all rows of all weights at once.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.circuits.convert import bits_to_ring
from mpc_backend.kernels.arrays import Words, WordType
from mpc_backend.protocols.base import Protocol


def count_rows(protocol: Protocol, rows: Words, dtype: WordType) -> Words:
    """rows (c, r, w) of packed bits -> how many rows have each bit set, in the ring (c, 64 w).

    About one AND bit a bit in log1.5(r) rounds, then at most 2 log2(r) + 1 bits a position enter the ring, in two rounds.
    """
    weights = [rows]
    while any(part.shape[1] > 2 for part in weights):
        weights = _compress(protocol, weights)
    left = np.concatenate(weights, axis=1)
    factors = np.concatenate([np.full(part.shape[1], 1 << k, dtype) for k, part in enumerate(weights)])
    positions = rows.shape[2] * 64
    ring = bits_to_ring(protocol, left.reshape(len(left), -1), left.shape[1] * positions, dtype)
    counted = ring.reshape(len(ring), left.shape[1], positions) * factors[:, None]
    return np.add.reduce(counted, axis=1, dtype=dtype)  # type: ignore[no-any-return]


def _compress(protocol: Protocol, weights: list[Words]) -> list[Words]:
    """Every three rows of a weight become one of it and one of the next."""
    thirds = [part.shape[1] // 3 for part in weights]
    a, b, c = (
        np.concatenate([part[:, i : 3 * t : 3] for part, t in zip(weights, thirds, strict=True)], axis=1)
        for i in range(3)
    )
    every = np.arange(sum(thirds))
    carries = protocol.and_rows(a ^ c, b ^ c, c, np.stack((every, every, every, every * 0 - 1)))
    sums = a ^ b ^ c
    out = [weights[k][:, 3 * t :] for k, t in enumerate(thirds)] + [sums[:, :0]]
    ends = np.cumsum([0, *thirds])
    for k in range(len(weights)):
        own = slice(ends[k], ends[k + 1])
        out[k] = np.concatenate((out[k], sums[:, own]), axis=1)
        out[k + 1] = np.concatenate((out[k + 1], carries[:, own]), axis=1)
    return out if out[-1].shape[1] else out[:-1]
