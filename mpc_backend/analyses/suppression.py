"""Complementary suppression of cells that add up to a known number, on shares.

A cell below k is hidden. Where it is the only one, or where the hidden ones hold fewer than k persons together, the number
of all of them less those shown would give it away: the smallest cell of k persons or more is hidden as well. A zero that
may be shown hides nothing: where no cell has k persons in every view, all that add up are hidden.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.disclosure import at_least
from mpc_backend.operations import argmin
from mpc_backend.values import SecretBits, SecretInt

BEYOND = 1 << 34
"""More than any count: the place of cells that are hidden already, or do not exist."""


def shown_cells(
    counts: SecretInt,
    exists: NDArray[np.bool_],
    adding: NDArray[np.bool_],
    policy: DisclosurePolicy,
    unknown: SecretInt | None = None,
) -> SecretBits:
    """Which cells may be shown, of counts (views, rows, cells) and public places (rows, cells); false where none is.

    ``adding`` (rows, cells): those that add up to a number that is known. Of them none is hidden in a row, or at least two
    with k persons or more in every view, or all. ``unknown``, in the shape of ``counts``: how many of each cell's persons
    are in no other number shown, so that hiding the cell hides them; default all.
    """
    _, rows, cells = counts.shape
    left = counts if unknown is None else unknown
    large = (counts >= policy.minimum_cell).all(axis=0)
    small = (~at_least(counts, policy) if policy.allow_true_zero else ~large) & exists
    flags = (small & adding).to_int()
    hidden = flags.sum(1).with_bits(8)
    together = (counts * flags[None]).sum(2).with_bits(counts.bits + 5)
    few = (together < policy.minimum_cell).any(axis=0)
    needed = (hidden > 0) & ((hidden < 2) | few)
    usable = (large if unknown is None else (left >= policy.minimum_cell).all(axis=0)) & adding
    order = (left[0] + (~usable).to_int() * BEYOND).with_bits(37)
    smallest = argmin(order, axis=1).with_bits(8)
    places = np.broadcast_to(np.arange(cells), (rows, cells))
    chosen = smallest.reshape(rows, 1).broadcast_to((rows, cells)) == places
    none = (~usable).all(axis=1).reshape(rows, 1).broadcast_to((rows, cells))
    extra = ((chosen & usable) | none) & needed.reshape(rows, 1).broadcast_to((rows, cells)) & adding
    return (~(small | extra)) & exists
