"""Links between nodes over mutually authenticated TLS 1.3, as one `Transport` per job.

Every ordered pair of nodes has a connection of its own: the node that dials only writes, the node that
accepts only reads. So each TLS state is used by one thread, sends never wait for receives, and a large
message in one direction does not delay the other. A receive has a deadline; a peer that is lost, slow, or
half open makes the job abort, never hang. So has a message that is written: a peer that sends but does not read is lost.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from governance.canonical import canonical_json, parse_json
from governance.errors import GovernanceError
from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import QUEUED_BYTES, Transport
from mpc_backend.transport.errors import TransportError
from mpc_backend.transport.frames import HEADER_BYTES, FrameHeader, FrameKind, decode_header, encode_header
from mpc_backend.transport.shape import LinkShape, Uplink, wait_until

Payload = bytes | bytearray | memoryview
SMALL_PAYLOAD = 16 * 1024
"""Up to this many bytes, header and payload are joined and travel in one TLS record."""
SHORTEST_SECONDS = 1e-3
"""A timeout of nought would mean not to wait at all for what has arrived."""
CLOSE_SECONDS = 10.0
ABORT_SECONDS = 2.0


def read_exactly(connection: socket.socket, size: int, until: float | None = None) -> memoryview:
    """Read ``size`` bytes into one new buffer, without joining parts; ``until``: the moment they must be here. After it
    one read takes what has arrived, and no other follows.

    Raises:
        EOFError: the stream ended before.
        OSError: the connection broke, or the moment passed.
    """
    buffer = np.empty(size, dtype=np.uint8).data  # not zeroed: pages are touched as bytes arrive
    done, late = 0, False
    while done < size:
        if late:
            raise TimeoutError(f"{done} of {size} bytes came in time")
        if until is not None:
            left = until - time.monotonic()
            connection.settimeout(max(left, SHORTEST_SECONDS))
            late = left <= 0
        count = connection.recv_into(buffer[done:])
        if count == 0:
            raise EOFError(f"the stream ended after {done} of {size} bytes")
        done += count
    return buffer


def write_frame(connection: socket.socket, header: FrameHeader, payload: memoryview) -> None:
    """Write one frame; a large payload goes from the caller's memory straight into TLS."""
    head = encode_header(header)
    if len(payload) <= SMALL_PAYLOAD:
        connection.sendall(head + payload)
    else:
        connection.sendall(head)
        connection.sendall(payload)


@dataclass
class _Inbox:
    """Messages read from one peer and not yet received; guarded by the transport's lock."""

    messages: deque[memoryview] = field(default_factory=deque)
    queued: int = 0
    ended: bool = False


