"""Cutting columns into row shards, taking values out of one session into another, and putting results together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mpc_backend.kernels.arrays import Words
from mpc_backend.operations.arrange import concatenate
from mpc_backend.protocols.base import Protocol
from mpc_backend.session import OutputForm, form_of, raw_words
from mpc_backend.values import SecretBits, SecretFixed, SecretInt, SecretValue
from mpc_backend.values.numbers import SecretNumber, sum_bits

R = TypeVar("R", SecretValue, Any)
UNIT = 64
"""Shards begin at multiples of this many rows, so that packed bits are cut between words."""


@dataclass(frozen=True)
class Total:
    """Marks a result of a shard as its part of a sum over all rows. The ring has to hold the whole sum."""

    value: SecretNumber

    def __post_init__(self) -> None:
        if not isinstance(self.value, SecretNumber):
            raise TypeError(
                f"a total of {type(self.value).__name__} is no sum: bring the bits into a ring first"
            )


@dataclass(frozen=True, repr=False)
class Bare:
    """A secret value apart from its session: what goes to a worker and comes back. ``total``: part of a sum."""

    form: OutputForm
    words: Words
    bits: int
    total: bool = False

    @classmethod
    def of(cls, value: SecretValue, *, total: bool = False) -> Bare:
        """Take a value out of its session; its shares are not copied."""
        bits = value.bits if isinstance(value, SecretNumber) else 1
        return cls(form_of(value), raw_words(value), bits, total)

    def under(self, protocol: Protocol) -> SecretValue:
        """The value in another session of the same node."""
        if self.form.kind == "bit":
            return SecretBits(protocol, self.words, self.form.shape)
        if self.form.kind == "fixed":
            return SecretFixed(protocol, self.words, self.form.scale, self.bits)
        return SecretInt(protocol, self.words, self.bits)


def each(item: Any, change: Callable[[Any], Any]) -> Any:
    """``item`` with every leaf of its mappings, lists and tuples changed."""
    if isinstance(item, Mapping):
        return {key: each(part, change) for key, part in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(each(part, change) for part in item)
    return change(item)


def taken_out(item: Any) -> Any:
    """Every secret value and `Total` of a nested result as `Bare`."""

    def bare(leaf: Any) -> Any:
        if isinstance(leaf, Total):
            return Bare.of(leaf.value, total=True)
        return Bare.of(leaf) if isinstance(leaf, SecretValue) else leaf

    return each(item, bare)


def brought_in(item: Any, protocol: Protocol) -> Any:
    """Every `Bare` of a nested item as a value of a session."""
    return each(item, lambda leaf: leaf.under(protocol) if isinstance(leaf, Bare) else leaf)


def row_cuts(rows: int, shards: int) -> list[slice]:
    """At most ``shards`` pieces of about equal length that are not empty; follows from public numbers alone."""
    units = -(-rows // UNIT)
    cuts = [min(rows, units * place // shards * UNIT) for place in range(shards + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(cuts) if first < last]


def rows_between(column: Any, rows: slice) -> Any:
    """Some rows of a secret column, or of a public array (n, ...), by one of `row_cuts`; no copy."""
    if not isinstance(column, SecretBits):
        return column[rows]
    width = column.size // len(column)
    words = column.words[:, rows.start * width // UNIT : -(-rows.stop * width // UNIT)]
    return SecretBits(column.protocol, words, (rows.stop - rows.start, *column.shape[1:]))


def put_together(parts: Sequence[Any], protocol: Protocol) -> Any:
    """The results of all shards, of one nested shape, as one: rows one after the other, totals added."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {key: put_together([part[key] for part in parts], protocol) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(put_together(column, protocol) for column in zip(*parts, strict=True))
    if not isinstance(first, Bare):
        raise TypeError(f"a shard gives secret values and totals, found {type(first).__name__}")
    values: list[Any] = [part.under(protocol) for part in parts]
    if first.total:
        shares = np.add.reduce([value.shares for value in values], axis=0, dtype=values[0].dtype)
        return values[0].like(shares, sum_bits(max(value.bits for value in values), len(values)))
    if first.form.kind == "bit" and all(value.size % UNIT == 0 for value in values[:-1]):
        shape = (sum(len(value) for value in values), *first.form.shape[1:])
        return SecretBits(protocol, np.concatenate([value.words for value in values], axis=1), shape)
    return concatenate(values)
