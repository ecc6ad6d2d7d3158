"""Sums of products, extremes and running products."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np

from mpc_backend.operations.arrange import concatenate, select
from mpc_backend.values import SecretFixed
from mpc_backend.values.numbers import SecretNumber, sum_bits
from mpc_backend.values.products import dotted

N = TypeVar("N", bound=SecretNumber)


def dot(a: N, b: N) -> N:
    """Sum of products over the last axis, broadcast over the others; traffic counts outputs, not terms.

    Each node sums its products and shares the sum anew (Araki and others, CCS 2016). Reals are truncated once, after the sum.
    """
    left, right = a.aligned(b)
    if not isinstance(right, SecretNumber):
        raise TypeError("dot takes two secret arrays; multiply by a public one and sum instead")
    bits = sum_bits(left.bits + right.bits, left.shape[-1])
    shares = dotted(left, right)
    if isinstance(left, SecretFixed):
        return left._truncated(shares, bits, 2 * left.scale, left.scale)  # type: ignore[return-value]
    return left.like(shares, bits)


def minimum(a: N, b: Any) -> N:
    """Elementwise smaller value of a secret array and a secret or public one, as a step of `amin` (CANS 2009)."""
    return cast("N", select(a < b, a, b))


def maximum(a: N, b: Any) -> N:
    """Elementwise greater value of a secret array and a secret or public one, as a step of `amax` (CANS 2009)."""
    return cast("N", select(a < b, b, a))


def prefix_product(x: SecretFixed, axis: int = 0) -> SecretFixed:
    """Running products along an axis, in ceil(log2 n) levels (Hillis and Steele, CACM 29, 1986).

    For factors from 0 to 1 a product of n of them is too small by at most 2 (n - 1) units of the last place.
    """
    moved = x.rearranged(lambda words: np.moveaxis(words, axis, 0))
    span = 1
    while span < moved.shape[0]:
        moved = concatenate([moved[:span], (moved[span:] * moved[:-span]).with_bits(moved.bits)], axis=0)
        span *= 2
    return moved.rearranged(lambda words: np.moveaxis(words, 0, axis))
