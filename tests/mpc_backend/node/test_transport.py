"""Both transports under the same tests: order, large messages both ways at once, abort, end, silence."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mpc_backend.errors import AbortKind, PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.transport.base import Transport
from mpc_backend.transport.frames import FrameHeader, FrameKind, encode_header
from mpc_backend.transport.memory import MemoryNetwork
from mpc_backend.transport.shape import LinkShape
from mpc_backend.transport.tls import TlsTransport

from .conftest import Mesh, in_parallel

Links = Callable[..., Sequence[Transport]]


@pytest.fixture(params=["memory", "tls"])
def links(request: pytest.FixtureRequest, mesh: Callable[..., Mesh]) -> Links:
    def make(deadline: float = 5.0, shape: LinkShape | None = None) -> Sequence[Transport]:
        if request.param == "tls":
            return mesh(deadline=deadline, shape=shape).transports
        network = MemoryNetwork(4, deadline=deadline, shape=shape)
        return [network.transport(index) for index in range(4)]

    return make


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


def test_all_nodes_may_write_before_any_reads(links: Links) -> None:
    ends = links(deadline=30.0)
    data = np.arange(10_000_000, dtype=np.uint64)

    def run(end: Transport) -> bool:
        for peer in end.peers[:1]:
            end.send(peer, data.data.cast("B"))
        senders = [other for other in range(4) if other != end.index and ends[other].peers[0] == end.index]
        for sender in senders:
            assert np.array_equal(np.frombuffer(end.receive(sender), np.uint64), data)
        end.close()
        return True

    assert in_parallel([lambda end=end: run(end) for end in ends], 60) == [True] * 4


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


def test_abort_reaches_all_nodes_while_they_wait(links: Links) -> None:
    ends = links()
    waits = [lambda end=end: end.receive(0) for end in ends[1:]]
    abort = lambda: ends[0].abort("shares disagree", kind=AbortKind.CHECK)  # noqa: E731
    results = in_parallel([lambda: (time.sleep(0.2), abort()), *waits])
    for result in results[1:]:
        assert isinstance(result, PeerAborted)
        assert result.peer in ("node-a", "node 0")
        assert result.kind is AbortKind.CHECK
        assert str(result) == f"{result.peer} gave the job up: shares disagree"


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{}", b'{"kind":"check failed"}', b'{"kind":"","reason":"","who":""}', b"\xff" * 99]
)
def test_an_abort_nobody_can_read_names_the_peer_all_the_same(mesh: Callable[..., Mesh], said: bytes) -> None:
    ends = mesh(deadline=30.0).transports
    ends[2]._writers[1].put_last(FrameKind.ABORT, memoryview(said))
    with pytest.raises(PeerAborted, match="node-c gave the job up: no reason that can be read") as aborted:
        ends[1].receive(0)
    assert (aborted.value.peer, aborted.value.kind) == ("node-c", AbortKind.UNSTATED)
    assert ends[1].blamed == "node-c"


def test_silence_ends_at_the_deadline(links: Links) -> None:
    ends = links(deadline=0.5)
    began = time.monotonic()
    with pytest.raises(PeerLost):
        ends[1].receive(2)
    assert time.monotonic() - began < 3


def test_a_node_that_left_is_noticed_at_once(mesh: Callable[..., Mesh]) -> None:
    ends = mesh(deadline=30.0).transports
    _vanish(ends[3])
    began = time.monotonic()
    for result in in_parallel([lambda end=end: end.receive(3) for end in ends[:3]]):
        assert isinstance(result, PeerLost)
        assert "node-d" in str(result)
    assert time.monotonic() - began < 5
    assert [end.blamed for end in ends[:3]] == ["node-d"] * 3


def _vanish(end: TlsTransport) -> None:
    """What a killed process does to its connections."""
    end._closing = True
    for connection in (*end._incoming.values(), *(writer.connection for writer in end._writers.values())):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def test_blame_travels_with_the_abort(mesh: Callable[..., Mesh]) -> None:
    ends = mesh(deadline=30.0).transports
    _vanish(ends[3])

    def run(end: TlsTransport) -> None:
        try:
            end.receive((end.index + 1) % 3)  # waits for a node that is alive
        except ProtocolAbort as error:
            end.abort(str(error))
            raise

    assert all(
        isinstance(one, ProtocolAbort) for one in in_parallel([lambda end=end: run(end) for end in ends[:3]])
    )
    assert [end.blamed for end in ends[:3]] == ["node-d"] * 3


def test_a_reader_does_not_take_more_than_its_share_of_memory(mesh: Callable[..., Mesh]) -> None:
    ends = mesh(deadline=20.0, queued_bytes=1 << 20).transports
    block = bytes(1 << 19)
    for _ in range(64):
        ends[0].send(1, block)
    time.sleep(0.5)
    assert ends[1]._inboxes[0].queued <= 3 << 19
    for _ in range(64):
        assert len(ends[1].receive(0)) == 1 << 19


def test_frames_of_another_epoch_are_refused(mesh: Callable[..., Mesh]) -> None:
    ends = mesh().transports
    ends[0].epoch += 1
    ends[0].send(1, b"late")
    with pytest.raises(ProtocolAbort, match="out of place"):
        ends[1].receive(0)


def test_an_end_of_stream_inside_a_message_is_a_lost_peer(mesh: Callable[..., Mesh], tmp_path: Path) -> None:
    ends = mesh().transports
    writer = ends[0]._writers[1].connection
    writer.sendall(encode_header(FrameHeader(FrameKind.DATA, 0, 1, 7, 0, 1000)) + b"half")
    _vanish(ends[0])
    with pytest.raises(PeerLost, match="node-a"):
        ends[1].receive(0)


def test_end_in_order_is_no_failure(links: Links) -> None:
    ends = links()

    def run(end: Transport) -> bytes:
        for peer in end.peers:
            end.send(peer, b"last")
        got = b"".join(bytes(end.receive(peer)) for peer in end.peers)
        time.sleep(0.05 * end.index)
        end.close()
        return got

    assert in_parallel([lambda end=end: run(end) for end in ends]) == [b"lastlastlast"] * 4
