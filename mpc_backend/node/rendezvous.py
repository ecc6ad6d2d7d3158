"""How the nodes of a run begin it together.

Node 0 leads: it decides the order of runs, nothing else. For the oldest run it can start, it connects to
every other node and says what it would run (run, epoch, study, federation, software, each site's manifest).
Each node checks the run again for itself and answers ready, wait (with the reason) or no. When all are ready
the leader says go; every node then connects to every other, so that each ordered pair has a link of its own.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from governance.document import Digest, Slug, Words
from mpc_backend.errors import PeerLost
from mpc_backend.shards import MOST_WORKERS
from mpc_backend.shards.processes import Channel
from mpc_backend.transport.errors import FrameError
from mpc_backend.transport.greeting import Connection, Greeting

LOOK_SECONDS = 0.1
"""How often the connections that stand are looked at while others are awaited."""


class Wire(BaseModel):
    """A greeting or an answer; unknown members are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, message: Greeting) -> Any:
        """Parse a received one.

        Raises:
            FrameError: malformed.
        """
        try:
            return cls.model_validate(message)
        except ValidationError as error:
            fields = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
            raise FrameError(f"a malformed {cls.__name__.lower()}: {', '.join(fields)}") from error


class RunTerms(Wire):
    """What every node of a run must see alike; ``epoch`` (hexadecimal) numbers this start of it."""

    run: Digest
    epoch: str = Field(pattern=r"^[0-9a-f]{16}$")
    study: Digest
    federation: Digest
    software: Words
    sites: dict[Slug, Digest]


class StartGreeting(Wire):
    """Leader to follower: could this run start now?"""

    purpose: Literal["start"] = "start"
    terms: RunTerms
    charged: int = Field(ge=1)


class StartAnswer(Wire):
    """Follower to leader. ``no`` is final: this node will never run it."""

    answer: Literal["ready", "wait", "no"]
    why: str = Field(default="", max_length=2000)
    charged: int = Field(default=1, ge=1)
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)


class StartDecision(Wire):
    """Leader to followers that were ready: begin, or not now."""

    go: bool
    charged: int = Field(default=1, ge=1)
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)
    final: bool = False
    why: str = Field(default="", max_length=2000)
    who: str = Field(default="", max_length=100)


class LinkGreeting(Wire):
    """Any node to any other, once a run has begun: this connection carries my messages to you. ``shard``: those of
    one shard, counted from 1; 0: the run's own.
    """

    purpose: Literal["link"] = "link"
    terms: RunTerms
    shard: int = Field(default=0, ge=0, le=MOST_WORKERS)


class LinkAnswer(Wire):
    """The accepting node's answer."""

    answer: Literal["ready", "no"]
    why: str = Field(default="", max_length=2000)


@dataclass
class Gathering:
    """The links of one run at one node while they come together."""

    terms: RunTerms
    charged: int
    incoming: dict[int, Connection] = field(default_factory=dict)
    outgoing: dict[int, Connection] = field(default_factory=dict)
    workers: int = 1
    """How many shards are worked on side by side, at every node of the run."""
    decided: bool = False
    """Whether all nodes are ready, so that this number is known here."""
    shards_incoming: dict[tuple[int, int], Connection] = field(default_factory=dict)
    shards_outgoing: dict[tuple[int, int], Connection] = field(default_factory=dict)
    """The links of shards, by shard (from 1) and peer."""
    closed: bool = False
    blamed: str = ""
    """The node whose link is awaited, for the message if it does not come."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def shards(self) -> range:
        """The numbers of the shards that have links of their own."""
        return range(1, 1 + self.workers) if self.workers > 1 else range(0)

    def decide(self, workers: int) -> None:
        """All nodes are ready, and work on so many shards."""
        self.workers = workers
        self.decided = True

    def awaits(self, shard: int) -> bool:
        """Whether it is known here if a link of that shard is wanted: nodes that heard the decision first open theirs while it
        is still on its way to this one."""
        return shard == 0 or self.decided

    def arrived(self, connection: Connection, shard: int = 0) -> bool:
        """A peer's link to this node is here; False if it is not wanted (any more)."""
        peer = connection.peer
        with self._changed:
            if shard == 0:
                wanted = peer not in self.incoming
            else:
                wanted = shard in self.shards and (shard, peer) not in self.shards_incoming
            if self.closed or not wanted:
                return False
            if shard == 0:
                self.incoming[peer] = connection
            else:
                self.shards_incoming[shard, peer] = connection
            self._changed.notify_all()
            return True

    def channels(self, peers: set[int]) -> list[Channel]:
        """The links of every shard, which belong to whoever asked for them from now on."""
        outgoing, self.shards_outgoing = self.shards_outgoing, {}
        incoming, self.shards_incoming = self.shards_incoming, {}
        return [
            Channel(
                {peer: outgoing[shard, peer].socket for peer in peers},
                {peer: incoming[shard, peer].socket for peer in peers},
            )
            for shard in self.shards
        ]

    def _missing(self, peers: set[int]) -> list[int]:
        """Peers of which a link is still awaited."""
        shards = {
            peer for shard in self.shards for peer in peers if (shard, peer) not in self.shards_incoming
        }
        return sorted((peers - set(self.incoming)) | shards)

    def await_incoming(self, peers: set[int], names: tuple[str, ...], seconds: float) -> None:
        """Wait until every peer's link is here, or any peer ends the connections it has.

        Raises:
            PeerLost: names those that did not come, or that ended.
        """
        until = time.monotonic() + seconds
        with self._changed:
            while self._missing(peers):
                left = until - time.monotonic()
                if left <= 0 or self.closed:
                    missing = [names[peer] for peer in self._missing(peers)]
                    self.blamed = missing[0]
                    raise PeerLost(f"{', '.join(missing)} did not connect within {seconds:g} s")
                self._check_ended(names)
                self._changed.wait(min(left, LOOK_SECONDS))

    def _check_ended(self, names: tuple[str, ...]) -> None:
        """No node closes a connection before all links stand unless it stopped or gave the run up."""
        connections = [*self.outgoing.values(), *self.incoming.values(), *self.shards_outgoing.values()]
        connections += self.shards_incoming.values()
        ended = {connection.peer for connection in connections if connection.ended()}
        if ended:
            # A node that is still awaited is the likelier cause than one that gave up because of it.
            peer = min(ended, key=lambda one: (one in self.incoming, one))
            self.blamed = names[peer]
            raise PeerLost(f"{names[peer]} ended its connection before all nodes were connected")

    def close(self) -> None:
        """Cut every link that is not part of a transport yet."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            connections = [*self.incoming.values(), *self.outgoing.values(), *self.shards_incoming.values()]
            connections += self.shards_outgoing.values()
        for connection in connections:
            connection.close()
