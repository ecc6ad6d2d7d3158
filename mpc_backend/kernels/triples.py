"""Fused local parts of a three-party replicated product (see `mpc_backend.protocols.rep3`).

A node holds two components a, b of each operand. a (d + e) + b d covers the square of its first share and both cross
products of its two shares; over the three nodes every product of two shares appears once. Every kernel handles flat
positions [start, stop) in one pass; ``masks`` (2, stop - start) holds the keystreams of the node's two shares, whose
differences sum to zero over the nodes. The result goes to component 0 of ``out`` and, equal, to ``sent``.
"""

from __future__ import annotations

import numba

from mpc_backend.kernels.arrays import Indices, Words

_jit = numba.njit(cache=True, nogil=True)


@_jit
def multiply_pairs(
    x: Words, y: Words, rows: Indices, out: Words, start: int, stop: int, masks: Words, sent: Words
) -> None:
    """Row-wise products in the ring: out row r = x[rows[0, r]] * y[rows[1, r]] for x, y (2, any, w), rows (2, R),
    out (2, R, w); positions count R * w flat.
    """
    width = out.shape[2]
    position = start
    while position < stop:
        row = position // width
        first = position - row * width
        last = min(width, first + stop - position)
        i = position - start
        left, right = rows[0, row], rows[1, row]
        a, b = x[0, left, first:last], x[1, left, first:last]
        d, e = y[0, right, first:last], y[1, right, first:last]
        own, r, s, message = out[0, row, first:last], masks[0, i:], masks[1, i:], sent[i:]
        for w in range(last - first):
            z = a[w] * (d[w] + e[w]) + b[w] * d[w] + r[w] - s[w]
            own[w] = z
            message[w] = z
        position += last - first


@_jit
def mask_sums(v: Words, out: Words, start: int, stop: int, masks: Words, sent: Words) -> None:
    """The same for products v (n,) that are already summed locally: dot and matrix products."""
    terms, own, r, s = v[start:stop], out[0, start:stop], masks[0], masks[1]
    for i in range(stop - start):
        z = terms[i] + r[i] - s[i]
        own[i] = z
        sent[i] = z


@_jit
def and_pairs(
    x: Words, y: Words, z: Words, rows: Indices, out: Words, start: int, stop: int, masks: Words, sent: Words
) -> None:
    """Row-wise on packed bits: out row r = x[rows[0, r]] & (y[rows[1, r]] ^ y[rows[3, r]]) ^ z[rows[2, r]].

    x, y, z: (2, any, w) words; rows: (4, R) row numbers, -1 in rows[2] for no z, in rows[3] for no second row of y; out:
    (2, >= R, w); positions count R * w flat.
    """
    width = out.shape[2]
    zero = masks.dtype.type(0)
    position = start
    while position < stop:
        row = position // width
        first = position - row * width
        last = min(width, first + stop - position)
        i = position - start
        left, right, plus, second = rows[0, row], rows[1, row], rows[2, row], rows[3, row]
        a, b = x[0, left, first:last], x[1, left, first:last]
        d, e = y[0, right, first:last], y[1, right, first:last]
        other = right if second < 0 else second
        f, g = y[0, other, first:last], y[1, other, first:last]
        used = zero if second < 0 else ~zero
        own = out[0, row, first:last]
        r, s, message = masks[0, i:], masks[1, i:], sent[i:]
        for w in range(last - first):
            p, q = d[w] ^ (f[w] & used), e[w] ^ (g[w] & used)
            bit = (a[w] & (p ^ q)) ^ (b[w] & p) ^ r[w] ^ s[w]
            own[w] = bit
            message[w] = bit
        if plus >= 0:
            c = z[0, plus, first:last]
            for w in range(last - first):
                own[w] ^= c[w]
                message[w] ^= c[w]
        position += last - first
