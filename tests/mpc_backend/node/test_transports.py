"""Both transports under the same tests: order, large messages both ways at once, what a deviating or dying peer can send or
leave unsent, abort and end. Every wait ends, by the message, by what is wrong, or by the deadline.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pytest

from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import Transport
from mpc_backend.transport.errors import FrameError
from mpc_backend.transport.frames import MAX_PAYLOAD, FrameHeader, FrameKind, encode_header
from mpc_backend.transport.memory import Frame, MemoryNetwork
from mpc_backend.transport.shape import LinkShape
from mpc_backend.transport.tls import TlsTransport, read_exactly

from .conftest import Mesh, in_parallel

NODES, EPOCH = 4, 7
NAMES = ("memory", "tls")
Links = Callable[..., Sequence[Transport]]


@pytest.fixture(params=NAMES)
def links(request: pytest.FixtureRequest, mesh: Callable[..., Mesh]) -> Links:
    """``links(deadline=..., shape=...)``: the ends of four nodes that follow the protocol."""

    def make(deadline: float = 5.0, shape: LinkShape | None = None) -> Sequence[Transport]:
        if request.param == "tls":
            return mesh(deadline=deadline, shape=shape).transports
        network = MemoryNetwork(NODES, deadline=deadline, shape=shape)
        return [network.transport(index) for index in range(NODES)]

    return make


class Foe(Protocol):
    """Node 0, which writes what it likes to node 1 and reads nothing; ``ends``: the three others, node 1 first."""

    ends: Sequence[Transport]

    def write(self, header: FrameHeader, payload: bytes) -> None:
        """One frame, whatever its header says."""

    def trickle(self, header: FrameHeader, payload: bytes) -> None:
        """The same, of which the last byte comes after a minute."""

    def end(self) -> None:
        """Leave every other node in order."""

    def vanish(self) -> None:
        """Be killed."""


class TlsFoe:
    """On connections that nothing serves."""

    def __init__(self, mesh: Callable[..., Mesh], **options: Any) -> None:
        made = mesh(bare=0, epoch=EPOCH, **options)
        self.ends = made.transports
        self._out, self._all = made.outgoing[0], [*made.outgoing[0].values(), *made.incoming[0].values()]

    def write(self, header: FrameHeader, payload: bytes) -> None:
        self._out[1].socket.sendall(encode_header(header) + payload)

    def trickle(self, header: FrameHeader, payload: bytes) -> None:
        data = encode_header(header) + payload

        def slowly() -> None:
            with contextlib.suppress(OSError):  # the other side has had enough
                for place in range(len(data)):
                    self._out[1].socket.sendall(data[place : place + 1])
                    time.sleep(60 / len(data))

        threading.Thread(target=slowly, daemon=True).start()

    def end(self) -> None:
        for peer, connection in self._out.items():
            header = FrameHeader(FrameKind.END, 0, peer, EPOCH, 0, 0)
            connection.socket.sendall(encode_header(header))

    def vanish(self) -> None:
        for connection in self._all:
            socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)


class MemoryFoe:
    """With its hands in the queues."""

    def __init__(self, **options: Any) -> None:
        self._network = MemoryNetwork(NODES, epoch=EPOCH, **options)
        self.ends = [self._network.transport(index) for index in range(1, NODES)]

    def write(self, header: FrameHeader, payload: bytes) -> None:
        whole = np.empty(header.length, np.uint8).data if header.length > MAX_PAYLOAD else payload
        self._network.queue((0, 1), Frame(header, whole, 0.0))

    def trickle(self, header: FrameHeader, payload: bytes) -> None:
        self._network.queue((0, 1), Frame(header, payload, time.monotonic() + 60))

    def end(self) -> None:
        self._network.close(0)

    vanish = end


@pytest.fixture(params=NAMES)
def foe(request: pytest.FixtureRequest, mesh: Callable[..., Mesh]) -> Callable[..., Foe]:
    """``foe(deadline=..., queued_bytes=...)``."""

    def make(**options: Any) -> Foe:
        return TlsFoe(mesh, **options) if request.param == "tls" else MemoryFoe(**options)

    return make


def frame(
    sequence: int, *, kind: FrameKind = FrameKind.DATA, sender: int = 0, receiver: int = 1, epoch: int = EPOCH,
    length: int = 2,
) -> FrameHeader:  # fmt: skip
    return FrameHeader(kind, sender, receiver, epoch, sequence, length)


# Nodes that follow the protocol


def test_messages_arrive_in_order_from_every_node(links: Links) -> None:
    ends = links()

    def run(end: Transport) -> list[list[bytes]]:
        for number in range(20):
            for peer in end.peers:
                end.send(peer, bytes([end.index, peer, number]) * (number * 1000))
        got = [[bytes(end.receive(peer)) for _ in range(20)] for peer in end.peers]
        end.close()
        return got

    for end, got in zip(ends, in_parallel([lambda end=end: run(end) for end in ends]), strict=True):
        assert got == [[bytes([peer, end.index, n]) * (n * 1000) for n in range(20)] for peer in end.peers]
        assert end.traffic.bytes_sent == 3 * 3 * 1000 * sum(range(20))
        assert end.traffic.messages == 3 * 20


def test_all_nodes_may_write_before_any_reads(links: Links) -> None:
    ends = links(deadline=30.0)
    data = np.arange(10_000_000, dtype=np.uint64)

    def run(end: Transport) -> bool:
        for peer in end.peers[:1]:
            end.send(peer, data.data.cast("B"))
        senders = [
            other for other in range(NODES) if other != end.index and ends[other].peers[0] == end.index
        ]
        for sender in senders:
            assert np.array_equal(np.frombuffer(end.receive(sender), np.uint64), data)
        end.close()
        return True

    assert in_parallel([lambda end=end: run(end) for end in ends], 60) == [True] * NODES


def test_a_slow_link_delays_and_keeps_the_order(links: Links) -> None:
    ends = links(shape=LinkShape.parse("50ms,8Mbit"))
    began = time.monotonic()
    for peer in (1, 2):
        ends[0].send(peer, b"a" * 100_000)
    ends[0].send(1, b"b")
    assert time.monotonic() - began < 0.05, "sending waits"
    first = bytes(ends[1].receive(0))
    assert 0.15 <= time.monotonic() - began < 0.5
    assert (first, bytes(ends[1].receive(0)), len(ends[2].receive(0))) == (b"a" * 100_000, b"b", 100_000)
    assert time.monotonic() - began >= 0.25, "what goes to two nodes shares the way out"


def test_a_message_longer_than_any_frame_is_not_sent(links: Links) -> None:
    ends = links()
    long = np.empty(MAX_PAYLOAD + 1, np.uint8).data  # never touched: it takes no memory
    with pytest.raises(FrameError, match=f"{MAX_PAYLOAD + 1} bytes to node 1"):
        ends[0].send(1, long)
    assert ends[0].traffic.bytes_sent == 0
    ends[0].send(1, b"short")
    assert bytes(ends[1].receive(0)) == b"short"


def test_end_in_order_is_no_failure(links: Links) -> None:
    ends = links()

    def run(end: Transport) -> bytes:
        for peer in end.peers:
            end.send(peer, b"last")
        got = b"".join(bytes(end.receive(peer)) for peer in end.peers)
        time.sleep(0.05 * end.index)
        end.close()
        return got

    assert in_parallel([lambda end=end: run(end) for end in ends]) == [b"lastlastlast"] * NODES


def test_abort_reaches_all_nodes_while_they_wait(links: Links) -> None:
    """What others sent before that is not handed out any more."""
    ends = links(deadline=30.0)
    behind = {1: 3, 2: 1, 3: 2}
    for receiver, sender in behind.items():
        ends[sender].send(receiver, b"queued")
    waits = [lambda end=end: end.receive(0) for end in ends[1:]]
    abort = lambda: ends[0].abort("shares disagree", kind=AbortKind.CHECK)  # noqa: E731
    results = in_parallel([lambda: (time.sleep(0.2), abort()), *waits], 10)
    for end, result in zip(ends[1:], results[1:], strict=True):
        assert isinstance(result, PeerAborted)
        assert result.peer in ("node-a", "node 0")
        assert result.kind is AbortKind.CHECK
        assert str(result) == f"{result.peer} gave the job up: shares disagree"
        receives = [lambda end=end, peer=peer: end.receive(peer) for peer in (0, behind[end.index])]
        for step in (end.check, lambda end=end: end.send(0, b"on"), *receives):
            with pytest.raises(PeerAborted, match="shares disagree"):
                step()


# A node that does not


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        pytest.param([frame(1)], "frame out of place", id="the first is missing"),
        pytest.param([frame(0), frame(2)], "frame out of place", id="one in between is missing"),
        pytest.param([frame(0), frame(0)], "frame out of place", id="replayed"),
        pytest.param([frame(0), frame(1), frame(0)], "frame out of place", id="an earlier one again"),
        pytest.param([frame(0, epoch=EPOCH - 1)], "frame out of place", id="of another start of the job"),
        pytest.param([frame(0, sender=2)], "frame out of place", id="of another sender"),
        pytest.param([frame(0, receiver=2)], "frame out of place", id="to another receiver"),
        pytest.param([frame(0, kind=FrameKind.CONTROL)], "greeting after", id="a greeting"),
        pytest.param([frame(0, length=MAX_PAYLOAD + 1)], f"cap .*{MAX_PAYLOAD}", id="longer than the cap"),
    ],
)
def test_a_frame_out_of_place_ends_the_job(
    foe: Callable[..., Foe], headers: list[FrameHeader], says: str
) -> None:
    """What came before it arrives; then nothing does, and nothing is sent."""
    attack = foe(deadline=30.0)
    victim, began = attack.ends[0], time.monotonic()
    for header in headers:
        attack.write(header, b"ab")
    for _ in headers[:-1]:
        assert bytes(victim.receive(0)) == b"ab"
    with pytest.raises(ProtocolAbort, match=says) as refused:
        victim.receive(0)
    assert not isinstance(refused.value, PeerLost)
    assert refused.value.kind is AbortKind.CHECK
    attack.write(frame(headers[-1].sequence), b"ab")
    for step in (lambda: victim.receive(0), lambda: victim.send(2, b"on"), victim.check):
        with pytest.raises(ProtocolAbort, match=says):
            step()
    assert time.monotonic() - began < 5


def test_a_frame_shorter_than_it_says_is_no_message(foe: Callable[..., Foe]) -> None:
    attack = foe(deadline=30.0)
    attack.write(frame(0, length=1000), b"half")
    attack.vanish()
    with pytest.raises(ProtocolAbort, match=r"lost|of 4 bytes announces 1000"):
        attack.ends[0].receive(0)


def test_every_receive_has_a_deadline(foe: Callable[..., Foe]) -> None:
    """Also of a node that has connected and never sends, and the second as the first."""
    attack = foe(deadline=0.4)
    attack.write(frame(0), b"ab")
    for end in attack.ends:
        began = time.monotonic()
        if end.index == 1:
            assert bytes(end.receive(0)) == b"ab"
        with pytest.raises(PeerLost, match=r"0\.4 s") as lost:
            end.receive(0)
        assert lost.value.kind is AbortKind.LOST
        assert 0.35 <= time.monotonic() - began < 3


def test_bytes_that_trickle_in_are_no_message(foe: Callable[..., Foe]) -> None:
    attack = foe(deadline=0.4)
    attack.trickle(frame(0, length=200), bytes(200))
    began = time.monotonic()
    with pytest.raises(PeerLost, match=r"0\.4 s"):
        attack.ends[0].receive(0)
    assert 0.35 <= time.monotonic() - began < 3


def test_a_node_that_sends_and_never_reads_is_lost(foe: Callable[..., Foe]) -> None:
    """Sending to it never waits; nor does the job go on for ever."""
    attack = foe(deadline=0.5, queued_bytes=1 << 20)
    victim, block, waited, began = attack.ends[0], bytes(1 << 20), 0.0, time.monotonic()
    with pytest.raises(PeerLost, match=r"did not take a message within 0\.5 s"):
        for sequence in range(200):
            attack.write(frame(sequence), b"ab")
            assert bytes(victim.receive(0)) == b"ab"
            for _ in range(8 if sequence == 0 else 1):
                start = time.monotonic()
                victim.send(0, block)
                waited = max(waited, time.monotonic() - start)
            time.sleep(0.02)
    assert time.monotonic() - began < 3
    assert waited < 0.25, "sending waited"
    began = time.monotonic()
    victim.abort("node-a reads nothing")
    for result in in_parallel([lambda end=end: end.receive(1) for end in attack.ends[1:]], 10):
        assert isinstance(result, PeerAborted)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("how", ["vanish", "end"])
def test_a_node_that_left_is_noticed_at_once(foe: Callable[..., Foe], how: str) -> None:
    attack = foe(deadline=30.0)
    began = time.monotonic()
    getattr(attack, how)()
    for result in in_parallel([lambda end=end: end.receive(0) for end in attack.ends[:2]], 10):
        assert isinstance(result, PeerLost)
        assert "node-a" in str(result) or "node 0" in str(result)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("how", ["vanish", "end"])
def test_what_failed_once_fails_ever_after(foe: Callable[..., Foe], how: str) -> None:
    """What another node sent is handed out until this one has been told of the loss, and not any more then."""
    attack = foe(deadline=30.0)
    victim, other = attack.ends[:2]
    other.send(1, b"one")
    other.send(1, b"two")
    assert bytes(victim.receive(2)) == b"one"
    other.send(1, b"three")
    getattr(attack, how)()
    with pytest.raises(PeerLost) as lost:
        victim.receive(0)
    for step in (lambda: victim.receive(2), victim.check, lambda: victim.send(3, b"on")):
        with pytest.raises(PeerLost) as again:
            step()
        assert again.value is lost.value


# What only one of them has


def test_nodes_that_all_wait_in_memory_do_not_wait_for_the_deadline() -> None:
    network = MemoryNetwork(2, deadline=600)
    waits = [lambda me=me: network.transport(me).receive(1 - me) for me in range(2)]
    assert [type(result) for result in in_parallel(waits, 10)] == [PeerLost, PeerLost]


def test_a_link_that_breaks_one_way_is_noticed_by_who_writes_to_it(mesh: Callable[..., Mesh]) -> None:
    """Nothing else is heard of the node, and nothing awaited of it."""
    made = mesh(bare=0, deadline=30.0)
    victim, began = made.transports[0], time.monotonic()
    socket.socket.shutdown(made.incoming[0][1].socket, socket.SHUT_RDWR)
    with pytest.raises(PeerLost, match="the connection to node-a was lost"):
        while time.monotonic() - began < 20:
            victim.send(0, bytes(1 << 16))
            time.sleep(0.01)
    assert time.monotonic() - began < 10


def test_the_end_of_a_job_is_not_waited_for_either(mesh: Callable[..., Mesh]) -> None:
    """A node that reads nothing, to which something is under way: what was sent has not arrived, and that is said."""
    attack = TlsFoe(mesh, deadline=0.5)
    victim, began = attack.ends[0], time.monotonic()
    victim.send(0, bytes(1 << 25))
    with pytest.raises(PeerLost, match="node-a did not take the last messages"):
        victim.close()
    assert 0.4 <= time.monotonic() - began < 8


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{}", b'{"kind":"check failed"}', b'{"kind":"","reason":"","who":""}', b"\xff" * 99]
)
def test_an_abort_nobody_can_read_names_the_peer_all_the_same(mesh: Callable[..., Mesh], said: bytes) -> None:
    attack = TlsFoe(mesh, deadline=30.0)
    attack.write(frame(0, kind=FrameKind.ABORT, length=len(said)), said)
    victim = attack.ends[0]
    with pytest.raises(PeerAborted, match="node-a gave the job up: no reason that can be read") as aborted:
        victim.receive(2)
    assert (aborted.value.peer, aborted.value.kind) == ("node-a", AbortKind.UNSTATED)
    assert victim.blamed == "node-a"


@pytest.mark.parametrize(("pieces", "read"), [((b"ab",), True), ((b"a", b"b"), False)])
def test_after_the_moment_one_read_takes_what_arrived(pieces: tuple[bytes, ...], read: bool) -> None:
    """Else a peer that trickles would be read for as long as it goes on."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # a read takes one piece
    with here, there:
        for piece in pieces:
            there.sendall(piece)
        if read:
            assert read_exactly(here, 2, time.monotonic() - 1) == b"ab"
        else:
            with pytest.raises(TimeoutError, match="1 of 2 bytes came in time"):
                read_exactly(here, 2, time.monotonic() - 1)


def test_blame_travels_with_the_abort(mesh: Callable[..., Mesh]) -> None:
    attack = TlsFoe(mesh, deadline=30.0)
    attack.vanish()

    def run(end: TlsTransport) -> None:
        try:
            end.receive(1 + end.index % 3)  # waits for a node that is alive
        except ProtocolAbort as error:
            end.abort(str(error))
            raise

    results = in_parallel([lambda end=end: run(end) for end in attack.ends])
    assert all(isinstance(one, ProtocolAbort) for one in results)
    assert [end.blamed for end in attack.ends] == ["node-a"] * 3


def test_a_reader_does_not_take_more_than_its_share_of_memory(mesh: Callable[..., Mesh]) -> None:
    ends = mesh(deadline=20.0, queued_bytes=1 << 20).transports
    block = bytes(1 << 19)
    for _ in range(64):
        ends[0].send(1, block)
    time.sleep(0.3)
    assert ends[1]._inboxes[0].queued <= 3 << 19
    for _ in range(64):
        assert len(ends[1].receive(0)) == 1 << 19
