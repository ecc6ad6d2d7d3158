"""What a signed study fixes about a description of groups: groups, numbers with their grids, categories with their levels."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.coded import uncounted
from mpc_backend.analyses.correlation_parameters import Measured
from mpc_backend.analyses.grid import ColumnName, Level
from mpc_backend.analyses.regression_parameters import Finite, Positive

MOST_BINS = 20_001
MOST_LEVELS = 20
DISPLAY_PARTS = 150
"""Released quartiles are multiples of at least this part of the range."""


class Quantity(Measured):
    """A number on the grid ``low``, ``low`` + ``step``, ... ``high``, on which its quartiles are found.

    Mean and deviation are those of the numbers as they are; ``centre`` and ``scale`` are as in a correlation.
    """

    low: Finite
    high: Finite
    step: Positive = 1.0

    @model_validator(mode="after")
    def _a_grid(self) -> Quantity:
        if not self.low < self.high:
            raise ValueError(f"number {self.variable}: low must lie below high")
        if self.bins > MOST_BINS:
            raise ValueError(
                f"number {self.variable}: {self.bins} values on its grid; at most {MOST_BINS}, take a larger step"
            )
        return self

    @property
    def bins(self) -> int:
        """Values on the grid."""
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def display_steps(self) -> int:
        """Grid steps of which released quartiles are multiples: 1, 2 or 5 times a power of ten."""
        least = self.bins / DISPLAY_PARTS
        power = 10 ** max(0, math.floor(math.log10(max(least, 1))))
        return next(
            int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= min(least, 10 * power)
        )


class Kinds(BaseModel):
    """A variable with its levels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variable: ColumnName
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=MOST_LEVELS)]

    @model_validator(mode="after")
    def _distinct(self) -> Kinds:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"category {self.variable}: levels must be distinct")
        return self


class TableOneParameters(Parameters):
    """Parameters of ``table_one``: ``numbers`` and ``categories`` described in each of the ``groups`` of ``by``.

    Persons whose group is missing or not declared do not count. Standardised differences are against the first group.
    """

    by: ColumnName
    groups: Annotated[tuple[Level, ...], Field(min_length=1, max_length=12)]
    numbers: Annotated[tuple[Quantity, ...], Field(max_length=30)] = ()
    categories: Annotated[tuple[Kinds, ...], Field(max_length=30)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TableOneParameters:
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups: labels must be distinct")
        if len(set(self.covariates)) != len(self.covariates) or len(self.covariates) == 1:
            raise ValueError(
                "numbers, categories: name at least one variable, each once, and not the groups'"
            )
        return self

    @property
    def covariates(self) -> tuple[str, ...]:
        """Every variable it reads."""
        return (
            self.by,
            *(each.variable for each in self.numbers),
            *(each.variable for each in self.categories),
        )

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes."""
        return uncounted(self.numbers)

    @property
    def rows(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Every variable with the labels of its cells, the missing last: what is counted in each group."""
        numbers = [(each.variable, ("known", "missing")) for each in self.numbers]
        return (*numbers, *((each.variable, (*each.levels, "missing")) for each in self.categories))

    @property
    def codes(self) -> tuple[int, ...]:
        """How many codes each number has; persons of each are counted after the rows."""
        return tuple(len(each.codes or ()) for each in self.numbers)
