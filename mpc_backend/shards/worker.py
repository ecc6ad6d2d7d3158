"""The process of one worker: it computes one shard after the other of the jobs that its node gives it.

It has no keys but a shard's, no network and no files: it talks to its node over one socket, and to the same shard at other
nodes over sockets that its node relays to links of its own. What it is told, in order: `Begin`, with the sockets; any number
of `Task`s, each answered with `Done` or `Failed`; `End`, answered with `Ended`. It ends when its node does.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection

from mpc_backend.errors import AbortKind, ProtocolAbort
from mpc_backend.kernels.warming import compile_all
from mpc_backend.memory import give_back_memory
from mpc_backend.shards.base import Done, Task, computed, reason
from mpc_backend.transport.base import Traffic
from mpc_backend.transport.shape import LinkShape
from mpc_backend.transport.tls import TlsTransport


@dataclass(frozen=True)
class Begin:
    """A job: node ``index`` of ``names`` under ``protocol``. Two sockets for each peer follow, all to send on first."""

    index: int
    protocol: str
    names: tuple[str, ...]
    epoch: int
    deadline: float
    shape: LinkShape | None

    @property
    def peers(self) -> tuple[int, ...]:
        """The other nodes, in the order of the sockets."""
        return tuple(peer for peer in range(len(self.names)) if peer != self.index)


@dataclass(frozen=True)
class Failed:
    """A shard that came to nothing. ``kind``: the abort's, None for a failure of this process."""

    kind: AbortKind | None
    reason: str


@dataclass(frozen=True)
class End:
    """The job is over in order."""


@dataclass(frozen=True)
class Ended:
    """Everything this worker had sent has been taken."""


def work(descriptor: int, *, load: bool) -> None:
    """Serve the node at the other end of a socket until it closes it; ``load`` all kernels first, else when needed."""
    control = socket.socket(fileno=descriptor)
    orders = Connection(control.dup().detach())
    if load:
        compile_all()
    job: _Job | None = None
    while True:
        try:
            order = orders.recv()
        except (EOFError, OSError):  # the node has ended, perhaps in the middle of an order
            return
        if isinstance(order, Begin):
            job = _Job(order, control)
        elif isinstance(order, Task) and job is not None:
            orders.send(job.answer(order))
        elif isinstance(order, End) and job is not None:
            orders.send(job.end())
            job = None
            give_back_memory()
        else:
            raise ValueError(f"a worker was told {type(order).__name__} out of order")


class _Job:
    """What this worker has of the job that its node computes."""

    def __init__(self, begin: Begin, control: socket.socket) -> None:
        self._begin = begin
        count = len(begin.peers)
        descriptors = socket.recv_fds(control, 1, 2 * count)[1] if count else []
        ends = [socket.socket(fileno=one) for one in descriptors]
        self._transport = TlsTransport(
            begin.index,
            begin.names,
            begin.epoch,
            dict(zip(begin.peers, ends[:count], strict=True)),
            dict(zip(begin.peers, ends[count:], strict=True)),
            deadline=begin.deadline,
            shape=begin.shape,
        )

    def answer(self, task: Task) -> Done | Failed:
        """Compute one shard."""
        transport = self._transport
        before, transport.traffic = transport.bytes_received, Traffic()
        try:
            result = computed(task, self._begin.index, self._begin.protocol, transport)
        except ProtocolAbort as error:
            return Failed(error.kind, str(error))
        except Exception as error:  # told to the node, which ends the job; its message may quote a value
            return Failed(None, reason(error))
        return Done(result, transport.traffic, transport.bytes_received - before)

    def end(self) -> Ended | Failed:
        """Deliver what is left."""
        try:
            self._transport.close()
        except ProtocolAbort as error:
            return Failed(error.kind, str(error))
        return Ended()
