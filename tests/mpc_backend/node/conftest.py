"""A federation of four node directories with test keys, and links between them inside this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governance.federation import Federation, SiteEntry
from governance.keys import SigningKey
from governance.protocols import NODES_OF, ProtocolName
from mpc_backend.node.local import init_local_nodes
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.transport.certificates import TrustedNodes, server_context
from mpc_backend.transport.greeting import Connection, DataListener, Dialer
from mpc_backend.transport.shape import LinkShape
from mpc_backend.transport.tls import TlsTransport

if TYPE_CHECKING:
    from governance.study import StudyProtocol

    from .calling import Node

ORGANISATIONS = (
    "University computing centre",
    "Cancer registry",
    "Public health institute",
    "Patients' trust",
)
SITES = ("north", "south", "west")


@dataclass
class Party:
    """Everything the tests need of one federation: its file, node directories, and the private keys of sites."""

    folder: Path
    federation: Federation
    connectors: dict[str, SigningKey]
    stewards: dict[str, SigningKey]

    def directory(self, index: int) -> NodeDirectory:
        return NodeDirectory(self.folder / self.federation.nodes[index].id)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.id for node in self.federation.nodes)


def make_party(folder: Path, protocol: ProtocolName = "rep4") -> Party:
    connectors = {site: SigningKey.generate() for site in SITES}
    stewards = {site: SigningKey.generate() for site in SITES}
    federation = Federation(
        name="Test federation",
        version=1,
        protocol=protocol,
        nodes=tuple(init_local_nodes(folder, ORGANISATIONS[: NODES_OF[protocol]])),
        sites=tuple(
            SiteEntry(
                id=site,
                name=f"Hospital {site}",
                connector_key=connectors[site].public,
                steward_key=stewards[site].public,
            )
            for site in SITES
        ),
    )
    return Party(folder, federation, connectors, stewards)


@pytest.fixture(scope="session")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return make_party(tmp_path_factory.mktemp("federation"))


@dataclass
class Mesh:
    """Links among all nodes of a party, each end in this process.

    ``bare``: a node that gets no transport; its connections stay in ``outgoing`` and ``incoming`` as they were accepted.
    """

    party: Party
    epoch: int = 7
    deadline: float = 5.0
    queued_bytes: int = 1 << 28
    shape: LinkShape | None = None
    bare: int | None = None
    outgoing: list[dict[int, Connection]] = field(default_factory=list)
    incoming: list[dict[int, Connection]] = field(default_factory=list)
    listeners: list[DataListener] = field(default_factory=list)
    transports: list[TlsTransport] = field(default_factory=list)

    def connect(self) -> list[TlsTransport]:
        party, count = self.party, len(self.party.federation.nodes)
        trusted = TrustedNodes(party.federation)
        incoming = self.incoming = [{} for _ in range(count)]
        arrived = threading.Semaphore(0)
        for index in range(count):
            folder = party.directory(index)
            context = server_context(folder.tls_certificate, folder.tls_key, trusted.certificates)

            def accept(connection: Connection, index: int = index) -> None:
                connection.hear(5)
                connection.say({"answer": "ready"})
                incoming[index][connection.peer] = connection
                arrived.release()

            listener = DataListener(index, "127.0.0.1:0", context, trusted, accept)
            listener.start()
            self.listeners.append(listener)
        outgoing = self.outgoing = [self._dial_all(index, trusted) for index in range(count)]
        for _ in range(count * (count - 1)):
            assert arrived.acquire(timeout=10)
        self.transports = [
            TlsTransport(
                index,
                party.names,
                self.epoch,
                {peer: one.socket for peer, one in outgoing[index].items()},
                {peer: one.socket for peer, one in incoming[index].items()},
                deadline=self.deadline,
                queued_bytes=self.queued_bytes,
                shape=self.shape,
            )
            for index in range(count)
            if index != self.bare
        ]
        return self.transports

    def _dial_all(self, index: int, trusted: TrustedNodes) -> dict[int, Connection]:
        folder = self.party.directory(index)
        dialer = Dialer(index, trusted, folder.tls_certificate, folder.tls_key)
        found = {}
        for peer, listener in enumerate(self.listeners):
            if peer != index:
                connection = dialer.dial(peer, f"127.0.0.1:{listener.port}", 5)
                connection.say({"hello": index})
                assert connection.hear(5) == {"answer": "ready"}
                found[peer] = connection
        return found

    def close(self) -> None:
        for transport in self.transports:
            transport.abort("the test is over")
        if self.bare is not None:
            for ends in (self.outgoing, self.incoming):
                for connection in ends[self.bare].values():
                    connection.close()
        for listener in self.listeners:
            listener.stop()


@pytest.fixture
def mesh(party: Party) -> Iterator[Callable[..., Mesh]]:
    """``mesh(deadline=..., ...)`` connects all nodes; everything is closed after the test."""
    made: list[Mesh] = []

    def make(**options: float | LinkShape | None) -> Mesh:
        made.append(Mesh(party, **options))  # type: ignore[arg-type]
        made[-1].connect()
        return made[-1]

    yield make
    for one in made:
        one.close()


def in_parallel(functions: list[Callable[[], object]], seconds: float = 30) -> list[object]:
    """Run each in a thread of its own; returns results or the exceptions raised, in order."""
    results: list[object] = [None] * len(functions)

    def run(place: int) -> None:
        try:
            results[place] = functions[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "a node hangs"
    return results


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node whose control interface is called without a network."""
    from .calling import Node

    one = Node(make_party(tmp_path_factory.mktemp("api")))
    yield one
    one.close()


@pytest.fixture
def approved(node: Node) -> StudyProtocol:
    """A study at that node that everybody has signed."""
    from .studying import approvals, study

    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    return one
