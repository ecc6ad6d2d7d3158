"""Fused local parts of a four-party replicated product (see `mpc_backend.protocols.rep4`).

A node holds three components a, b, c of each operand. With the identity

    sum_i x_i * sum_j y_j = sum over adjacent pairs (x_i + x_j)(y_i + y_j) - sum over opposite pairs (x_i - x_j)(y_i - y_j)

on a cycle of four shares every cross product *and* every square is covered by three products per node instead of nine.
Over XOR signs vanish and the same holds with AND. Every kernel handles flat positions [start, stop) and makes one pass
over memory; ``masks`` (5, stop - start) is scratch for that range alone: r1, r2, r3, rd, rb. Inner loops count from 0 over
slices: the compiler then need not ask of every index whether it is negative, which took two thirds of the time.

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
        xa, xb, xc = x[0, left, first:last], x[1, left, first:last], x[2, left, first:last]
        ya, yb, yc = y[0, right, first:last], y[1, right, first:last], y[2, right, first:last]
        oa, ob, oc = out[0, row, first:last], out[1, row, first:last], out[2, row, first:last]
        r1, r2, r3, rd, rb = masks[0, i:], masks[1, i:], masks[2, i:], masks[3, i:], masks[4, i:]
        told, message, across = checked[i:], sent[i:], opposite[i:]
        for w in range(last - first):
            m1 = (xa[w] + xb[w]) * (ya[w] + yb[w]) - r1[w]
            m2 = (xb[w] + xc[w]) * (yb[w] + yc[w]) - r2[w]
            m3 = (xc[w] - xa[w]) * (ya[w] - yc[w]) - rd[w]
            told[w] = m1
            message[w] = m2
            across[w] = m3
            oa[w] = r1[w] + (rd[w] if forward else m3)
            ob[w] = m1 + r2[w] + (rb[w] if covers else zero)
            oc[w] = m2 + r3[w] + (m3 if forward else rd[w])
        position += last - first


@_jit
def mask_block(
    v: Words, out: Words, start: int, stop: int, masks: Words, forward: bool, covers: bool,
    checked: Words, sent: Words, opposite: Words,
) -> None:  # fmt: skip
    """The same for products v (3, n) that are already summed locally: dot and matrix products."""
    zero = masks.dtype.type(0)
    va, vb, vc = v[0, start:stop], v[1, start:stop], v[2, start:stop]
    oa, ob, oc = out[0, start:stop], out[1, start:stop], out[2, start:stop]
    r1, r2, r3, rd, rb = masks[0], masks[1], masks[2], masks[3], masks[4]
    for w in range(stop - start):
        m1 = va[w] - r1[w]
        m2 = vb[w] - r2[w]
        m3 = vc[w] - rd[w]
        checked[w] = m1
        sent[w] = m2
        opposite[w] = m3
        oa[w] = r1[w] + (rd[w] if forward else m3)
        ob[w] = m1 + r2[w] + (rb[w] if covers else zero)
        oc[w] = m2 + r3[w] + (m3 if forward else rd[w])


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
        xa, xb, xc = x[0, left, first:last], x[1, left, first:last], x[2, left, first:last]
        ya, yb, yc = y[0, right, first:last], y[1, right, first:last], y[2, right, first:last]
        other = right if second < 0 else second
        ua, ub, uc = y[0, other, first:last], y[1, other, first:last], y[2, other, first:last]
        used = zero if second < 0 else ~zero
        oa, ob, oc = out[0, row, first:last], out[1, row, first:last], out[2, row, first:last]
        r1, r2, r3, rd, rb = masks[0, i:], masks[1, i:], masks[2, i:], masks[3, i:], masks[4, i:]
        told, message, across = checked[i:], sent[i:], opposite[i:]
        for w in range(last - first):
            d, e, f = ya[w] ^ (ua[w] & used), yb[w] ^ (ub[w] & used), yc[w] ^ (uc[w] & used)
            m1 = ((xa[w] ^ xb[w]) & (d ^ e)) ^ r1[w]
            m2 = ((xb[w] ^ xc[w]) & (e ^ f)) ^ r2[w]
            m3 = ((xa[w] ^ xc[w]) & (d ^ f)) ^ rd[w]
            told[w] = m1
            message[w] = m2
            across[w] = m3
            oa[w] = r1[w] ^ (rd[w] if forward else m3)
            ob[w] = m1 ^ r2[w] ^ (rb[w] if covers else zero)
            oc[w] = m2 ^ r3[w] ^ (m3 if forward else rd[w])
        if plus >= 0:
            za, zb, zc = z[0, plus, first:last], z[1, plus, first:last], z[2, plus, first:last]
            for w in range(last - first):
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
