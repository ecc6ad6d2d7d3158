"""Fused local parts of a four-party replicated product (see `mpc_backend.protocols.rep4`).

A node holds three components a, b, c of each operand. With the identity

    sum_i x_i * sum_j y_j = sum over adjacent pairs (x_i + x_j)(y_i + y_j) - sum over opposite pairs (x_i - x_j)(y_i - y_j)

on a cycle of four shares every cross product *and* every square is covered by three products per node instead of nine.
Over XOR signs vanish and the same holds with AND. Every kernel handles flat positions [start, stop) and makes one pass
over memory; ``masks`` (5, stop - start) is scratch for that range alone: r1, r2, r3, rd, rb.

Each kernel writes ``out`` (own share of the result, still lacking what other nodes send), ``checked`` (m1, authenticated
towards the next node), ``sent`` (m2, sent across the square) and ``opposite`` (m3, for the opposite pair, in which this
node plays the ``forward`` role or not). ``covers``: this node adds the mask rb to its middle component.
"""

from __future__ import annotations

import numba

from mpc_backend.kernels.arrays import Indices, Words

_jit = numba.njit(cache=True, nogil=True)


@_jit
def multiply_block(
    x: Words, y: Words, rows: Indices, out: Words, start: int, stop: int, masks: Words, forward: bool, covers: bool,
    checked: Words, sent: Words, opposite: Words,
) -> None:  # fmt: skip
    """Row-wise products in the ring: out row r = x[rows[0, r]] * y[rows[1, r]] for x, y (3, any, w), rows (2, R),
    out (3, R, w); positions count R * w flat.
    """
    width = out.shape[2]
    zero = masks.dtype.type(0)
    position = start
    while position < stop:
        row = position // width
        first = position - row * width
        last = min(width, first + stop - position)
        i = position - start
        left, right = rows[0, row], rows[1, row]
        xa, xb, xc = x[0, left], x[1, left], x[2, left]
        ya, yb, yc = y[0, right], y[1, right], y[2, right]
        oa, ob, oc = out[0, row], out[1, row], out[2, row]
        for w in range(first, last):
            k = i + w - first
            a, b, c = xa[w], xb[w], xc[w]
            d, e, f = ya[w], yb[w], yc[w]
            m1 = (a + b) * (d + e) - masks[0, k]
            m2 = (b + c) * (e + f) - masks[1, k]
            m3 = (c - a) * (d - f) - masks[3, k]
            checked[k] = m1
            sent[k] = m2
            opposite[k] = m3
            oa[w] = masks[0, k] + (masks[3, k] if forward else m3)
            ob[w] = m1 + masks[1, k] + (masks[4, k] if covers else zero)
            oc[w] = m2 + masks[2, k] + (m3 if forward else masks[3, k])
        position += last - first


@_jit
def mask_block(
    v: Words, out: Words, start: int, stop: int, masks: Words, forward: bool, covers: bool,
    checked: Words, sent: Words, opposite: Words,
) -> None:  # fmt: skip
    """The same for products v (3, n) that are already summed locally: dot and matrix products."""
    zero = masks.dtype.type(0)
    for i in range(stop - start):
        p = start + i
        m1 = v[0, p] - masks[0, i]
        m2 = v[1, p] - masks[1, i]
        m3 = v[2, p] - masks[3, i]
        checked[i] = m1
        sent[i] = m2
        opposite[i] = m3
        out[0, p] = masks[0, i] + (masks[3, i] if forward else m3)
        out[1, p] = m1 + masks[1, i] + (masks[4, i] if covers else zero)
        out[2, p] = m2 + masks[2, i] + (m3 if forward else masks[3, i])


@_jit
def and_block(
    x: Words, y: Words, z: Words, rows: Indices, out: Words, start: int, stop: int, masks: Words,
    forward: bool, covers: bool, checked: Words, sent: Words, opposite: Words,
) -> None:  # fmt: skip
    """Row-wise on packed bits: out row r = x[rows[0, r]] & (y[rows[1, r]] ^ y[rows[3, r]]) ^ z[rows[2, r]].

    x, y, z: (3, any, w) words; rows: (4, R) row numbers, -1 in rows[2] for no z, in rows[3] for no second row of y; out:
    (3, >= R, w); positions count R * w flat.
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
        xa, xb, xc = x[0, left], x[1, left], x[2, left]
        ya, yb, yc = y[0, right], y[1, right], y[2, right]
        other = right if second < 0 else second
        ua, ub, uc = y[0, other], y[1, other], y[2, other]
        used = zero if second < 0 else ~zero
        oa, ob, oc = out[0, row], out[1, row], out[2, row]
        for w in range(first, last):
            k = i + w - first
            d, e, f = ya[w] ^ (ua[w] & used), yb[w] ^ (ub[w] & used), yc[w] ^ (uc[w] & used)
            m1 = ((xa[w] ^ xb[w]) & (d ^ e)) ^ masks[0, k]
            m2 = ((xb[w] ^ xc[w]) & (e ^ f)) ^ masks[1, k]
            m3 = ((xa[w] ^ xc[w]) & (d ^ f)) ^ masks[3, k]
            checked[k] = m1
            sent[k] = m2
            opposite[k] = m3
            oa[w] = masks[0, k] ^ (masks[3, k] if forward else m3)
            ob[w] = m1 ^ masks[1, k] ^ (masks[4, k] if covers else zero)
            oc[w] = m2 ^ masks[2, k] ^ (m3 if forward else masks[3, k])
        if plus >= 0:
            za, zb, zc = z[0, plus], z[1, plus], z[2, plus]
            for w in range(first, last):
                oa[w] ^= za[w]
                ob[w] ^= zb[w]
                oc[w] ^= zc[w]
        position += last - first


@_jit
def pair_sums(a: Words, b: Words, c: Words, start: int, out: Words) -> None:
    """What a product needs of components (r, any) of an operand: a + b, b + c, c - a into out (3, r, w), from ``start`` on."""
    for r in range(out.shape[1]):
        first, second, third = a[r, start:], b[r, start:], c[r, start:]
        adjacent, next_one, opposite = out[0, r], out[1, r], out[2, r]
        for i in range(adjacent.size):
            adjacent[i] = first[i] + second[i]
            next_one[i] = second[i] + third[i]
            opposite[i] = third[i] - first[i]
