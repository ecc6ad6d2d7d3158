"""What a signed study fixes about a survival analysis: arms, strata, grid, horizon and the times to report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from mpc_backend.analyses.cox_parameters import MOST_STRATA, CoxParameters
from mpc_backend.analyses.curve_parameters import CurveParameters
from mpc_backend.analyses.grid import ColumnName, Stratum, strata_count

LARGEST_TABLE = 2_000_000


class SurvivalParameters(CurveParameters):
    """Parameters of ``survival``.

    ``outcome``: a time-to-event variable in ``time_unit``, taken by ceiling to ``unit``; ``horizon``, ``tau`` (default:
    the horizon) and ``times`` count ``unit``s. ``strata``: declared discrete covariates; with ``adjust`` the curves are
    standardised to the pooled mix of the strata and the crude ones are shown beside them, labelled. ``rho`` > 0 adds the
    weighted log-rank test G^rho. ``cox`` adds a Cox regression, stratified by hospital and ``strata``.
    """

    outcome: ColumnName
    strata: Annotated[tuple[Stratum, ...], Field(max_length=4)] = ()
    adjust: bool = True
    rho: Annotated[float, Field(ge=0, le=5)] = 0.0
    cox: CoxParameters | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SurvivalParameters:
        cells = len(self.arms) * self.strata_count * self.bins
        if cells > LARGEST_TABLE:
            raise ValueError(f"strata: {cells} cells of arm x stratum x time; at most {LARGEST_TABLE}")
        if self.cox is not None and self.strata_count > MOST_STRATA:
            raise ValueError(f"strata: {self.strata_count} strata of a Cox regression; at most {MOST_STRATA}")
        return self

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The outcome, in ``time_unit``."""
        return {self.outcome: self.time_unit}

    @property
    def covariates(self) -> tuple[str, ...]:
        """The arm, the strata and what a Cox regression reads."""
        named = (self.arm, *(stratum.variable for stratum in self.strata))
        return named if self.cox is None else (*named, *self.cox.variables)

    @property
    def strata_count(self) -> int:
        """Number of strata; 1 without declared ones."""
        return strata_count(self.strata)

    @property
    def standardised(self) -> bool:
        """Whether the main curves are mixes over strata."""
        return self.adjust and self.strata_count > 1

    @property
    def tests(self) -> tuple[str, ...]:
        """The log-rank tests made, all stratified by hospital."""
        names = ["log_rank"]
        names += ["stratified_log_rank"] if self.strata_count > 1 else []
        return (*names, *(["weighted_log_rank"] if self.rho > 0 else []))
