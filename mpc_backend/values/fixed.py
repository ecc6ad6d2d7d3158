"""Secret reals in fixed point."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpc_backend.circuits.truncate import floor_shift, truncate
from mpc_backend.kernels.arrays import Words
from mpc_backend.protocols.base import Protocol
from mpc_backend.values.bits import SecretBits
from mpc_backend.values.ints import SecretInt
from mpc_backend.values.numbers import MOST_BITS, SecretNumber, sum_bits
from mpc_backend.values.products import matrix_multiplied, multiplied
from mpc_backend.values.public import Public, public_integers, public_reals


class SecretFixed(SecretNumber):
    """Secret reals x = v / 2^scale with v in Z_2^64; ``bits`` is the signed width of v.

    A product of two reals must keep |x y| 2^(sum of scales) < 2^62. Its last bit is rounded down or one less.
    """

    def __init__(self, protocol: Protocol, shares: Words, scale: int, bits: int = MOST_BITS) -> None:
        super().__init__(protocol, shares, bits)
        self.scale = scale

    def like(self, shares: Words, bits: int) -> SecretFixed:
        return SecretFixed(self.protocol, shares, self.scale, bits)

    def aligned(self, other: Any) -> tuple[SecretFixed, SecretFixed | Public]:
        if isinstance(other, SecretBits):
            other = other.to_int(64)
        if isinstance(other, SecretInt):
            other = other.to_fixed(self.scale)
        if not isinstance(other, SecretFixed):
            return self, public_reals(other, self.scale)
        scale = max(self.scale, other.scale)
        return self.rescaled(scale), other.rescaled(scale)

    def rescaled(self, scale: int) -> SecretFixed:
        """The same numbers with another number of fractional bits; fewer: rounded down or one less."""
        if scale >= self.scale:
            shift = scale - self.scale
            shares = self.shares << np.uint64(shift) if shift else self.shares
            return SecretFixed(self.protocol, shares, scale, self.bits + shift)
        return self._truncated(self.shares, self.bits, self.scale, scale)

    def _truncated(self, shares: Words, bits: int, scale: int, target: int) -> SecretFixed:
        flat = np.ascontiguousarray(shares.reshape(shares.shape[0], -1))
        cut = truncate(self.protocol, flat, scale - target).reshape(shares.shape)
        return SecretFixed(self.protocol, cut, target, min(bits, MOST_BITS) - (scale - target) + 1)

    def __mul__(self, other: Any) -> SecretFixed:
        whole = exact_factor(other, self.protocol)
        if whole is not None:
            bits = self.bits if isinstance(other, SecretBits) else self.bits + whole.bits
            return self.like(multiplied(self, whole), bits)
        factor = other if isinstance(other, SecretFixed) else public_reals(other, self.scale)
        scale = factor.scale if isinstance(factor, SecretFixed) else self.scale
        shares = multiplied(self, factor)
        return self._truncated(shares, self.bits + factor.bits, self.scale + scale, max(self.scale, scale))

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> SecretFixed:
        whole = exact_factor(other, self.protocol)
        if whole is not None:
            bits = sum_bits(self.bits + whole.bits, self.shape[-1])
            return self.like(matrix_multiplied(self, whole), bits)
        factor = other if isinstance(other, SecretFixed) else public_reals(other, self.scale)
        scale = factor.scale if isinstance(factor, SecretFixed) else self.scale
        bits = sum_bits(self.bits + factor.bits, self.shape[-1])
        return self._truncated(
            matrix_multiplied(self, factor), bits, self.scale + scale, max(self.scale, scale)
        )

    def __rmatmul__(self, other: Any) -> SecretFixed:
        flipped = other.T if isinstance(other, SecretInt | SecretBits) else np.asarray(other).T
        return (self.T @ flipped).T

    def floor(self) -> SecretInt:
        """The integer part, exactly floor(x)."""
        shares = floor_shift(self.protocol, self.flat, self.scale)
        return SecretInt(self.protocol, shares.reshape(len(shares), *self.shape), self.bits - self.scale + 1)

    def exact_round(self, decimals: int) -> SecretInt:
        """floor(x 10^decimals + 1/2), exactly: the form in which a real may be released.

        Needs |x| 10^decimals 2^scale < 2^61.
        """
        scaled = self.flat * np.uint64(10**decimals)
        shifted = self.protocol.add_constant(scaled, np.full((), (1 << self.scale) >> 1, np.uint64))
        shares = floor_shift(self.protocol, shifted, self.scale)
        bits = min(MOST_BITS, self.bits + (10**decimals).bit_length()) - self.scale + 1
        return SecretInt(self.protocol, shares.reshape(len(shares), *self.shape), bits)


def exact_factor(other: Any, protocol: Protocol) -> SecretInt | Public | None:
    """An integer operand, which needs no truncation; None for a real one."""
    if isinstance(other, SecretBits):
        return other.to_int(64)
    if isinstance(other, SecretInt):
        return other.widened(64)
    if isinstance(other, SecretNumber) or np.asarray(other).dtype.kind == "f":
        return None
    return public_integers(other)
