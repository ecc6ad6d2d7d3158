"""Stable radix sort, lowest digit first (Asharov, Hamada, Ikarashi, Kikuchi, Nof, Pinkas, Takahashi, Tomida, CCS 2022; Chida
and others, ePrint 2019/695).

A pass puts rows in the order of one digit: the digit's value as a one-hot vector in the ring, running counts over all rows of
one value after those of the value before, and one dot product give each row its place. Rows are shuffled together with their
places, which are then opened: a permutation that is uniform whatever the data, and all rows are put where they say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_backend.circuits.carry import gates
from mpc_backend.circuits.convert import bits_to_ring
from mpc_backend.circuits.ordering import ONES
from mpc_backend.kernels.arrays import Indices, Words, ring_type
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations.arrange import rows_at, shuffle_beside
from mpc_backend.operations.keys import KeyRows
from mpc_backend.protocols.base import Protocol
from mpc_backend.session import open_values
from mpc_backend.values import SecretInt, SecretValue
from mpc_backend.values.numbers import MOST_BITS

DIGIT = 2
"""Bits a pass: traffic of a pass doubles with each bit more, the number of passes halves only once."""


def radix_sorted(rows: KeyRows, columns: Sequence[SecretValue]) -> tuple[KeyRows, list[SecretValue]]:
    """Rows in the ascending order of their keys, stable.

    Rounds for every two bits, whatever n: 8 to 10 with three nodes, 11 to 13 with four. Bytes a row and node for every two
    bits, four nodes, 2^15 < n <= 2^31: 54 for keys of 16 bits, 51 of 8, and 24 a word of the columns.
    """
    moved = list(columns)
    for first in range(0, rows.planes, DIGIT):
        last = min(first + DIGIT, rows.planes)
        place = digit_places(rows.protocol, rows.bit_planes(first, last), len(rows))
        rows, moved = _pass(rows, moved, place)
    return rows, moved


def _pass(
    rows: KeyRows, columns: Sequence[SecretValue], place: SecretInt
) -> tuple[KeyRows, list[SecretValue]]:
    (place, *columns), limbs = shuffle_beside(rows.protocol, [place, *columns], rows.limbs)  # type: ignore[assignment]
    order = opened_order(place)
    return rows.with_limbs(limbs).take(order), [rows_at(column, order) for column in columns]


def opened_order(place: SecretInt) -> Indices:
    """Row numbers by place, for secret places 0 ... n - 1 of rows that were shuffled."""
    (places,) = open_values(place.protocol, [place], "order of shuffled rows", simulatable=True)
    order: Indices = np.empty_like(places)
    order[places] = np.arange(places.size)
    return order


def digit_places(protocol: Protocol, digit: Words, n: int) -> SecretInt:
    """The place of each of n rows in the stable order of a digit's planes (components, d, words)."""
    dtype = ring_type(16 if n <= 1 << 15 else 32 if n <= 1 << 31 else 64)
    hot = _one_hot(protocol, digit)
    padded = word_count(n) * 64
    count = hot.shape[1]
    ring = bits_to_ring(protocol, hot.reshape(hot.shape[0], -1), count * padded, dtype)
    chosen = ring.reshape(-1, count, padded)[:, :, :n]
    running = np.cumsum(chosen.reshape(len(chosen), -1), axis=1, dtype=dtype).reshape(chosen.shape)
    places = protocol.dot(*(np.ascontiguousarray(part.transpose(0, 2, 1)) for part in (chosen, running)))
    return SecretInt(protocol, places, MOST_BITS) - 1


def _one_hot(protocol: Protocol, digit: Words) -> Words:
    """Planes of a digit (c, d, w) -> which of its 2^d values it has (c, 2^d, w): 2^d - 2 ANDs in d - 1 rounds."""
    lowest = digit[:, :1]
    hot = np.concatenate((protocol.xor_constant(lowest, ONES), lowest), axis=1)
    for plane in range(1, digit.shape[1]):
        size = hot.shape[1]
        both = protocol.and_rows(hot, digit, hot, gates(*((value, plane, -1) for value in range(size))))
        hot = np.concatenate((hot ^ both, both), axis=1)
    return hot
