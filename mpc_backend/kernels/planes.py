"""Bit slicing: values to bit planes and back.

Plane j of n values is a row of ceil(n / 64) words of 64 bits; bit i of word b belongs to value 64 b + i. Transposition
works on blocks of 64 values held in W words (W = 8, 16, 32 or 64 planes) whose 64 / W fields are transposed at once, by
the usual exchange of ever smaller squares (Warren, Hacker's Delight, section 7-3). Sixteen blocks go side by side so that
the compiler uses full vector registers.
"""

from __future__ import annotations

import numba
import numpy as np

from mpc_backend.kernels.arrays import Words, operand, ring_bits

LANES = 16
_jit = numba.njit(cache=True, nogil=True)


@_jit
def _exchange(block: Words, width: int) -> None:
    """Transpose, in every lane, each W x W square of bits; block (W, LANES)."""
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    step = width // 2
    while step:
        shift = np.uint64(step)
        mask = ones // ((np.uint64(1) << shift) + np.uint64(1))
        k = 0
        while k < width:
            for lane in range(LANES):
                swap = ((block[k, lane] >> shift) ^ block[k + step, lane]) & mask
                block[k, lane] ^= swap << shift
                block[k + step, lane] ^= swap
            k = (k + step + 1) & ~step
        step >>= 1


@_jit
def to_planes(values: Words, planes: Words, width: int) -> None:
    """values (n,) of ``width`` bits -> planes (p, ceil(n / 64)): the low p <= width planes."""
    n, words, count = values.size, planes.shape[1], planes.shape[0]
    fields = 64 // width
    block = np.zeros((width, LANES), np.uint64)
    for group in range(0, words, LANES):
        lanes = min(LANES, words - group)
        block[:] = np.uint64(0)
        for lane in range(lanes):
            base = (group + lane) * 64
            for field in range(fields):
                start = base + field * width
                shift = np.uint64(field * width)
                for r in range(max(0, min(width, n - start))):
                    block[r, lane] |= np.uint64(values[start + r]) << shift
        _exchange(block, width)
        for plane in range(count):
            for lane in range(lanes):
                planes[plane, group + lane] = block[plane, lane]


@_jit
def from_planes(planes: Words, values: Words, width: int) -> None:
    """planes (p, ceil(n / 64)) -> values (n,) of ``width`` >= p bits, upper bits zero."""
    n, words, count = values.size, planes.shape[1], planes.shape[0]
    fields = 64 // width
    low = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    block = np.zeros((width, LANES), np.uint64)
    for group in range(0, words, LANES):
        lanes = min(LANES, words - group)
        block[:] = np.uint64(0)
        for plane in range(count):
            for lane in range(lanes):
                block[plane, lane] = planes[plane, group + lane]
        _exchange(block, width)
        for lane in range(lanes):
            base = (group + lane) * 64
            for field in range(fields):
                start = base + field * width
                shift = np.uint64(field * width)
                for r in range(max(0, min(width, n - start))):
                    values[start + r] = (block[r, lane] >> shift) & low


@_jit
def unpack_bits(words: Words, values: Words) -> None:
    """Packed words (ceil(n / 64),) -> one element 0 or 1 per bit, values (n,) of any word type."""
    one = np.uint64(1)
    for b in range(words.size):
        word = words[b]
        start = b * 64
        for i in range(min(64, values.size - start)):
            values[start + i] = (word >> np.uint64(i)) & one


@_jit
def pack_bits(values: Words, words: Words) -> None:
    """The low bit of each value (n,) -> packed words (ceil(n / 64),)."""
    one = np.uint64(1)
    for b in range(words.size):
        start = b * 64
        word = np.uint64(0)
        for i in range(min(64, values.size - start)):
            word |= (np.uint64(values[start + i]) & one) << np.uint64(i)
        words[b] = word


def word_count(n: int) -> int:
    """Words of 64 bits that hold n packed bits."""
    return -(-n // 64)


def planes_of(values: Words, count: int) -> Words:
    """The low ``count`` bit planes of values (n,) of any word type -> (count, ceil(n / 64)) uint64."""
    width = next(w for w in (8, 16, 32, 64) if w >= count)
    narrow = values.astype(np.dtype(f"u{width // 8}"), copy=False) if ring_bits(values) > width else values
    planes = np.empty((count, word_count(values.size)), np.uint64)
    to_planes(operand(narrow), planes, width)
    return planes


def packed(values: Words) -> Words:
    """Low bits of values (n,) as packed words."""
    words = np.empty(word_count(values.size), np.uint64)
    pack_bits(operand(values), words)
    return words


def unpacked(
    words: Words, n: int, dtype: np.dtype[np.uint8] | np.dtype[np.uint64] | type = np.uint8
) -> Words:
    """The first n bits of packed words, one element each."""
    values = np.empty(n, dtype)
    unpack_bits(operand(words), values)
    return values
