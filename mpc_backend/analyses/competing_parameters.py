"""What a signed study fixes about competing risks: causes, arms, grid, horizon and the times to report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from mpc_backend.analyses.curve_parameters import CurveParameters
from mpc_backend.analyses.grid import ColumnName

LARGEST_TABLE = 1_000_000


class CompetingParameters(CurveParameters):
    """Parameters of ``competing_risks``.

    ``causes``: time-to-event variables in ``time_unit``, each the time to its own event; a person fails of the one that
    comes first, at equal times of the one declared first, and is censored where the shortest of them ends without an
    event. ``horizon``, ``tau`` (default: the horizon) and ``times`` count ``unit``s, by ceiling.
    """

    causes: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=6)]

    @model_validator(mode="after")
    def _consistent(self) -> CompetingParameters:
        if len(set(self.causes)) != len(self.causes):
            raise ValueError("causes: names must be distinct")
        cells = len(self.arms) * self.reasons * self.bins
        if cells > LARGEST_TABLE:
            raise ValueError(
                f"horizon: {cells} cells of arm x cause x time; at most {LARGEST_TABLE}: take a coarser unit"
            )
        return self

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The causes, in ``time_unit``."""
        return dict.fromkeys(self.causes, self.time_unit)

    @property
    def covariates(self) -> tuple[str, ...]:
        """The arm."""
        return (self.arm,)

    @property
    def reasons(self) -> int:
        """Ways to leave: each cause, and censoring."""
        return len(self.causes) + 1
