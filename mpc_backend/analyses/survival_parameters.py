"""What a signed study fixes about a survival analysis: arms, strata, grid, horizon and the times to report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictBool, model_validator

from mpc_backend.analyses.coded import uncounted
from mpc_backend.analyses.cox_parameters import MOST_STRATA, CoxParameters
from mpc_backend.analyses.curve_parameters import CurveParameters
from mpc_backend.analyses.grid import ColumnName, Stratum, strata_count
from mpc_backend.analyses.linked_steps import Label, LinkedStep, check_steps, has_entry

LARGEST_TABLE = 2_000_000
LONGEST_FOLLOW_UP = 36_525
"""Days of linked persons."""
LARGEST_LINKED = 1 << 14
"""Hospitals x arms x strata x times, where hospitals share a row a person."""


class SurvivalParameters(CurveParameters):
    """Parameters of ``survival``.

    ``outcome``: a time-to-event variable in ``time_unit``, taken by ceiling to ``unit``; ``horizon``, ``tau`` (default:
    the horizon) and ``times`` count ``unit``s. ``strata``: declared discrete covariates; with ``adjust`` the curves are
    standardised to the pooled mix of the strata and the crude ones are shown beside them, labelled. ``rho`` > 0 adds the
    weighted log-rank test G^rho. ``cox`` adds a Cox regression, stratified by hospital and ``strata``.

    ``linkage``: a person of several hospitals counts once. How records are combined follows from the study: ``steps``,
    ``linked`` and ``first`` from the cohort, as for ``cohort_count``, ``follow_up_days`` from the outcome's horizon.
    """

    outcome: ColumnName
    strata: Annotated[tuple[Stratum, ...], Field(max_length=4)] = ()
    adjust: bool = True
    rho: Annotated[float, Field(ge=0, le=5)] = 0.0
    cox: CoxParameters | None = None
    linkage: StrictBool = False
    steps: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    linked: Annotated[tuple[LinkedStep, ...], Field(max_length=100)] = ()
    first: bool = False
    follow_up_days: Annotated[int, Field(ge=1, le=LONGEST_FOLLOW_UP)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SurvivalParameters:
        cells = len(self.arms) * self.strata_count * self.bins
        if cells > LARGEST_TABLE:
            raise ValueError(f"strata: {cells} cells of arm x stratum x time; at most {LARGEST_TABLE}")
        if self.cox is not None and self.strata_count > MOST_STRATA:
            raise ValueError(f"strata: {self.strata_count} strata of a Cox regression; at most {MOST_STRATA}")
        self._check_linkage()
        return self

    def _check_linkage(self) -> None:
        if not self.linkage:
            if self.steps or self.linked or self.first or self.follow_up_days is not None:
                raise ValueError("steps, linked, first and follow_up_days need linkage: true")
            return
        if len(self.linked) != len(self.steps):
            raise ValueError(f"{len(self.steps)} steps are named and {len(self.linked)} are linked")
        check_steps(self.linked, first=self.first)
        if self.linked and not has_entry(self.linked):
            raise ValueError("times of linked persons start with an entry, which is the first step")
        if self.cox is not None:
            raise ValueError(
                "cox: with linkage nobody has a person's covariates beside the person's time; leave the regression out, or do "
                "without linkage"
            )
        if self.rho != int(self.rho):
            raise ValueError(
                f"rho: {self.rho:g} with linkage; weights are whole powers then, take 0, 1, 2, ..."
            )
        if refusal := too_many(self, 1):
            raise ValueError(f"horizon: {refusal}")

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
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes."""
        return () if self.cox is None else uncounted(self.cox.covariates)

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


def linked_codes(parameters: SurvivalParameters, hospitals: int) -> int:
    """Hospital, arm, stratum and time in one number: how many there are."""
    return hospitals * len(parameters.arms) * parameters.strata_count * parameters.bins


def too_many(parameters: SurvivalParameters, hospitals: int) -> str | None:
    """That linked persons cannot be counted in so many cells; None: they can."""
    cells = linked_codes(parameters, hospitals)
    if cells <= LARGEST_LINKED:
        return None
    return (
        f"{cells} cells of hospital x arm x stratum x time with linkage, at most "
        f"{LARGEST_LINKED}; take a coarser unit, a nearer horizon or fewer strata"
    )
