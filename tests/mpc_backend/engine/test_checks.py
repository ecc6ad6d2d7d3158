"""The list of checks that keep a malicious node out. Each is the one that stops some attack: without it, that succeeds.

A check of which this cannot be shown is either of no use or not tested.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from mpc_backend import prg
from mpc_backend import session as sessions
from mpc_backend.errors import EngineError, ProtocolAbort, ShareFormatError, ShareMismatch
from mpc_backend.operations import shuffle
from mpc_backend.prg import KEY_BYTES, Keystream
from mpc_backend.protocols import authenticate, sharing
from mpc_backend.protocols.authenticate import Authenticator, Mac
from mpc_backend.protocols.base import JointInput
from mpc_backend.protocols.keys import random_keys
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.protocols.replicated import Replicated
from mpc_backend.session import Session
from mpc_backend.shards import running, threads
from mpc_backend.tables import Column
from mpc_backend.testing import World
from mpc_backend.transport.frames import FrameHeader, FrameKind
from mpc_backend.transport.memory import Frame, MemoryNetwork
from mpc_backend.values import SecretInt
from tests.mpc_backend.removal import remove

Tamper = Callable[[int, int, int, bytes], bytes | None]
PRODUCT = (0, 3, 0)
"""The first message of a product for opposite shares: sender, receiver, index."""


class Check(NamedTuple):
    """A check in the code, what stands there without it, and an attack; the attack says whether it was stopped.

    ``with_it``: what has to go as well, function, code and what stands there without it: the other side of the check.
    """

    name: str
    owner: type | ModuleType
    function: str
    check: str
    instead: str
    attack: Callable[[], bool]
    with_it: tuple[str, str, str] | None = None


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


def spoilt_everywhere(program: Callable[..., object] = lambda _, a, b: a * b) -> bool:
    """Whether every way to spoil a message of a program, a product unless another is given, aborts."""
    seen: list[tuple[int, int, int]] = []
    product(lambda s, r, i, payload: (seen.append((s, r, i)), payload)[1], program)
    return all(aborts(lambda target=target: product(flip(target), program)) for target in seen)


def spoilt_in_the_highest_bit() -> bool:
    """Whether a product aborts every time that the highest bit of a message before it is spoilt.

    Else it is not noticed where the spoilt share meets only even sums of shares: whether it is tells of these.
    """

    def spoil(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        changed = payload[:7] + bytes([payload[7] ^ 0x80]) + payload[8:]
        return changed if (sender, receiver, index) == PRODUCT else payload

    return all(aborts(lambda: product(spoil, lambda _, a, b: (a * b) * b)) for _ in range(60))


def brought_in_anew(session: Session, a: SecretInt, _: SecretInt) -> SecretInt:
    """A value as the sum of its halves, each of which two nodes know and the two others are sent a share of."""
    protocol = session.protocol
    known = protocol.halves(a.shares, xor=False).known
    [whole] = protocol.joint_input([JointInput(known, xor=False)])
    return SecretInt(protocol, whole, a.bits)


def widened(_: Session, a: SecretInt, __: SecretInt) -> SecretInt:
    """By a product of halves."""
    return a.with_bits(8).narrow(16).widen(32)


def shuffled(_: Session, a: SecretInt, b: SecretInt) -> SecretInt:
    return shuffle([a, b])[0]


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


def assembled(node: int, change: Callable[[dict[int, bytes]], None]) -> bool:
    """Whether a recipient refuses an output of which ``node`` delivers something else."""
    encoded = sharing.split("rep4", Column(name="count", kind="int", bits=64), np.arange(3))
    delivered = {at: {share: encoded[share] for share in sharing.layout("rep4").held[at]} for at in range(4)}
    change(delivered.setdefault(node, {}))
    try:
        found = sessions.assemble_output("rep4", sessions.OutputForm("int", (3,)), delivered)
    except ShareMismatch:
        return True
    except LookupError:
        return False
    assert np.array_equal(found, np.arange(3))
    return False


def one_too_many(shares: dict[int, bytes]) -> None:
    shares[1] = shares[0]


def one_too_few(shares: dict[int, bytes]) -> None:
    del shares[0]


def misshapen(change: Callable[[bytes], bytes]) -> bool:
    """Whether words of a share in another form are refused."""
    column = Column(name="count", kind="int", bits=64)
    encoded = sharing.split("rep4", column, np.arange(3))
    held = {share: encoded[share] for share in sharing.layout("rep4").held[0]}
    try:
        sharing.node_shares("rep4", 0, column, 3, held | {3: change(encoded[3])})
    except ShareFormatError:
        return True
    return False


def a_share_of_another_node() -> bool:
    """Whether a node refuses to have all shares of an upload."""
    column = Column(name="count", kind="int", bits=64)
    encoded = sharing.split("rep4", column, np.arange(3))
    try:
        sharing.node_shares("rep4", 0, column, 3, encoded)
    except ShareFormatError:
        return True
    return False


def other_keys_for_shards() -> bool:
    session = Session.for_node(0, "rep4", MemoryNetwork(4).transport(0), random_keys(4)[0])
    (first,), (second,) = session.keys_for_shards(1), session.keys_for_shards(1)
    assert first is not None and second is not None
    return first.everyone != second.everyone


def drawn_before_a_step() -> bool:
    """Whether a keystream that was given no step draws nothing: every start would draw the same."""
    try:
        Keystream(bytes(KEY_BYTES)).words(16, np.dtype(np.uint8))
    except ValueError:
        return True
    return False


def announced_otherwise() -> bool:
    """Whether a frame is refused whose header says another length than it has."""
    network = MemoryNetwork(2)
    header = FrameHeader(FrameKind.DATA, 0, 1, network.epoch, 0, 4)
    network.queue((0, 1), Frame(header, b"hello", 0.0))
    return aborts(lambda: network.transport(1).receive(0))


def step_again() -> bool:
    """Whether no step of a keystream can be drawn twice."""
    stream, byte = Keystream(bytes(KEY_BYTES)), np.dtype(np.uint8)
    stream.begin(1)
    first = stream.words(16, byte)
    try:
        stream.begin(1)
    except ValueError:
        return True
    assert np.array_equal(stream.words(16, byte), first)
    return False


def step_without_end() -> bool:
    """Whether a step stops where its blocks do; here, after two of them."""
    stream, byte = Keystream(bytes(KEY_BYTES)), np.dtype(np.uint8)
    stream.begin(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prg, "BLOCK_LIMIT", 2)
        stream.words(32, byte)
        try:
            stream.words(1, byte)
        except ValueError:
            return True
    return False


def every_stream_has_its_nonce() -> bool:
    """Whether no key and nonce serve two tags: each pair once at the two nodes that hold the key.

    In a job of two barriers, an opening, and shards that have a barrier each; the shuffle and the opening are checked
    under the same keys. Two tags under one pair would tell whoever sees them how to make others.
    """
    used: Counter[tuple[bytes, bytes]] = Counter()
    encrypting = authenticate.Cipher

    def noted(algorithm: algorithms.AES, mode: modes.GCM) -> Any:
        used[algorithm.key, mode.initialization_vector] += 1
        return encrypting(algorithm, mode)

    def program(session: Session, a: Any) -> Any:
        once = a * a
        session.protocol.verify()
        return [shuffle([once * a]), running.over_shards(session, squared, [once])]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authenticate, "Cipher", noted)
        world = World("rep4", workers=2)
        world.run(program, world.share(np.arange(ROWS_OF_TWO_SHARDS)))
    return set(used.values()) == {2}


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
        "which it does by another verdict",
        Authenticator, "_agree", "share if sound else secrets.token_bytes(TAG_BYTES)", "share",
        everybody_stops,
    ),
    Check(
        "products are authenticated: of neighbouring shares",
        Rep4, "_merge",
        "piece = adjacent[place]\n        self._checks.received(self._node(3), piece)", "piece = adjacent[place]",
        spoilt_everywhere,
        with_it=("_local_block", "self._checks.expected(self._node(1), checked)", "pass"),
    ),
    Check(
        "and of opposite ones",
        Rep4, "_merge",
        "block.stop - block.start]\n            self._checks.received(self._node(3), piece)", "block.stop - block.start]",
        spoilt_in_the_highest_bit,
        with_it=("_local_block", "self._checks.expected(self._node(1), third)", "pass"),
    ),
    Check(
        "and of halves",
        Rep4, "_half_product", "self._checks.received(third, piece)", "pass",
        lambda: spoilt_everywhere(widened),
        with_it=("_half_product", "self._checks.expected(first, checked)", "pass"),
    ),
    Check(
        "what is sent is to be checked",
        Rep4, "_begin", "self._unchecked = True", "pass",
        spoilt_everywhere,
    ),
    Check(
        "joint inputs are authenticated",
        Rep4, "_take_parts",
        "self._checks.received(self.index ^ 3, self._receive_into(self.index ^ 2, slots))",
        "self._receive_into(self.index ^ 2, slots)",
        lambda: spoilt_everywhere(brought_in_anew),
        with_it=("_enter", "self._checks.expected(self.index ^ 3, message)", "pass"),
    ),
    Check(
        "so are dealt shares of shuffled rows",
        Rep4, "_dealt",
        "self._checks.received(self._node(verifier), self._receive_into(self._node(sender), slots))",
        "self._receive_into(self._node(sender), slots)",
        lambda: spoilt_everywhere(shuffled),
        with_it=("_hop", "self._checks.expected(outsider, table[self.component(verifies)])", "pass"),
    ),
    Check(
        "the length of a verdict",
        Authenticator, "_agree", "if len(share) != TAG_BYTES:", "if False:",
        longer_verdict,
    ),
    Check(
        "no nonce authenticates two streams",
        Mac, "update", "self._counter += 1", "self._counter = 1",
        every_stream_has_its_nonce,
    ),
    Check(
        "one of an opening is none of a barrier",
        Mac, "update", "bytes([self._domain, 0, 0, 0])", "bytes(4)",
        every_stream_has_its_nonce,
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
        lambda: spoilt_everywhere(lambda _, a, b: a),
    ),
    Check(
        "the length of a message",
        Replicated, "_receive", "if len(payload) != count * dtype.itemsize:", "if False:",
        short_message,
    ),
    Check(
        "the sequence number of a message",
        FrameHeader, "require_place", "if found != due:", "if False:",
        message_left_out,
    ),
    Check(
        "the length that a frame announces",
        MemoryNetwork, "take", "header.length != len(payload)", "False",
        announced_otherwise,
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
    Check(
        "each node delivers the shares that it holds, no more",
        sessions, "assemble_output",
        "set(shares) != set(plan.held[node])", "not set(shares) >= set(plan.held[node])",
        lambda: assembled(1, one_too_many),
    ),
    Check(
        "and no fewer",
        sessions, "assemble_output",
        "set(shares) != set(plan.held[node])", "not set(shares) <= set(plan.held[node])",
        lambda: assembled(1, one_too_few),
    ),
    Check(
        "only nodes deliver shares",
        sessions, "assemble_output", "node not in range(plan.nodes) or ", "",
        lambda: assembled(4, lambda shares: None),
    ),
    Check(
        "a share has its length",
        sharing, "decode_share", "if len(payload) != 1 + expected:", "if False:",
        lambda: misshapen(lambda share: share + b"\0"),
    ),
    Check(
        "and says what it is",
        sharing, "decode_share", "payload[0] not in (SEED, WORDS)", "False",
        lambda: misshapen(lambda share: b"\2" + share[1:]),
    ),
    Check(
        "a node takes the shares that it holds and no others",
        sharing, "node_shares", "if set(encoded) != set(held):", "if not set(encoded) >= set(held):",
        a_share_of_another_node,
    ),
    Check(
        "shards get keys that were never given",
        Session, "keys_for_shards", "self._sharings += 1", "pass",
        other_keys_for_shards,
    ),
    Check(
        "nothing is drawn outside a step",
        Keystream, "fill", "if self._step == 0:", "if False:",
        drawn_before_a_step,
    ),
    Check(
        "no step of a keystream comes again",
        Keystream, "begin", "if step <= self._step:", "if False:",
        step_again,
    ),
    Check(
        "the blocks of a step",
        Keystream, "fill", "if self._drawn > 16 * BLOCK_LIMIT:", "if False:",
        step_without_end,
    ),
)  # fmt: skip


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_the_attack_is_stopped_by_this_check_and_by_no_other(
    one: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one.attack()
    if one.with_it is None:
        remove(monkeypatch, one.owner, one.function, one.check, one.instead)
    elif one.with_it[0] == one.function:
        remove(monkeypatch, one.owner, one.function, one.check, one.instead, one.with_it[1:])
    else:
        remove(monkeypatch, one.owner, one.function, one.check, one.instead)
        remove(monkeypatch, one.owner, *one.with_it)
    assert not one.attack()
