"""Shards as processes of a node: its workers, kept from job to job, and the shards of one job on them."""

from __future__ import annotations

import contextlib
import socket
import subprocess  # starts our own interpreter with fixed arguments
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from mpc_backend.errors import AbortKind, ShardAborted, WorkerFailed
from mpc_backend.shards.base import Done, Shards, Task
from mpc_backend.shards.relay import relayed
from mpc_backend.shards.worker import Begin, End, Ended, Failed
from mpc_backend.transport.base import Transport

LOOK_SECONDS: Final = 0.1
"""How often it is looked whether the job was given up while its shards are computed."""
REASON_SECONDS: Final = 1.0
"""How long a better reason for a lost connection is waited for: a node that gives up says why on the job's own link."""
END_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Channel:
    """The links of one shard, by peer: connections this node dialled, and accepted, for it alone."""

    outgoing: Mapping[int, socket.socket]
    incoming: Mapping[int, socket.socket]

    def close(self) -> None:
        """Cut every link."""
        for one in (*self.outgoing.values(), *self.incoming.values()):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


class _Worker:
    """One process and the socket to it."""

    def __init__(self, load: bool) -> None:
        self._control, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "mpc_backend.shards",
            str(theirs.fileno()),
            *(["load"] if load else []),
        ]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])  # noqa: S603
        theirs.close()
        self.orders = Connection(self._control.dup().detach())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def tell(self, order: object, ends: Sequence[socket.socket] = ()) -> None:
        """Raises WorkerFailed if the process is gone."""
        try:
            self.orders.send(order)
            if ends:
                socket.send_fds(self._control, [b"\0"], [end.fileno() for end in ends])
        except OSError as error:
            raise self._gone() from error

    def hear(self) -> Any:
        """The answer to an order; raises WorkerFailed if the process is gone."""
        try:
            return self.orders.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error

    def _gone(self) -> WorkerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REASON_SECONDS)
        return WorkerFailed(
            f"worker {self.pid} of this node ended (exit status {self._process.returncode}); its error is in the log, or "
            "the machine ran out of memory: fewer workers need less"
        )

    def close(self) -> None:
        """Tell it to end as soon as it has nothing to do."""
        self.orders.close()
        self._control.close()

    def end(self, seconds: float) -> None:
        """Wait for its end, and kill it if that does not come in time."""
        self.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Workers:
    """The worker processes of a node. One job uses them at a time; after one that failed they are started anew.

    ``load``: they load all kernels as they start, so that the first job does not wait for it.
    """

    def __init__(self, count: int, *, load: bool = True) -> None:
        self.count, self._load = count, load
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.pid for worker in self._workers]

    def start(self) -> None:
        """Start those that do not run; returns before they are ready."""
        with self._lock:
            for worker in [one for one in self._workers if not one.runs]:
                self._workers.remove(worker)
                worker.end(0)
            while len(self._workers) < self.count:
                self._workers.append(_Worker(self._load))

    def begin(self, job: Begin, channels: Sequence[Channel]) -> ProcessShards:
        """Give as many workers as there are channels a job."""
        self.start()
        return ProcessShards(self, self._workers[: len(channels)], job, channels)

    def drop(self) -> None:
        """Kill all at once: what they hold of a failed job is gone with them."""
        self._end(0)

    def stop(self) -> None:
        """Let all end."""
        self._end(END_SECONDS)

    def _end(self, seconds: float) -> None:
        with self._lock:
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.end(seconds)


class ProcessShards(Shards):
    """The shards of one job on worker processes."""

    def __init__(
        self, workers: Workers, used: Sequence[_Worker], job: Begin, channels: Sequence[Channel]
    ) -> None:
        super().__init__(len(channels))
        self._all, self._workers, self._channels = workers, list(used), channels
        self.bytes_received = 0
        self._ended = False
        self._lock = threading.Lock()
        try:
            for worker, channel in zip(used, channels, strict=True):
                sending = [relayed(channel.outgoing[peer], sends=True) for peer in job.peers]
                receiving = [relayed(channel.incoming[peer], sends=False) for peer in job.peers]
                worker.tell(job, [*sending, *receiving])
                for end in (*sending, *receiving):
                    end.close()  # the worker has it now
        except BaseException:
            self.abort()
            raise

    def run(self, tasks: Sequence[Task], transport: Transport) -> list[Done]:
        used = self._workers[: len(tasks)]
        for worker, task in zip(used, tasks, strict=True):
            worker.tell(task)
        answers = self._answers(used, transport)
        done = [_done(answers[worker.pid], transport) for worker in used]
        self.bytes_received += sum(one.bytes_received for one in done)
        return done

    def _answers(
        self, used: Sequence[_Worker], transport: Transport | None, seconds: float = 0.0
    ) -> dict[int, Any]:
        """What each worker says, by its number; the first that failed ends the wait."""
        waiting, answers = {worker.orders: worker for worker in used}, {}
        until = time.monotonic() + seconds
        while waiting:
            for ready in wait(list(waiting), LOOK_SECONDS):
                assert isinstance(ready, Connection)
                worker = waiting.pop(ready)
                answers[worker.pid] = answer = worker.hear()
                if isinstance(answer, Failed):
                    return dict.fromkeys((one.pid for one in used), answer)
            if transport is not None:
                transport.check()
            elif time.monotonic() > until:
                raise WorkerFailed(f"workers of this node did not end within {seconds:g} s")
        return answers

    def close(self) -> None:
        """End the job in order: everything sent is delivered.

        Raises:
            ProtocolAbort, WorkerFailed: it was not.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = True
        try:
            for worker in self._workers:
                worker.tell(End())
            for answer in self._answers(self._workers, None, END_SECONDS).values():
                if not isinstance(answer, Ended):
                    raise WorkerFailed(
                        f"a worker of this node did not end its job: it said {type(answer).__name__}"
                    )
        except BaseException:
            self._all.drop()
            raise
        finally:
            self._cut()

    def abort(self) -> bool:
        """Give the job up: its workers are killed, its links cut. Does nothing, and says so, once it has ended."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
        self._cut()
        self._all.drop()
        return True

    def _cut(self) -> None:
        for channel in self._channels:
            channel.close()


def _done(answer: Any, transport: Transport) -> Done:
    if isinstance(answer, Done):
        return answer
    assert isinstance(answer, Failed)
    if answer.kind is None:
        raise WorkerFailed(f"a worker of this node failed in its shard: {answer.reason}")
    if answer.kind is AbortKind.LOST:
        _await_reason(transport)
    raise ShardAborted(answer.kind, answer.reason)


def _await_reason(transport: Transport) -> None:
    """Raise what another node says on the job's own link, if it says something soon."""
    until = time.monotonic() + REASON_SECONDS
    while time.monotonic() < until:
        transport.check()
        time.sleep(LOOK_SECONDS / 10)
