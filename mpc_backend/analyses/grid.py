"""From a site's columns to integers: time grids, declared levels and strata. Runs at the site, in the clear."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.errors import LocalDataError

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["day", "week", "month", "quarter", "year"]
Ints = NDArray[np.int64]

DAYS: dict[Unit, tuple[int, int]] = {
    "day": (1, 1),
    "week": (7, 1),
    "month": (487, 16),
    "quarter": (1461, 16),
    "year": (1461, 4),
}
"""Length of each unit in days as an exact fraction; a month is 365.25 / 12 = 487 / 16 days."""

ColumnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Level = Annotated[str, Field(min_length=1, max_length=100)]


class Stratum(BaseModel):
    """One declared discrete covariate: its ``levels`` as text, or the inner ``cuts`` of a number.

    Cuts c1 < c2 < ... make the bands (-inf, c1), [c1, c2), ..., [cm, inf).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variable: ColumnName
    levels: tuple[Level, ...] | None = None
    cuts: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Stratum:
        if (self.levels is None) == (self.cuts is None):
            raise ValueError(f"stratum {self.variable}: give either levels or cuts")
        if self.levels is not None and (not self.levels or len(set(self.levels)) != len(self.levels)):
            raise ValueError(f"stratum {self.variable}: levels must be present and distinct")
        if self.cuts is not None and (not self.cuts or list(self.cuts) != sorted(set(self.cuts))):
            raise ValueError(f"stratum {self.variable}: cuts must be present and increasing")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per stratum, in the order of the codes."""
        if self.levels is not None:
            return tuple(f"{self.variable} {level}" for level in self.levels)
        cuts = [f"{cut:g}" for cut in self.cuts or ()]
        between = [f"{self.variable} {low} to under {high}" for low, high in itertools.pairwise(cuts)]
        return (f"{self.variable} under {cuts[0]}", *between, f"{self.variable} {cuts[-1]} or more")

    def codes(self, frame: pd.DataFrame) -> Ints:
        """The code of each row, shape (rows,); -1 where the value is missing or not a declared level."""
        if self.levels is not None:
            return level_codes(frame, self.variable, self.levels)
        values = numbers(frame, self.variable)
        codes = np.searchsorted(np.array(self.cuts), values, side="right").astype(np.int64)
        codes[np.isnan(values)] = -1
        return codes


def strata_labels(strata: Sequence[Stratum]) -> tuple[str, ...]:
    """A label per cell of the crossed strata, last variable fastest; a single empty label without strata."""
    return tuple(", ".join(parts) for parts in itertools.product(*(stratum.labels for stratum in strata)))


def strata_count(strata: Sequence[Stratum]) -> int:
    """How many cells the crossed strata have."""
    return math.prod(len(stratum.labels) for stratum in strata)


def strata_codes(frame: pd.DataFrame, strata: Sequence[Stratum]) -> Ints:
    """The cell of each row in the order of `strata_labels`; -1 where any stratum is missing."""
    result = np.zeros(len(frame), dtype=np.int64)
    missing = np.zeros(len(frame), dtype=bool)
    for stratum in strata:
        codes = stratum.codes(frame)
        missing |= codes < 0
        result = result * len(stratum.labels) + codes
    return np.where(missing, -1, result)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column, or a refusal that names it."""
    if name not in frame.columns:
        known = ", ".join(str(known) for known in frame.columns) or "none"
        raise LocalDataError(f"column {name} is missing; the data have: {known}")
    return frame[name]


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A numeric column as float64, missing as NaN."""
    import pandas as pd  # noqa: PLC0415  (a third of a second to import; nodes never hold a frame)

    given = column(frame, name)
    try:
        values = pd.to_numeric(given).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise LocalDataError(
            f"column {name} must be numeric, with a decimal point and no other text; missing numbers are left empty"
        ) from error
    if np.isinf(values).any():
        raise LocalDataError(f"column {name} holds an infinite number; correct it or leave it empty")
    return np.asarray(values)


def whole_numbers(frame: pd.DataFrame, name: str, low: int, high: int) -> tuple[Ints, NDArray[np.bool_]]:
    """A column of whole numbers in [low, high]: values (0 where missing) and which rows are present."""
    values = numbers(frame, name)
    present = ~np.isnan(values)
    known = values[present]
    if (known != np.floor(known)).any():
        raise LocalDataError(f"column {name} must hold whole numbers; round to the unit of the study first")
    if ((known < low) | (known > high)).any():
        raise LocalDataError(
            f"column {name} holds numbers outside {low} to {high}; correct them, or leave them empty"
        )
    return np.where(present, values, 0).astype(np.int64), present


def level_codes(frame: pd.DataFrame, name: str, levels: Sequence[str]) -> Ints:
    """The position of each row's text among ``levels``, shape (rows,); -1 where missing or not declared."""
    text = column(frame, name).map(level_text, na_action="ignore")
    lookup = {level: code for code, level in enumerate(levels)}
    return np.asarray(text.map(lookup).fillna(-1).to_numpy(dtype=np.int64), dtype=np.int64)


def level_text(value: object) -> str:
    """The text of a level: whole floats as integers, so that a sex coded 1.0 is the level "1"."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def ratio(source: Unit, target: Unit) -> tuple[int, int]:
    """Length of the ``source`` unit over that of the ``target`` unit, as a fraction in lowest terms."""
    found = Fraction(*DAYS[source]) / Fraction(*DAYS[target])
    return found.numerator, found.denominator


def coarsen(times: Ints, source: Unit, target: Unit) -> Ints:
    """Whole times in ``source`` units to ``target`` units by ceiling, in exact integers."""
    numerator, denominator = ratio(source, target)
    return -(-times * numerator // denominator)


LONGEST_TIME = 200_000
"""No follow-up is longer than this many units; larger numbers are dates or errors."""


def times_and_events(
    frame: pd.DataFrame, outcome: str, source: Unit, target: Unit, horizon: int
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Times on the grid and event flags, both (rows,) int64, with the rows where both are known.

    Follow-up beyond ``horizon`` (in target units) is censored there.
    """
    times, timed = whole_numbers(frame, f"{outcome}_time", 0, LONGEST_TIME)
    events, judged = whole_numbers(frame, f"{outcome}_event", 0, 1)
    grid = coarsen(times, source, target)
    events = np.where(grid > horizon, 0, events)
    return np.minimum(grid, horizon), events, timed & judged


def one_hot(codes: Ints, width: int) -> Ints:
    """Rows of zeros with a one at ``codes``; a code outside [0, width) gives a row of zeros."""
    table = np.zeros((len(codes), width), dtype=np.int64)
    inside = (codes >= 0) & (codes < width)
    table[np.flatnonzero(inside), codes[inside]] = 1
    return table
