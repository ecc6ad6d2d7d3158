"""Public operands of secret arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_backend.kernels.arrays import Words, WordType


def signed_bits(values: NDArray[np.int64]) -> int:
    """The smallest b with every value in [-2^(b-1), 2^(b-1)); 1 for an empty array."""
    if values.size == 0:
        return 1
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


@dataclass(frozen=True)
class Public:
    """A public array as integers, already scaled like the secret operand beside it."""

    values: NDArray[np.int64]

    @property
    def bits(self) -> int:
        """Signed width of the widest element."""
        return signed_bits(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.values.shape

    def words(self, dtype: WordType) -> Words:
        """The values mod 2^ring."""
        return self.values.astype(dtype)


def public_integers(values: Any) -> Public:
    """Integers or truth values; raises TypeError for others and ValueError outside 64 bits."""
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"an integer operand is needed beside secret integers, found {array.dtype}; use to_fixed first"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise ValueError("a public operand lies outside 64 signed bits")
    return Public(array.astype(np.int64))


def public_reals(values: Any, scale: int) -> Public:
    """Reals rounded to ``scale`` fractional bits; raises TypeError or ValueError outside 62 bits."""
    array = np.asarray(values)
    if array.dtype.kind not in "iubf":
        raise TypeError(f"a numeric operand is needed beside secret reals, found {array.dtype}")
    scaled = np.rint(array.astype(np.float64) * 2.0**scale)
    if not np.all(np.abs(scaled) < 2.0**62):
        raise ValueError(f"a public operand is not finite or exceeds 62 bits at {scale} fractional bits")
    return Public(scaled.astype(np.int64))
