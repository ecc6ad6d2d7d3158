"""One number of ours beside R's, and how far they may be apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

CLEAR = 1e-9
"""Relative; what follows in the clear from opened tables of counts: curves, their errors, restricted means."""
SUMS = 1e-6
"""Relative; what follows from sums that are shared in fixed point: means, variances, correlations."""
SHARED = 1e-4
"""Of a number or its standard error, whichever is larger: tests, coefficients, their errors."""
ROBUST = 1e-3
"""Relative; robust standard errors and what is made of them."""


@dataclass(frozen=True)
class Line:
    """``ours`` and ``theirs`` may be apart by ``allowed``, in the unit of the number."""

    statistic: str
    ours: float | None
    theirs: float
    allowed: float

    @property
    def difference(self) -> float:
        """Ours less R's; infinite where we show none."""
        return float("inf") if self.ours is None else self.ours - self.theirs

    @property
    def agrees(self) -> bool:
        """Whether the difference is one that is allowed."""
        return abs(self.difference) <= self.allowed


def same(statistic: str, ours: float | None, theirs: float) -> Line:
    """A count, or a time of the grid: no difference at all."""
    return Line(statistic, ours, theirs, 0.0)


def near(statistic: str, ours: float | None, theirs: float, relative: float) -> Line:
    """A number with a relative tolerance."""
    return Line(statistic, ours, theirs, relative * abs(theirs))


def within(statistic: str, ours: float | None, theirs: float, error: float, part: float = SHARED) -> Line:
    """A number whose tolerance is a part of itself or of its standard error, whichever is larger."""
    return Line(statistic, ours, theirs, part * max(abs(theirs), error))


def tail(
    statistic: str,
    ours: float | None,
    theirs: float,
    probability: Callable[[float], float],
    at: float,
    part: float = SHARED,
) -> Line:
    """A p-value: it may be off as far as it moves when the statistic ``at`` moves by that part of itself (or of 1)."""
    step = part * max(abs(at), 1)
    moved = max(abs(probability(at + sign * step) - probability(at)) for sign in (1, -1))
    return Line(statistic, ours, theirs, max(moved, 1e-12))


def golden(file: str, *index: str) -> pd.Series[float]:
    """The values of one of R's files by the named columns."""
    from tests.validation.sets import GOLDEN

    table = pd.read_csv(GOLDEN / file, keep_default_na=False, na_values=["NA"])
    return table.set_index(list(index))["value"].astype(float).sort_index()
