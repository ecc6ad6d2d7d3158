"""A line of the engine over real links: one process per node, TLS 1.3 on loopback, keys agreed as for any job. With workers,
each node has as many more processes, which work on row shards.

The inputs are shared before the clock starts, as in one process; the time is from the first node's start to the last
node's verified end, without opening.
"""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import numpy as np

from governance.federation import Federation
from governance.keys import SigningKey
from mpc_backend.bench.lines import (
    LINES,
    SILENCE_SECONDS,
    Line,
    Measurement,
    Run,
    measurement,
    memory_before_inputs,
    own_peak,
    plaintext_bytes,
)
from mpc_backend.bench.usage import cpu_seconds, peak_mib
from mpc_backend.errors import PeerLost
from mpc_backend.keys import JobBinding, agree_keys
from mpc_backend.memory import keep_freed_memory
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.session import Session
from mpc_backend.shards.processes import Channel, ProcessShards, Workers
from mpc_backend.shards.worker import Begin
from mpc_backend.tables import Column
from mpc_backend.testing import Shared, World
from mpc_backend.transport.certificates import TrustedNodes, server_context
from mpc_backend.transport.greeting import Connection, DataListener, Dialer
from mpc_backend.transport.shape import LinkShape
from mpc_backend.transport.tls import TlsTransport

CONNECT_SECONDS: Final = 30.0
SEED: Final = 1


@dataclass(frozen=True)
class Task:
    """What one process is to do: node ``index`` of ``federation``, whose directories lie under ``folder``; the line ``name``,
    which ``module`` registers.
    """

    folder: Path
    federation: Federation
    index: int
    name: str
    module: str
    n: int
    repeats: int
    shape: LinkShape | None
    workers: int = 1


@dataclass(frozen=True)
class Timed:
    """One node's account of one run; moments by the clock that all processes of a machine share."""

    start: float
    end: float
    cpu_seconds: float
    bytes_sent: int
    rounds: int


@dataclass(frozen=True)
class Account:
    """One node's account of all runs, and its memory."""

    runs: Sequence[Timed]
    base_mib: float
    peak_mib: float


class NodeFailed(RuntimeError):
    """A process of the measurement ended with an error, which it has printed."""

    exit_code = 3


def measure_engine(
    name: str,
    protocol: str,
    n: int | None = None,
    repeats: int = 3,
    shape: LinkShape | None = None,
    workers: int = 1,
    *,
    warm_up: bool = True,
) -> Measurement:
    """Run an engine line ``repeats`` times, after one run that is not counted if it is to ``warm_up``.

    ``workers``: processes at each node that work on row shards; 1: the node's own process works on everything.

    Raises:
        NodeFailed: a node's process broke off.
        UnequalRuns: see there.
    """
    chosen = LINES[name]
    assert isinstance(chosen, Line)
    size = chosen.n if n is None else n
    with World(protocol) as world:
        inputs, _ = chosen.prepare(world, size, np.random.default_rng(SEED))
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder, ExitStack() as started:
        federation = _nodes(Path(folder), protocol)
        pipes = []
        for index in range(len(federation.nodes)):
            task = Task(
                Path(folder),
                federation,
                index,
                name,
                chosen.prepare.__module__,
                size,
                repeats + warm_up,
                shape,
                workers,
            )
            pipes.append(_start(task, started))
        for pipe, index in zip(pipes, range(len(pipes)), strict=True):
            _tell(pipe, [(one.column, one.rows, one.shape, one.by_node[index]) for one in inputs])
        _in_step(pipes)
        by_node: list[Account] = _answers(pipes)
    runs = [_together(one) for one in zip(*(node.runs for node in by_node), strict=True)]
    largest = max(by_node, key=lambda node: node.peak_mib)
    given = plaintext_bytes(inputs)
    counted = runs[int(warm_up) :]
    return measurement(chosen, size, protocol, counted, runs, given, largest.base_mib, largest.peak_mib)


def _nodes(folder: Path, protocol: str) -> Federation:
    """Makes the nodes' directories and keys. What that takes, studies and analyses, their processes do without."""
    from mpc_backend.bench.consortium import Consortium  # noqa: PLC0415

    return Consortium(folder, protocol).federation


def _together(run: Sequence[Timed]) -> Run:
    """One run of all nodes."""
    return Run(
        max(one.end for one in run) - min(one.start for one in run),
        sum(one.cpu_seconds for one in run),
        [one.bytes_sent for one in run],
        max(one.rounds for one in run),
    )


def _start(task: Task, started: ExitStack) -> Pipe:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_node, args=(task, there))  # no daemon: it may have workers
    process.start()
    there.close()
    started.push(partial(_end, process))
    return here


def _end(process: BaseProcess, failed: type[BaseException] | None, *_: object) -> None:
    """Let a process end by itself if the measurement succeeded; the others of a failed one wait for each other."""
    process.join(CONNECT_SECONDS if failed is None else 0)
    if process.is_alive():
        process.kill()
        process.join()


def _answers(pipes: Sequence[Pipe]) -> list[Any]:
    """One answer of every node, in their order; a node that breaks off is noticed while others are silent."""
    found: dict[Pipe, Any] = {}
    while len(found) < len(pipes):
        for pipe in wait([one for one in pipes if one not in found]):
            assert isinstance(pipe, Pipe)
            found[pipe] = _answer(pipe)
    return [found[pipe] for pipe in pipes]


def _answer(pipe: Pipe) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise NodeFailed("a node's process broke off; its error is above") from error


def _tell(pipe: Pipe, what: Any) -> None:
    try:
        pipe.send(what)
    except ConnectionError as error:
        raise NodeFailed("a node's process broke off; its error is above") from error


