"""Numbers of few values, read at the site: persons of each value are counted before anything that uses them is shown.

The mean of a flag of 0 and 1 is a count, and a coefficient on it a mean of few persons. So a number that takes at most two
values at a hospital is refused unless the study declares its codes; levels count their persons anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import ColumnName, Ints, Level, level_codes, numbers, one_hot

if TYPE_CHECKING:
    import pandas as pd

MOST_CODES = 21
LEAST_ROWS = 10
"""Of fewer known numbers at a hospital, two different ones say nothing about their kind."""


def _distinct(codes: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(codes)) != len(codes):
        raise ValueError("codes must be distinct")
    return codes


Codes = Annotated[
    tuple[Level, ...], Field(min_length=1, max_length=MOST_CODES), AfterValidator(_distinct)
]  # fmt: skip
"""The few values that a number has, as text: 0 and 1, say."""


class Coded(BaseModel):
    """A variable that is a number; ``codes`` names its values where they are few."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variable: ColumnName
    codes: Codes | None = None

    @property
    def counted(self) -> tuple[str, ...]:
        """The values of which persons are counted."""
        return self.codes or ()


class CodedOrLevels(Coded):
    """A number, with its ``codes`` where it has few values; or declared ``levels``."""

    levels: Annotated[tuple[Level, ...], Field(min_length=2, max_length=MOST_CODES)] | None = None

    @model_validator(mode="after")
    def _codes_or_levels(self) -> CodedOrLevels:
        if self.codes is not None and self.levels is not None:
            raise ValueError(f"covariate {self.variable}: codes are of a number, give no levels beside them")
        if self.levels is not None and len(set(self.levels)) != len(self.levels):
            raise ValueError(f"covariate {self.variable}: levels must be distinct")
        return self

    @property
    def counted(self) -> tuple[str, ...]:
        """The values of which persons are counted: levels or codes."""
        return self.levels or self.codes or ()


def uncounted(named: Iterable[Coded]) -> tuple[str, ...]:
    """The variables of which no value's persons are counted."""
    return tuple(each.variable for each in named if not each.counted)


def measured(
    frame: pd.DataFrame, name: str, codes: tuple[str, ...] | None
) -> tuple[NDArray[np.float64], Ints]:
    """A number (rows,), missing as NaN, and which of its codes each row has (rows, codes).

    Raises:
        LocalDataError: at most two different numbers among `LEAST_ROWS` or more and no codes declared, or other codes.
    """
    import pandas as pd  # noqa: PLC0415  (a third of a second to import; nodes never hold a frame)

    values = numbers(frame, name)
    known = ~np.isnan(values)
    if codes is None:
        if is_code(values[known]):
            raise LocalDataError(
                f"column {name} has no more than two different numbers among the persons who count here; the study has to "
                "declare its codes, or take it by levels, so that persons of each are counted"
            )
        return values, np.zeros((len(values), 0), dtype=np.int64)
    found = level_codes(pd.DataFrame({name: values}), name, codes)
    if (known & (found < 0)).any():
        raise LocalDataError(
            f"column {name} holds other values than {', '.join(codes)}, which the study declares"
        )
    return values, one_hot(found, len(codes))


def require_codes(frame: pd.DataFrame, named: Iterable[tuple[str, tuple[str, ...] | None]]) -> None:
    """What `measured` asks of all rows, asked of the rows of a frame that count: a number of many values may have two among
    those whose other facts are known. ``named``: numbers with their codes.

    Raises:
        LocalDataError: as `measured`.
    """
    for name, codes in named:
        measured(frame, name, codes)


def is_code(known: NDArray[np.float64]) -> bool:
    """Whether so many known numbers (rows,) take at most two values."""
    return len(known) >= LEAST_ROWS and bool(((known == known.min()) | (known == known.max())).all())


def counted_values(frame: pd.DataFrame, each: CodedOrLevels) -> Ints:
    """Which of its levels or codes each row has (rows, counted)."""
    if each.levels is not None:
        return one_hot(level_codes(frame, each.variable, each.levels), len(each.levels))
    return measured(frame, each.variable, each.codes)[1]
