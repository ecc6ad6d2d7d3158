"""All nodes in one process: queues instead of connections.

Messages have the headers that frames of a connection have, and what is refused there is refused here. When every node that
still runs waits for a message and none is under way, none can come any more; the wait then ends as if its deadline had
passed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import QUEUED_BYTES, Transport
from mpc_backend.transport.errors import FrameError
from mpc_backend.transport.frames import MAX_PAYLOAD, FrameHeader, FrameKind
from mpc_backend.transport.shape import LinkShape, Uplink

Payload = bytes | bytearray | memoryview
Tamper = Callable[[int, int, int, bytes], bytes | None]
"""f(sender, receiver, index, payload) -> what arrives, or None to drop; index counts messages of that ordered pair."""


class Frame(NamedTuple):
    """One message under way; ``due``: the moment (`time.monotonic`) from which it can be taken."""

    header: FrameHeader
    payload: Payload
    due: float


class MemoryNetwork:
    """The links of one job among ``nodes`` nodes in this process; the other arguments are those of `TlsTransport`."""

    def __init__(self, nodes: int, deadline: float = 60.0, tamper: Tamper | None = None,
                 counts: dict[tuple[int, int], int] | None = None,
                 shape: LinkShape | None = None, *, epoch: int = 0, queued_bytes: int = QUEUED_BYTES) -> None:  # fmt: skip
        self.nodes, self.deadline, self.tamper, self.epoch = nodes, deadline, tamper, epoch
        self._queued_bytes = queued_bytes
        self._changed = threading.Condition()
        pairs = [(s, r) for s in range(nodes) for r in range(nodes)]
        self._queues: dict[tuple[int, int], deque[Frame]] = {pair: deque() for pair in pairs}
        self._queued = dict.fromkeys(pairs, 0)
        self._uplinks = [Uplink(shape) for _ in range(nodes)]
        self._sent = dict.fromkeys(pairs, 0)
        self._received = dict.fromkeys(pairs, 0)
        self._counts = counts if counts is not None else {}
        self._waiting: set[tuple[int, int]] = set()
        self._closed: set[int] = set()
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
            self._raise_abort()
            self._require_taken(pair)
            sequence = self._sent[pair]
            self._sent[pair] = sequence + 1
            if arriving is not None:
                kind, size = FrameKind.DATA, len(arriving)
                header = FrameHeader(kind, sender, receiver, self.epoch, sequence, size)
                self.queue(pair, Frame(header, arriving, max(arrival, time.monotonic())))

    def queue(self, pair: tuple[int, int], frame: Frame) -> None:
        """Put one frame on the link from the first to the second of a pair, whatever it says."""
        with self._changed:
            self._queues[pair].append(frame)
            self._queued[pair] += len(frame.payload)
            self._changed.notify_all()

    def _require_taken(self, pair: tuple[int, int]) -> None:
        behind = self._queued[pair] > self._queued_bytes
        if behind and time.monotonic() - self._queues[pair][0].due > self.deadline:
            raise PeerLost(f"node {pair[1]} did not take a message within {self.deadline:g} s")

    def take(self, sender: int, receiver: int) -> Payload:
        """Wait for the next message of an ordered pair."""
        pair = (sender, receiver)
        with self._changed:
            self._waiting.add(pair)
            try:
                self._changed.notify_all()
                self._await(pair, time.monotonic() + self.deadline)
            finally:
                self._waiting.discard(pair)
            header, payload, _ = self._queues[pair].popleft()
            self._queued[pair] -= len(payload)
            expected = self._received[pair]
            self._received[pair] = expected + 1
        try:
            header.require_place(sender, receiver, self.epoch, expected)
            if header.length != len(payload) or header.length > MAX_PAYLOAD:
                raise FrameError(
                    f"a frame of {len(payload)} bytes announces {header.length}; the cap is {MAX_PAYLOAD}"
                )
        except FrameError as error:
            raise ProtocolAbort(f"node {sender}: {error}") from error
        return payload

    def _await(self, pair: tuple[int, int], until: float) -> None:
        """Wait until a message of this pair can be taken; the caller holds the lock."""
        queue, (sender, receiver) = self._queues[pair], pair
        while True:
            self._raise_abort()
            now = time.monotonic()
            if queue and queue[0].due <= now:
                return
            if not queue and sender in self._closed:
                raise PeerLost(f"node {sender} ended the job while a message was awaited")
            if now >= until or (not queue and self._stuck()):
                raise PeerLost(f"node {receiver}: no message from node {sender} within {self.deadline:g} s")
            self._changed.wait(min(until, queue[0].due if queue else until) - now)

    def _stuck(self) -> bool:
        """Whether all running nodes wait and nothing is under way; then none of them can ever go on."""
        running = self.nodes - len(self._closed)
        if len(self._waiting) == running and not any(self._queues[pair] for pair in self._waiting):
            self._dead = True
        return self._dead

    def _raise_abort(self) -> None:
        if self._aborted is not None:
            raise PeerAborted(*self._aborted)

    def check(self) -> None:
        """Raise PeerAborted if some node ended the job."""
        with self._changed:
            self._raise_abort()

    def close(self, index: int) -> None:
        """One node ended; others may now wait in vain."""
        with self._changed:
            self._closed.add(index)
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
        with self._failing():
            self._network.put(self.index, peer, payload)

    def receive(self, peer: int) -> Payload:
        with self._failing():
            return self._network.take(peer, self.index)

    def check(self) -> None:
        with self._failing():
            self._network.check()

    def abort(self, reason: str, *, kind: AbortKind = AbortKind.FAILED) -> None:
        self._network.abort(self.index, kind, reason)

    def close(self) -> None:
        self._network.close(self.index)
