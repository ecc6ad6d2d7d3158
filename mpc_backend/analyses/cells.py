"""A count as it may be shown: a number, or the fact that it is hidden. Hidden is a type, never 0."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from governance.disclosure import DisclosurePolicy

RELEASED, SUPPRESSED, MERGED = 0, 1, 2


class ReleasedCount(BaseModel):
    """A count, rounded; the true one lies in ``band`` (both ends included)."""

    model_config = ConfigDict(frozen=True)

    state: Literal["released"] = "released"
    value: int
    band: tuple[int, int]


class HiddenCount(BaseModel):
    """A count that is withheld. ``suppressed``: too few; ``merged``: too close to the number shown before it."""

    model_config = ConfigDict(frozen=True)

    state: Literal["suppressed", "merged"]
    value: None = None
    why: str


Cell = Annotated[ReleasedCount | HiddenCount, Field(discriminator="state")]


def cell(state: int, value: int, policy: DisclosurePolicy, step: int) -> ReleasedCount | HiddenCount:
    """The cell of an opened state and an opened count that was rounded to a multiple of ``step``."""
    k = policy.minimum_cell
    if state == RELEASED:
        low, high = (value, value) if step <= 1 else (value - step // 2, value + (step - 1) // 2)
        floor = 0 if policy.release == "exact" or value == 0 else k
        return ReleasedCount(value=value, band=(max(floor, low), max(floor, high)))
    if state == SUPPRESSED:
        return HiddenCount(
            state="suppressed", why=f"fewer than {k} persons, or fewer than {k} besides a recipient's own"
        )
    return HiddenCount(state="merged", why=f"fewer than {k} persons apart from the last number shown")


def cells(
    states: NDArray[np.int64], values: NDArray[np.int64], policy: DisclosurePolicy, step: int
) -> list[ReleasedCount | HiddenCount]:
    """One cell per entry of (n,) arrays."""
    return [cell(int(state), int(value), policy, step) for state, value in zip(states, values, strict=True)]
