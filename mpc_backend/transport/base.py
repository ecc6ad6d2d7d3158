"""What a protocol needs from the network: ordered, private, authenticated byte messages between the nodes of one job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mpc_backend.errors import AbortKind, ProtocolAbort
from mpc_backend.transport.errors import FrameError
from mpc_backend.transport.frames import MAX_PAYLOAD

QUEUED_BYTES = 256 * 1024 * 1024
"""How far a node may be behind what another sends it before it has to take something within the deadline."""


@dataclass
class Traffic:
    """What one node has sent in one job: payload bytes and messages, and rounds in which it waited for others."""

    bytes_sent: int = 0
    messages: int = 0
    rounds: int = 0
    trace: list[tuple[int, int, int]] | None = field(default=None)
    """When a list: (round, receiver, length) of every message, for tests that it does not depend on data."""

    def count(self, receiver: int, length: int) -> None:
        """Record one message."""
        self.bytes_sent += length
        self.messages += 1
        if self.trace is not None:
            self.trace.append((self.rounds, receiver, length))

    def add_beside(self, parts: Sequence[Traffic]) -> None:
        """Add what was sent on other channels at one time: their rounds count once, those of the longest."""
        for part in parts:
            self.bytes_sent += part.bytes_sent
            self.messages += part.messages
            if self.trace is not None:
                self.trace += [(self.rounds + at, to, length) for at, to, length in part.trace or ()]
        self.rounds += max(part.rounds for part in parts)


class Transport(ABC):
    """One node's end of one job.

    Implementations deliver messages of an ordered pair of nodes in order, exactly once, and detect a missing, repeated or
    reordered one (by a sequence number under authentication). They are used by one thread. Whatever has failed for it once
    fails ever after: nothing is sent or handed out any more.
    """

    def __init__(self, index: int, nodes: int) -> None:
        self.index, self.nodes = index, nodes
        self.traffic = Traffic()
        self._told: ProtocolAbort | None = None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Around all that the thread which uses this end does."""
        if self._told is not None:
            raise self._told
        try:
            yield
        except ProtocolAbort as error:
            self._told = error
            raise

    @property
    def peers(self) -> tuple[int, ...]:
        """The other nodes."""
        return tuple(peer for peer in range(self.nodes) if peer != self.index)

    def send(self, peer: int, payload: bytes | bytearray | memoryview) -> None:
        """Queue one message and return at once: never waits for the receiver to receive.

        The payload must not be changed afterwards.

        Raises:
            FrameError: no frame may be as long as this.
            ProtocolAbort: the job has already failed; or the peer is far behind and took nothing within the deadline.
        """
        if len(payload) > MAX_PAYLOAD:
            raise FrameError(
                f"a message of {len(payload)} bytes to node {peer}, the longest has {MAX_PAYLOAD}: "
                "work on fewer rows at a time"
            )
        self.traffic.count(peer, len(payload))
        self.deliver(peer, payload)

    @abstractmethod
    def deliver(self, peer: int, payload: bytes | bytearray | memoryview) -> None:
        """Queue one message (called by `send`)."""

    @abstractmethod
    def receive(self, peer: int) -> bytes | bytearray | memoryview:
        """The next message from a peer.

        Raises:
            PeerLost: nothing came within the deadline, or the connection is gone.
            PeerAborted: another node ended the job.
            ProtocolAbort: the message is out of its place, or no message of ours.
        """

    @abstractmethod
    def check(self) -> None:
        """Return at once if the job goes on.

        Raises:
            ProtocolAbort: it has failed here, or another node ended it.
        """

    @abstractmethod
    def abort(self, reason: str, *, kind: AbortKind = AbortKind.FAILED) -> None:
        """Tell every other node that this job is over; their pending and later `receive` raise PeerAborted."""

    @abstractmethod
    def close(self) -> None:
        """Leave the job after it ended in order."""
