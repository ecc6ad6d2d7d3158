"""Extremes along an axis, and where they are: by a tree of comparisons (Kolesnikov, Sadeghi, Schneider, CANS 2009)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from mpc_backend.operations.arrange import concatenate, select
from mpc_backend.operations.arrays import public_column, row_ring
from mpc_backend.values import SecretInt
from mpc_backend.values.base import checked_axis
from mpc_backend.values.numbers import SecretNumber

N = TypeVar("N", bound=SecretNumber)


def amax(x: N, axis: int = 0) -> N:
    """The greatest value along an axis: a tree of ceil(log2 n) levels, n - 1 comparisons; raises ValueError if empty.

    Kolesnikov, Sadeghi, Schneider, CANS 2009.
    """
    return _tree(x, axis, greatest=True)[0]


def amin(x: N, axis: int = 0) -> N:
    """The smallest value along an axis; as `amax` (CANS 2009)."""
    return _tree(x, axis, greatest=False)[0]


def argmax(x: SecretNumber, axis: int = 0) -> SecretInt:
    """The first position of the greatest value along an axis; as `amax` (CANS 2009), and one more product a comparison."""
    return _tree(x, axis, greatest=True, positions=True)[1]


def argmin(x: SecretNumber, axis: int = 0) -> SecretInt:
    """The first position of the smallest value along an axis; as `argmax` (CANS 2009)."""
    return _tree(x, axis, greatest=False, positions=True)[1]


def _tree(x: N, axis: int, *, greatest: bool, positions: bool = False) -> tuple[N, SecretInt]:
    at = checked_axis(x.ndim, axis)
    assert at is not None
    best: N = x.rearranged(lambda words: np.moveaxis(words, at, 0))
    n = len(best)
    if n == 0:
        raise ValueError("an empty axis has no extremes")
    place = public_column(x.protocol, np.arange(n), row_ring(n)).reshape(n, *(1,) * (x.ndim - 1))
    place = place.broadcast_to(best.shape)
    while len(best) > 1:
        paired = len(best) // 2 * 2
        first, second = best[0:paired:2], best[1:paired:2]
        later = second > first if greatest else second < first
        if positions:
            chosen = select(later, place[1:paired:2], place[0:paired:2])
            place = concatenate([chosen, place[paired:]])
        best = concatenate([select(later, second, first), best[paired:]])
    return best[0], place[0]
