"""Three nodes that follow the protocol: one of them learns nothing, two together learn everything, none is checked.

Araki, Furukawa, Lindell, Nof, Ohara, "High-throughput semi-honest secure three-party computation with an honest
majority", CCS 2016 (ePrint 2016/768). x = x_0 + x_1 + x_2 mod 2^r (or XOR); node k holds x_k and x_{k+1} (indices mod 3),
so share x_k is held by nodes k - 1 and k, who also have a key in common for it.

A product: node k computes z_k = x_k y_k + x_k y_{k+1} + x_{k+1} y_k + F(key of share k) - F(key of share k + 1), which are
shares of x y once all three are added, and sends z_k to node k - 1. One word a node and result, also for sums of products.

Halves: node p alone knows x_p + x_{p+1}, and the two others know x_{p+2}. Node p shares the former by a mask that it
has in common with node p - 1 and one word to node p + 1; the latter is a share already. To make every node send the same,
p is 0, 1 and 2 for one third of the positions each; so a node knows one half at every position, and sends 1/3 word.

Products of halves need less: z_p has no terms then, x_p x_{p+1} being none of them. With r from what p - 1 and p have in
common and q from what p + 1 and p + 2 have, the shares are r, z_{p+1} + q, which p + 1 sends to p, and z_{p+2} - r - q,
which p + 2 sends to p + 1: 2/3 word a node.

A node that deviates can change results without being noticed, and can learn from what the others then do. Messages are
checked for their length and order alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words, WordType, operand, ring_words
from mpc_backend.kernels.halves import and_third, multiply_third
from mpc_backend.kernels.matrices import dot_rows, matrix_product
from mpc_backend.kernels.rows import fisher_yates, permute_add, permute_xor
from mpc_backend.kernels.triples import and_pairs, mask_sums, multiply_pairs
from mpc_backend.prg import Keystream
from mpc_backend.protocols.base import NONE, Costs, Halves, JointInput
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.replicated import BLOCK_BYTES, Replicated, inner_blocks
from mpc_backend.transport.base import Transport

Kernel = Callable[[int, int, Words, Words], None]
"""Called with start, stop, masks, sent."""
Piece = tuple[slice, slice]
"""Rows and positions of the last axis."""
HalfKernel = Callable[[int, int, int, int, int, Words, Words, Words], None]
"""Called with the limits of rows and positions, p less the node's number, both masks, sent."""