class TlsTransport(Transport):
    """The links of one job at one node; see the module docstring.

    Args:
        index: this node.
        names: every node's id, for messages.
        epoch: the number of this start of the job, in every frame.
        outgoing: greeted connections this node dialled, by peer; in a worker, sockets that lead to such.
        incoming: greeted connections this node accepted, by peer; likewise.
        deadline: seconds that a `receive` waits, and that a peer may take to read one message.
        queued_bytes: how far ahead a peer may be: beyond, nothing is read from it until something is received, and its
            sends wait in its own queue.
        shape: slows down what this node sends.
    """

    def __init__(
        self,
        index: int,
        names: tuple[str, ...],
        epoch: int,
        outgoing: Mapping[int, socket.socket],
        incoming: Mapping[int, socket.socket],
        *,
        deadline: float = 60.0,
        queued_bytes: int = QUEUED_BYTES,
        shape: LinkShape | None = None,
    ) -> None:
        super().__init__(index, len(names))
        self._names = names
        self.bytes_received = 0
        self.epoch = epoch
        self._deadline = deadline
        self._queued_bytes = queued_bytes
        self._uplink = Uplink(shape)
        self._changed = threading.Condition()
        self._failure: ProtocolAbort | None = None
        self._closing = False
        self.blamed: str | None = None
        """The node at which the job failed, as far as this node can tell."""
        self._inboxes = {peer: _Inbox() for peer in incoming}
        self._incoming = dict(incoming)
        self._writers = {peer: _Writer(self, peer, connection) for peer, connection in outgoing.items()}
        self._readers = [threading.Thread(target=self._read, args=(peer,), daemon=True) for peer in incoming]
        for connection in (*outgoing.values(), *incoming.values()):
            connection.settimeout(None)
        for thread in (*self._writers.values(), *self._readers):
            thread.start()

    # What the protocol uses

    def deliver(self, peer: int, payload: Payload) -> None:
        """Queue one message and return at once; its bytes are read when they are sent and must not change before.

        Raises:
            ProtocolAbort: the job has already failed; a peer that took nothing within the deadline is lost.
        """
        with self._failing():
            self._raise_failure()
        data = memoryview(payload).cast("B")
        self._writers[peer].put(FrameKind.DATA, data, self._uplink.arrival(len(data)))

    def receive(self, peer: int) -> memoryview:
        """The next message of a peer: also one that came before a link broke, but none once a node gave the job up.

        Raises:
            PeerLost: nothing came within the deadline, or the connection ended.
            PeerAborted: another node gave the job up.
            ProtocolAbort: another node sent what no node may send.
        """
        inbox = self._inboxes[peer]
        until = time.monotonic() + self._deadline
        with self._failing(), self._changed:
            while not inbox.messages:
                self._raise_failure()
                name, left = self._names[peer], until - time.monotonic()
                if inbox.ended:
                    raise self._fail(PeerLost(f"{name} ended the job while a message was awaited"), name)
                if left <= 0:
                    raise self._fail(PeerLost(f"{name} sent nothing for {self._deadline:g} s"), name)
                self._changed.wait(left)
            if isinstance(self._failure, PeerAborted):
                raise self._failure
            message = inbox.messages.popleft()
            inbox.queued -= len(message)
            self._changed.notify_all()
        self.bytes_received += len(message)
        return message

    def check(self) -> None:
        """Return at once if the job goes on; else raise what ended it, as `receive` does."""
        with self._failing():
            self._raise_failure()

    def abort(self, reason: str, who: str | None = None, *, kind: AbortKind = AbortKind.FAILED) -> None:
        """Give the job up: tell every peer why, then cut all links. Any thread may call it, more than once.

        ``who``: the node at which it failed; empty if that is not known; this one by default.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._fail(ProtocolAbort(reason), self._names[self.index] if who is None else who)
            blamed = self.blamed
        message = memoryview(canonical_json({"kind": kind, "reason": reason[:1000], "who": blamed}))
        for writer in self._writers.values():
            writer.put_last(FrameKind.ABORT, message)
        self._shut_down(ABORT_SECONDS)

    def close(self) -> None:
        """End the job: everything sent is delivered, then links are closed.

        Raises:
            PeerLost: a peer did not take what was sent to it within the deadline.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
        for writer in self._writers.values():
            writer.put(FrameKind.END, memoryview(b""))
        stuck = self._shut_down(min(self._deadline, CLOSE_SECONDS))
        if stuck:
            raise PeerLost(f"{', '.join(stuck)} did not take the last messages")

    # Threads

    def _read(self, peer: int) -> None:
        """Body of one reader thread."""
        connection, inbox, expected = self._incoming[peer], self._inboxes[peer], 0
        name = self._names[peer]
        try:
            while self._read_one(connection, peer, inbox, expected):
                expected += 1
        except (EOFError, OSError) as error:
            self._record(PeerLost(f"the connection from {name} was lost ({type(error).__name__})"), name)
        except TransportError as error:
            self._record(ProtocolAbort(f"{name}: {error}"), name)
        with self._changed:
            inbox.ended = True
            self._changed.notify_all()

    def _read_one(self, connection: socket.socket, peer: int, inbox: _Inbox, expected: int) -> bool:
        """Read one frame into the inbox; False once the peer has ended or given up."""
        header = decode_header(read_exactly(connection, HEADER_BYTES))
        header.require_place(peer, self.index, self.epoch, expected)
        payload = read_exactly(connection, header.length)
        if header.kind is FrameKind.ABORT:
            self._given_up(peer, bytes(payload))
            return False
        with self._changed:
            if header.kind is FrameKind.END:
                inbox.ended = True
            else:
                inbox.messages.append(payload)
                inbox.queued += header.length
            self._changed.notify_all()
            while inbox.queued > self._queued_bytes and self._failure is None and not self._closing:
                self._changed.wait()
        return header.kind is FrameKind.DATA

    # Failure and end

    def _given_up(self, peer: int, payload: bytes) -> None:
        """A peer aborted and says why and because of whom; the words are its own and go no further than the
        reason.
        """
        name = self._names[peer]
        try:
            said = parse_json(payload)
            kind, reason, who = AbortKind(said["kind"]), str(said["reason"])[:1000], said["who"]
        except (GovernanceError, KeyError, TypeError, ValueError):
            kind, reason, who = AbortKind.UNSTATED, "no reason that can be read", None
        self._record(PeerAborted(name, kind, reason), who if who in (*self._names, "") else name)

    def lost_while_sending(self, peer: int, error: OSError) -> None:
        """A write failed. The peer may have said why on its own link, which is then the better reason."""
        name = self._names[peer]
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._closing, timeout=1.0)
        self._record(PeerLost(f"the connection to {name} was lost ({type(error).__name__})"), name)

    def _raise_failure(self) -> None:
        for peer, writer in self._writers.items():
            if writer.writing_for() > self._deadline:
                name = self._names[peer]
                self._record(PeerLost(f"{name} did not take a message within {self._deadline:g} s"), name)
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: ProtocolAbort, who: str) -> ProtocolAbort:
        """Record the first failure; the caller holds the lock and may raise what is returned."""
        if self._failure is None:
            self._failure, self.blamed = error, who
            self._changed.notify_all()
        return self._failure

    def _record(self, error: ProtocolAbort, who: str) -> None:
        with self._changed:
            if not self._closing:
                self._fail(error, who)

    def _shut_down(self, seconds: float) -> list[str]:
        """Let writers finish for a while, then cut every connection; names the peers that did not take all."""
        until = time.monotonic() + seconds
        for writer in self._writers.values():
            writer.join(max(0.0, until - time.monotonic()))
        stuck = [self._names[peer] for peer, writer in self._writers.items() if writer.is_alive()]
        if not stuck and self._failure is None:
            self._await_ends(until)
        self._cut_all()
        return stuck

    def _cut_all(self) -> None:
        """Wake every thread, then close what no thread uses any more (a descriptor in use must not be given away)."""
        uses: list[tuple[socket.socket, threading.Thread]] = [
            (self._incoming[peer], reader) for peer, reader in zip(self._incoming, self._readers, strict=True)
        ]
        uses += [(writer.connection, writer) for writer in self._writers.values()]
        for connection, _ in uses:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        with self._changed:
            self._changed.notify_all()
        for connection, thread in uses:
            if thread is not threading.current_thread():
                thread.join(1.0)
            if not thread.is_alive():
                connection.close()

    def _await_ends(self, until: float) -> None:
        """Wait for the peers' ends, so that none of them sees its last bytes refused."""
        with self._changed:
            while not all(inbox.ended for inbox in self._inboxes.values()) and self._failure is None:
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)


