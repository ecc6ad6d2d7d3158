"""Secret truth values, packed 64 to a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mpc_backend.circuits.convert import bits_to_ring, pack_shares, unpack_shares
from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.kernels.planes import packed
from mpc_backend.protocols.base import Protocol
from mpc_backend.values.base import Axis, SecretValue, checked_axis, plain_shape

if TYPE_CHECKING:
    from mpc_backend.values.ints import SecretInt

ALL_ONES = np.full((), 0xFFFFFFFFFFFFFFFF, np.uint64)
BIT = 2
"""Signed width of a 0/1 value."""
SHORT_SUM = 1 << 14
"""Sums of at least this many bits are taken in ring 32 and widened, which halves their traffic."""


class SecretBits(SecretValue):
    """Secret truth values: XOR shares ``words`` (components, ceil(size / 64)), elements in C order."""

    def __init__(self, protocol: Protocol, words: Words, shape: tuple[int, ...]) -> None:
        self.protocol, self.words, self._shape = protocol, words, shape

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def unpacked(self) -> Words:
        """XOR shares with one byte per element (components, *shape)."""
        return unpack_shares(self.words, self.size).reshape(len(self.words), *self.shape)

    @classmethod
    def from_unpacked(cls, protocol: Protocol, values: Words) -> SecretBits:
        """From XOR shares whose elements hold one bit each (components, *shape)."""
        return cls(protocol, pack_shares(values.reshape(values.shape[0], -1)), tuple(values.shape[1:]))

    def rearranged(self, change: Callable[[Words], Words]) -> SecretBits:
        parts = [change(component) for component in self.unpacked]
        return SecretBits.from_unpacked(self.protocol, np.stack(parts))

    def reshape(self, *shape: int | tuple[int, ...]) -> SecretBits:
        target = np.broadcast_to(np.uint8(0), self.shape).reshape(plain_shape(shape)).shape
        return SecretBits(self.protocol, self.words, target)

    def _pair(self, other: Any) -> tuple[SecretBits, SecretBits | Words]:
        """Both operands at one shape; a public one as packed words."""
        if isinstance(other, SecretBits):
            shape = np.broadcast_shapes(self.shape, other.shape)
            return self.broadcast_to(shape), other.broadcast_to(shape)
        public = np.asarray(other)
        if public.dtype.kind != "b":
            raise TypeError(f"truth values are needed beside secret bits, found {public.dtype}")
        shape = np.broadcast_shapes(self.shape, public.shape)
        flat = np.broadcast_to(public, shape).astype(np.uint8).reshape(-1)
        return self.broadcast_to(shape), packed(flat)

    def __and__(self, other: Any) -> SecretBits:
        left, right = self._pair(other)
        if isinstance(right, SecretBits):
            return SecretBits(self.protocol, self.protocol.and_(left.words, right.words), left.shape)
        return SecretBits(self.protocol, left.words & right, left.shape)

    def __xor__(self, other: Any) -> SecretBits:
        left, right = self._pair(other)
        if isinstance(right, SecretBits):
            return SecretBits(self.protocol, left.words ^ right.words, left.shape)
        return SecretBits(self.protocol, self.protocol.xor_constant(left.words, right), left.shape)

    def __or__(self, other: Any) -> SecretBits:
        neither: SecretBits = ~self & ~(other if isinstance(other, SecretBits) else np.asarray(other))
        return ~neither

    __rand__ = __and__
    __rxor__ = __xor__
    __ror__ = __or__

    def __invert__(self) -> SecretBits:
        return SecretBits(self.protocol, self.protocol.xor_constant(self.words, ALL_ONES), self.shape)

    def __eq__(self, other: object) -> SecretBits:  # type: ignore[override]
        return ~(self ^ other)

    def __ne__(self, other: object) -> SecretBits:  # type: ignore[override]
        return self ^ other

    __hash__ = None

    def to_int(self, ring: int = 64) -> SecretInt:
        """The values 0 and 1 in a ring. Two rounds."""
        from mpc_backend.values.ints import SecretInt  # noqa: PLC0415 - the two kinds name each other

        shares = bits_to_ring(self.protocol, self.words, self.size, ring_type(ring))
        return SecretInt(self.protocol, shares.reshape(len(shares), *self.shape), BIT)

    def sum(self, axis: Axis = None, ring: int = 64) -> SecretInt:
        """How many are true, along an axis or over everything."""
        axis = checked_axis(self.ndim, axis)
        terms = self.size if axis is None else self.shape[axis]
        if ring == 64 and SHORT_SUM <= terms < 1 << 30:
            return self.to_int(32).sum(axis).widen(64)
        return self.to_int(ring).sum(axis)

    def cumsum(self, axis: int = 0, ring: int = 64) -> SecretInt:
        """Running counts along an axis."""
        return self.to_int(ring).cumsum(axis)

    def all(self, axis: Axis = None) -> SecretBits:
        """Whether all are true, along an axis or over everything, in ceil(log2 n) rounds."""
        axis = checked_axis(self.ndim, axis)
        if axis is None:
            return self.reshape(-1).all(0)
        bits: SecretBits = self.rearranged(lambda words: np.moveaxis(words, axis, 0))
        if bits.shape[0] == 0:
            none = SecretBits.from_unpacked(
                self.protocol, np.zeros((len(bits.words), *bits.shape[1:]), np.uint8)
            )
            return ~none
        while bits.shape[0] > 1:
            half = bits.shape[0] // 2
            joined = bits[:half] & bits[half : 2 * half]
            bits = concatenate_bits([joined, bits[2 * half :]], 0) if bits.shape[0] % 2 else joined
        return bits[0]

    def any(self, axis: Axis = None) -> SecretBits:
        """Whether any is true, along an axis or over everything."""
        return ~(~self).all(axis)

    def __add__(self, other: Any) -> SecretInt:
        return self.to_int().__add__(other)

    def __sub__(self, other: Any) -> SecretInt:
        return self.to_int().__sub__(other)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, SecretValue) and not isinstance(other, SecretBits):
            return other * self
        return self.to_int() * other

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, SecretValue) and not isinstance(other, SecretBits):
            return other.__rmatmul__(self)  # type: ignore[attr-defined]
        return self.to_int() @ other

    def __neg__(self) -> SecretInt:
        return -self.to_int()

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> SecretInt:
        return self.to_int().__rsub__(other)

    def __rmatmul__(self, other: Any) -> SecretInt:
        return self.to_int().__rmatmul__(other)


def concatenate_bits(parts: list[SecretBits], axis: int) -> SecretBits:
    """Join along an axis."""
    at = checked_axis(parts[0].ndim, axis)
    assert at is not None
    values = np.concatenate([part.unpacked for part in parts], axis=at + 1)
    return SecretBits.from_unpacked(parts[0].protocol, values)