class Rep3(Replicated):
    """One node of three."""

    name: ClassVar[str] = "rep3"
    nodes: ClassVar[int] = 3
    components: ClassVar[int] = 2
    costs: ClassVar[Costs] = Costs(
        product=1, half_product=2 / 3, joint_input=1 / 3, shuffle=4 / 3, shuffle_rounds=3
    )

    def __init__(self, index: int, transport: Transport, keys: JobKeys) -> None:
        super().__init__(index, transport, keys)
        self._before, self._after = self._node(-1), self._node(1)
        self._streams = tuple(Keystream(keys.pair[peer]) for peer in (self._before, self._after))
        self._scratch = np.empty((2, BLOCK_BYTES), np.uint8)
        self._shuffles = 0

    def _begin(self) -> None:
        self._step += 1
        for stream in self._streams:
            stream.begin(self._step)

    # Products

    def multiply_rows(self, x: Words, y: Words, rows: Indices) -> Words:
        out = np.empty((2, rows.shape[1], x.shape[2]), x.dtype)
        a, b = operand(x), operand(y)
        self._product(out.reshape(2, -1), lambda *rest: multiply_pairs(a, b, rows, out, *rest))
        return out

    def matmul(self, x: Words, y: Words) -> Words:
        a, b = x, y.transpose(0, 2, 1)
        terms = np.zeros((a.shape[1], b.shape[1]), a.dtype)
        for start, stop in inner_blocks(a, b):
            left, right = a[:, :, start:stop], b[:, :, start:stop]
            matrix_product(left[0], right[0] + right[1], terms)
            matrix_product(left[1], right[0], terms)
        return self._masked(terms)

    def dot(self, x: Words, y: Words) -> Words:
        shape, length = x.shape[1:-1], x.shape[-1]
        a, b = x.reshape(2, -1, length), y.reshape(2, -1, length)
        terms = np.empty((2, a.shape[1]), x.dtype)
        dot_rows(operand(a[0]), operand(b[0] + b[1]), terms[0])
        dot_rows(operand(a[1]), operand(b[0]), terms[1])
        terms[0] += terms[1]
        return self._masked(terms[0].reshape(shape))

    def _masked(self, terms: Words) -> Words:
        """Local sums of products become shares."""
        v = operand(terms.reshape(-1))
        out = np.empty((2, v.size), v.dtype)
        self._product(out, lambda *rest: mask_sums(v, out, *rest))
        return out.reshape(2, *terms.shape)

    def and_rows(
        self, x: Words, y: Words, z: Words, rows: Indices, keep: Indices = NONE, into: Words | None = None
    ) -> Words:
        count, width = rows.shape[1], x.shape[2]
        out = np.empty((2, count + keep.size, width), np.uint64) if into is None else into
        a, b, c = operand(x), operand(y), operand(z)
        fresh = [part[:count].reshape(-1) for part in out]
        self._product(fresh, lambda *rest: and_pairs(a, b, c, rows, out, *rest))
        if into is None:
            out[:, count:] = z[:, keep]
        return out

    def _product(self, out: Words | list[Words], kernel: Kernel) -> None:
        """Run a kernel over all positions of ``out`` (two flat components); the second one comes from the next node."""
        self._begin()
        n, dtype = out[0].size, out[0].dtype
        if n == 0:
            return
        sent, masks, step = np.empty(n, dtype), self._scratch.view(dtype), BLOCK_BYTES // dtype.itemsize
        for start in range(0, n, step):
            stop = min(n, start + step)
            for stream, mask in zip(self._streams, masks, strict=True):
                stream.fill(mask[: stop - start])
            kernel(start, stop, masks, sent[start:stop])
        self.transport.send(self._before, sent.data.cast("B"))
        self.transport.traffic.rounds += 1
        out[1][:] = self._receive(self._after, n, dtype)

    # Joint input

    def halves(self, x: Words, xor: bool) -> Halves:
        first, second, third = self._thirds(x.shape[-1], packed=xor)
        known = np.empty_like(x[0])
        (np.bitwise_xor if xor else np.add)(x[0][..., first], x[1][..., first], out=known[..., first])
        known[..., second] = x[1][..., second]
        known[..., third] = x[0][..., third]
        return Halves(known, first)

    def _thirds(self, length: int, *, packed: bool) -> tuple[slice, slice, slice]:
        """Positions of the last axis for which p is this node, the node before, the node after."""
        thirds = _cut(length, packed=packed)
        return thirds[self.index], thirds[self._before], thirds[self._after]

    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        """For the thirds of p the shares x_p, x_{p+1} of the first half are mask and message, x_{p+2} is the second half."""
        self._begin()
        results, outgoing, slots = [], [], []
        before, after = self._streams
        for entry in inputs:
            values, dtype = entry.values, entry.values.dtype
            own, back, ahead = self._thirds(values.shape[-1], packed=entry.xor)
            shares = np.empty((2, *values.shape), dtype)
            mask = before.words(values[..., own].shape, dtype)
            message = values[..., own] ^ mask if entry.xor else values[..., own] - mask
            shares[0][..., own], shares[1][..., own] = mask, message
            shares[1][..., back], shares[0][..., ahead] = values[..., back], values[..., ahead]
            shares[1][..., ahead] = after.words(values[..., ahead].shape, dtype)
            outgoing.append(message)
            slots.append(shares[0][..., back])
            results.append(shares)
        self._send_together(self._after, outgoing)
        self.transport.traffic.rounds += 1
        if any(slot.size for slot in slots):
            self._receive_into(self._before, slots)
        return results

    def multiply_halves(
        self,
        x: Words,
        y: Words,
        plus: Words,
        rows: Indices,
        factors: Sequence[int],
        into: Words | None = None,
    ) -> Words:
        count, width = rows.shape[1], x.shape[2]
        out = np.empty((2, count, width), x.dtype) if into is None else into
        a, b, c, times = operand(x), operand(y), operand(plus), ring_words(factors, x.dtype)
        self._half_product(
            out[:, :count], lambda *rest: multiply_third(a, b, c, rows, times, out, *rest), packed=False
        )
        return out

    def and_halves(self, x: Words, into: Words) -> None:
        a, mine, theirs = operand(x), into[0], into[1]
        self._half_product(into, lambda *rest: and_third(a, mine, theirs, *rest), packed=True)

    def _half_product(self, out: Words, kernel: HalfKernel, *, packed: bool) -> None:
        """Run a kernel over the rectangles of ``out`` (2, rows, w), third by third; component 1 comes from the next node for
        the thirds of this node and the node before.
        """
        self._begin()
        n, dtype = out[0].size, out.dtype
        if n == 0:
            return
        pieces = [
            (p, piece) for p, third in enumerate(_cut(out.shape[2], packed=packed))
            for piece in _rectangles(out.shape[1], third, dtype.itemsize)
        ]  # fmt: skip
        sent = [self._local_piece(p, piece, dtype, kernel) for p, piece in pieces]
        self._send_together(self._before, [part for part in sent if part is not None])
        self.transport.traffic.rounds += 1
        slots = [out[1][piece] for p, piece in pieces if p != self._after]
        if slots:
            self._receive_into(self._after, slots)

    def _local_piece(self, p: int, piece: Piece, dtype: WordType, kernel: HalfKernel) -> Words | None:
        """This node's part of a rectangle; what it sends of it, nothing where p is this node."""
        rows, columns = piece
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        size = shape[0] * shape[1]
        earlier, later = (half[:size].reshape(shape) for half in self._scratch.view(dtype))
        before, after = self._streams
        if p != self._before:
            before.fill(earlier)
        if p != self.index:
            after.fill(later)
        sent = np.empty(shape, dtype)
        kernel(rows.start, rows.stop, columns.start, columns.stop, (p - self.index) % 3, earlier, later, sent)
        return None if p == self.index else sent

    # Shuffle

    def shuffle(self, tables: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Three hops; in each, two nodes that hold the rows as a sum of two tables permute by an order of theirs.

        Laur, Willemson, Zhang, ISC 2011. Nodes a, b, c, turning from shuffle to shuffle. a and b permute x_a + x_{a+1} and
        x_{a+2}; a's part goes to c, masked by what a and b have in common; b and c permute; b's part goes to a, masked
        likewise; c and a permute and exchange what makes shares again. Four words in all, two of them sent by a.

        That a sends twice cannot be turned within one shuffle. Each of three different pairs has to permute once, so that
        every node misses an order. After the first pair, b and c need the rows in the order of a and b: x_a is known to a and
        c alone, and c must not know the order, so that a sends. The node that leaves the first pair is in every other pair but
        the second, and so in the last; there each of both holds a part that the other lacks, and which only they can put in
        their order, so that both send. Rows cut into three with turned roles would be shuffled apart, which says of every
        row in which third it began; columns cut so would be in different orders, since the orders of pairs do not commute and
        no node knows all three. Hence the roles turn from shuffle to shuffle.
        """
        self._begin()
        role = self._node(-self._shuffles)
        self._shuffles += 1
        parts = [np.ascontiguousarray(table) for table, _ in tables]
        xors = [xor for _, xor in tables]
        return (self._shuffle_a, self._shuffle_b, self._shuffle_c)[role](parts, xors)

    def _shuffle_a(self, tables: list[Words], xors: list[bool]) -> list[Words]:
        c, ca, ab = self._before, *self._streams
        order = self._order(ab, tables)
        mine = [t[0] ^ t[1] if xor else t[0] + t[1] for t, xor in zip(tables, xors, strict=True)]
        self._send_together(c, [_masked(t, order, ab, xor) for t, xor in zip(mine, xors, strict=True)])
        order = self._order(ca, tables)
        self._count_rounds(2)
        return self._reshared(self._received(self._after, tables), xors, order, own=1, stream=ab, peer=c)

    def _shuffle_b(self, tables: list[Words], xors: list[bool]) -> list[Words]:
        a, ab, bc = self._before, *self._streams
        order = self._order(ab, tables)
        mine = [_masked(t[1], order, ab, xor, minus=True) for t, xor in zip(tables, xors, strict=True)]
        self._count_rounds(1)
        order = self._order(bc, tables)
        self._send_together(a, [_masked(t, order, bc, xor) for t, xor in zip(mine, xors, strict=True)])
        self._count_rounds(2)
        fresh = [np.empty_like(table) for table in tables]
        for shares in fresh:
            ab.fill(shares[0])
            bc.fill(shares[1])
        return fresh

    def _shuffle_c(self, tables: list[Words], xors: list[bool]) -> list[Words]:
        a, bc, ca = self._after, *self._streams
        first, second = self._order(bc, tables), self._order(ca, tables)
        self._count_rounds(1)
        received = self._received(a, tables)
        mine = [_masked(t, first, bc, xor, minus=True) for t, xor in zip(received, xors, strict=True)]
        self._count_rounds(1)
        return self._reshared(mine, xors, second, own=0, stream=bc, peer=a)

    def _order(self, stream: Keystream, tables: list[Words]) -> Indices:
        rows = tables[0].shape[1]
        order = np.arange(rows)
        fisher_yates(stream.words(rows, np.dtype(np.uint64)), order)
        return order

    def _count_rounds(self, rounds: int) -> None:
        self.transport.traffic.rounds += rounds

    def _received(self, sender: int, tables: list[Words]) -> list[Words]:
        """One message that holds one component of each table, in order; to be read only."""
        total = sum(table[0].nbytes for table in tables)
        payload = self._receive(sender, total, np.dtype(np.uint8)) if total else np.empty(0, np.uint8)
        parts, done = [], 0
        for table in tables:
            part = payload[done : done + table[0].nbytes]
            aligned = np.require(part.view(table.dtype), requirements="A")
            parts.append(aligned.reshape(table.shape[1:]))
            done += part.size
        return parts

    def _reshared(
        self, mine: list[Words], xors: list[bool], order: Indices, own: int, stream: Keystream, peer: int
    ) -> list[Words]:
        """Last hop of a and c: component ``own`` is what they have in common with b, taken from the permuted part; the
        difference goes to the other, and both differences together are the share that a and c hold.
        """
        fresh = [np.empty((2, *table.shape), table.dtype) for table in mine]
        differences = [
            _masked(table, order, stream, xor, minus=True, keep=shares[own])
            for table, xor, shares in zip(mine, xors, fresh, strict=True)
        ]
        self._send_together(peer, differences)
        self._count_rounds(1)
        for shares, xor, ours, theirs in zip(
            fresh, xors, differences, self._received(peer, fresh), strict=True
        ):
            (np.bitwise_xor if xor else np.add)(ours, theirs, out=shares[1 - own])
        return fresh

    # Opening

    def verify(self) -> None:
        """Nothing is checked: the nodes are trusted to follow the protocol."""

    def reveal(self, values: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Node k gets its missing share from node k + 1. One round."""
        self._send_together(self._before, [np.ascontiguousarray(shares[1]) for shares, _ in values])
        self.transport.traffic.rounds += 1
        missing = [np.empty_like(shares[0]) for shares, _ in values]
        if any(part.size for part in missing):
            self._receive_into(self._after, missing)
        opened = []
        for (shares, xor), last in zip(values, missing, strict=True):
            combine = np.bitwise_xor if xor else np.add
            opened.append(combine(combine.reduce(shares, axis=0, dtype=shares.dtype), last))
        return opened


def _cut(length: int, *, packed: bool) -> list[slice]:
    """The thirds of the last axis for p = 0, 1, 2, cut between words of packed bits."""
    words = length if packed else -(-length // 64)
    unit = 1 if packed else 64
    cuts = [min(length, words * p // 3 * unit) for p in range(4)]
    return [slice(cuts[p], cuts[p + 1]) for p in range(3)]


def _rectangles(count: int, columns: slice, itemsize: int) -> list[Piece]:
    """``count`` rows of a range of positions, in pieces whose words stay in the second-level cache."""
    step, width = BLOCK_BYTES // itemsize, columns.stop - columns.start
    if width == 0:
        return []
    rows = max(1, step // width)
    return [
        (slice(row, min(count, row + rows)), slice(start, min(columns.stop, start + step)))
        for row in range(0, count, rows)
        for start in range(columns.start, columns.stop, step)
    ]


def _masked(
    table: Words, order: Indices, stream: Keystream, xor: bool, minus: bool = False, keep: Words | None = None
) -> Words:
    """Rows (n, w) in a new order plus a keystream, or minus it; the keystream itself is left in ``keep``."""
    out = np.empty(table.shape, table.dtype)
    rows, width = table.shape
    step = max(1, BLOCK_BYTES // max(1, width * table.itemsize))
    scratch = np.empty((min(step, rows), width), table.dtype)
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        drawn = scratch[: stop - start] if keep is None else keep[start:stop]
        stream.fill(drawn)
        added = np.negative(drawn) if minus and not xor else drawn
        (permute_xor if xor else permute_add)(operand(table[None]), order, start, added[None], out[None])
    return out
