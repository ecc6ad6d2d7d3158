"""What a node that deviates may do to its messages. Which kinds there are for a message follows from what the message is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.mpc_backend.tampering.nodes import Key
from tests.mpc_backend.tampering.recorded import Draw, Message, Recorded

Change = Callable[[bytes], bytes | None]
COIN = "false coin"
KINDS = {
    "flip": "one bit changed, at a place picked by the message's number",
    "zero": "zeros",
    "replay": "what the link carried before: the last message of this length, or else the last",
    "swap": "this message and a later one of the link in each other's places: the next of this length, or else the next",
    "cross": "what the node sends to another in this round, and the other way round",
    "drop": "nothing: the link's next message stands in its place",
    "shorten": "all but the last byte",
    "lengthen": "one byte more",
    "forge": "one bit changed, and so is the tag of it on its way, as can be done without the tag's key",
    "false tag": "a tag under the right key, of other bytes",
    COIN: "what follows from a bit changed in one draw of a node from randomness that others draw as well",
}


@dataclass(frozen=True)
class Case:
    """One way to deviate: messages that are changed, or one draw. ``at``: the first message, None for a draw."""

    kind: str
    sort: str
    liars: frozenset[int]
    at: Message | None
    changes: dict[Key, Change]
    draw: Draw | None = None

    @property
    def begins(self) -> Key | Draw:
        """Where."""
        place = self.draw if self.at is None else self.at.key
        assert place is not None
        return place

    def __str__(self) -> str:
        where = self.draw if self.at is None else (*self.at.key, self.sort)
        return f"{self.kind} at {where}"


@dataclass(frozen=True)
class Link:
    """A message among the others of its link and its round."""

    before: list[Message]
    after: list[Message]
    beside: list[Message]


def cases(record: Recorded) -> tuple[list[Case], int]:
    """Every case of every message and draw; and how many more there would be that alter nothing."""
    found: list[Case] = []
    nothing = 0
    for message, link in _placed(record):
        for kind, changes in _changes(message, link, record):
            if _alters(changes, record):
                liars = frozenset(key[0] for key in changes)
                found.append(Case(kind, message.sort, liars, message, changes))
            else:
                nothing += 1
    found += [Case(COIN, draw.sort, frozenset({draw.node}), None, {}, draw) for draw in record.drawings]
    return found, nothing


def _alters(changes: dict[Key, Change], record: Recorded) -> bool:
    return any(
        change(record.messages[key].payload) != record.messages[key].payload
        for key, change in changes.items()
    )


def _placed(record: Recorded) -> Iterator[tuple[Message, Link]]:
    pairs: dict[tuple[int, int], list[Message]] = {}
    rounds: dict[tuple[int, int], list[Message]] = {}
    for message in record.messages.values():
        pairs.setdefault(message.key[:2], []).append(message)
        rounds.setdefault((message.key[0], message.round), []).append(message)
    for message in record.messages.values():
        same, index = pairs[message.key[:2]], message.key[2]
        others = rounds[message.key[0], message.round]
        later = others[others.index(message) + 1 :]
        beside = [one for one in later if one.key[1] != message.key[1]]
        yield message, Link(same[:index][::-1], same[index + 1 :], beside)


def _changes(message: Message, link: Link, record: Recorded) -> Iterator[tuple[str, dict[Key, Change]]]:
    key = message.key
    at = int(np.random.default_rng(key).integers(8 * len(message.payload)))
    yield "flip", {key: _flipped(at)}
    yield "zero", {key: lambda payload: bytes(len(payload))}
    yield "drop", {key: lambda _: None}
    yield "shorten", {key: lambda payload: payload[:-1]}
    yield "lengthen", {key: lambda payload: payload + b"\0"}
    if link.before:
        yield "replay", {key: _always(_like(message, link.before))}
    for kind, others in (("swap", link.after), ("cross", link.beside)):
        if others:
            other = _like(message, others)
            yield kind, {key: _always(other), other.key: _always(message)}
    if message.tag is not None:
        yield "forge", {key: _flipped(at), message.tag: _flipped(at % 128)}
    if message.payload in record.lies:
        lie = record.lies[message.payload]
        yield "false tag", {key: lambda _: lie}


def _like(message: Message, others: list[Message]) -> Message:
    """The nearest of this length, or the nearest."""
    return next((one for one in others if len(one.payload) == len(message.payload)), others[0])


def _always(message: Message) -> Change:
    return lambda _: message.payload


def _flipped(bit: int) -> Change:
    def change(payload: bytes) -> bytes:
        place = bit // 8
        return payload[:place] + bytes([payload[place] ^ (1 << bit % 8)]) + payload[place + 1 :]

    return change
