"""The list of checks that keep a malicious node out. Each is the one that stops some attack: without it, that succeeds.

A check of which this cannot be shown is either of no use or not tested.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from mpc_backend import session as sessions
from mpc_backend.errors import EngineError, ProtocolAbort
from mpc_backend.protocols import sharing
from mpc_backend.protocols.authenticate import Authenticator
from mpc_backend.protocols.keys import random_keys
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.protocols.replicated import Replicated
from mpc_backend.session import Session
from mpc_backend.shards import running, threads
from mpc_backend.tables import Column
from mpc_backend.testing import World
from mpc_backend.transport.memory import MemoryNetwork
from tests.mpc_backend.removal import remove

Tamper = Callable[[int, int, int, bytes], bytes | None]
PRODUCT = (0, 3, 0)
"""The first message of a product: sender, receiver, index."""


class Check(NamedTuple):
    """A check in the code, what stands there without it, and an attack; the attack says whether it was stopped."""

    name: str
    owner: type | ModuleType
    function: str
    check: str
    instead: str
    attack: Callable[[], bool]


def flip(target: tuple[int, int, int]) -> Tamper:
    def tamper(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        changed = bytes([payload[0] ^ 1]) + payload[1:]
        return changed if (sender, receiver, index) == target else payload

    return tamper


def product(tamper: Tamper | None, program: Callable[..., object] = lambda _, a, b: a * b) -> World:
    world = World("rep4", tamper=tamper)
    world.run(program, world.share(np.arange(6)), world.share(np.arange(6) + 2))
    return world


def aborts(attack: Callable[[], object]) -> bool:
    try:
        attack()
    except ProtocolAbort:
        return True
    except EngineError:
        return False
    except ValueError:
        return False
    return False


def spoilt_everywhere() -> bool:
    """Whether every way to spoil a message of a product aborts."""
    seen: list[tuple[int, int, int]] = []
    product(lambda s, r, i, payload: (seen.append((s, r, i)), payload)[1])
    return all(aborts(lambda target=target: product(flip(target))) for target in seen)


def everybody_stops() -> bool:
    """Whether every node stops at a barrier at which one of them, node 2, saw a comparison fail."""
    network, keys = MemoryNetwork(4), random_keys(4)
    stopped = [False] * 4

    def node(index: int) -> None:
        checks = Authenticator(network.transport(index), keys[index])
        stopped[index] = aborts(lambda: checks._agree(index != 2, 1))

    threads = [threading.Thread(target=node, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all(stopped)


def longer_verdict() -> bool:
    """A verdict with a byte before it is no verdict, whatever number it stands for."""
    verdicts: dict[tuple[int, int], int] = {}

    def count(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        verdicts[sender, receiver] = index
        return payload

    product(count, verified)
    last = verdicts[0, 1]

    def pad(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return b"\0" + payload if (sender, receiver, index) == (0, 1, last) else payload

    return aborts(lambda: product(pad, verified))


def verified(session: Session, a: Any, b: Any) -> None:
    (a * b).sum()
    session.protocol.verify()


def unverified_opening() -> bool:
    def program(session: Session, a: Any, b: Any) -> object:
        return session.protocol.reveal([(sessions.raw_words(a * b), False)])

    return aborts(lambda: product(None, program))


def spoilt_export() -> bool:
    def program(session: Session, a: Any, b: Any) -> object:
        session.export_shares({"product": a * b})
        return None

    return aborts(lambda: product(flip(PRODUCT), program))


def spoilt_opening() -> bool:
    seen: list[tuple[int, int, int]] = []
    opened = lambda _, a, b: a  # noqa: E731
    product(lambda s, r, i, payload: (seen.append((s, r, i)), payload)[1], opened)
    return all(aborts(lambda target=target: product(flip(target), opened)) for target in seen)


def short_message() -> bool:
    def cut(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return payload[:-8] if (sender, receiver, index) == PRODUCT else payload

    return aborts(lambda: product(cut))


def message_left_out() -> bool:
    network = MemoryNetwork(2, tamper=lambda s, r, i, payload: None if i == 0 else payload)
    sender, receiver = network.transport(0), network.transport(1)
    sender.send(1, b"one")
    sender.send(1, b"two")
    return aborts(lambda: receiver.receive(0))


def delivered(change: Callable[[dict[int, list[Any]]], None]) -> bool:
    """Whether a recipient refuses output shares after ``change``."""
    column, values = Column(name="count", kind="int", bits=64), np.arange(3)
    encoded, plan = sharing.split("rep4", column, values), sharing.layout("rep4")
    by_node = {
        node: list(
            sharing.node_shares(
                "rep4", node, column, 3, {share: encoded[share] for share in plan.held[node]}
            ).copy()
        )
        for node in range(4)
    }
    change(by_node)
    try:
        found = sharing.combine("rep4", by_node, xor=False)
    except EngineError:
        return True
    assert found is not None
    return False


def another_copy(by_node: dict[int, list[Any]]) -> None:
    by_node[2][0] = by_node[2][0] + np.uint64(1)


def nobody(by_node: dict[int, list[Any]]) -> None:
    by_node[4] = by_node[0]


ROWS_OF_TWO_SHARDS = 128
ENTERED: list[int] = []


def doubled(session: Session, a: Any) -> Any:
    ENTERED.append(session.index)
    return a + a


def squared(_: Session, a: Any) -> Any:
    return a * a


def spoilt_before_shards() -> bool:
    """Whether no shard is given what was computed from a spoilt message."""
    ENTERED.clear()
    world = World("rep4", tamper=flip(PRODUCT), workers=2)
    program = lambda s, a: (running.over_shards(s, doubled, [a * a]), None)[1]  # noqa: E731
    return aborts(lambda: world.run(program, world.share(np.arange(ROWS_OF_TWO_SHARDS)))) and not ENTERED


def spoilt_shard() -> bool:
    """Whether nothing comes back of shards in which a message was spoilt."""
    world = World("rep4", tamper=flip(PRODUCT), workers=2)
    program = lambda s, a: (running.over_shards(s, squared, [a]), None)[1]  # noqa: E731
    return aborts(lambda: world.run(program, world.share(np.arange(ROWS_OF_TWO_SHARDS))))


CHECKS = (
    Check(
        "the tag of a message against its verifier's",
        Authenticator, "_compare_tags",
        "sound &= hmac.compare_digest(tag, mac.tag())", "mac.tag()",
        spoilt_everywhere,
    ),
    Check(
        "a node whose own comparison failed goes no further",
        Authenticator, "_agree", "if not sound or total:", "if total:",
        everybody_stops,
    ),
    Check(
        "nor does one that others warn",
        Authenticator, "_agree", "if not sound or total:", "if not sound:",
        everybody_stops,
    ),
    Check(
        "the length of a verdict",
        Authenticator, "_agree", "if len(share) != TAG_BYTES:", "if False:",
        longer_verdict,
    ),
    Check(
        "nothing is opened before the barrier",
        Rep4, "_exchange_missing", "if self._unchecked:", "if False:",
        unverified_opening,
    ),
    Check(
        "nothing is exported before the barrier",
        Session, "export_shares", "self.protocol.verify()", "pass",
        spoilt_export,
    ),
    Check(
        "rows are handed out to shards only after the barrier",
        running, "over_shards", "protocol.verify()", "pass",
        spoilt_before_shards,
    ),
    Check(
        "shards give nothing back before their barrier",
        threads, "computed", "session.protocol.verify()", "pass",
        spoilt_shard,
    ),
    Check(
        "the tag of an opened share",
        Rep4, "_exchange_missing",
        "not hmac.compare_digest(tag, check.tag())", "not check.tag()",
        spoilt_opening,
    ),
    Check(
        "the length of a message",
        Replicated, "_receive", "if len(payload) != count * dtype.itemsize:", "if False:",
        short_message,
    ),
    Check(
        "the sequence number of a message",
        MemoryNetwork, "take", "if sequence != expected:", "if False:",
        message_left_out,
    ),
    Check(
        "copies of one share are equal",
        sharing, "combine",
        "if any(copy.shape != copies[0].shape or not np.array_equal(copy, copies[0]) for copy in copies[1:]):",
        "if False:",
        lambda: delivered(another_copy),
    ),
    Check(
        "shares come from the nodes of the protocol and no others",
        sharing, "combine", "if set(by_node) != set(range(plan.nodes)):", "if False:",
        lambda: delivered(nobody),
    ),
)  # fmt: skip


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_the_attack_is_stopped_by_this_check_and_by_no_other(
    one: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one.attack()
    remove(monkeypatch, one.owner, one.function, one.check, one.instead)
    assert not one.attack()
