"""Several columns of one ring at a time: one message for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretInt
from mpc_backend.values.numbers import SecretNumber

T = TypeVar("T")


def together(columns: Sequence[SecretNumber], change: Callable[[SecretInt], SecretInt]) -> list[SecretNumber]:
    """Apply a function of integers (n, k) -> (n, k) to columns (n,), all those of one ring side by side."""
    if not columns:
        return []
    rings = sorted({column.ring for column in columns})
    places = [[i for i, column in enumerate(columns) if column.ring == ring] for ring in rings]
    stacks = [np.stack([columns[i].shares for i in same], axis=2) for same in places]
    widest = [max(columns[i].bits for i in same) for same in places]
    protocol = columns[0].protocol
    out: list[SecretNumber] = [
        column.like(np.empty((len(column.shares), 0), column.dtype), column.bits) for column in columns
    ]
    del columns  # perhaps no one else's, and as large as the stacks
    while stacks:
        changed = change(SecretInt(protocol, stacks.pop(), widest.pop()))
        for k, i in enumerate(places.pop()):
            out[i] = out[i].like(np.ascontiguousarray(changed.shares[:, :, k]), changed.bits)
    return out


def taken_over(values: list[T]) -> list[T]:
    """The same values, held from now on by whoever gets them alone: a table is freed as soon as it has been used."""
    held = list(values)
    values.clear()
    return held


def kept_where(valid: SecretBits, columns: Sequence[SecretNumber]) -> list[SecretNumber]:
    """Columns (n,) with zeros where ``valid`` (n,) does not hold. Three rounds a ring."""
    flags = valid.reshape(-1, 1)
    kept = together(columns, lambda values: values * flags)
    return [new.with_bits(old.bits) for new, old in zip(kept, columns, strict=True)]


def public_column(protocol: Protocol, values: Sequence[int] | Words, ring: int) -> SecretInt:
    """Public integers >= 0 in the form of secret ones."""
    words = np.asarray(values, ring_type(ring))
    bits = int(words.max()).bit_length() + 1 if words.size else 1
    return SecretInt(protocol, protocol.constant(words), bits)


def row_ring(n: int) -> int:
    """The narrowest ring whose signed values hold row numbers up to n."""
    return next(ring for ring in (16, 32, 64) if n < 1 << (ring - 1))
