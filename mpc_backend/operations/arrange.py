"""Joining, choosing and shuffling secret arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from mpc_backend.circuits.convert import pack_shares
from mpc_backend.kernels.arrays import Indices, Words
from mpc_backend.kernels.rows import taken
from mpc_backend.operations.arrays import taken_over
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretFixed, SecretInt, SecretValue
from mpc_backend.values.base import checked_axis
from mpc_backend.values.numbers import SecretNumber

V = TypeVar("V", bound=SecretValue)


def concatenate(parts: Sequence[V], axis: int = 0) -> V:
    """Join secret arrays of one kind, ring and scale along an axis; free.

    Raises:
        ValueError: no parts, or parts of different kinds, rings or scales.
    """
    if not parts:
        raise ValueError("concatenate needs at least one array")
    at = checked_axis(parts[0].ndim, axis)
    assert at is not None
    return cast("V", _joined(parts, lambda arrays: np.concatenate(arrays, axis=at + 1)))


def stack(parts: Sequence[V], axis: int = 0) -> V:
    """Join secret arrays of one shape along a new axis; free. Raises ValueError as `concatenate`."""
    if not parts:
        raise ValueError("stack needs at least one array")
    at = checked_axis(parts[0].ndim + 1, axis)
    assert at is not None
    return cast("V", _joined(parts, lambda arrays: np.stack(arrays, axis=at + 1)))


def _joined(parts: Sequence[Any], join: Callable[[list[Words]], Words]) -> Any:
    first = parts[0]
    if any(type(part) is not type(first) for part in parts):
        raise ValueError(f"cannot join {', '.join(sorted({type(part).__name__ for part in parts}))}")
    if isinstance(first, SecretBits):
        return SecretBits.from_unpacked(first.protocol, join([part.unpacked for part in parts]))
    if any(part.ring != first.ring for part in parts):
        raise ValueError(f"cannot join arrays of rings {sorted({part.ring for part in parts})}: widen first")
    if isinstance(first, SecretFixed) and any(part.scale != first.scale for part in parts):
        raise ValueError(f"cannot join arrays of scales {sorted({part.scale for part in parts})}")
    return first.like(join([part.shares for part in parts]), max(part.bits for part in parts))


def select(condition: SecretBits, a: V, b: V) -> V:
    """Elementwise ``a`` where the condition holds, else ``b`` (numpy.where with a secret condition).

    b + condition (a - b): a truth value times a number (Mohassel and Rindal, CCS 2018), in three rounds; for bits one AND
    (Kolesnikov and Schneider, ICALP 2008), in one. Either of ``a`` and ``b`` may be public.
    """
    return cast("V", _selected(condition, a, b))


def _selected(condition: SecretBits, a: Any, b: Any) -> Any:
    if _is_bits(a) and _is_bits(b):
        return b ^ (condition & (a ^ b))
    difference = a - b
    chosen = b + difference * condition
    if isinstance(a, SecretNumber) and isinstance(b, SecretNumber):
        return chosen.with_bits(max(a.bits, b.bits))
    return chosen.with_bits(max(part.bits for part in (a, b, difference) if isinstance(part, SecretNumber)))


def _is_bits(value: object) -> bool:
    if isinstance(value, SecretValue):  # numpy would walk through it element by element
        return isinstance(value, SecretBits)
    return np.asarray(value).dtype.kind == "b"


def shuffle(columns: Sequence[SecretValue]) -> list[SecretValue]:
    """Permute the rows of several columns of one length by one permutation that nobody knows.

    Columns are (n,) or (n, ...); each row moves as a whole (Laur, Willemson, Zhang, ISC 2011). Reveals nothing but n and the
    widths. Three or four messages deep.

    Raises:
        ValueError: no columns, or different lengths.
    """
    if not columns:
        raise ValueError("shuffle needs at least one column")
    return shuffle_beside(columns[0].protocol, columns, [])[0]


def shuffle_beside(
    protocol: Protocol, columns: Sequence[SecretValue], limbs: Sequence[Words]
) -> tuple[list[SecretValue], list[Words]]:
    """`shuffle`, with raw XOR-shared words (components, n), one a row, moved along."""
    lengths = {column.shape[0] for column in columns} | {limb.shape[1] for limb in limbs}
    if len(lengths) != 1:
        raise ValueError(f"shuffle needs columns of one length, found {sorted(lengths)}")
    tables, places = _tables(columns)
    forms, count = [_form(column) for column in columns], len(tables)
    tables += [(limb[:, :, None], True) for limb in limbs]
    del columns, limbs  # perhaps no one else's, and as large as the tables
    shuffled = protocol.shuffle(taken_over(tables))
    moved = [
        _column(form, shuffled[t][:, :, first:last])
        for form, (t, first, last) in zip(forms, places, strict=True)
    ]
    return moved, [limb[:, :, 0] for limb in shuffled[count:]]


def _form(column: SecretValue) -> SecretValue:
    """A column of this kind and shape without shares."""
    if isinstance(column, SecretBits):
        return SecretBits(column.protocol, column.words[:, :0].copy(), column.shape)
    assert isinstance(column, SecretNumber)
    return column.like(np.broadcast_to(np.zeros(1, column.dtype), column.shares.shape), column.bits)


def rows_at(column: V, order: Indices) -> V:
    """Rows of a column (n, ...) by public row numbers 0 to n - 1; free."""
    if isinstance(column, SecretBits):
        return cast("V", SecretBits.from_unpacked(column.protocol, taken(column.unpacked, order)))
    assert isinstance(column, SecretNumber)
    return cast("V", column.like(taken(column.shares, order), column.bits))


def _rows(column: SecretValue) -> Words:
    shares = column.unpacked if isinstance(column, SecretBits) else column.shares  # type: ignore[attr-defined]
    return shares.reshape(shares.shape[0], column.shape[0], math.prod(column.shape[1:]))


def _tables(columns: Sequence[SecretValue]) -> tuple[list[tuple[Words, bool]], list[tuple[int, int, int]]]:
    """Columns of one word type side by side, so that a row is contiguous; and where each column lies."""
    kinds: dict[tuple[str, bool], list[Words]] = {}
    slots = []
    for column in columns:
        rows, xor = _rows(column), isinstance(column, SecretBits)
        members = kinds.setdefault((rows.dtype.str, xor), [])
        first = sum(member.shape[2] for member in members)
        members.append(rows)
        slots.append(((rows.dtype.str, xor), first, first + rows.shape[2]))
    order = list(kinds)
    tables = [(np.concatenate(members, axis=2), kind[1]) for kind, members in kinds.items()]
    return tables, [(order.index(kind), first, last) for kind, first, last in slots]


def _column(template: SecretValue, rows: Words) -> SecretValue:
    shares = rows.reshape(rows.shape[0], *template.shape)
    if isinstance(template, SecretBits):
        return SecretBits(template.protocol, pack_shares(shares.reshape(shares.shape[0], -1)), template.shape)
    if isinstance(template, SecretInt | SecretFixed):
        return template.like(np.ascontiguousarray(shares), template.bits)
    raise TypeError(f"{type(template).__name__} cannot be shuffled")
