"""Sums and counts of rows by secret group, and distinct keys.

Sort by key, find where a new key begins, and bring the last row of every group to the front (Hamada, Kikuchi, Ikarashi, Chida,
Takahashi, ICISC 2012; Liagouris and others, Secrecy, NSDI 2023). Sums of groups are then differences of neighbouring running
sums over all rows, which cost nothing; no scan is needed. Results have as many rows as the input, and groups come first in
the order of their keys: nobody learns how many groups there are or how large they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mpc_backend.operations.arrange import concatenate
from mpc_backend.operations.arrays import kept_where, public_column, row_ring
from mpc_backend.operations.sort import sort, sorted_rows
from mpc_backend.values import SecretBits, SecretInt
from mpc_backend.values.numbers import SecretNumber, sum_bits


@dataclass(frozen=True)
class Groups:
    """One row for each row of the input; those of groups come first, by ascending key, and the rest are zero."""

    keys: list[SecretNumber]
    sums: list[SecretNumber]
    counts: SecretInt
    valid: SecretBits


def group_by(keys: Sequence[SecretNumber], columns: Sequence[SecretNumber] = ()) -> Groups:
    """For every different key how many rows have it, and the sums of columns (n,), in the ring of each column.

    Sorted, then cut where keys change (Hamada and others, ICISC 2012; Secrecy, NSDI 2023). Keys have up to 128 bits of
    declared width in all. Opened: random permutations. Beyond the sort, 17 to 19 rounds with three nodes and 20 to 22 with
    four, by the width of the keys; four nodes send 36 bytes a word of keys, sums and counts, and about 50 a row.
    Measured with 10^6 rows, a key of 64 bits and one column: 641 and 998 bytes a row and node (three and four nodes), in
    about 300 and 380 rounds.

    Raises:
        ValueError, TypeError: as `sort`.
    """
    rows, moved = sorted_rows(keys, [*keys, *columns], [False] * len(keys))
    n, values = len(rows), cast("list[SecretNumber]", moved)
    place = public_column(rows.protocol, np.arange(1, n + 1), row_ring(n))
    running = [place, *(column.cumsum() for column in values[len(keys) :])]
    valid, front = _groups_first(rows.same_as_previous(), [*values[: len(keys)], *running])
    del rows, moved, values, running  # as large as what is made of them
    found, totals = front[: len(keys)], [_differences(total) for total in front[len(keys) :]]
    kept = kept_where(valid, [*found, *totals])
    counts, *sums = kept[len(keys) :]
    widths = [sum_bits(column.bits, n) for column in columns]
    return Groups(
        kept[: len(keys)],
        [total.with_bits(bits) for total, bits in zip(sums, widths, strict=True)],
        cast("SecretInt", counts),
        valid,
    )


def distinct(keys: Sequence[SecretNumber]) -> tuple[list[SecretNumber], SecretBits]:
    """Every different key once, by ascending key, padded to n rows with zeros; and which rows those are.

    As `group_by` (Secrecy, NSDI 2023), without sums.
    """
    rows, moved = sorted_rows(keys, list(keys), [False] * len(keys))
    valid, front = _groups_first(rows.same_as_previous(), cast("list[SecretNumber]", moved))
    return kept_where(valid, front), valid


def _groups_first(same: SecretBits, columns: Sequence[SecretNumber]) -> tuple[SecretBits, list[SecretNumber]]:
    """The last row of every run of equal keys moved to the front, in order; and which rows those are."""
    if len(same) == 0:
        return same, list(columns)
    last = ~concatenate(
        [same[1:], same[:1]]
    )  # the first row continues nothing, as after the last row nothing continues
    valid, *front = sort([last], [last, *columns], descending=True)
    return cast("SecretBits", valid), cast("list[SecretNumber]", front)


def _differences(running: SecretNumber) -> SecretNumber:
    """Each row minus the row before."""
    if len(running) == 0:
        return running
    rest: SecretNumber = running[1:] - running[:-1]
    return concatenate([running[:1], rest])
