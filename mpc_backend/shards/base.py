"""What a shard is given, what it gives back, and who runs shards.

This is all that the work on a shard needs from the place it runs in: a `Task`, which can be pickled, and a transport that
reaches the same shard at the other nodes. Threads and processes of one machine are two such places; workers of a cluster
that a node's operator runs would be a third, as long as they belong to that operator alone and their channels are as private
and authenticated as the node's own.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mpc_backend.errors import EngineError
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.session import Session
from mpc_backend.shards.rows import brought_in, taken_out
from mpc_backend.transport.base import Traffic, Transport

MOST_WORKERS = 64
Work = Callable[..., Any]
"""``work(session, *rows, *others)``: a function of a module, or `functools.partial` of one, so that it can be named to another
process. Gives secret values, `Total`s, or mappings, lists and tuples of them.
"""


@dataclass(frozen=True, repr=False)
class Task:
    """One shard at one node: its rows and what all shards are given, apart from any session, and keys for it alone."""

    keys: JobKeys | None
    work: Work
    given: tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class Done:
    """What a shard gives back, apart from any session and checked, and what it sent for it. No message may print it."""

    result: Any
    traffic: Traffic
    bytes_received: int = 0


class Shards(ABC):
    """Runs the shards of one node in one job; made anew for every job."""

    def __init__(self, count: int) -> None:
        self.count = count
        """How many shards run side by side; the same at every node of a job."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], transport: Transport) -> list[Done]:
        """Run at most ``count`` shards at once, each on its own channel, and wait for all of them.

        ``transport``: the job's own; if the job has failed there, its shards are given up.

        Raises:
            ProtocolAbort: a shard failed its checks, lost a peer, or the job was given up; none of them is used.
        """


def reason(error: BaseException) -> str:
    """Why a shard came to nothing, for other nodes and logs: an error that is not of the engine may quote a value."""
    if isinstance(error, EngineError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return f"{type(error).__name__}: {' '.join(f'{frame.name}:{frame.lineno}' for frame in frames)}"


def computed(task: Task, index: int, protocol: str, transport: Transport) -> Any:
    """Do the work of one shard at node ``index``; what it gives back has passed the verification barrier."""
    session = Session.for_node(index, protocol, transport, task.keys)
    result = task.work(session, *brought_in(task.given, session.protocol))
    session.protocol.verify()
    return taken_out(result)
