"""While links come together: a node that ends is noticed at once, and nothing else is taken for that."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from mpc_backend.errors import PeerLost
from mpc_backend.node.rendezvous import Gathering, RunTerms
from mpc_backend.transport.certificates import TrustedNodes, server_context
from mpc_backend.transport.greeting import Connection, DataListener, Dialer

from .conftest import Party

PEERS = {1, 2, 3}
PATIENCE = 20.0


class Links:
    """Node 0 as it gathers links: connections to all others, and both ends of each in the test's hands."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.trusted = TrustedNodes(party.federation)
        terms = RunTerms(
            run="1" * 64, epoch="0" * 16, study="2" * 64, federation="3" * 64, software="4", sites={}
        )
        self.gathering = Gathering(terms, 1)
        self.theirs: dict[int, list[Connection]] = {peer: [] for peer in PEERS}
        for peer in PEERS:
            self.gathering.outgoing[peer], accepted = self.connect(0, peer)
            self.theirs[peer].append(accepted)

    def connect(self, dialling: int, accepting: int) -> tuple[Connection, Connection]:
        """A connection between two nodes: the end that dialled and the one that accepted."""
        folder = self.party.directory(accepting)
        context = server_context(folder.tls_certificate, folder.tls_key, self.trusted.certificates)
        accepted: queue.Queue[Connection] = queue.Queue()
        listener = DataListener(accepting, "127.0.0.1:0", context, self.trusted, accepted.put)
        listener.start()
        home = self.party.directory(dialling)
        dialer = Dialer(dialling, self.trusted, home.tls_certificate, home.tls_key)
        dialled = dialer.dial(accepting, f"127.0.0.1:{listener.port}", 5)
        found = accepted.get(timeout=5)
        listener.stop()
        return dialled, found

    def arrive(self, peer: int) -> Connection:
        """A peer's own link to node 0 stands; returns the peer's end of it."""
        dialled, accepted = self.connect(peer, 0)
        assert self.gathering.arrived(accepted)
        self.theirs[peer].append(dialled)
        return dialled

    def wait(self, seconds: float = PATIENCE) -> float:
        """Wait for all links as a node does; returns how long it took to be told that it is in vain."""
        began = time.monotonic()
        with pytest.raises(PeerLost) as lost:
            self.gathering.await_incoming(PEERS, self.party.names, seconds)
        self.said = str(lost.value)
        return time.monotonic() - began

    def close(self) -> None:
        self.gathering.close()
        for connection in (one for ends in self.theirs.values() for one in ends):
            connection.close()


@pytest.fixture
def links(party: Party) -> Iterator[Links]:
    made = Links(party)
    yield made
    made.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_node_that_ends_before_it_connects_is_noticed_at_once(links: Links, how: str) -> None:
    links.arrive(1)
    (theirs,) = links.theirs[2]
    if how == "reset":
        theirs.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.socket.close()
    else:
        threading.Timer(0.3, theirs.close).start()
    assert links.wait() < 5
    assert links.said == "node-c ended its connection before all nodes were connected"
    assert links.gathering.blamed == "node-c"


def test_the_node_that_is_awaited_is_blamed_before_one_that_gave_up_for_it(links: Links) -> None:
    links.arrive(1)
    for peer in (1, 2):
        for theirs in links.theirs[peer]:
            theirs.close()
    assert links.wait() < 5
    assert links.gathering.blamed == "node-c"


def test_an_end_is_noticed_behind_unread_bytes(links: Links) -> None:
    """A node whose own links all stand begins to send; then it is lost, while a third one is awaited."""
    theirs = links.arrive(1)
    theirs.say({"first": "message"})
    theirs.close()
    assert links.wait() < 5
    assert links.gathering.blamed == "node-b"


def test_slow_nodes_and_early_messages_are_no_ends(links: Links) -> None:
    links.arrive(1).say({"first": "message"})
    threading.Timer(0.4, links.arrive, args=(2,)).start()
    assert links.wait(1.0) >= 1.0
    assert links.said == "node-d did not connect within 1 s"


def test_all_links_that_come_late_are_taken(links: Links) -> None:
    for delay, peer in ((0.0, 1), (0.2, 2), (0.4, 3)):
        threading.Timer(delay, links.arrive, args=(peer,)).start()
    links.gathering.await_incoming(PEERS, links.party.names, PATIENCE)
    assert set(links.gathering.incoming) == PEERS


def test_a_run_given_up_meanwhile_ends_the_waiting(links: Links) -> None:
    threading.Timer(0.3, links.gathering.close).start()
    assert links.wait() < 5
