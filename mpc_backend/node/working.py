"""The worker processes of a node, and the shards of the one run that uses them."""

from __future__ import annotations

import structlog

from mpc_backend.node.core import NodeCore
from mpc_backend.node.rendezvous import Gathering
from mpc_backend.shards.processes import ProcessShards, Workers
from mpc_backend.shards.worker import Begin

log = structlog.get_logger()


class NodeWorkers:
    """None where ``count`` is 1: the node's own process then works on whole tables."""

    def __init__(self, count: int) -> None:
        self.most = count
        """How many shards this node works on side by side, at most."""
        self._workers = Workers(count if count > 1 else 0)
        self._shards: ProcessShards | None = None

    def start(self) -> None:
        """Start the processes; they load what they need by themselves."""
        self._workers.start()

    def begin(self, core: NodeCore, gathering: Gathering) -> ProcessShards | None:
        """The shards of a run all links of which stand; None if it has no workers."""
        if gathering.workers == 1:
            return None
        shape, settings = core.settings.link_shape, core.settings
        job = Begin(
            core.index,
            core.federation.protocol,
            core.names,
            int(gathering.terms.epoch, 16),
            settings.message_seconds,
            None if shape is None else shape.part(gathering.workers),
        )
        self._shards = self._workers.begin(job, gathering.channels(set(job.peers)))
        return self._shards

    def close(self) -> None:
        """End the run's shards in order; raises as `ProcessShards.close`."""
        if self._shards is not None:
            self._shards.close()

    def release(self) -> int:
        """Give the run's shards up, unless they have ended in order; says how many bytes they received from peers.

        Processes that held shares of a run that failed are killed, and others started at once.
        """
        shards, self._shards = self._shards, None
        if shards is None:
            return 0
        if shards.abort():
            try:
                self._workers.start()
            except OSError as error:  # the next run tries again
                log.error("workers not started", error=type(error).__name__)
        return shards.bytes_received

    def stop(self) -> None:
        """End the processes."""
        self._workers.stop()
