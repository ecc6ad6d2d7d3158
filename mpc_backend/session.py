"""One node's view of one job: what an analysis computes with, and the only way from shares to plaintext."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mpc_backend.errors import ShareMismatch
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import unpacked, word_count
from mpc_backend.protocols import make_protocol
from mpc_backend.protocols.base import Protocol
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.sharing import combine, decode_share, encode_share, layout, node_shares
from mpc_backend.tables import Column, TableSpec
from mpc_backend.transport.base import Transport
from mpc_backend.values import SecretBits, SecretFixed, SecretInt, SecretValue
from mpc_backend.values.public import public_integers

if TYPE_CHECKING:
    from mpc_backend.shards.base import Shards

_log = logging.getLogger(__name__)
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class OutputForm:
    """The public form of one output: what a recipient needs beside shares to read it."""

    kind: Literal["bit", "int", "fixed"]
    shape: tuple[int, ...]
    ring: int = 64
    scale: int = 0

    @property
    def words(self) -> int:
        """Words in one share."""
        size = int(np.prod(self.shape, dtype=np.int64))
        return word_count(size) if self.kind == "bit" else size


class Session:
    """One node in one job: ``index``, ``protocol``, and helpers that make values from shares.

    ``shards``: who works on rows side by side; None: nobody (see `mpc_backend.shards`).
    """

    def __init__(
        self,
        protocol: Protocol,
        on_progress: Progress | None = None,
        shards: Shards | None = None,
        keys: JobKeys | None = None,
    ) -> None:
        self.protocol, self.shards = protocol, shards
        self._on_progress = on_progress
        self._keys, self._sharings = keys, 0

    @classmethod
    def for_node(
        cls,
        index: int,
        protocol: str,
        transport: Transport,
        keys: JobKeys | None,
        on_progress: Progress | None = None,
        shards: Shards | None = None,
    ) -> Session:
        """The session of node ``index``; ``keys`` are fresh for this job and used for no other.

        They are roots: the protocol's own are derived from them, as are those of each shard.

        Raises:
            UnknownProtocol: no such protocol.
        """
        own = None if keys is None else keys.derived(b"whole")
        return cls(make_protocol(index, protocol, transport, own), on_progress, shards, keys)

    @property
    def index(self) -> int:
        """This node's number."""
        return self.protocol.index

    def keys_for_shards(self, count: int) -> list[JobKeys | None]:
        """Keys that were never given before, one set for each of ``count`` shards that are worked on at one time."""
        self._sharings += 1
        if self._keys is None:
            return [None] * count
        places = [self._sharings.to_bytes(8, "big") + shard.to_bytes(4, "big") for shard in range(count)]
        return [self._keys.derived(b"shard " + place) for place in places]

    def progress(self, label: str, fraction: float) -> None:
        """Tell the operator where the job is; never tells anything about data."""
        if self._on_progress is not None:
            self._on_progress(label, fraction)

    def public(self, array: Any, ring: int = 64) -> SecretInt:
        """Public integers in the form of secret ones."""
        operand = public_integers(array)
        shares = self.protocol.constant(operand.words(ring_type(ring)))
        return SecretInt(self.protocol, shares, operand.bits)

    def input_column(self, column: Column, rows: int, encoded: Mapping[int, bytes]) -> SecretValue:
        """A column from this node's encoded shares; raises ShareFormatError."""
        shares = node_shares(self.protocol.name, self.index, column, rows, encoded)
        return value_of(self.protocol, column, rows, shares)

    def input_shares(
        self, spec: TableSpec, rows: int, raw: Mapping[str, Mapping[int, bytes]]
    ) -> dict[str, SecretValue]:
        """All columns of a table from this node's encoded shares, {column: {share: bytes}}; raises ShareFormatError."""
        return {column.name: self.input_column(column, rows, raw[column.name]) for column in spec.columns}

    def export_shares(
        self, values: Mapping[str, SecretValue]
    ) -> dict[str, tuple[OutputForm, dict[int, bytes]]]:
        """Output shares to be sealed to the recipient: name -> (form, {share: encoded}).

        Runs the verification barrier first, so that no unchecked share leaves this node. Fresh shares of zero are added,
        so that the recipient sees new shares of the value and nothing of those that were computed with.
        """
        self.protocol.verify()
        held = layout(self.protocol.name).held[self.index]
        exported = {}
        for name, value in values.items():
            form, words = form_of(value), self._masked(raw_words(value), xor=isinstance(value, SecretBits))
            exported[name] = (
                form,
                {share: encode_share(words[c].reshape(-1)) for c, share in enumerate(held)},
            )
            _log.info("export %s: %s %s", name, form.kind, form.shape)
        return exported

    def _masked(self, shares: Words, *, xor: bool) -> Words:
        zeros = self.protocol.zeros(shares.shape[1:], shares.dtype, xor)
        return shares ^ zeros if xor else shares + zeros


