"""Workers of nodes as real processes: what threads compute, and the end of a job when one of them fails or is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mpc_backend.errors import AbortKind, EngineError, PeerAborted, ProtocolAbort, WorkerFailed
from mpc_backend.protocols.keys import random_keys
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import Session, open_values
from mpc_backend.shards import over_shards
from mpc_backend.shards.processes import Channel, Workers
from mpc_backend.shards.worker import Begin
from mpc_backend.testing import Shared, World
from mpc_backend.transport.base import Traffic
from mpc_backend.transport.frames import HEADER_BYTES, decode_header
from mpc_backend.transport.memory import MemoryNetwork
from mpc_backend.transport.tls import read_exactly
from tests.mpc_backend.engine.shard_work import failing, judging, lost, slow, squared

pytestmark = pytest.mark.processes
SHARDS, ROWS = 2, 1000
Program = Callable[..., Any]
Link = tuple[int, int, int]
"""Shard, sending and receiving node."""


class Nodes:
    """All nodes as threads of this process, each with two worker processes; their links are pairs of sockets."""

    def __init__(self, protocol: str, workers: list[Workers]) -> None:
        self.protocol, self.count = protocol, layout(protocol).nodes
        self.workers = workers[: self.count]
        for one in self.workers:
            one.start()
        self.traffic: list[Traffic] = []
        self.networks: list[MemoryNetwork] = []

    def run(
        self, program: Program, *shared: Shared, deadline: float = 180, spoilt: Link | None = None
    ) -> list[Any]:
        """What each node gets of a job, or the error it ends with; the first message of a link may come ``spoilt``."""
        network, links = MemoryNetwork(self.count, deadline), _links(self.count)
        if spoilt is not None:
            links[spoilt] = _spoiling(*links[spoilt])
        keys = random_keys(self.count) if self.count > 1 else [None]
        names = tuple(f"node-{index}" for index in range(self.count))
        self.networks.append(network)
        found: list[Any] = [None] * self.count
        ends = [network.transport(index) for index in range(self.count)]

        def node(index: int) -> None:
            job = Begin(index, self.protocol, names, 1, deadline, None)
            channels = [_channel(links, shard, job) for shard in range(SHARDS)]
            shards = self.workers[index].begin(job, channels)
            try:
                session = Session.for_node(index, self.protocol, ends[index], keys[index], shards=shards)
                result = program(session, *(one.at(session) for one in shared))
                found[index] = open_values(session, result, "results")
                shards.close()
            except EngineError as error:
                found[index] = error
                kind = error.kind if isinstance(error, ProtocolAbort) else AbortKind.FAILED
                ends[index].abort(str(error), kind=kind)
                shards.abort()
            finally:
                ends[index].close()

        threads = [threading.Thread(target=node, args=(index,)) for index in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
            assert not thread.is_alive(), "a node hangs"
        self.traffic = [end.traffic for end in ends]
        return found

    @property
    def pids(self) -> set[int]:
        return {pid for one in self.workers for pid in one.pids}


def _links(nodes: int) -> dict[Link, tuple[socket.socket, socket.socket]]:
    pairs = [(s, r) for s in range(nodes) for r in range(nodes) if s != r]
    return {(shard, *pair): socket.socketpair() for shard in range(SHARDS) for pair in pairs}


def _spoiling(sends: socket.socket, taken: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A link that passes on all it is given, but with one bit of its first message changed."""
    given, receives = socket.socketpair()

    def pass_on() -> None:
        with taken, given, contextlib.suppress(OSError, EOFError):
            header = bytes(read_exactly(taken, HEADER_BYTES))
            payload = bytearray(read_exactly(taken, decode_header(header).length))
            payload[0] ^= 1
            given.sendall(header + payload)
            while piece := taken.recv(1 << 16):
                given.sendall(piece)

    threading.Thread(target=pass_on, daemon=True).start()
    return sends, receives


def _channel(links: dict[Any, Any], shard: int, job: Begin) -> Channel:
    return Channel(
        {peer: links[shard, job.index, peer][0] for peer in job.peers},
        {peer: links[shard, peer, job.index][1] for peer in job.peers},
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Workers]]:
    """Those of four nodes; of three or one, the first ones."""
    made = [Workers(SHARDS, load=False) for _ in range(4)]
    yield made
    for one in made:
        one.stop()


