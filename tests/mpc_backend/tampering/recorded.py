"""An honest run of an operation, and all that is known of its messages: what each of them is and who vouches for it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple, Protocol
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from mpc_backend.prg import Keystream
from mpc_backend.protocols import keys, sharing
from mpc_backend.protocols.authenticate import Authenticator, Mac
from mpc_backend.protocols.keys import JobKeys, random_keys
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.session import Session
from mpc_backend.testing import Shared, World, _opened
from tests.mpc_backend.tampering.nodes import Key, Link, Nodes

NODES = 4
Program = Callable[[Session], Any]
SORTS = {
    "_product": "product",
    "_half_product": "product of halves",
    "joint_input": "joint input",
    "_hop": "shuffled rows",
    "_compare_tags": "tag",
    "_agree": "verdict",
    "_exchange_missing": "opening",
    "offer": "key offer",
    "give": "parts of keys",
    "confirm": "proof of keys",
}
"""What is sent from within which function of the protocol; a message from anywhere else is an error."""
SENDING = ("mpc_backend.protocols.", "mpc_backend.keys")


@dataclass(frozen=True)
class Message:
    """One message of the honest run. ``tag``: the message in which its receiver's tag of it travels."""

    key: Key
    payload: bytes
    round: int
    sort: str
    tag: Key | None = None


class Draw(NamedTuple):
    """One draw of a node from randomness that it has in common with others: what for, all but whom or with whom (``key``),
    and how often that was done before.
    """

    node: int
    sort: str
    key: int
    place: int


@dataclass
class Step:
    """One time that a node got plaintext, or shares that may leave it, and in which round."""

    node: int
    round: int
    content: Any


class Observer:
    """Sees an honest run or a tampered one; does nothing."""

    draws = False
    """Whether it wants to see what is drawn."""

    def sent(self, key: Key, payload: bytes, round_: int) -> bytes | None:
        """A message: what arrives instead, None for nothing."""
        return payload

    def drawn(self, draw: Draw, out: np.ndarray[Any, Any]) -> None:
        """Random bytes that ``out`` was filled with."""


@dataclass
class Run:
    """What came of a run: how each node failed, and what each of them opened or gave away, in order."""

    errors: list[BaseException | None]
    released: list[Step]


