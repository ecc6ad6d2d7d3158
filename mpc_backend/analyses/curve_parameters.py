"""What a signed study fixes about any analysis with curves by arm: arms, grid, horizon and the times to report."""

from __future__ import annotations

import itertools
from typing import Annotated, Self

from pydantic import Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.curve_display import display_times, table_times
from mpc_backend.analyses.grid import ColumnName, Level, Unit

MOST_TIMES = 20_000
"""Of a grid, beside 0."""
Time = Annotated[int, Field(ge=0, le=MOST_TIMES)]


class CurveParameters(Parameters):
    """``horizon``, ``tau`` (default: the horizon) and ``times`` count ``unit``s, by ceiling from ``time_unit``."""

    arm: ColumnName
    arms: Annotated[tuple[Level, ...], Field(min_length=1, max_length=12)]
    time_unit: Unit = "day"
    unit: Unit = "month"
    horizon: Annotated[int, Field(ge=1, le=MOST_TIMES)]
    tau: Annotated[int, Field(ge=1, le=MOST_TIMES)] | None = None
    times: Annotated[tuple[Time, ...], Field(max_length=40)] = ()
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _within_the_horizon(self) -> Self:
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("arms: labels must be distinct")
        if self.restricted_at > self.horizon:
            raise ValueError(f"tau: {self.restricted_at} lies beyond the horizon {self.horizon}")
        if any(after <= before for before, after in itertools.pairwise(self.times)):
            raise ValueError("times: must increase")
        if self.times and self.times[-1] > self.horizon:
            raise ValueError(f"times: {self.times[-1]} lies beyond the horizon {self.horizon}")
        return self

    @property
    def bins(self) -> int:
        """Times 0 to the horizon, both included."""
        return self.horizon + 1

    @property
    def restricted_at(self) -> int:
        """tau, by default the horizon."""
        return self.horizon if self.tau is None else self.tau

    @property
    def display_times(self) -> tuple[int, ...]:
        """The times at which a step of a released curve may fall."""
        return display_times(self.horizon)

    @property
    def table_times(self) -> tuple[int, ...]:
        """The times of the at-risk table: as declared, else about six over the horizon."""
        return table_times(self.times, self.horizon)