def _in_step(pipes: Sequence[Pipe]) -> None:
    """Every node listens before any dials."""
    _answers(pipes)
    for pipe in pipes:
        _tell(pipe, "all listen")


# In the process of one node


def _node(task: Task, pipe: Pipe) -> None:
    """Body of one node's process."""
    keep_freed_memory()
    importlib.import_module(task.module)
    chosen = LINES[task.name]
    assert isinstance(chosen, Line)
    node = _Links(task)
    base = memory_before_inputs()
    held = [Shared(column, rows, shape, _only(words, task)) for column, rows, shape, words in pipe.recv()]
    _, program = chosen.prepare(_ProgramAlone(task.federation.protocol), task.n, np.random.default_rng(SEED))
    workers = Workers(task.workers if task.workers > 1 else 0)
    workers.start()
    try:
        pipe.send("listening")
        pipe.recv()
        transport, shards = node.connect(workers)
        runs = range(task.repeats)
        timed = [_run(task, transport, shards, workers, node, program, held, number) for number in runs]
        if shards is not None:
            shards.close()
        transport.close()
        node.listener.stop()
        peak = own_peak() + sum(peak_mib(pid) or 0.0 for pid in workers.pids)
        pipe.send(Account(timed, base, peak))
    finally:
        workers.stop()


class _ProgramAlone(World):
    """Prepares a line for its program; the inputs were shared once, elsewhere."""

    def _share_column(self, column: Column, array: Any, shape: tuple[int, ...]) -> Shared:
        return Shared(column, len(array), shape, ())


def _only(words: Any, task: Task) -> tuple[Any, ...]:
    """Shares by node, of which this process holds one."""
    return tuple(words if index == task.index else None for index in range(len(task.federation.nodes)))


def _run(
    task: Task,
    transport: TlsTransport,
    shards: ProcessShards | None,
    workers: Workers,
    node: _Links,
    program: Any,
    held: list[Shared],
    number: int,
) -> Timed:
    keys = agree_keys(task.index, node.binding(number), transport, node.identity.sign)
    session = Session.for_node(task.index, task.federation.protocol, transport, keys, shards=shards)
    sent, rounds = transport.traffic.bytes_sent, transport.traffic.rounds
    values = [one.at(session) for one in held]

    def spent() -> float:
        return time.process_time() + sum(cpu_seconds(pid) for pid in workers.pids)

    start, cpu = time.monotonic(), spent()
    program(session, *values)
    session.protocol.verify()
    return Timed(
        start=start,
        end=time.monotonic(),
        cpu_seconds=spent() - cpu,
        bytes_sent=transport.traffic.bytes_sent - sent,
        rounds=transport.traffic.rounds - rounds,
    )


class _Links:
    """One node's connections to the others: as in a node, without the studies that nodes greet each other with."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._directory = NodeDirectory(task.folder / task.federation.nodes[task.index].id)
        self._trusted = TrustedNodes(task.federation)
        self.identity = SigningKey.load(self._directory.identity_key)
        self._incoming: dict[tuple[int, int], Connection] = {}
        self._arrived = threading.Semaphore(0)
        self.listener = DataListener(
            task.index,
            task.federation.nodes[task.index].data_address,
            server_context(
                self._directory.tls_certificate, self._directory.tls_key, self._trusted.certificates
            ),
            self._trusted,
            self._accept,
        )
        self.listener.start()

    def _accept(self, connection: Connection) -> None:
        channel = int(connection.hear(CONNECT_SECONDS)["channel"])
        self._incoming[channel, connection.peer] = connection
        self._arrived.release()

    def connect(self, workers: Workers) -> tuple[TlsTransport, ProcessShards | None]:
        """Dial every other node and wait until every other node has dialled this one: once, and once for each worker."""
        task, nodes = self._task, self._task.federation.nodes
        dialer = Dialer(task.index, self._trusted, self._directory.tls_certificate, self._directory.tls_key)
        peers = [peer for peer in range(len(nodes)) if peer != task.index]
        outgoing = {}
        for channel in range(1 + workers.count):
            for peer in peers:
                connection = dialer.dial(peer, nodes[peer].data_address, CONNECT_SECONDS)
                connection.say({"channel": channel})
                outgoing[channel, peer] = connection
        for _ in outgoing:
            if not self._arrived.acquire(timeout=CONNECT_SECONDS):
                raise PeerLost(f"not every node connected within {CONNECT_SECONDS:g} s")
        ends = [
            Channel(
                {peer: outgoing[channel, peer].socket for peer in peers},
                {peer: self._incoming[channel, peer].socket for peer in peers},
            )
            for channel in range(1 + workers.count)
        ]
        names = tuple(node.id for node in nodes)
        transport = TlsTransport(
            task.index,
            names,
            1,
            ends[0].outgoing,
            ends[0].incoming,
            deadline=SILENCE_SECONDS,
            shape=task.shape,
        )
        if not workers.count:
            return transport, None
        shape = None if task.shape is None else task.shape.part(workers.count)
        job = Begin(task.index, task.federation.protocol, names, 1, SILENCE_SECONDS, shape)
        return transport, workers.begin(job, ends[1:])

    def binding(self, number: int) -> JobBinding:
        """What the keys of run ``number`` are bound to; there is no study, whose digests are nought."""
        federation, nought = self._task.federation, bytes(32)
        return JobBinding(
            run=nought,
            epoch=number + 1,
            study=nought,
            federation=bytes.fromhex(federation.digest),
            software=nought,
            inputs=nought,
            certificates=self._trusted.fingerprints,
            identities=tuple(node.identity_key for node in federation.nodes),
        )
