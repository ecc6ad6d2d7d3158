"""Four nodes, one of which may be malicious: any deviation is caught before anything is opened.

Dalskov, Escudero, Keller, "Fantastic Four", USENIX Security 2021 (ePrint 2020/1330). x = x_0 + x_1 + x_2 + x_3 mod 2^r (or
XOR); node k holds the three x_j with j != k, as components a, b, c = x_{k+1}, x_{k+2}, x_{k+3} (indices mod 4).

A product needs, for each pair {i, j} of shares, the value v both nodes that hold x_i and x_j can compute. Everybody but j
draws r and adds it to share j; m = v - r is sent to j and added to share i. One of the two sends m, the other is its
verifier (see `mpc_backend.protocols.authenticate`). Adjacent pairs use v = (x_i + x_j)(y_i + y_j), opposite pairs
v = -(x_i - x_j)(y_i - y_j): each square then counts 2 - 1 = 1 times, and a node computes three products instead of nine.

Roles are a rotation of each other. Node k: for the adjacent pair {k+1, k+2} verifies towards k+1; for {k+2, k+3} sends to
k+2; receives the message of {k, k+1} from k+2. Opposite pairs have one receiver each, so their roles rotate by two after
half of the positions: in the first half nodes play 0, 1, 2, 3, in the second 2, 3, 0, 1. Role 1 sends to 0, role 2 to 1;
role 3 verifies 0, role 0 verifies 1. So every node sends 1.5 words a product: 12 bytes at 64 bits.

Products of halves need less. With h0 = x_0 + x_1 (known to nodes 2, 3) and h1 = x_2 + x_3 (known to 0, 1), h0 h1 has no
terms of the pairs {0, 1} and {2, 3}. On the cycle of shares 0, 2, 1, 3 the four pairs that are left are all adjacent, with
v = x_i y_j + x_j y_i, and the roles of adjacent pairs above serve all nodes alike: 1 word a product.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from mpc_backend.errors import ProtocolAbort
from mpc_backend.kernels.arrays import Indices, Words, WordType, operand
from mpc_backend.kernels.halves import and_cycle, multiply_cycle
from mpc_backend.kernels.matrices import across, dot_rows, lines_across, matrix_product
from mpc_backend.kernels.products import and_block, mask_block, multiply_block, pair_sums
from mpc_backend.kernels.rows import fisher_yates, permute_add, permute_xor
from mpc_backend.prg import Keystream
from mpc_backend.protocols.authenticate import OPENING, Authenticator, Mac
from mpc_backend.protocols.base import NONE, Costs, HalfProducts, Halves, JointInput
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.replicated import BLOCK_BYTES, Replicated, inner_blocks
from mpc_backend.transport.base import Transport


@dataclass(frozen=True)
class _Role:
    """What a node does for opposite pairs (see module docstring)."""

    forward: bool
    sends: bool
    receives: bool

    @property
    def covers(self) -> bool:
        """Whether the node holds the mask of the pair it is no part of; else it is that pair's receiver."""
        return not self.receives


_ROLES = (
    _Role(forward=True, sends=False, receives=True),
    _Role(forward=False, sends=True, receives=True),
    _Role(forward=False, sends=True, receives=False),
    _Role(forward=True, sends=False, receives=False),
)
_CYCLE = (0, 2, 1, 3)
"""Shares and nodes in the order in which every pair of neighbours has a share of either half."""
Kernel = Callable[[int, int, Words, bool, bool, Words, Words, Words], None]
"""Called with start, stop, masks, forward, covers, checked, sent, opposite."""
HalfKernel = Callable[[Indices, int, int, Words, Words, Words], None]
"""Called with components, start, stop, masks, checked, sent."""


@dataclass(frozen=True)
class _Block:
    """Positions [start, stop) on one side of the middle."""

    start: int
    stop: int
    role: _Role


