"""All nodes in one process: queues instead of connections.

Messages carry a sequence number, so that a dropped one is noticed when the next arrives. When every node that still runs
waits for a message and none is under way, none can come any more; the wait then ends as if its deadline had passed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import Transport
from mpc_backend.transport.shape import LinkShape, Uplink, wait_until

Payload = bytes | bytearray | memoryview
Tamper = Callable[[int, int, int, bytes], bytes | None]
"""f(sender, receiver, index, payload) -> what arrives, or None to drop; index counts messages of that ordered pair."""


class MemoryNetwork:
    """The links of one job among ``nodes`` nodes in this process."""

    def __init__(self, nodes: int, deadline: float = 60.0, tamper: Tamper | None = None,
                 counts: dict[tuple[int, int], int] | None = None,
                 shape: LinkShape | None = None) -> None:  # fmt: skip
        self.nodes, self.deadline, self.tamper = nodes, deadline, tamper
        self._changed = threading.Condition()
        pairs = [(s, r) for s in range(nodes) for r in range(nodes)]
        self._queues: dict[tuple[int, int], deque[tuple[int, Payload, float]]] = {
            pair: deque() for pair in pairs
        }
        self._uplinks = [Uplink(shape) for _ in range(nodes)]
        self._sent = dict.fromkeys(pairs, 0)
        self._received = dict.fromkeys(pairs, 0)
        self._counts = counts if counts is not None else {}
        self._waiting: set[tuple[int, int]] = set()
        self._running = nodes
        self._aborted: tuple[str, AbortKind, str] | None = None
        self._dead = False

    def transport(self, index: int) -> MemoryTransport:
        """The end that node ``index`` holds."""
        return MemoryTransport(self, index)

    def put(self, sender: int, receiver: int, payload: Payload) -> None:
        """Queue one message, after the tampering hook saw it."""
        pair = (sender, receiver)
        arriving: Payload | None = payload
        if self.tamper is not None:
            index = self._counts.get(pair, 0)
            self._counts[pair] = index + 1
            arriving = self.tamper(sender, receiver, index, bytes(payload))
        arrival = self._uplinks[sender].arrival(len(payload))
        with self._changed:
            sequence = self._sent[pair]
            self._sent[pair] = sequence + 1
            if arriving is not None:
                self._queues[pair].append((sequence, arriving, arrival))
                self._changed.notify_all()

    def take(self, sender: int, receiver: int) -> Payload:
        """Wait for the next message of an ordered pair."""
        pair = (sender, receiver)
        with self._changed:
            self._waiting.add(pair)
            try:
                self._changed.notify_all()
                arrived = self._changed.wait_for(
                    lambda: bool(self._queues[pair]) or self._aborted is not None or self._stuck(),
                    self.deadline,
                )
            finally:
                self._waiting.discard(pair)
            if self._aborted is not None:
                raise PeerAborted(*self._aborted)
            if not arrived or not self._queues[pair]:
                raise PeerLost(f"node {receiver}: no message from node {sender} within {self.deadline:g} s")
            sequence, payload, arrival = self._queues[pair].popleft()
            expected = self._received[pair]
            self._received[pair] = expected + 1
        if sequence != expected:
            raise ProtocolAbort(
                f"node {receiver}: message {sequence} from node {sender} where {expected} was due"
            )
        wait_until(arrival)
        return payload

    def _stuck(self) -> bool:
        """Whether all running nodes wait and nothing is under way; then none of them can ever go on."""
        if len(self._waiting) == self._running and not any(self._queues[pair] for pair in self._waiting):
            self._dead = True
        return self._dead

    def check(self) -> None:
        """Raise PeerAborted if some node ended the job."""
        with self._changed:
            if self._aborted is not None:
                raise PeerAborted(*self._aborted)

    def finish(self) -> None:
        """One node ended; the others may now be stuck."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def abort(self, index: int, kind: AbortKind, reason: str) -> None:
        """End every wait; the first reason is kept."""
        with self._changed:
            if self._aborted is None:
                self._aborted = (f"node {index}", kind, reason)
            self._changed.notify_all()


class MemoryTransport(Transport):
    """One node's end of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, index: int) -> None:
        super().__init__(index, network.nodes)
        self._network = network

    def deliver(self, peer: int, payload: Payload) -> None:
        self._network.put(self.index, peer, payload)

    def receive(self, peer: int) -> Payload:
        return self._network.take(peer, self.index)

    def check(self) -> None:
        self._network.check()

    def abort(self, reason: str, *, kind: AbortKind = AbortKind.FAILED) -> None:
        self._network.abort(self.index, kind, reason)

    def close(self) -> None:
        self._network.finish()
