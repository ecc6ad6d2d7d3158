"""Shards as threads, for nodes that are threads of one process themselves: in-memory channels, one network for each shard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from mpc_backend.errors import AbortKind, PeerAborted, ProtocolAbort
from mpc_backend.shards.base import Done, Shards, Task, computed, reason
from mpc_backend.transport.base import Transport
from mpc_backend.transport.memory import MemoryNetwork, MemoryTransport


class ShardNetworks:
    """The channels of all shards of a job, for all nodes: a network of their own for each shard of each sharing."""

    def __init__(self, make: Callable[[], MemoryNetwork]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], MemoryNetwork] = {}
        self._over: tuple[int, AbortKind, str] | None = None
        self._lock = threading.Lock()

    def of(self, sharing: int, shard: int) -> MemoryNetwork:
        """The network of one shard of the ``sharing``-th time that rows were handed out."""
        with self._lock:
            network = self._made.get((sharing, shard))
            if network is None:
                network = self._made[sharing, shard] = self._make()
                if self._over is not None:
                    network.abort(*self._over)
            return network

    def abort(self, index: int, kind: AbortKind, reason: str) -> None:
        """End every shard of the job at every node, and those that have not begun."""
        with self._lock:
            self._over = self._over or (index, kind, reason)
            for network in self._made.values():
                network.abort(*self._over)


class ThreadShards(Shards):
    """The shards of one node as threads."""

    def __init__(self, count: int, index: int, protocol: str, networks: ShardNetworks) -> None:
        super().__init__(count)
        self._index, self._protocol, self._networks = index, protocol, networks
        self._sharing = 0

    def run(self, tasks: Sequence[Task], transport: Transport) -> list[Done]:
        self._sharing += 1
        done: dict[int, Done] = {}
        errors: list[BaseException] = []
        ends = [self._networks.of(self._sharing, shard).transport(self._index) for shard in range(len(tasks))]

        def work(shard: int) -> None:
            try:
                done[shard] = self._done(tasks[shard], ends[shard], trace=transport.traffic.trace is not None)
            except BaseException as error:  # raised again in the node's own thread
                errors.append(error)
                kind = error.kind if isinstance(error, ProtocolAbort) else AbortKind.FAILED
                self._networks.abort(self._index, kind, reason(error))
            finally:  # not before the others can know why: they would take this end for one that is lost
                ends[shard].close()

        threads = [
            threading.Thread(target=work, args=(shard,), name=f"node-{self._index}-shard-{shard}")
            for shard in range(len(tasks))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise min(errors, key=lambda error: isinstance(error, PeerAborted))
        return [done[shard] for shard in range(len(tasks))]

    def _done(self, task: Task, end: MemoryTransport, *, trace: bool) -> Done:
        end.traffic.trace = [] if trace else None
        return Done(computed(task, self._index, self._protocol, end), end.traffic)
