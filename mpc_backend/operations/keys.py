"""Sort keys: several columns as one unsigned number a row, XOR-shared, with the row's place as lowest bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.circuits.carry import bit_planes
from mpc_backend.circuits.ordering import ONES, equal
from mpc_backend.kernels.arrays import Indices, Words, WordType
from mpc_backend.kernels.planes import from_planes, planes_of
from mpc_backend.kernels.rows import taken
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretValue
from mpc_backend.values.numbers import MOST_BITS, SecretNumber

MOST_KEY_BITS = 128
LIMB = 64


@dataclass(frozen=True)
class KeyRows:
    """``limbs``: shares (components, n) of ``planes`` bits a row, 64 to a limb, lowest first. Rows can be moved.

    The lowest ``places`` planes are not of the key but the row's place before sorting.
    """

    protocol: Protocol
    limbs: tuple[Words, ...]
    planes: int
    places: int = 0

    def __len__(self) -> int:
        return int(self.limbs[0].shape[1])

    def with_limbs(self, limbs: Sequence[Words]) -> KeyRows:
        """The same form with other rows."""
        return KeyRows(self.protocol, tuple(limbs), self.planes, self.places)

    def take(self, rows: Indices | slice) -> KeyRows:
        """Some rows, by public positions."""
        if isinstance(rows, slice):
            return self.with_limbs([limb[:, rows] for limb in self.limbs])
        return self.with_limbs([taken(limb, rows) for limb in self.limbs])

    def bit_planes(self, first: int = 0, last: int | None = None) -> Words:
        """Bit planes ``first`` to ``last`` (components, planes, words)."""
        last = self.planes if last is None else last
        parts = []
        for number, limb in enumerate(self.limbs):
            low, high = max(0, first - LIMB * number), min(LIMB, last - LIMB * number)
            if low < high:
                parts.append(np.stack([planes_of(component, high)[low:] for component in limb]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def table(self) -> tuple[Words, list[int]]:
        """All limbs of all components side by side (n, components * limbs) in 64 bits, and how many planes each limb has."""
        parts = [limb[c] for c in range(self.protocol.components) for limb in self.limbs]
        table = np.empty((len(self), len(parts)), np.uint64)
        for column, part in enumerate(parts):
            table[:, column] = part
        return table, _limb_planes(self.planes)

    def with_table(self, table: Words) -> KeyRows:
        """The same form with the rows of a `table`."""
        counts, limbs = _limb_planes(self.planes), []
        for number, count in enumerate(counts):
            limb = np.empty((self.protocol.components, len(table)), _limb_type(count))
            limb[...] = table[:, number :: len(counts)].T
            limbs.append(limb)
        return self.with_limbs(limbs)

    def same_as_previous(self) -> SecretBits:
        """Whether each row's key equals that of the row before; false for the first. ceil(log2 planes) rounds."""
        if len(self) == 0:
            return SecretBits(self.protocol, np.zeros((self.protocol.components, 0), np.uint64), (0,))
        here, before = self.take(slice(1, None)), self.take(slice(None, -1))
        words = equal(self.protocol, here.bit_planes(self.places), before.bit_planes(self.places))
        first = SecretBits(self.protocol, self.protocol.constant(np.zeros(1, np.uint64)), (1,))
        rest = SecretBits(self.protocol, words, (len(here),))
        return SecretBits.from_unpacked(
            self.protocol, np.concatenate((first.unpacked, rest.unpacked), axis=1)
        )


def key_bits(key: SecretValue) -> int:
    """How many planes order a column: its declared width; all 64 where the widest is declared."""
    if isinstance(key, SecretBits):
        return 1
    if not isinstance(key, SecretNumber):
        raise TypeError(f"{type(key).__name__} cannot be a sort key")
    return key.ring if key.bits == MOST_BITS else key.bits


def key_planes(keys: Sequence[SecretValue], descending: Sequence[bool]) -> Words:
    """Planes (components, sum of widths, words) of one unsigned number in the order of the keys, the first key highest."""
    parts = [_planes(key, down) for key, down in zip(keys, descending, strict=True)]
    return np.concatenate(parts[::-1], axis=1)


def check_keys(keys: Sequence[SecretValue]) -> None:
    """Raises ValueError for no key, a key that is not a column, different lengths, or more than 128 bits in all; TypeError for
    a key of another kind.
    """
    if not keys:
        raise ValueError("sorting needs at least one key")
    shapes = {key.shape for key in keys}
    if len(shapes) != 1 or keys[0].ndim != 1:
        raise ValueError(f"sort keys are columns of one length, found shapes {sorted(shapes)}")
    width = sum(key_bits(key) for key in keys)
    if width > MOST_KEY_BITS:
        raise ValueError(f"sort keys have at most {MOST_KEY_BITS} bits in all, found {width}")


def _planes(key: SecretValue, down: bool) -> Words:
    """Planes that order a column as unsigned numbers: the sign flipped, and everything once more if descending."""
    protocol = key.protocol
    if isinstance(key, SecretBits):
        return protocol.xor_constant(key.words[:, None], ONES * np.uint64(down))
    assert isinstance(key, SecretNumber)
    planes = bit_planes(protocol, key.flat, key_bits(key))
    flips = np.full((planes.shape[1], 1), ONES * np.uint64(down))
    flips[-1] ^= ONES
    return protocol.xor_constant(planes, flips)


def place_planes(protocol: Protocol, n: int) -> Words:
    """Planes of the row numbers 0, 1, ..., n - 1 as shares: what makes equal keys unique."""
    width = max(1, (n - 1).bit_length())
    return protocol.constant(planes_of(np.arange(n, dtype=np.uint64), width))


def rows_of(protocol: Protocol, planes: Words, n: int, *, with_places: bool = False) -> KeyRows:
    """Bit planes (components, p, words) of n numbers -> rows that can be moved; with their places if asked for."""
    places = place_planes(protocol, n) if with_places else planes[:, :0]
    planes = np.concatenate((places, planes), axis=1)
    limbs, first = [], 0
    for count in _limb_planes(planes.shape[1]):
        limb = np.empty((protocol.components, n), _limb_type(count))
        for c in range(protocol.components):
            part = np.ascontiguousarray(planes[c, first : first + count])
            from_planes(part, limb[c], limb.dtype.itemsize * 8)
        limbs.append(limb)
        first += count
    return KeyRows(protocol, tuple(limbs), planes.shape[1], places.shape[1])


def _limb_planes(planes: int) -> list[int]:
    return [min(LIMB, planes - first) for first in range(0, planes, LIMB)]


def _limb_type(planes: int) -> WordType:
    return np.dtype(next(f"<u{size}" for size in (1, 2, 4, 8) if size * 8 >= planes))
