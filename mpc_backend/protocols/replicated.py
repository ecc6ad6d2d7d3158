"""What protocols with replicated shares have in common: as many shares as nodes, each held by several of them."""

from __future__ import annotations

import numpy as np

from mpc_backend.errors import ProtocolAbort
from mpc_backend.kernels.arrays import Words, WordType
from mpc_backend.kernels.matrices import BLOCK
from mpc_backend.prg import Keystream
from mpc_backend.protocols.base import Protocol
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.sharing import layout
from mpc_backend.transport.base import Transport

BLOCK_BYTES = 1 << 17
"""Work is done in blocks whose masks and messages stay in the second-level cache."""


def inner_blocks(x: Words, y: Words) -> list[tuple[int, int]]:
    """Cuts of the last axis of (c, n, k) and (c, m, k), so that sums of shares are made and used within the cache."""
    length, lines = x.shape[2], x.shape[1] + y.shape[1]
    step = max(BLOCK, BLOCK_BYTES // max(1, lines * x.itemsize))
    return [(start, min(length, start + step)) for start in range(0, length, step)]


class Replicated(Protocol):
    """One node that holds the shares its layout names, and counts steps."""

    def __init__(self, index: int, transport: Transport, keys: JobKeys) -> None:
        super().__init__(index, transport)
        plan = layout(self.name)
        self._shares, self._held = plan.shares, plan.held[index]
        self._everyone = Keystream(keys.everyone)
        self._step = 0

    def _node(self, offset: int) -> int:
        return (self.index + offset) % self.nodes

    def component(self, share: int) -> int:
        """Where this node keeps a share."""
        return self._held.index(share)

    @property
    def public_component(self) -> int | None:
        return self.component(0) if 0 in self._held else None

    def _receive(self, sender: int, count: int, dtype: WordType) -> Words:
        """Exactly ``count`` words from a node."""
        payload = self.transport.receive(sender)
        if len(payload) != count * dtype.itemsize:
            raise ProtocolAbort(
                f"node {self.index}, step {self._step}: {len(payload)} bytes from node {sender}, "
                f"{count * dtype.itemsize} expected"
            )
        return np.frombuffer(payload, dtype)

    def _receive_into(self, sender: int, slots: list[Words]) -> Words:
        """One message that fills several arrays, in order; returns its bytes."""
        payload = self._receive(sender, sum(slot.nbytes for slot in slots), np.dtype(np.uint8))
        done = 0
        for slot in slots:
            slot[...] = np.frombuffer(payload[done : done + slot.nbytes], slot.dtype).reshape(slot.shape)
            done += slot.nbytes
        return payload

    def _send_together(self, receiver: int, arrays: list[Words]) -> None:
        """One message of several contiguous arrays, none if they are all empty; they must not change afterwards."""
        pieces = [array.reshape(-1).data.cast("B") for array in arrays if array.size]
        if pieces:
            self.transport.send(receiver, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def zeros(self, shape: tuple[int, ...], dtype: WordType, xor: bool) -> Words:
        """From the key of all nodes: a mask that is added to share i and taken from share j must be known to the holders
        of both, and those are all nodes.
        """
        self._step += 1
        self._everyone.begin(self._step)
        shares = np.empty((self._shares, *shape), dtype)
        self._everyone.fill(shares[:-1])
        if xor:
            shares[-1] = np.bitwise_xor.reduce(shares[:-1], axis=0)
        else:
            shares[-1] = np.negative(np.add.reduce(shares[:-1], axis=0, dtype=dtype))
        return shares[list(self._held)]
