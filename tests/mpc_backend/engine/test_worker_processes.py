"""Workers of nodes as real processes: what threads compute, and the end of a job when one of them fails or is lost."""

from __future__ import annotations

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
from mpc_backend.transport.memory import MemoryNetwork
from tests.mpc_backend.engine.shard_work import failing, judging, lost, slow

pytestmark = pytest.mark.processes
SHARDS, ROWS = 2, 1000
Program = Callable[..., Any]


class Nodes:
    """All nodes as threads of this process, each with two worker processes; their links are pairs of sockets."""

    def __init__(self, protocol: str) -> None:
        self.protocol, self.count = protocol, layout(protocol).nodes
        self.workers = [Workers(SHARDS, load=False) for _ in range(self.count)]
        for one in self.workers:
            one.start()
        self.traffic: list[Traffic] = []
        self.networks: list[MemoryNetwork] = []

    def run(self, program: Program, *shared: Shared, deadline: float = 20) -> list[Any]:
        """What each node gets of a job, or the error it ends with."""
        network, links = MemoryNetwork(self.count, deadline), _links(self.count)
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
            thread.join(200)
            assert not thread.is_alive(), "a node hangs"
        self.traffic = [end.traffic for end in ends]
        return found

    @property
    def pids(self) -> set[int]:
        return {pid for one in self.workers for pid in one.pids}

    def stop(self) -> None:
        for one in self.workers:
            one.stop()


def _links(nodes: int) -> dict[tuple[int, int, int], tuple[socket.socket, socket.socket]]:
    pairs = [(s, r) for s in range(nodes) for r in range(nodes) if s != r]
    return {(shard, *pair): socket.socketpair() for shard in range(SHARDS) for pair in pairs}


def _channel(links: dict[Any, Any], shard: int, job: Begin) -> Channel:
    return Channel(
        {peer: links[shard, job.index, peer][0] for peer in job.peers},
        {peer: links[shard, peer, job.index][1] for peer in job.peers},
    )


@pytest.fixture(scope="module")
def three() -> Iterator[Nodes]:
    made = Nodes("rep3")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def one() -> Iterator[Nodes]:
    """A single node in the clear, for what does not depend on others."""
    made = Nodes("plain")
    yield made
    made.stop()


def shared_rows(nodes: Nodes) -> tuple[np.ndarray, Shared]:
    values = np.random.default_rng(5).integers(-99, 99, ROWS)
    return values, World(nodes.protocol).share(values, bits=8)


def test_processes_compute_what_threads_do_and_are_kept(three: Nodes) -> None:
    values, shared = shared_rows(three)
    first, before = three.run(judging, shared), three.pids
    for opened in (*first, *three.run(judging, shared)):
        above, total, again = opened
        assert np.array_equal(above, values >= 7)
        assert (total, again) == (values[values >= 0].sum(), values[values >= 7].sum())
    assert three.pids == before
    with World("rep3", workers=SHARDS) as world:
        world.run(judging, shared)
    for here, there in zip(three.traffic, world.traffic, strict=True):
        assert (here.bytes_sent, here.messages, here.rounds) == (
            there.bytes_sent, there.messages, there.rounds,
        )  # fmt: skip


def test_a_worker_that_is_lost_ends_the_job_everywhere(three: Nodes) -> None:
    _, shared = shared_rows(three)
    began = time.monotonic()
    first, second, third = three.run(lambda s, a: [over_shards(s, lost, [a])], shared)
    assert time.monotonic() - began < 15
    assert isinstance(second, WorkerFailed)
    assert "exit status -9" in str(second)
    assert all(isinstance(other, PeerAborted) and other.kind is AbortKind.FAILED for other in (first, third))


def test_a_worker_that_fails_does_not_tell_what_it_worked_on_and_the_next_job_has_new_ones(
    one: Nodes,
) -> None:
    values, shared = shared_rows(one)
    before = one.pids
    (failed,) = one.run(lambda s, a: [over_shards(s, failing, [a])], shared)
    assert isinstance(failed, WorkerFailed)
    assert "RuntimeError: " in str(failed)
    assert "failing:" in str(failed)
    assert "4711" not in str(failed)
    ((_, total, _),) = one.run(judging, shared)
    assert total == values[values >= 0].sum()
    assert not one.pids & before, "what failed is gone from memory"
    os.kill(max(one.pids), signal.SIGTERM)  # as a service manager stops a node and all that it started
    between = one.pids
    os.kill(min(between), signal.SIGKILL)
    time.sleep(0.2)
    ((_, again, _),) = one.run(judging, shared)
    assert again == total, "one that is lost between jobs is started anew"
    assert len(one.pids & between) == 1


def test_a_job_that_is_given_up_does_not_wait_for_its_shards(one: Nodes) -> None:
    _, shared = shared_rows(one)
    began = time.monotonic()
    threading.Timer(1.0, lambda: one.networks[-1].abort(0, AbortKind.STOPPED, "told to stop")).start()
    (given_up,) = one.run(lambda s, a: [over_shards(s, slow, [a])], shared)
    assert time.monotonic() - began < 20
    assert isinstance(given_up, PeerAborted)
    assert given_up.kind is AbortKind.STOPPED
