"""All nodes of a job in this process: the real protocol over in-memory queues, one thread per node.

with World("rep4") as world:
    age = world.share(np.array([34, 71, 52]), bits=8)
    older = world.run(lambda session, a: (a >= 50).sum(), age)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from mpc_backend.errors import AbortKind, PeerAborted, ProtocolAbort
from mpc_backend.protocols.keys import random_keys
from mpc_backend.protocols.sharing import layout, node_shares, split
from mpc_backend.session import Session, open_values, value_of
from mpc_backend.shards.threads import ShardNetworks, ThreadShards
from mpc_backend.tables import Column
from mpc_backend.transport.base import Traffic
from mpc_backend.transport.memory import MemoryNetwork, Tamper
from mpc_backend.transport.shape import LinkShape
from mpc_backend.values import SecretValue

Program = Callable[..., Any]
DEFAULT_SCALE = 20


@dataclass(frozen=True)
class Shared:
    """A value shared among the nodes of a `World`: one share array per node."""

    column: Column
    rows: int
    shape: tuple[int, ...]
    by_node: tuple[Any, ...]

    def at(self, session: Session) -> SecretValue:
        """What a node computes with."""
        value = value_of(session.protocol, self.column, self.rows, self.by_node[session.index])
        return value if value.shape == self.shape else value.reshape(self.shape)


class World:
    """All nodes of one protocol ("rep4", "rep3", or "plain" for one node in the clear).

    ``tamper(sender, receiver, index, payload)`` sees every message between two nodes and returns what arrives, None to
    drop it: a malicious node. ``deadline``: seconds a node waits for a message. ``shape``: links as slow as these.
    ``workers``: how many row shards a program's `mpc_backend.shards.over_shards` works on side by side, as threads; the
    messages of each are counted by themselves. After `run`, ``traffic`` holds what each node sent in that run.
    """

    def __init__(
        self,
        protocol: str = "rep4",
        *,
        tamper: Tamper | None = None,
        deadline: float = 60.0,
        trace: bool = False,
        shape: LinkShape | None = None,
        workers: int = 1,
    ) -> None:
        if workers < 1:
            raise ValueError(f"a node has at least one worker, found {workers}")
        self.protocol, self.workers = protocol, workers
        self.nodes = layout(protocol).nodes
        self.tamper, self.deadline, self.trace, self.shape = tamper, deadline, trace, shape
        self.traffic: list[Traffic] = [Traffic() for _ in range(self.nodes)]
        self._counts: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing outlives `run`."""

    def share(
        self, array: Any, *, bits: int = 64, fixed: bool = False, scale: int = DEFAULT_SCALE,
        ring: Literal[16, 32, 64] = 64,
    ) -> Shared:  # fmt: skip
        """Share a plaintext array among the nodes.

        Truth values become SecretBits, integers SecretInt of ``bits`` signed bits in Z_2^ring, reals (or fixed=True)
        SecretFixed with ``scale`` fractional bits.

        Raises:
            ValueError: a value outside [-2^(bits-1), 2^(bits-1)) (64 bits: |x| >= 2^62), or not finite.
        """
        values = np.asarray(array)
        if values.dtype.kind == "b":
            column = Column(name="value", kind="bit")
        elif fixed or values.dtype.kind == "f":
            column = Column(name="value", kind="fixed", bits=bits, scale=scale)
        else:
            column = Column(name="value", kind="int", bits=min(bits, ring), ring=ring)
        flat = values.reshape(-1)
        return self._share_column(
            column, flat.astype(np.int64) if values.dtype.kind == "b" else flat, values.shape
        )

    def share_column(self, column: Column, array: Any) -> Shared:
        """Share one column exactly as a site would."""
        return self._share_column(column, array, np.asarray(array).shape)

    def _share_column(self, column: Column, array: Any, shape: tuple[int, ...]) -> Shared:
        encoded, plan, rows = split(self.protocol, column, array), layout(self.protocol), len(array)
        by_node = tuple(
            node_shares(
                self.protocol, node, column, rows, {share: encoded[share] for share in plan.held[node]}
            )
            for node in range(plan.nodes)
        )
        return Shared(column, rows, shape, by_node)

    def run(self, program: Program, *args: Any, **kwargs: Any) -> Any:
        """Run ``program(session, *args)`` at every node and open what it returns.

        Arguments may be nested in mappings, lists and tuples; shared ones become secret values. The result has the shape
        of the program's: every secret value in it opened, as int64, float64 or bool arrays.

        Raises:
            ProtocolAbort: a node's check failed; nothing is returned.
        """
        network = MemoryNetwork(self.nodes, self.deadline, self.tamper, self._counts, self.shape)
        keys = random_keys(self.nodes) if self.nodes > 1 else [None]
        transports = [network.transport(index) for index in range(self.nodes)]
        channels = ShardNetworks(self._shard_network)
        results: list[Any] = [None] * self.nodes
        errors: list[BaseException | None] = [None] * self.nodes

        def work(index: int) -> None:
            try:
                shards = (
                    ThreadShards(self.workers, index, self.protocol, channels) if self.workers > 1 else None
                )
                session = Session.for_node(
                    index, self.protocol, transports[index], keys[index], shards=shards
                )
                output = program(session, *_given(session, args), **_given(session, kwargs))
                results[index] = _opened(session, output)
            except BaseException as error:  # raised again in the caller's thread
                errors[index] = error
                kind = error.kind if isinstance(error, ProtocolAbort) else AbortKind.FAILED
                reason = f"{type(error).__name__}: {error}"
                transports[index].abort(reason, kind=kind)
                channels.abort(index, kind, reason)
            finally:
                transports[index].close()

        if self.trace:
            for transport in transports:
                transport.traffic.trace = []
        threads = [
            threading.Thread(target=work, args=(index,), name=f"node-{index}") for index in range(self.nodes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.traffic = [transport.traffic for transport in transports]
        _raise_first(errors)
        return results[0]

    def _shard_network(self) -> MemoryNetwork:
        shape = None if self.shape is None else self.shape.part(self.workers)
        return MemoryNetwork(self.nodes, self.deadline, self.tamper, {}, shape)


def _raise_first(errors: list[BaseException | None]) -> None:
    """A failed protocol check wins, then a program's own error, then the news that another node stopped."""
    found = [error for error in errors if error is not None]
    found.sort(
        key=lambda error: 2 if isinstance(error, PeerAborted) else not isinstance(error, ProtocolAbort)
    )
    for error in found:
        raise error


def _given(session: Session, item: Any) -> Any:
    if isinstance(item, Shared):
        return item.at(session)
    if isinstance(item, Mapping):
        return {key: _given(session, part) for key, part in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(_given(session, part) for part in item)
    return item


def _opened(session: Session, output: Any) -> Any:
    """Open every secret value of a nested result at once."""
    found: list[SecretValue] = []
    _collect(output, found)
    opened = iter(open_values(session, found, "result") if found else [])
    return _replace(output, opened)


def _collect(item: Any, found: list[SecretValue]) -> None:
    if isinstance(item, SecretValue):
        found.append(item)
    elif isinstance(item, Mapping):
        for part in item.values():
            _collect(part, found)
    elif isinstance(item, list | tuple):
        for part in item:
            _collect(part, found)


def _replace(item: Any, opened: Any) -> Any:
    if isinstance(item, SecretValue):
        return next(opened)
    if isinstance(item, Mapping):
        return {key: _replace(part, opened) for key, part in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(_replace(part, opened) for part in item)
    return item
