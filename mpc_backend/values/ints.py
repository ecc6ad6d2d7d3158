"""Secret integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mpc_backend.kernels.arrays import Words, ring_type
from mpc_backend.values.bits import SecretBits
from mpc_backend.values.numbers import SecretNumber, sum_bits
from mpc_backend.values.products import matrix_multiplied, multiplied
from mpc_backend.values.public import Public, public_integers

if TYPE_CHECKING:
    from mpc_backend.values.fixed import SecretFixed


class SecretInt(SecretNumber):
    """Secret signed integers in Z_2^ring (16, 32 or 64); ``bits`` is the declared signed width (63: |x| < 2^62)."""

    def like(self, shares: Words, bits: int) -> SecretInt:
        return SecretInt(self.protocol, shares, bits)

    def aligned(self, other: Any) -> tuple[SecretInt, SecretInt | Public]:
        if isinstance(other, SecretBits):
            other = other.to_int(self.ring)
        if isinstance(other, SecretInt):
            if other.ring != self.ring:
                raise ValueError(
                    f"secret integers in rings {self.ring} and {other.ring}: widen the narrower one"
                )
            return self, other
        if isinstance(other, SecretNumber):
            raise TypeError("secret integers and secret reals do not mix: use to_fixed")
        return self, public_integers(other)

    def __mul__(self, other: Any) -> SecretInt:
        if isinstance(other, SecretNumber) and not isinstance(other, SecretInt):
            return NotImplemented
        left, right = self.aligned(other)
        bits = self.bits if isinstance(other, SecretBits) else left.bits + right.bits
        return self.like(multiplied(left, right), bits)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> SecretInt:
        left, right = self.aligned(other)
        bits = left.bits if isinstance(other, SecretBits) else left.bits + right.bits
        return self.like(matrix_multiplied(left, right), sum_bits(bits, left.shape[-1]))

    def __rmatmul__(self, other: Any) -> SecretInt:
        left, right = self.aligned(other)
        if not isinstance(right, Public):
            return right @ left
        flipped = SecretInt(self.protocol, left.T.shares, left.bits)
        return (flipped @ right.values.T).T

    def widen(self, ring: int) -> SecretInt:
        """The same values in a ring of 32 or 64 bits (exact; two rounds where bits < ring)."""
        if ring < self.ring:
            raise ValueError(f"cannot widen ring {self.ring} to {ring}; narrow() goes the other way")
        return self.widened(ring)

    def narrow(self, ring: int) -> SecretInt:
        """The same values in a smaller ring, whose range they must keep to (free)."""
        if ring > self.ring:
            raise ValueError(f"cannot narrow ring {self.ring} to {ring}; widen() goes the other way")
        return self.like(self.shares.astype(ring_type(ring)), self.bits)

    def to_fixed(self, scale: int) -> SecretFixed:
        """The same numbers with ``scale`` fractional bits, in ring 64."""
        from mpc_backend.values.fixed import SecretFixed  # noqa: PLC0415 - the two kinds name each other

        wide = self.widened(64)
        return SecretFixed(self.protocol, wide.shares << np.uint64(scale), scale, wide.bits + scale)
