"""All nodes of a job in one thread: deterministic, quick to begin again, and a process that can be copied at any message.

Each node is a greenlet that runs until it waits for a message that has not been sent. News that another node gave up come
as late as they can: only a node with nothing left to read learns of it, so that it gets as far as messages let it. Where all
nodes wait, nothing can come any more, and their deadlines pass at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import Transport

Key = tuple[int, int, int]
"""Sender, receiver, and the place among the messages of that ordered pair."""


class Hook(Protocol):
    """Sees what nodes send."""

    def sent(self, key: Key, payload: bytes, round_: int) -> bytes | None:
        """What arrives instead, None for nothing; the next message of the pair then stands in its place."""


class Link(Transport):
    """One node's end."""

    def __init__(self, nodes: Nodes, index: int) -> None:
        super().__init__(index, nodes.count)
        self._all = nodes

    def deliver(self, peer: int, payload: bytes | bytearray | memoryview) -> None:
        self._all.put(self.index, peer, bytes(payload), self.traffic.rounds)

    def receive(self, peer: int) -> bytes:
        return self._all.take(peer, self.index)

    def check(self) -> None:
        """Nothing: whoever waits hears of it."""

    def abort(self, reason: str, *, kind: AbortKind = AbortKind.FAILED) -> None:
        self._all.aborted = self._all.aborted or (f"node {self.index}", kind, reason)

    def close(self) -> None:
        """Nothing is held."""


class Nodes:
    """``count`` nodes and their links."""

    def __init__(self, count: int, hook: Hook) -> None:
        self.count, self._hook = count, hook
        self.aborted: tuple[str, AbortKind, str] | None = None
        self._queues: dict[tuple[int, int], deque[bytes]] = {
            (s, r): deque() for s in range(count) for r in range(count)
        }
        self._sent = dict.fromkeys(self._queues, 0)
        self._waits: dict[int, tuple[int, int]] = {}
        self._late = False

    def put(self, sender: int, receiver: int, payload: bytes, round_: int) -> None:
        """Send one message."""
        pair = (sender, receiver)
        index = self._sent[pair]
        self._sent[pair] = index + 1
        arriving = self._hook.sent((sender, receiver, index), payload, round_)
        if arriving is not None:
            self._queues[pair].append(arriving)

    def take(self, sender: int, receiver: int) -> bytes:
        """The next message of a pair, once there is one."""
        queue = self._queues[sender, receiver]
        while not queue:
            if self.aborted is not None:
                raise PeerAborted(*self.aborted)
            if self._late:
                raise PeerLost(f"node {receiver}: no message from node {sender}")
            self._waits[receiver] = (sender, receiver)
            getcurrent().parent.switch()
        return queue.popleft()

    def run(self, programs: Sequence[Callable[[Link], Any]]) -> list[BaseException | None]:
        """Let every node run its program to its end; how each failed."""
        errors: list[BaseException | None] = [None] * self.count

        def node(index: int) -> None:
            link = Link(self, index)
            try:
                programs[index](link)
            except Exception as error:
                errors[index] = error
                kind = error.kind if isinstance(error, ProtocolAbort) else AbortKind.FAILED
                link.abort(f"{type(error).__name__}: {error}", kind=kind)

        running = {index: greenlet(node) for index in range(self.count)}
        for index, one in running.items():
            one.switch(index)
        while running := {index: one for index, one in running.items() if not one.dead}:
            able = [index for index in running if self._queues[self._waits[index]]]
            self._late = not able and self.aborted is None
            for index in able or running:
                running[index].switch()
        return errors
