"""Queues between nodes: order, deadlines, and sends that never wait."""

import threading
import time

import numpy as np
import pytest

from mpc_backend.errors import PeerAborted, PeerLost, ProtocolAbort
from mpc_backend.testing import World
from mpc_backend.transport.memory import MemoryNetwork


def test_messages_arrive_in_order_and_are_counted() -> None:
    network = MemoryNetwork(2)
    a, b = network.transport(0), network.transport(1)
    a.send(1, b"one")
    a.send(1, b"three")
    assert (b.receive(0), b.receive(0)) == (b"one", b"three")
    assert (a.traffic.bytes_sent, a.traffic.messages) == (8, 2)


def test_a_dropped_message_shows_when_the_next_arrives() -> None:
    network = MemoryNetwork(2, tamper=lambda s, r, i, payload: None if i == 0 else payload)
    a, b = network.transport(0), network.transport(1)
    a.send(1, b"one")
    a.send(1, b"two")
    with pytest.raises(ProtocolAbort, match="message 1 from node 0 where 0"):
        b.receive(0)


def test_a_silent_peer_is_lost_after_the_deadline() -> None:
    network = MemoryNetwork(2, deadline=0.2)
    start = time.monotonic()
    with pytest.raises(PeerLost, match=r"within 0\.2 s"):
        network.transport(1).receive(0)
    assert 0.1 < time.monotonic() - start < 5


def test_nodes_that_all_wait_do_not_wait_for_the_deadline() -> None:
    network = MemoryNetwork(2, deadline=600)
    errors: list[BaseException] = []

    def wait(me: int) -> None:
        try:
            network.transport(me).receive(1 - me)
        except ProtocolAbort as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, args=(me,), daemon=True) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [type(error) for error in errors] == [PeerLost, PeerLost]


def test_an_abort_reaches_a_waiting_peer() -> None:
    network = MemoryNetwork(2)
    threading.Timer(0.05, network.transport(0).abort, ["disk full"]).start()
    with pytest.raises(PeerAborted, match="disk full"):
        network.transport(1).receive(0)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_ten_million_words_cross_without_deadlock(protocol: str) -> None:
    n = 10_000_000
    values = np.arange(n, dtype=np.int64)
    with World(protocol) as world:
        total = world.run(lambda _, a: (a * a)[::1000].sum(), world.share(values, bits=31))
    assert total == int((values[::1000] ** 2).sum())
