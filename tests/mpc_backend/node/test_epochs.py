"""A node is lost at every verification barrier in turn; each new start of the job draws every key anew."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from governance.keys import SigningKey
from mpc_backend import operations
from mpc_backend.errors import ProtocolAbort
from mpc_backend.keys import agree_keys
from mpc_backend.prg import Keystream
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.session import Session, open_values
from mpc_backend.testing import Shared, World
from mpc_backend.transport.tls import TlsTransport

from .conftest import Mesh, in_parallel
from .test_keys import binding, every_key

ROWS = np.array([5, 3, 9, 3, 1, 7])


class Killed(Exception):
    """What the lost node itself sees."""


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[bytes]]]:
    """The key of every keystream that is begun, by the thread (the node) that begins it."""
    begun: dict[str, list[bytes]] = defaultdict(list)
    make = Keystream.__init__

    def recorded(self: Keystream, key: bytes) -> None:
        begun[threading.current_thread().name].append(key)
        make(self, key)

    monkeypatch.setattr(Keystream, "__init__", recorded)
    yield begun


def program(session: Session, shared: Shared) -> Any:
    """Three openings, each after a barrier, and comparisons and shuffles between them."""
    (shuffled,) = operations.shuffle([shared.at(session)])
    (above,) = open_values(session, [(shuffled > 3).sum()], "above")
    (equal,) = open_values(session, [(shuffled == int(above)).sum()], "equal")
    (total,) = open_values(session, [operations.shuffle([shuffled])[0].sum()], "sum")
    return int(above), int(equal), int(total)


def start(
    mesh: Mesh, epoch: int, shared: Shared, victim: int, barrier: int | None
) -> tuple[list[JobKeys], list[object], int]:
    """One start of the job; node ``victim`` is lost when it comes to ``barrier``. Keys, results, barriers passed."""
    keys: dict[int, JobKeys] = {}
    passed = 0

    def run(end: TlsTransport) -> object:
        nonlocal passed
        threading.current_thread().name = f"epoch {epoch}, node {end.index}"
        identity = SigningKey.load(mesh.party.directory(end.index).identity_key)
        keys[end.index] = agree_keys(end.index, replace(binding(mesh.party), epoch=epoch), end, identity.sign)
        session = Session.for_node(end.index, "rep4", end, keys[end.index])
        verify = session.protocol.verify

        def counted() -> None:
            nonlocal passed
            if end.index == victim:
                if passed == barrier:
                    _cut(end)
                    raise Killed
                passed += 1
            verify()

        session.protocol.verify = counted  # type: ignore[method-assign]
        return program(session, shared)

    results = in_parallel([lambda end=end: run(end) for end in mesh.transports])
    return [keys[index] for index in range(4)], results, passed


def _cut(end: TlsTransport) -> None:
    """What the kernel does to the connections of a process that is killed."""
    end._closing = True
    for connection in (*end._incoming.values(), *(writer.connection for writer in end._writers.values())):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def test_no_key_is_used_in_two_starts_of_a_job(
    mesh: Callable[..., Mesh], streams: dict[str, list[bytes]]
) -> None:
    shared = World("rep4").share(ROWS, bits=8)
    whole, results, barriers = start(mesh(), 1, shared, victim=0, barrier=None)
    assert results == [(3, 2, 28)] * 4
    assert barriers >= 3
    by_epoch = [{key for one in whole for key in every_key(one)}]
    for barrier in range(barriers):
        victim = barrier % 4
        keys, results, passed = start(mesh(), 2 + barrier, shared, victim, barrier)
        assert passed == barrier
        assert isinstance(results.pop(victim), Killed)
        assert all(isinstance(result, ProtocolAbort) for result in results), "somebody released a result"
        by_epoch.append({key for one in keys for key in every_key(one)})
    again, results, _ = start(mesh(), 2 + barriers, shared, victim=0, barrier=None)
    assert results == [(3, 2, 28)] * 4
    by_epoch.append({key for one in again for key in every_key(one)})
    assert sum(map(len, by_epoch)) == len(set.union(*by_epoch)), "a key came back"
    for node, keys in streams.items():
        assert len(keys) == len(set(keys)), f"{node} began one keystream twice"
    epochs: dict[str, set[bytes]] = defaultdict(set)
    for node, keys in streams.items():
        epochs[node.partition(",")[0]] |= set(keys)
    assert len(epochs) == barriers + 2
    assert sum(map(len, epochs.values())) == len(set.union(*epochs.values())), "a keystream came back"