class Job:
    """One program, of inputs shared once, and keys: every run of it sends the same messages."""

    def __init__(self, program: Program, seed: int = 0) -> None:
        self._program = program
        with _seeded(seed):
            self._keys: list[JobKeys] = [one.derived(b"whole") for one in random_keys(NODES)]

    def run(self, observer: Observer) -> Run:
        """All nodes from start to end."""
        released: list[Step] = []

        def node(link: Link) -> None:
            session = Session(Rep4(link.index, link, self._keys[link.index]))
            _watch(session, released, observer)
            _opened(session, self._program(session))

        return Run(Nodes(NODES, observer).run([node] * NODES), released)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Keys and shares that are the same in every run of the harness."""
    source = SimpleNamespace(token_bytes=np.random.default_rng(seed).bytes)
    with patch.object(keys, "secrets", source), patch.object(sharing, "secrets", source):
        yield


def shared(arrays: list[dict[str, Any]], seed: int = 0) -> list[Shared]:
    """Arrays as `World.share` takes them, shared the same way every time."""
    world = World("rep4")
    with _seeded(seed):
        return [world.share(**array) for array in arrays]


def _watch(session: Session, released: list[Step], observer: Observer) -> None:
    protocol = session.protocol
    assert isinstance(protocol, Rep4)
    reveal, export = protocol.reveal, session.export_shares

    def revealing(values: Any) -> Any:
        round_ = protocol.transport.traffic.rounds
        opened = reveal(values)
        released.append(Step(protocol.index, round_, [part.tobytes() for part in opened]))
        return opened

    def exporting(values: Any) -> Any:
        shares = export(values)
        round_ = protocol.transport.traffic.rounds
        released.append(Step(protocol.index, round_, shares))
        return shares

    protocol.reveal, session.export_shares = revealing, exporting  # type: ignore[method-assign]
    if not observer.draws:
        return
    for j, stream in protocol._but.items():
        _watch_stream(stream, Draw(session.index, "mask", j, 0), observer)
    for peer, stream in protocol._checks._pair.items():
        _watch_stream(stream, Draw(session.index, "verdict's mask", peer, 0), observer)
    _watch_stream(protocol._everyone, Draw(session.index, "zero's mask", session.index, 0), observer)


def _watch_stream(stream: Keystream, first: Draw, observer: Observer) -> None:
    fill, count = stream.fill, itertools.count()

    def filling(out: Any) -> None:
        fill(out)
        if out.nbytes:
            observer.drawn(Draw(*first[:3], next(count)), out)

    stream.fill = filling  # type: ignore[method-assign]


@dataclass
class Recorded(Observer):
    """An honest run."""

    draws = True
    messages: dict[Key, Message] = field(default_factory=dict)
    lies: dict[bytes, bytes] = field(default_factory=dict)
    """For every tag the one that the same key gives for other bytes."""
    drawings: list[Draw] = field(default_factory=list)
    released: list[Step] = field(default_factory=list)
    sources: dict[int, Key] = field(default_factory=dict)
    vouched: dict[tuple[int, int], list[Key]] = field(default_factory=dict)
    """Of receiver and verifier: the messages that the next tag between them is for."""

    def sent(self, key: Key, payload: bytes, round_: int) -> bytes:
        sort = _sort_of(sys._getframe(1))
        self.messages[key] = Message(key, payload, round_, sort)
        self.sources[id(payload)] = key
        if sort == "tag":
            for one in self.vouched.pop(key[:2]):
                self.messages[one] = replace(self.messages[one], tag=key)
        return payload

    def drawn(self, draw: Draw, out: np.ndarray[Any, Any]) -> None:
        self.drawings.append(draw)

    def verdicts_before(self, round_: int) -> int:
        """The round of the last verdicts before a round; -1 where there were none."""
        return max((at for at in self._verdicts if at < round_), default=-1)

    @cached_property
    def _verdicts(self) -> set[int]:
        return {message.round for message in self.messages.values() if message.sort == "verdict"}


class Attackable(Protocol):
    """What all nodes do together, the same in every run."""

    def run(self, observer: Observer) -> Run:
        """From start to end."""


def recorded(job: Attackable) -> Recorded:
    """The messages of a job whose nodes all keep to the protocol."""
    record = Recorded()
    with _lies_noted(record.lies), _tags_noted(record):
        run = job.run(record)
    for error in filter(None, run.errors):
        raise error
    record.released = run.released
    return record


def _sort_of(frame: FrameType | None) -> str:
    """Of a message that is being sent: by the function of the protocol that sends it."""
    while frame is not None:
        name = frame.f_code.co_name
        if name in SORTS and frame.f_globals["__name__"].startswith(SENDING):
            if name == "_exchange_missing":
                return "opened share" if frame.f_locals["component"] == 2 else "opening's tag"
            return SORTS[name]
        frame = frame.f_back
    raise AssertionError("a message is sent from where no message was known to be sent")


@contextmanager
def _lies_noted(lies: dict[bytes, bytes]) -> Iterator[None]:
    """Of every tag, what its key gives for the same bytes with one bit changed: what a node that has the key can say."""
    update, tag = Mac.update, Mac.tag
    streams: dict[Mac, bytearray] = {}

    def updating(self: Mac, words: Any) -> None:
        streams.setdefault(self, bytearray()).extend(words.tobytes())
        update(self, words)

    def tagging(self: Mac) -> bytes:
        other = streams.pop(self)
        other[-1] ^= 1
        nonce = bytes([self._domain, 0, 0, 0]) + self._counter.to_bytes(8, "big")
        context = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        context.authenticate_additional_data(bytes(other))
        context.finalize()
        right = tag(self)
        lies[right] = context.tag
        return right

    with patch.object(Mac, "update", updating), patch.object(Mac, "tag", tagging):
        yield


@contextmanager
def _tags_noted(record: Recorded) -> Iterator[None]:
    """In which message the tag of each message travels: that of its receiver to the verifier, or the opening's."""
    received = Authenticator.received

    def receiving(self: Authenticator, verifier: int, words: Any) -> None:
        source = words
        while isinstance(source, np.ndarray):
            source = source.base
        record.vouched.setdefault((self._transport.index, verifier), []).append(record.sources[id(source)])
        received(self, verifier, words)

    with patch.object(Authenticator, "received", receiving):
        yield
    openings = {
        (one.key[1], one.round): key for key, one in record.messages.items() if one.sort == "opening's tag"
    }
    for key, one in record.messages.items():
        if one.sort == "opened share":
            record.messages[key] = replace(one, tag=openings[one.key[1], one.round])
