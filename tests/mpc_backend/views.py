"""What each node of a run receives, and in which order messages are sent: does either say anything of the data?

`observed` names every message by the operation of the protocol that sends it. Openings inside an operation are of rows
that no node has the order of; their answers are replaced by those of a fixed order (`_simulated`), which is all that a
simulator of the view would need. With them, messages must be the same whatever the data, the order of rows included.

Nothing is left out of `uniform`: tags and parts of verdicts look random to who has no key, and of what is opened a node
receives one share, random without the others.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.operations.sort import _Beside, _Compared
from mpc_backend.protocols.base import JointInput, Protocol
from mpc_backend.protocols.rep3 import Rep3
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.testing import World

PROTOCOLS = {"rep3": Rep3, "rep4": Rep4}
OPERATIONS = sorted(Protocol.__abstractmethods__ - {"public_component"})
SAMPLE = 1 << 15
"""Words of a node's messages of one operation that are looked at, evenly spread over all of them."""
FEWEST = 1 << 7
LIMIT = 13.0
"""Standard deviations: chi-square with 64 or more degrees of freedom exceeds it once in 10^16. `SAMPLE` words have two
that are equal once in 10^10. The whole suite looks at some thousand samples: a false alarm in one of 10^6 runs."""
_now = threading.local()


@dataclass(frozen=True)
class Observed:
    """``trace``: for each sender (operation, round, receiver, length) of every message in order; ``views``: for each
    receiver the messages by operation; ``asked``: the operations in order, each with the shapes it was given, which are
    the same under every protocol; ``rounds``: of the run."""

    trace: list[list[tuple[str, int, int, int]]]
    views: list[dict[str, list[bytes]]]
    asked: list[tuple[Any, ...]]
    rounds: int


def observed(
    protocol: str, program: Callable[..., object], given: Callable[[World], list[Any]], times: int = 1
) -> Observed:
    """Run ``program(session, *given(world))`` and open nothing of its result; so often within one job."""
    nodes = PROTOCOLS[protocol].nodes
    views: list[dict[str, list[bytes]]] = [defaultdict(list) for _ in range(nodes)]
    names: list[list[str]] = [[] for _ in range(nodes)]
    asked: list[tuple[Any, ...]] = []

    def watch(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        views[receiver][_now.operation].append(payload)
        names[sender].append(_now.operation)
        return payload

    def several(*args: Any) -> None:
        for _ in range(times):
            program(*args)

    with _watched(PROTOCOLS[protocol], asked), World(protocol, tamper=watch, trace=True) as world:
        world.run(several, *given(world))
        sent = [traffic.trace or [] for traffic in world.traffic]
    trace = [
        [(name, *message) for name, message in zip(*pair, strict=True)]
        for pair in zip(names, sent, strict=True)
    ]
    return Observed(trace, views, asked, world.traffic[0].rounds)


@contextmanager
def _watched(kind: type[Protocol], asked: list[tuple[Any, ...]]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(kind, name, _named(name, getattr(kind, name), asked))
        _simulated(patch)
        yield


def _named(name: str, method: Callable[..., Any], asked: list[tuple[Any, ...]]) -> Callable[..., Any]:
    def call(self: Protocol, *args: Any, **kwargs: Any) -> Any:
        _now.operation = name
        if self.index == 0:
            asked.append((name, *map(_shape, args)))
        return method(self, *args, **kwargs)

    return call


def _shape(argument: Any) -> Any:
    """The public part of an operand: shapes of shares without the first axis, which is the protocol's own."""
    if isinstance(argument, np.ndarray):
        return argument.dtype.str, argument.shape[1:]
    if isinstance(argument, JointInput):
        return argument.values.dtype.str, argument.values.shape, argument.xor
    if isinstance(argument, list | tuple):
        return tuple(map(_shape, argument))
    return argument


def _simulated(patch: pytest.MonkeyPatch) -> None:
    """Comparisons of shuffled rows are made and opened, and answered as a fixed order of the shuffled rows would."""
    beside, less = _Compared.beside, _Beside.less

    def remembered(self: Any, places: Any) -> Any:
        found: Any = beside(self, places)
        found.rows = self.order[places]
        return found

    def answered(self: Any, others: Any) -> Any:
        less(self, others)
        order = self._rows.order
        rank = np.random.default_rng(order.size).permutation(order.size)
        return rank[self.rows[: others.size]] < rank[order[others]]

    patch.setattr(_Compared, "beside", remembered)
    patch.setattr(_Beside, "less", answered)


def opened_inside(records: list[logging.LogRecord]) -> set[str]:
    """What was opened for another purpose than a random order of rows."""
    said = {record.getMessage() for record in records if record.getMessage().startswith("open ")}
    return {words for words in said if not words.startswith("open random ")}


def uniform(view: dict[str, list[bytes]]) -> dict[str, float]:
    """Operation -> how far a node's messages are from uniform words, in standard deviations; large is bad.

    The worst of two chi-squares, of bytes and of the 64 places of a bit in a word; infinite for a word that comes twice.
    Operations of which a node got less than `FEWEST` words are judged together.
    """
    parts: dict[str, list[bytes]] = defaultdict(list)
    for name, messages in view.items():
        enough = sum(len(message) for message in messages) >= 8 * FEWEST
        parts[name if enough else "others"] += messages
    return {name: _distance(messages) for name, messages in parts.items()}


def words_in(view: dict[str, list[bytes]]) -> int:
    """Words that a node received."""
    return sum(len(message) for messages in view.values() for message in messages) // 8


def _distance(messages: list[bytes]) -> float:
    words = np.concatenate(
        [np.frombuffer(message[: len(message) // 8 * 8], np.uint64) for message in messages]
    )
    words = np.ascontiguousarray(words[:: -(-words.size // SAMPLE) or 1])
    ordered = np.sort(words)
    if (ordered[1:] == ordered[:-1]).any():
        return float("inf")
    ones = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(axis=0, dtype=np.int64)
    distance = _standardised(ones, words.size / 2, words.size / 4) if words.size >= FEWEST else 0.0
    whole = sum(len(message) for message in messages) <= 8 * SAMPLE
    data = np.frombuffer(b"".join(messages), np.uint8) if whole else words.view(np.uint8)
    expected = data.size / 256
    if expected >= 16:
        distance = max(distance, _standardised(np.bincount(data, minlength=256), expected, expected))
    return distance


def _standardised(counts: Any, expected: float, variance: float) -> float:
    """Chi-square of counts, less its mean, in standard deviations."""
    square = float((((counts - expected) ** 2) / variance).sum())
    return (square - counts.size) / float(np.sqrt(2 * counts.size))


def surface() -> set[str]:
    """What an analysis may call: functions, and public methods of the classes they return."""
    names = set()
    for name in op.__all__:
        found = getattr(op, name)
        if inspect.isclass(found):
            methods = inspect.getmembers_static(found, inspect.isfunction)
            names |= {
                f"{name}.{method}" for method, _ in methods if method in vars(found) and method[0] != "_"
            }
        else:
            names.add(name)
    return names
