"""Fused local parts of products of halves: of h0 and h1 with x = h0 + h1, each half known in full to some node.

Of the products of two shares only those of shares in different halves count. On the cycle of four shares 0, 2, 1, 3
(`mpc_backend.protocols.rep4`) these are the four pairs of neighbours; of three shares (`mpc_backend.protocols.rep3`) the two
pairs with the share that is a half by itself. Every kernel makes one pass over memory.
"""

from __future__ import annotations

import numba

from mpc_backend.kernels.arrays import Indices, Words

_jit = numba.njit(cache=True, nogil=True)


@_jit
def multiply_cycle(
    x: Words, y: Words, plus: Words, rows: Indices, factors: Words, out: Words, order: Indices, start: int, stop: int,
    masks: Words, checked: Words, sent: Words,
) -> None:  # fmt: skip
    """Positions [start, stop) of out (3, R, w), counted flat: row r = plus[rows[2, r]] + factors[r] times the product of the
    halves of y[rows[1, r]] with the other halves of x[rows[0, r]], or with its own where rows[0, r] is -1.

    order: the components in the order of the cycle from the next share on; masks (3, stop - start): theirs. ``checked``: what
    comes to the next node, ``sent``: what goes to the one after it.
    """
    width = out.shape[2]
    position = start
    while position < stop:
        row = position // width
        first = position - row * width
        last = min(width, first + stop - position)
        i = position - start
        left, right, third = rows[0, row], rows[1, row], rows[2, row]
        other, times = max(left, 0), factors[row]
        xa, xb, xc = (
            x[order[0], other, first:last],
            x[order[1], other, first:last],
            x[order[2], other, first:last],
        )
        ya, yb, yc = (
            y[order[0], right, first:last],
            y[order[1], right, first:last],
            y[order[2], right, first:last],
        )
        za, zb, zc = (
            plus[order[0], third, first:last],
            plus[order[1], third, first:last],
            plus[order[2], third, first:last],
        )
        oa, ob, oc = (
            out[order[0], row, first:last],
            out[order[1], row, first:last],
            out[order[2], row, first:last],
        )
        ra, rb, rc = masks[0, i:], masks[1, i:], masks[2, i:]
        told, message = checked[i:], sent[i:]
        if left < 0:
            for w in range(last - first):
                m1 = times * (ya[w] * yb[w]) - ra[w]
                m2 = times * (yb[w] * yc[w]) - rb[w]
                told[w] = m1
                message[w] = m2
                oa[w] = za[w] + ra[w]
                ob[w] = zb[w] + m1 + rb[w]
                oc[w] = zc[w] + m2 + rc[w]
        else:
            for w in range(last - first):
                m1 = times * (xa[w] * yb[w] + xb[w] * ya[w]) - ra[w]
                m2 = times * (xb[w] * yc[w] + xc[w] * yb[w]) - rb[w]
                told[w] = m1
                message[w] = m2
                oa[w] = za[w] + ra[w]
                ob[w] = zb[w] + m1 + rb[w]
                oc[w] = zc[w] + m2 + rc[w]
        position += last - first


@_jit
def and_cycle(
    x: Words, first: Words, second: Words, third: Words, order: Indices, start: int, stop: int, masks: Words, checked: Words,
    sent: Words,
) -> None:  # fmt: skip
    """h0 AND h1 of packed bits x (3, any); the outputs in the order of the cycle, all else as `multiply_cycle`."""
    xa, xb, xc = x[order[0]], x[order[1]], x[order[2]]
    for i in range(stop - start):
        p = start + i
        m1 = (xa[p] & xb[p]) ^ masks[0, i]
        m2 = (xb[p] & xc[p]) ^ masks[1, i]
        checked[i] = m1
        sent[i] = m2
        first[p] = masks[0, i]
        second[p] = m1 ^ masks[1, i]
        third[p] = m2 ^ masks[2, i]


@_jit
def multiply_third(
    x: Words, y: Words, plus: Words, rows: Indices, factors: Words, out: Words, top: int, bottom: int, first: int, last: int,
    kind: int, earlier: Words, later: Words, sent: Words,
) -> None:  # fmt: skip
    """Rows [top, bottom) and positions [first, last) of out (2, R, w), as `multiply_cycle`, for three nodes.

    kind: 0 where this node knows a sum of two shares, 2 where the node before does, 1 where the next one does. earlier, later
    (rows, positions): keystreams in common with the node before and the next one.
    """
    for row in range(top, bottom):
        left, right, third = rows[0, row], rows[1, row], rows[2, row]
        other, i, times = max(left, 0), row - top, factors[row]
        a, b = y[0, right, first:last], y[1, right, first:last]
        d, e = x[0, other, first:last], x[1, other, first:last]
        c, f = plus[0, third, first:last], plus[1, third, first:last]
        own, ahead = out[0, row, first:last], out[1, row, first:last]
        q, r, message = earlier[i], later[i], sent[i]
        if kind == 0:
            for w in range(last - first):
                own[w] = c[w] + q[w]
            continue
        if left < 0:
            for w in range(last - first):
                own[w] = c[w] + times * (a[w] * b[w])
        else:
            for w in range(last - first):
                own[w] = c[w] + times * (a[w] * e[w] + b[w] * d[w])
        if kind == 2:
            for w in range(last - first):
                own[w] += r[w]
                message[w] = own[w]
        else:
            for w in range(last - first):
                own[w] -= r[w] + q[w]
                message[w] = own[w]
                ahead[w] = f[w] + r[w]


@_jit
def and_third(
    x: Words, own: Words, ahead: Words, top: int, bottom: int, first: int, last: int, kind: int, earlier: Words, later: Words,
    sent: Words,
) -> None:  # fmt: skip
    """h0 AND h1 of packed bits x (2, any, w) into own and ahead (rows, w), as `multiply_third`."""
    for row in range(top, bottom):
        i = row - top
        for w in range(last - first):
            q, r, at = earlier[i, w], later[i, w], first + w
            if kind == 0:
                own[row, at] = q
            elif kind == 2:
                bit = (x[0, row, at] & x[1, row, at]) ^ r
                own[row, at] = bit
                sent[i, w] = bit
            else:
                bit = (x[0, row, at] & x[1, row, at]) ^ r ^ q
                own[row, at] = bit
                sent[i, w] = bit
                ahead[row, at] = r
