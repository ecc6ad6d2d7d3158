"""Secret ring elements: what SecretInt and SecretFixed share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np

from mpc_backend.circuits import carry, convert
from mpc_backend.kernels.arrays import Words, WordType, ring_type
from mpc_backend.protocols.base import Protocol
from mpc_backend.values.base import Axis, Key, SecretValue, checked_axis, plain_shape
from mpc_backend.values.bits import SecretBits
from mpc_backend.values.public import Public

N = TypeVar("N", bound="SecretNumber")
MOST_BITS = 63
"""Widest signed value: |x| < 2^62, so that a difference keeps its sign and truncation its headroom."""


def sum_bits(bits: int, terms: int) -> int:
    """Width of a sum of ``terms`` values of ``bits`` signed bits."""
    return bits + max(0, terms - 1).bit_length()


class SecretNumber(SecretValue):
    """An array of ring elements: ``shares`` (components, *shape), ``bits`` the signed width that all values keep to.

    Widths grow with operations and stop at the ring's; whoever lets a value outgrow its ring gets it mod 2^ring.
    """

    def __init__(self, protocol: Protocol, shares: Words, bits: int) -> None:
        self.protocol, self.shares = protocol, shares
        self.bits = max(1, min(bits, self.ring, MOST_BITS))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.shares.shape[1:])

    @property
    def dtype(self) -> WordType:
        """The word type of the ring."""
        return self.shares.dtype

    @property
    def ring(self) -> int:
        """r of the ring Z_2^r."""
        return int(self.shares.dtype.itemsize) * 8

    @property
    def flat(self) -> Words:
        """Shares (components, size), contiguous."""
        return np.ascontiguousarray(self.shares.reshape(self.protocol.components, -1))

    @abstractmethod
    def like(self, shares: Words, bits: int) -> Self:
        """The same kind (and scale) with other shares."""

    @abstractmethod
    def aligned(self, other: Any) -> tuple[Self, Self | Public]:
        """Both operands in one ring and at one scale."""

    def rearranged(self, change: Callable[[Words], Words]) -> Self:
        return self.like(np.stack([change(component) for component in self.shares]), self.bits)

    # The commonest rearrangements are views of all components at once, where numpy can give one.

    def __getitem__(self, key: Key) -> Self:
        parts = key if isinstance(key, tuple) else (key,)
        if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
            return super().__getitem__(key)
        return self.like(self.shares[(slice(None), *parts)], self.bits)

    def reshape(self, *shape: int | tuple[int, ...]) -> Self:
        """The same elements in another shape."""
        return self.like(self.shares.reshape(len(self.shares), *plain_shape(shape)), self.bits)

    def broadcast_to(self, shape: tuple[int, ...]) -> Self:
        """Repeat along new or unit axes, as numpy.broadcast_to."""
        if shape == self.shape:
            return self
        fitted = self.shares.reshape(len(self.shares), *(1,) * (len(shape) - self.ndim), *self.shape)
        return self.like(np.broadcast_to(fitted, (len(fitted), *shape)), self.bits)

    @property
    def T(self) -> Self:
        """Axes reversed."""
        return self.like(self.shares.transpose(0, *range(self.ndim, 0, -1)), self.bits)

    def with_bits(self, bits: int) -> Self:
        """Promise, from public knowledge, that every value lies in [-2^(bits-1), 2^(bits-1)).

        A false promise gives wrong results, never a leak.
        """
        return self.like(self.shares, bits)

    def widened(self, ring: int) -> Self:
        """The same values in a wider ring (exact)."""
        if ring == self.ring:
            return self
        shares = convert.widen(self.protocol, self.flat, self.bits, ring_type(ring))
        return self.like(shares.reshape(len(shares), *self.shape), self.bits)

    def __neg__(self) -> Self:
        return self.like(np.negative(self.shares), self.bits + 1)

    def __add__(self, other: Any) -> Self:
        left, right = self.aligned(other)
        return added(left, right)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Self:
        left, right = self.aligned(other)
        return added(left, Public(-right.values) if isinstance(right, Public) else -right)

    def __rsub__(self, other: Any) -> Self:
        left, right = self.aligned(other)
        return added(-left, right)

    def sum(self, axis: Axis = None) -> Self:
        """Sum over an axis or over everything; free."""
        axis = checked_axis(self.ndim, axis)
        shares = self.flat if axis is None else self.shares
        at = 1 if axis is None else axis + 1
        return self.like(np.sum(shares, axis=at, dtype=self.dtype), sum_bits(self.bits, shares.shape[at]))

    def cumsum(self, axis: int = 0) -> Self:
        """Running sums along an axis; free."""
        at = checked_axis(self.ndim, axis)
        assert at is not None
        shares = np.cumsum(self.shares, axis=at + 1, dtype=self.dtype)
        return self.like(shares, sum_bits(self.bits, self.shape[at]))

    def __lt__(self, other: Any) -> SecretBits:
        difference, planes = self._difference(other)
        return difference.negative(planes)

    def __gt__(self, other: Any) -> SecretBits:
        difference, planes = self._difference(other)
        return (-difference).negative(planes)

    def __ge__(self, other: Any) -> SecretBits:
        return self.__lt__(other).__invert__()

    def __le__(self, other: Any) -> SecretBits:
        return self.__gt__(other).__invert__()

    def __eq__(self, other: object) -> SecretBits:  # type: ignore[override]
        difference, planes = self._difference(other)
        words = carry.is_zero(difference.protocol, difference.flat, planes)
        return SecretBits(difference.protocol, words, difference.shape)

    def __ne__(self, other: object) -> SecretBits:  # type: ignore[override]
        return ~(self == other)

    __hash__ = None

    def negative(self, planes: int) -> SecretBits:
        """x < 0, reading the low ``planes`` bits as a signed number."""
        return SecretBits(self.protocol, carry.sign(self.protocol, self.flat, planes), self.shape)

    def _difference(self, other: Any) -> tuple[Self, int]:
        """self - other and its signed width, in a ring that holds it."""
        left, right = self.aligned(other)
        planes = max(left.bits, right.bits) + 1
        while planes > left.ring and left.ring < 64:
            left = left.widened(2 * left.ring)
            right = right if isinstance(right, Public) else right.widened(2 * right.ring)
        return added(left, Public(-right.values) if isinstance(right, Public) else -right), min(
            planes, left.ring
        )


def added(left: N, right: N | Public) -> N:
    """left + right, broadcast; operands aligned."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    bits = max(left.bits, right.bits) + 1
    if isinstance(right, Public):
        shares = left.protocol.add_constant(left.broadcast_to(shape).shares, right.words(left.dtype))
    else:
        shares = left.broadcast_to(shape).shares + right.broadcast_to(shape).shares
    return left.like(shares, bits)