@pytest.fixture
def nodes(request: pytest.FixtureRequest, workers: list[Workers]) -> Nodes:
    return Nodes(request.param, workers)


def shared_rows(nodes: Nodes) -> tuple[np.ndarray, Shared]:
    values = np.random.default_rng(5).integers(-99, 99, ROWS)
    return values, World(nodes.protocol).share(values, bits=8)


@pytest.mark.parametrize("nodes", ["rep3", "rep4"], indirect=True)
def test_processes_compute_what_threads_do_and_are_kept(nodes: Nodes) -> None:
    values, shared = shared_rows(nodes)
    first, before = nodes.run(judging, shared), nodes.pids
    for opened in (*first, *nodes.run(judging, shared)):
        above, total, again = opened
        assert np.array_equal(above, values >= 7)
        assert (total, again) == (values[values >= 0].sum(), values[values >= 7].sum())
    assert nodes.pids == before
    with World(nodes.protocol, workers=SHARDS) as world:
        world.run(judging, shared)
    for here, there in zip(nodes.traffic, world.traffic, strict=True):
        assert (here.bytes_sent, here.messages, here.rounds) == (
            there.bytes_sent, there.messages, there.rounds,
        )  # fmt: skip


@pytest.mark.parametrize("nodes", ["rep4"], indirect=True)
def test_a_spoilt_message_between_workers_ends_the_job_everywhere(nodes: Nodes) -> None:
    """The second shard of node 0 to that of node 3: the first message of a product."""
    _, shared = shared_rows(nodes)
    before = nodes.pids
    for error in nodes.run(lambda s, a: [over_shards(s, squared, [a])], shared, spoilt=(1, 0, 3)):
        assert isinstance(error, ProtocolAbort)
        assert "a message between nodes failed its check" in str(error)
    assert not nodes.pids & before, "no share of it is kept"


@pytest.mark.parametrize("nodes", ["rep3"], indirect=True)
def test_a_worker_that_is_lost_ends_the_job_everywhere(nodes: Nodes) -> None:
    _, shared = shared_rows(nodes)
    began = time.monotonic()
    first, second, third = nodes.run(lambda s, a: [over_shards(s, lost, [a])], shared)
    assert time.monotonic() - began < 90, (
        "half of the deadline: six interpreters may take their time to start"
    )
    assert isinstance(second, WorkerFailed)
    assert "exit status -9" in str(second)
    assert all(isinstance(other, PeerAborted) and other.kind is AbortKind.FAILED for other in (first, third))


@pytest.mark.parametrize("nodes", ["plain"], indirect=True)
def test_a_worker_that_fails_does_not_tell_what_it_worked_on_and_the_next_job_has_new_ones(
    nodes: Nodes,
) -> None:
    values, shared = shared_rows(nodes)
    before = nodes.pids
    (failed,) = nodes.run(lambda s, a: [over_shards(s, failing, [a])], shared)
    assert isinstance(failed, WorkerFailed)
    assert "RuntimeError: " in str(failed)
    assert "failing:" in str(failed)
    assert "4711" not in str(failed)
    ((_, total, _),) = nodes.run(judging, shared)
    assert total == values[values >= 0].sum()
    assert not nodes.pids & before, "what failed is gone from memory"
    os.kill(max(nodes.pids), signal.SIGTERM)  # as a service manager stops a node and all that it started
    between = nodes.pids
    os.kill(min(between), signal.SIGKILL)
    os.waitid(os.P_PID, min(between), os.WEXITED | os.WNOWAIT)  # a killed process may take its time to end
    ((_, again, _),) = nodes.run(judging, shared)
    assert again == total, "one that is lost between jobs is started anew"
    assert len(nodes.pids & between) == 1


@pytest.mark.parametrize("nodes", ["plain"], indirect=True)
def test_a_job_that_is_given_up_does_not_wait_for_its_shards(nodes: Nodes) -> None:
    _, shared = shared_rows(nodes)
    began = time.monotonic()
    threading.Timer(1.0, lambda: nodes.networks[-1].abort(0, AbortKind.STOPPED, "told to stop")).start()
    (given_up,) = nodes.run(lambda s, a: [over_shards(s, slow, [a])], shared)
    assert time.monotonic() - began < 90, "shards sleep for twice as long"
    assert isinstance(given_up, PeerAborted)
    assert given_up.kind is AbortKind.STOPPED
