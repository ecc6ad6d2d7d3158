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
    xa, xb, xc = x[order[0], start:stop], x[order[1], start:stop], x[order[2], start:stop]
    oa, ob, oc = first[start:stop], second[start:stop], third[start:stop]
    ra, rb, rc = masks[0], masks[1], masks[2]
    for w in range(stop - start):
        m1 = (xa[w] & xb[w]) ^ ra[w]
        m2 = (xb[w] & xc[w]) ^ rb[w]
        checked[w] = m1
        sent[w] = m2
        oa[w] = ra[w]
        ob[w] = m1 ^ rb[w]
        oc[w] = m2 ^ rc[w]


@_jit
def _add_product(
    a: Words, b: Words, d: Words, e: Words, alone: bool, plus: Words, times: int, out: Words
) -> None:
    """plus + times (a e + b d), or where ``alone`` plus + times a b."""
    if alone:
        for w in range(out.size):
            out[w] = plus[w] + times * (a[w] * b[w])
    else:
        for w in range(out.size):
            out[w] = plus[w] + times * (a[w] * e[w] + b[w] * d[w])


@_jit
def multiply_thirds(
    x: Words, y: Words, plus: Words, rows: Indices, factors: Words, out: Words, cuts: Indices, node: int, start: int,
    stop: int, earlier: Words, later: Words, sent: Words,
) -> None:  # fmt: skip
    """Positions [start, stop) of out (2, R, w), as `multiply_cycle`, for three nodes.

    Positions cuts[p] to cuts[p + 1] of a row are those where node p knows a sum of two shares. earlier: keystream in common
    with the node before, for all positions but its own; later: with the next one, for all but this node's; ``sent``: likewise.
    """
    width = out.shape[2]
    drawn, told, position = 0, 0, start
    while position < stop:
        row = position // width
        low = position - row * width
        high = min(width, low + stop - position)
        left, right, third = rows[0, row], rows[1, row], rows[2, row]
        other, times = max(left, 0), factors[row]
        for p in range(3):
            first, last = max(low, cuts[p]), min(high, cuts[p + 1])
            if first >= last:
                continue
            size = last - first
            a, b = y[0, right, first:last], y[1, right, first:last]
            d, e = x[0, other, first:last], x[1, other, first:last]
            c, f = plus[0, third, first:last], plus[1, third, first:last]
            own, ahead = out[0, row, first:last], out[1, row, first:last]
            q, r, message = earlier[drawn:], later[told:], sent[told:]
            if p == node:
                for w in range(size):
                    own[w] = c[w] + q[w]
                drawn += size
                continue
            _add_product(a, b, d, e, left < 0, c, times, own)
            if p == (node + 2) % 3:
                for w in range(size):
                    own[w] += r[w]
                    message[w] = own[w]
            else:
                for w in range(size):
                    own[w] -= r[w] + q[w]
                    message[w] = own[w]
                    ahead[w] = f[w] + r[w]
                drawn += size
            told += size
        position += high - low


@_jit
def and_thirds(
    x: Words, mine: Words, theirs: Words, cuts: Indices, node: int, start: int, stop: int, earlier: Words, later: Words,
    sent: Words,
) -> None:  # fmt: skip
    """h0 AND h1 of packed bits x (2, any, w) into two components (R, w), as `multiply_thirds`."""
    width = mine.shape[1]
    drawn, told, position = 0, 0, start
    while position < stop:
        row = position // width
        low = position - row * width
        high = min(width, low + stop - position)
        for p in range(3):
            first, last = max(low, cuts[p]), min(high, cuts[p + 1])
            if first >= last:
                continue
            size = last - first
            a, b = x[0, row, first:last], x[1, row, first:last]
            own, ahead = mine[row, first:last], theirs[row, first:last]
            q, r, message = earlier[drawn:], later[told:], sent[told:]
            if p == node:
                for w in range(size):
                    own[w] = q[w]
                drawn += size
            elif p == (node + 2) % 3:
                for w in range(size):
                    bit = (a[w] & b[w]) ^ r[w]
                    own[w] = bit
                    message[w] = bit
                told += size
            else:
                for w in range(size):
                    bit = (a[w] & b[w]) ^ r[w] ^ q[w]
                    own[w] = bit
                    message[w] = bit
                    ahead[w] = r[w]
                drawn += size
                told += size
        position += high - low
