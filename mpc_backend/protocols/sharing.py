"""How plaintext columns become shares, how shares travel, and how they become plaintext again.

Used by those who may see plaintext (a site, a physician's client, a recipient) and, for decoding, by nodes. No network.

A protocol's layout says which nodes hold which shares. A column of n values is split into as many shares: all but the
last are the keystreams of fresh 32-byte seeds, the last is the correction that makes them sum (XOR for bits) to the
values, so an upload costs one word per value and holder of the last share.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_backend.errors import ShareFormatError, ShareMismatch, UnknownProtocol
from mpc_backend.kernels.arrays import Words, WordType, ring_type
from mpc_backend.kernels.planes import packed, unpacked, word_count
from mpc_backend.prg import expand_seed
from mpc_backend.tables import Array, Column

SEED, WORDS = 0, 1
SEED_BYTES = 32


@dataclass(frozen=True)
class Layout:
    """``held[i]``: the shares of node i, in the order of its components."""

    protocol: str
    shares: int
    held: tuple[tuple[int, ...], ...]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.held)

    def holders(self, share: int) -> tuple[int, ...]:
        """The nodes that hold a share."""
        return tuple(node for node, held in enumerate(self.held) if share in held)


LAYOUTS = {
    "plain": Layout("plain", 1, ((0,),)),
    "rep3": Layout("rep3", 3, tuple((node, (node + 1) % 3) for node in range(3))),
    "rep4": Layout("rep4", 4, tuple(tuple((node + 1 + c) % 4 for c in range(3)) for node in range(4))),
}


def layout(protocol: str) -> Layout:
    """The layout of a protocol; raises UnknownProtocol."""
    if protocol not in LAYOUTS:
        raise UnknownProtocol(f"protocol {protocol!r} is not one of {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[protocol]


def values_shape(column: Column, rows: int) -> tuple[int, ...]:
    """(rows,) or (rows, width)."""
    return (rows,) if column.width == 1 else (rows, column.width)


def word_type(column: Column) -> WordType:
    """The word in which a column's shares travel: its ring's, or 64 packed bits."""
    return ring_type(64 if column.kind == "bit" else column.ring)


def words_in(column: Column, rows: int) -> int:
    """How many words one share of a column has."""
    return word_count(rows * column.width) if column.kind == "bit" else rows * column.width


def encode_values(column: Column, array: Array) -> Words:
    """Plaintext (rows,) or (rows, width) -> words to be shared, flat in C order; bits packed little end first.

    Raises:
        ValueError: a value outside the declared range, not finite, or not 0/1 in a column of bits (names the column).
    """
    values = np.asarray(array)
    if values.shape != values_shape(column, len(values)):
        raise ValueError(f"column {column.name}: shape {values.shape} does not fit width {column.width}")
    if column.kind == "fixed":
        scaled = np.rint(values.astype(np.float64) * 2.0**column.scale)
        if not np.all(np.abs(scaled) < 2.0**62):
            raise ValueError(f"column {column.name}: a value is not finite or exceeds 62 bits when scaled")
        values = scaled.astype(np.int64)
    elif values.dtype.kind not in "iub":
        raise ValueError(f"column {column.name}: kind {column.kind} takes integers, found {values.dtype}")
    check_range(column, values)
    flat = values.astype(np.int64).reshape(-1)
    return packed(flat.astype(np.uint8)) if column.kind == "bit" else flat.astype(word_type(column))


def check_range(column: Column, values: NDArray[Any]) -> None:
    """Raise ValueError unless all values keep to the declared width (64 bits: |x| < 2^62)."""
    if values.size == 0:
        return
    low, high = int(values.min()), int(values.max())
    if column.kind == "bit":
        if low < 0 or high > 1:
            raise ValueError(f"column {column.name}: a column of bits holds 0 and 1 only")
        return
    half = 1 << (min(column.bits, 63) - 1)
    if low < -half or high >= half or (column.bits >= 63 and low == -half):
        raise ValueError(f"column {column.name}: a value lies outside {column.bits} signed bits")


def decode_values(column: Column, rows: int, words: Words) -> Array:
    """The reverse of `encode_values`: int64 (``int`` and ``bit``) or float64 (``fixed``)."""
    shape = values_shape(column, rows)
    if column.kind == "bit":
        return unpacked(words, rows * column.width).astype(np.int64).reshape(shape)
    signed = words.view(f"<i{words.dtype.itemsize}").astype(np.int64).reshape(shape)
    return signed / 2.0**column.scale if column.kind == "fixed" else signed


def encode_share(source: bytes | Words) -> bytes:
    """One share of one column.

    Layout: one byte 0, then the 32 bytes of a seed whose keystream is the share; or one byte 1, then the share's words
    in little-endian order. The number of words follows from the schema and is never read from the message.
    """
    if isinstance(source, bytes):
        return bytes([SEED]) + source
    return bytes([WORDS]) + source.astype(source.dtype.newbyteorder("<"), copy=False).tobytes()


def decode_share(payload: bytes, count: int, dtype: WordType) -> Words:
    """``count`` words of one encoded share; raises ShareFormatError for any other tag or length."""
    if not payload or payload[0] not in (SEED, WORDS):
        raise ShareFormatError(f"an encoded share starts with byte {SEED} or {WORDS}")
    expected = SEED_BYTES if payload[0] == SEED else count * dtype.itemsize
    if len(payload) != 1 + expected:
        raise ShareFormatError(
            f"an encoded share of {count} words has {1 + expected} bytes, found {len(payload)}"
        )
    if payload[0] == SEED:
        return expand_seed(payload[1:], count, dtype)
    return np.frombuffer(payload, dtype, count, offset=1)


def split(protocol: str, column: Column, array: Array) -> dict[int, bytes]:
    """Fresh encoded shares of one column, by share number; node i is to receive those of `Layout.held`.

    Raises:
        ValueError: see `encode_values`.
    """
    count = layout(protocol).shares
    words = encode_values(column, array).copy()
    seeds = [secrets.token_bytes(SEED_BYTES) for _ in range(count - 1)]
    for seed in seeds:
        mask = expand_seed(seed, words.size, words.dtype)
        words = words ^ mask if column.kind == "bit" else words - mask
    return {**{share: encode_share(seed) for share, seed in enumerate(seeds)}, count - 1: encode_share(words)}


def node_shares(protocol: str, node: int, column: Column, rows: int, encoded: Mapping[int, bytes]) -> Words:
    """What node ``node`` computes on: (components, *shape) in a ring, (components, words) for bits.

    Raises:
        ShareFormatError: a share is missing or has the wrong length.
    """
    held = layout(protocol).held[node]
    if set(encoded) != set(held):
        raise ShareFormatError(
            f"node {node} holds shares {sorted(held)} of {column.name}, found {sorted(encoded)}"
        )
    count, dtype = words_in(column, rows), word_type(column)
    stacked = np.stack([decode_share(encoded[share], count, dtype) for share in held])
    return stacked if column.kind == "bit" else stacked.reshape(len(held), *values_shape(column, rows))


def combine(protocol: str, by_node: Mapping[int, Sequence[Words]], xor: bool) -> Words:
    """Plain words from every node's components, after checking that all copies of each share agree.

    Raises:
        ShareMismatch: a node is missing, or copies of a share differ.
    """
    plan = layout(protocol)
    if set(by_node) != set(range(plan.nodes)):
        raise ShareMismatch(f"shares of nodes {sorted(by_node)} came, {plan.nodes} nodes were expected")
    total: Words | None = None
    for share in range(plan.shares):
        copies = [by_node[node][plan.held[node].index(share)] for node in plan.holders(share)]
        if any(copy.shape != copies[0].shape or not np.array_equal(copy, copies[0]) for copy in copies[1:]):
            raise ShareMismatch(f"nodes {plan.holders(share)} delivered different copies of share {share}")
        total = copies[0].copy() if total is None else (total ^ copies[0] if xor else total + copies[0])
    assert total is not None
    return total


def assemble(protocol: str, column: Column, rows: int, delivered: Mapping[int, Mapping[int, bytes]]) -> Array:
    """One column from {node: {share: encoded}}; the reverse of `split`.

    Raises:
        ShareFormatError, ShareMismatch: as `node_shares` and `combine`.
    """
    by_node = {
        node: list(node_shares(protocol, node, column, rows, shares)) for node, shares in delivered.items()
    }
    flat = {node: [part.reshape(-1) for part in parts] for node, parts in by_node.items()}
    return decode_values(column, rows, combine(protocol, flat, xor=column.kind == "bit"))
