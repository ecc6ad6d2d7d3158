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
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from typing import ClassVar

import numpy as np

from mpc_backend.kernels.arrays import Indices, Words, WordType, operand
from mpc_backend.kernels.halves import and_thirds, multiply_thirds
from mpc_backend.kernels.matrices import dot_rows, matrix_product
from mpc_backend.kernels.rows import fisher_yates, permute_add, permute_xor
from mpc_backend.kernels.triples import and_pairs, mask_sums, multiply_pairs
from mpc_backend.prg import Keystream
from mpc_backend.protocols.base import NONE, Costs, HalfProducts, Halves, JointInput
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.replicated import BLOCK_BYTES, Replicated, inner_blocks
from mpc_backend.transport.base import Transport

Kernel = Callable[[int, int, Words, Words], None]
"""Called with start, stop, masks, sent."""
ThirdsKernel = Callable[[Indices, int, int, int, Words, Words, Words], None]
"""Called with the cuts between thirds, the node's number, start, stop, both masks, sent."""


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
        thirds = _thirds(x.shape[-1], xor).slices
        first, second, third = thirds[self.index], thirds[self._before], thirds[self._after]
        known = np.empty(x.shape[1:], x.dtype)
        (np.bitwise_xor if xor else np.add)(x[0][..., first], x[1][..., first], out=known[..., first])
        known[..., second] = x[1][..., second]
        known[..., third] = x[0][..., third]
        return Halves(known, first)

    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        """For the thirds of p the shares x_p, x_{p+1} of the first half are mask and message, x_{p+2} is the second half."""
        self._begin()
        results, outgoing, slots = [], [], []
        before, after = self._streams
        for entry in inputs:
            values, thirds = entry.values, _thirds(entry.values.shape[-1], entry.xor).slices
            own, back, ahead = thirds[self.index], thirds[self._before], thirds[self._after]
            first, second = shares = np.empty((2, *values.shape), values.dtype)
            mask = _drawn(before, first[..., own])
            message = (np.bitwise_xor if entry.xor else np.subtract)(values[..., own], mask)
            second[..., own], second[..., back], first[..., ahead] = (
                message,
                values[..., back],
                values[..., ahead],
            )
            _drawn(after, second[..., ahead])
            outgoing.append(message)
            slots.append(first[..., back])
            results.append(shares)
        self._send_together(self._after, outgoing)
        self.transport.traffic.rounds += 1
        if any(slot.size for slot in slots):
            self._receive_into(self._before, slots)
        return results

    def multiply_halves(self, of: HalfProducts, into: Words | None = None) -> Words:
        count = of.rows.shape[1]
        out = np.empty((2, count, of.x.shape[2]), of.x.dtype) if into is None else into
        self._half_product(out[:, :count], partial(multiply_thirds, *of.operands, out), packed=False)
        return out

    def and_halves(self, x: Words, into: Words) -> None:
        self._half_product(into, partial(and_thirds, operand(x), into[0], into[1]), packed=True)

    def _half_product(self, out: Words, kernel: ThirdsKernel, *, packed: bool) -> None:
        """Run a kernel over all positions of ``out`` (2, rows, w); component 1 comes from the next node but for the third
        that this node and the next one have in common.
        """
        self._begin()
        rows, width = out[0].shape
        if rows * width == 0:
            return
        thirds = _thirds(width, packed)
        sent = self._kernel_by_thirds(kernel, rows * width, thirds, out.dtype)
        if sent.size:
            self.transport.send(self._before, sent.data.cast("B"))
        self.transport.traffic.rounds += 1
        first, last = thirds.cuts[self._after], thirds.cuts[self._after + 1]
        due = width - (last - first)
        if due:
            received = self._receive(self._after, rows * due, out.dtype).reshape(rows, due)
            out[1][:, :first] = received[:, :first]
            out[1][:, last:] = received[:, first:]

    def _kernel_by_thirds(self, kernel: ThirdsKernel, n: int, thirds: _Thirds, dtype: WordType) -> Words:
        """Run a kernel over n positions of rows; returns what is to be sent, of all thirds but this node's."""
        masks, step = self._scratch.view(dtype), BLOCK_BYTES // dtype.itemsize
        before, after = self._streams
        sent = np.empty(n - thirds.among(n)[self.index], dtype)
        mine, common = 0, 0
        for start in range(0, n, step):
            stop = min(n, start + step)
            reached = thirds.among(stop)
            # the node before draws nothing of its own thirds, this node nothing of its own
            first, second = (
                stop - start - (reached[self._before] - common),
                stop - start - (reached[self.index] - mine),
            )
            earlier, later = masks[0, :first], masks[1, :second]
            before.fill(earlier)
            after.fill(later)
            kernel(thirds.array, self.index, start, stop, earlier, later, sent[start - mine :])
            common, mine = reached[self._before], reached[self.index]
        return sent

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


@dataclass(frozen=True)
class _Thirds:
    """The thirds of a last axis: ``cuts``[p] to ``cuts``[p + 1] is that of p."""

    cuts: tuple[int, int, int, int]
    array: Indices

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The positions of each p."""
        return tuple(slice(*ends) for ends in pairwise(self.cuts))

    def among(self, stop: int) -> tuple[int, int, int]:
        """How many positions of each p are among the first ``stop`` ones of rows one after the other."""
        rows, rest = divmod(stop, self.cuts[3])
        _, first, second, width = self.cuts
        return (
            rows * first + min(rest, first),
            rows * (second - first) + min(max(0, rest - first), second - first),
            rows * (width - second) + max(0, rest - second),
        )


@lru_cache(maxsize=256)
def _thirds(length: int, packed: bool) -> _Thirds:
    """The thirds of the last axis for p = 0, 1, 2, cut between words of packed bits."""
    words, unit = (length, 1) if packed else (-(-length // 64), 64)
    cuts = (0, words // 3 * unit, words * 2 // 3 * unit, length)
    return _Thirds(cuts, operand(np.array(cuts, np.int64)))


def _drawn(stream: Keystream, out: Words) -> Words:
    """Overwrite an array with the next words of a keystream; returns it."""
    if out.flags.c_contiguous:
        stream.fill(out)
    else:
        out[...] = stream.words(out.shape, out.dtype)
    return out


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