def value_of(protocol: Protocol, column: Column, rows: int, shares: Words) -> SecretValue:
    """A node's shares of a column, as a value of its kind."""
    if column.kind == "bit":
        shape = (rows,) if column.width == 1 else (rows, column.width)
        return SecretBits(protocol, shares, shape)
    if column.kind == "fixed":
        return SecretFixed(protocol, shares, column.scale, column.bits)
    return SecretInt(protocol, shares, column.bits)


def form_of(value: SecretValue) -> OutputForm:
    """The public form of a value."""
    if isinstance(value, SecretBits):
        return OutputForm("bit", value.shape)
    if isinstance(value, SecretFixed):
        return OutputForm("fixed", value.shape, value.ring, value.scale)
    if isinstance(value, SecretInt):
        return OutputForm("int", value.shape, value.ring)
    raise TypeError(f"{type(value).__name__} is not a secret value that can be released")


def raw_words(value: SecretValue) -> Words:
    """The share array behind a value (components first)."""
    if isinstance(value, SecretBits):
        return value.words
    if isinstance(value, SecretInt | SecretFixed):
        return value.shares
    raise TypeError(f"{type(value).__name__} holds no shares")


def plaintext(form: OutputForm, words: Words) -> Any:
    """Opened words as numpy: bool, int64 or float64 of the form's shape (a numpy scalar for shape ())."""
    if form.kind == "bit":
        size = int(np.prod(form.shape, dtype=np.int64))
        return unpacked(words.reshape(-1), size).astype(np.bool_).reshape(form.shape)[()]
    signed = words.view(f"i{words.dtype.itemsize}").astype(np.int64).reshape(form.shape)
    return (signed / 2.0**form.scale if form.kind == "fixed" else signed)[()]


def open_values(
    holder: Session | Protocol, values: Sequence[SecretValue], purpose: str, *, simulatable: bool = False
) -> list[Any]:
    """Open secret values to every node. The only path from shares to plaintext inside the engine.

    The verification barrier runs first; every opened share is checked against an independent holder. Logs the purpose,
    form and count, never a value.

    ``simulatable``: the caller vouches that what is opened is distributed the same for all data of these shapes, such as
    the order of rows after a shuffle that no node knows. The log says so; nothing else is done differently.

    Raises:
        ProtocolAbort: a check failed; nothing was opened.
    """
    protocol = holder.protocol if isinstance(holder, Session) else holder
    protocol.verify()
    forms = [form_of(value) for value in values]
    for form in forms:
        _log.info("open %s%s: %s %s", "random " * simulatable, purpose, form.kind, form.shape)
    opened = protocol.reveal([(raw_words(v), isinstance(v, SecretBits)) for v in values])
    return [plaintext(form, words) for form, words in zip(forms, opened, strict=True)]


def assemble_output(protocol: str, form: OutputForm, delivered: Mapping[int, Mapping[int, bytes]]) -> Any:
    """At the recipient: one output from {node: {share: encoded}} as numpy, after checking that all copies agree.

    Raises:
        ShareFormatError: a share has the wrong length.
        ShareMismatch: a node or share is missing, or copies differ.
    """
    plan = layout(protocol)
    by_node = {}
    dtype = ring_type(64 if form.kind == "bit" else form.ring)
    for node, shares in delivered.items():
        if node not in range(plan.nodes) or set(shares) != set(plan.held[node]):
            raise ShareMismatch(f"node {node} delivered shares {sorted(shares)} of an output")
        by_node[node] = [decode_share(shares[share], form.words, dtype) for share in plan.held[node]]
    return plaintext(form, combine(protocol, by_node, xor=form.kind == "bit"))