class _Writer(threading.Thread):
    """Sends one peer's frames in order, from a queue without bound (payloads are referenced, not copied)."""

    def __init__(self, transport: TlsTransport, peer: int, connection: socket.socket) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self._transport = transport
        self._peer = peer
        self._queue: deque[tuple[FrameKind, memoryview, float]] = deque()
        self._ready = threading.Condition()
        self._sequence = 0
        self._began: float | None = None

    def writing_for(self) -> float:
        """Seconds since the message that is being written was begun."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def put(self, kind: FrameKind, payload: memoryview, arrival: float = 0.0) -> None:
        with self._ready:
            self._queue.append((kind, payload, arrival))
            self._ready.notify()

    def put_last(self, kind: FrameKind, payload: memoryview) -> None:
        """Drop what is waiting and send this instead."""
        with self._ready:
            self._queue.clear()
            self._queue.append((kind, payload, 0.0))
            self._ready.notify()

    def run(self) -> None:
        try:
            while self._write_next() is FrameKind.DATA:
                pass
        except OSError as error:
            self._transport.lost_while_sending(self._peer, error)

    def _write_next(self) -> FrameKind:
        with self._ready:
            while not self._queue:
                self._ready.wait()
            kind, payload, arrival = self._queue.popleft()
        wait_until(arrival)
        transport = self._transport
        header = FrameHeader(kind, transport.index, self._peer, transport.epoch, self._sequence, len(payload))
        self._began = time.monotonic()
        write_frame(self.connection, header, payload)
        self._began = None
        self._sequence += 1
        return kind
