"""Names for the arrays that kernels and protocols pass around."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[Any]
"""Ring elements or packed bits: uint8, uint16, uint32 or uint64."""
Indices = NDArray[np.int64]
WordType = np.dtype[Any]

RING_TYPES: dict[int, WordType] = {
    8: np.dtype("u1"),
    16: np.dtype("<u2"),
    32: np.dtype("<u4"),
    64: np.dtype("<u8"),
}


def ring_type(ring: int) -> WordType:
    """The unsigned word type of Z_2^ring."""
    return RING_TYPES[ring]


def operand(array: Words) -> Words:
    """What a kernel only reads, as every kernel takes it: contiguous and read-only, so that one compiled variant is enough."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def ring_bits(words: Words) -> int:
    """The number of bits of one element."""
    return int(words.dtype.itemsize) * 8


@lru_cache(maxsize=256)
def ring_words(integers: tuple[int, ...], dtype: WordType) -> Words:
    """Public integers mod 2^ring, as `operand`."""
    return operand(np.array([integer % (1 << 8 * dtype.itemsize) for integer in integers], dtype))