class Rep4(Replicated):
    """One node of four."""

    name: ClassVar[str] = "rep4"
    nodes: ClassVar[int] = 4
    components: ClassVar[int] = 3
    costs: ClassVar[Costs] = Costs(
        product=6 / 4, half_product=4 / 4, joint_input=2 / 4, shuffle=12 / 4, shuffle_rounds=4
    )

    def __init__(self, index: int, transport: Transport, keys: JobKeys) -> None:
        super().__init__(index, transport, keys)
        self._but = {j: Keystream(keys.everyone_but[j]) for j in range(4) if j != index}
        self._checks = Authenticator(transport, keys)
        self._open_tags = {r: Mac(keys.mac[(index, r)], OPENING) for r in transport.peers}
        self._open_checks = {v: Mac(keys.mac[(v, index)], OPENING) for v in transport.peers}
        self._scratch = np.empty((8, BLOCK_BYTES), np.uint8)
        self._around = [_CYCLE[(_CYCLE.index(index) + offset) % 4] for offset in range(4)]
        self._cycle = np.array([self.component(share) for share in self._around[1:]], np.int64)
        self._unchecked = False

    def _begin(self) -> None:
        """Enter the next step, in which messages will need checking."""
        self._step += 1
        self._unchecked = True
        for stream in self._but.values():
            stream.begin(self._step)

    # Products

    def multiply_rows(self, x: Words, y: Words, rows: Indices) -> Words:
        out = np.empty((3, rows.shape[1], x.shape[2]), x.dtype)
        a, b = operand(x), operand(y)
        self._product(
            out.reshape(3, -1),
            np.add,
            lambda start, stop, *rest: multiply_block(a, b, rows, out, start, stop, *rest),
        )
        return out

    def matmul(self, x: Words, y: Words) -> Words:
        a, b = x, y.transpose(0, 2, 1)
        terms = np.zeros((3, a.shape[1], b.shape[1]), a.dtype)
        for start, stop in inner_blocks(a, b):
            left, right = (_pair_sums(part, start, stop) for part in (a, b))
            np.negative(right[2], out=right[2])
            for operands in zip(left, right, terms, strict=True):
                matrix_product(*operands)
        return self._masked(terms)

    def dot(self, x: Words, y: Words) -> Words:
        shape, length = x.shape[1:-1], x.shape[-1]
        a, b = x.reshape(3, -1, length), y.reshape(3, -1, length)
        terms = np.empty((3, a.shape[1]), x.dtype)
        dot_rows(operand(a[0] + a[1]), operand(b[0] + b[1]), terms[0])
        dot_rows(operand(a[1] + a[2]), operand(b[1] + b[2]), terms[1])
        dot_rows(operand(a[2] - a[0]), operand(b[0] - b[2]), terms[2])
        return self._masked(terms).reshape(3, *shape)

    def _masked(self, terms: Words) -> Words:
        """Local sums of products (3, ...) become shares."""
        v = operand(terms.reshape(3, -1))
        out = np.empty(v.shape, v.dtype)
        self._product(out, np.add, lambda start, stop, *rest: mask_block(v, out, start, stop, *rest))
        return out.reshape(terms.shape)

    def and_rows(
        self, x: Words, y: Words, z: Words, rows: Indices, keep: Indices = NONE, into: Words | None = None
    ) -> Words:
        count, width = rows.shape[1], x.shape[2]
        out = np.empty((3, count + keep.size, width), np.uint64) if into is None else into
        fresh = out[:, :count]
        a, b, c = operand(x), operand(y), operand(z)
        flat = [component.reshape(-1) for component in fresh]
        self._product(
            flat,
            np.bitwise_xor,
            lambda start, stop, *rest: and_block(a, b, c, rows, out, start, stop, *rest),
        )
        if into is None:
            out[:, count:] = z[:, keep]
        return out

    def _product(self, out: Words | list[Words], merge: np.ufunc, kernel: Kernel) -> None:
        """Run a kernel over all positions of ``out`` (three flat components), send, receive and merge."""
        self._begin()
        n, dtype = out[0].size, out[0].dtype
        if n == 0:
            return
        blocks = self._blocks(n, dtype.itemsize)
        sent = np.empty(n, dtype)
        opposite = np.empty(sum(b.stop - b.start for b in blocks if b.role.sends), dtype)
        done = 0
        for block in blocks:
            size = block.stop - block.start
            target = opposite[done : done + size] if block.role.sends else None
            self._local_block(block, dtype, kernel, sent[block.start : block.stop], target)
            done += size if block.role.sends else 0
        self.transport.send(self._node(2), sent.data.cast("B"))
        if opposite.size:
            self.transport.send(self._node(3), opposite.data.cast("B"))
        self.transport.traffic.rounds += 1
        self._merge(out, merge, blocks)

    def _blocks(self, n: int, itemsize: int) -> list[_Block]:
        step, middle = BLOCK_BYTES // itemsize, n // 2
        blocks = []
        for first, last, turn in ((0, middle, 0), (middle, n, 2)):
            role = _ROLES[self._node(turn)]
            blocks += [_Block(s, min(last, s + step), role) for s in range(first, last, step)]
        return blocks

    def _local_block(
        self, block: _Block, dtype: WordType, kernel: Kernel, sent: Words, opposite: Words | None
    ) -> None:
        size, role = block.stop - block.start, block.role
        scratch = self._scratch.view(dtype)
        masks = scratch[:5].reshape(-1)[: 5 * size].reshape(5, size)
        checked = scratch[5, :size]
        for row in range(3):
            self._but[self._node(row + 1)].fill(masks[row])
        self._but[self._node(1 if role.forward else 3)].fill(masks[3])
        if role.covers:
            self._but[self._node(2)].fill(masks[4])
        third = scratch[6, :size] if opposite is None else opposite
        kernel(block.start, block.stop, masks, role.forward, role.covers, checked, sent, third)
        self._checks.expected(self._node(1), checked)
        if not role.sends:
            self._checks.expected(self._node(1), third)

    def _merge(self, out: Words | list[Words], merge: np.ufunc, blocks: list[_Block]) -> None:
        """Add what other nodes sent: the adjacent pair's message to component 0, the opposite pair's to 1."""
        n, dtype = out[0].size, out[0].dtype
        adjacent = self._receive(self._node(2), n, dtype)
        due = sum(block.stop - block.start for block in blocks if block.role.receives)
        opposite = self._receive(self._node(1), due, dtype) if due else adjacent[:0]
        done = 0
        for block in blocks:
            place = slice(block.start, block.stop)
            piece = adjacent[place]
            self._checks.received(self._node(3), piece)
            merge(out[0][place], piece, out=out[0][place])
            if block.role.receives:
                piece = opposite[done : done + block.stop - block.start]
                self._checks.received(self._node(3), piece)
                merge(out[1][place], piece, out=out[1][place])
                done += piece.size

    # Joint input: x_0 + x_1 is known to nodes 2 and 3, x_2 + x_3 to nodes 0 and 1

    def halves(self, x: Words, xor: bool) -> Halves:
        first = 0 if self.index >= 2 else 2
        a, b = x[self.component(first)], x[self.component(first + 1)]
        return Halves(a ^ b if xor else a + b, slice(None) if self.index >= 2 else slice(0))

    def joint_input(self, inputs: Sequence[JointInput]) -> list[Words]:
        """The positions of a half known to {g, h} go to its two other nodes, one part each: 1/2 word sent per node.

        A known half is two shares, so that both halves together are one sharing. Node k sends to k XOR 2 and verifies towards
        k XOR 3 the positions of the other part.
        """
        self._begin()
        outgoing: list[Words] = []
        results = [self._enter(entry, outgoing) for entry in inputs]
        self._send_together(self.index ^ 2, outgoing)
        self.transport.traffic.rounds += 1
        self._take_parts(results)
        return [shares.reshape(3, *entry.values.shape) for shares, entry in zip(results, inputs, strict=True)]

    def _part(self, n: int, part: int) -> slice:
        return slice(0, n // 2) if part == 0 else slice(n // 2, n)

    def _enter(self, entry: JointInput, outgoing: list[Words]) -> Words:
        """Shares of the half this node knows and, of the other one, what comes without a message; messages to send are
        appended to ``outgoing``.
        """
        values = np.ascontiguousarray(entry.values).reshape(-1)
        shares = np.empty((3, values.size), values.dtype)
        outside = (0, 1) if self.index >= 2 else (2, 3)
        for part, receiver in enumerate(outside):
            place = self._part(values.size, part)
            mask = shares[self.component(receiver), place]
            message = shares[self.component(outside[1 - part]), place]
            self._but[receiver].fill(mask)
            (np.bitwise_xor if entry.xor else np.subtract)(values[place], mask, out=message)
            if self.index % 2 == part:
                outgoing.append(message.copy())
            elif message.size:
                self._checks.expected(self.index ^ 3, message)
        missing = self._part(values.size, 1 - self.index % 2)
        self._but[self.index ^ 1].fill(shares[self.component(self.index ^ 1), missing])
        return shares

    def _take_parts(self, results: list[Words]) -> None:
        """Receive this node's parts of the half it does not know."""
        part = self.index % 2
        slots = [
            shares[self.component(self.index ^ 1), self._part(shares.shape[1], part)] for shares in results
        ]
        if any(slot.size for slot in slots):
            self._checks.received(self.index ^ 3, self._receive_into(self.index ^ 2, slots))

    def multiply_halves(self, of: HalfProducts, into: Words | None = None) -> Words:
        count = of.rows.shape[1]
        out = np.empty((3, count, of.x.shape[2]), of.x.dtype) if into is None else into
        flat = [component[:count].reshape(-1) for component in out]
        self._half_product(flat, np.add, partial(multiply_cycle, *of.operands, out))
        return out

    def and_halves(self, x: Words, into: Words) -> None:
        a = operand(x).reshape(3, -1)
        out = [component.reshape(-1) for component in into]
        self._half_product(out, np.bitwise_xor, partial(and_cycle, a, *(out[c] for c in self._cycle)))

    def _half_product(self, out: list[Words], merge: np.ufunc, kernel: HalfKernel) -> None:
        """Run a kernel over all positions of ``out`` (three flat components), send, receive and merge.

        In the order of the cycle this node draws the masks of the next three shares, verifies what comes to the next node
        and sends to the one after it, which sends to this node.
        """
        self._begin()
        n, dtype = out[0].size, out[0].dtype
        if n == 0:
            return
        _, first, second, third = self._around
        sent, scratch, step = np.empty(n, dtype), self._scratch.view(dtype), BLOCK_BYTES // dtype.itemsize
        for start in range(0, n, step):
            size = min(n, start + step) - start
            masks, checked = scratch[:3].reshape(-1)[: 3 * size].reshape(3, size), scratch[3, :size]
            for row, share in zip(masks, (first, second, third), strict=True):
                self._but[share].fill(row)
            kernel(self._cycle, start, start + size, masks, checked, sent[start : start + size])
            self._checks.expected(first, checked)
        self.transport.send(second, sent.data.cast("B"))
        self.transport.traffic.rounds += 1
        received, mine = self._receive(second, n, dtype), out[int(self._cycle[0])]
        for start in range(0, n, step):
            piece = received[start : start + step]
            self._checks.received(third, piece)
            merge(mine[start : start + step], piece, out=mine[start : start + step])

    # Shuffle

    def shuffle(self, tables: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Four hops; in each, three nodes permute by an order the fourth does not know and deal it fresh shares.

        Laur, Willemson, Zhang, ISC 2011; in groups of three as ORQ (SOSP 2025). 24 bytes per 64-bit word and node.
        """
        current = [np.ascontiguousarray(table) for table, _ in tables]
        domains = [xor for _, xor in tables]
        del tables  # perhaps no one else's
        for outsider in range(4):
            current = self._hop(current, domains, outsider)
        return current

    def _hop(self, tables: list[Words], domains: list[bool], outsider: int) -> list[Words]:
        self._begin()
        self.transport.traffic.rounds += 1
        if self.index == outsider:
            return self._dealt(tables)
        rows = tables[0].shape[1]
        order = np.arange(rows)
        fisher_yates(self._but[outsider].words(rows, np.dtype(np.uint64)), order)
        fresh = [self._permuted(t, xor, order, outsider) for t, xor in zip(tables, domains, strict=True)]
        sends, verifies = self._hop_roles(outsider)
        self._send_together(outsider, [table[self.component(sends)] for table in fresh])
        for table in fresh:
            if table.size:
                self._checks.expected(outsider, table[self.component(verifies)])
        return fresh

    def _hop_roles(self, outsider: int) -> tuple[int, int]:
        """The share this node sends to the outsider, and the one it verifies."""
        place = (self.index - outsider) % 4
        sends, verifies = {1: (3, 2), 2: (1, 3), 3: (2, 1)}[place]
        return (outsider + sends) % 4, (outsider + verifies) % 4

    def _permuted(self, table: Words, xor: bool, order: Indices, outsider: int) -> Words:
        """Permute the rows of three shares and add fresh shares of zero, which all but the outsider know."""
        out = np.empty_like(table)
        _, rows, width = table.shape
        step = max(1, BLOCK_BYTES // max(1, width * table.itemsize))
        for start in range(0, rows, step):
            if start == 0 or rows - start < step:
                scratch = np.empty((4, min(step, rows - start), width), table.dtype)
            masks = self._zero_rows(scratch, xor, outsider)
            (permute_xor if xor else permute_add)(operand(table), order, start, masks, out)
        return out

    def _zero_rows(self, scratch: Words, xor: bool, outsider: int) -> Words:
        """This node's components (3, r, w) of fresh shares of zero, in scratch (4, r, w), the last of which is for the
        share that it does not hold.
        """
        balance = scratch[self.component(outsider)]
        balance[...] = 0
        for share in range(4):
            if share != outsider:
                mask = scratch[3 if share == self.index else self.component(share)]
                self._but[outsider].fill(mask)
                (np.bitwise_xor if xor else np.subtract)(balance, mask, out=balance)
        return scratch[:3]

    def _dealt(self, tables: list[Words]) -> list[Words]:
        """The outsider's new shares: share e + d from node e + d + 1, verified by the third."""
        fresh = [np.empty_like(table) for table in tables]
        total = sum(table[0].nbytes for table in tables)
        for sender, share, verifier in ((1, 3, 2), (2, 1, 3), (3, 2, 1)):
            if not total:
                break
            slots = [table[self.component(self._node(share))] for table in fresh]
            self._checks.received(self._node(verifier), self._receive_into(self._node(sender), slots))
        return fresh

    # Opening and export

    def verify(self) -> None:
        if self._unchecked:
            self._step += 1
            self._checks.barrier(self._step)
            self._unchecked = False

    def reveal(self, values: Sequence[tuple[Words, bool]]) -> list[Words]:
        """Node k gets its missing share x_k from k + 1 and a tag of it from k + 2. One round."""
        missing = self._exchange_missing([shares for shares, _ in values])
        opened = []
        for (shares, xor), last in zip(values, missing, strict=True):
            combine = np.bitwise_xor if xor else np.add
            opened.append(combine(combine.reduce(shares, axis=0, dtype=shares.dtype), last))
        return opened

    def _exchange_missing(self, values: list[Words]) -> list[Words]:
        if self._unchecked:
            raise ProtocolAbort("values are opened only after the verification barrier")
        for component, receiver in ((2, self._node(3)), (1, self._node(2))):
            message = b"".join(np.ascontiguousarray(shares[component]).tobytes() for shares in values)
            if component == 2:
                self.transport.send(receiver, message)
            else:
                self._open_tags[receiver].update(np.frombuffer(message, np.uint8))
                self.transport.send(receiver, self._open_tags[receiver].tag())
        self.transport.traffic.rounds += 1
        total = sum(shares[0].nbytes for shares in values)
        payload = self._receive(self._node(1), total, np.dtype(np.uint8))
        check = self._open_checks[self._node(2)]
        check.update(payload)
        tag = bytes(self.transport.receive(self._node(2)))
        if not hmac.compare_digest(tag, check.tag()):
            raise ProtocolAbort(
                f"node {self.index}: nodes {self._node(1)} and {self._node(2)} open different shares"
            )
        pieces, done = [], 0
        for shares in values:
            size = shares[0].nbytes
            pieces.append(np.frombuffer(payload[done : done + size], shares.dtype).reshape(shares[0].shape))
            done += size
        return pieces


def _pair_sums(x: Words, start: int, stop: int) -> Words:
    """What a matrix product needs of positions [start, stop) of an operand (3, n, k): `pair_sums` (3, n, stop - start)."""
    lines = np.empty((3, x.shape[1], stop - start), x.dtype)
    if not lines_across(x[0]):
        first, second, third = (operand(component) for component in x)
        pair_sums(first, second, third, start, lines)
        return lines
    first, second, third = (operand(component[:, start:stop].T) for component in x)
    sums = np.empty((3, *first.shape), x.dtype)
    pair_sums(first, second, third, 0, sums)
    for component, line in zip(sums, lines, strict=True):
        across(operand(component), line)
    return lines
