"""What a signed study fixes about the Cox regression of a survival analysis."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.coded import CodedOrLevels
from mpc_backend.analyses.grid import ColumnName, Level

MOST_TERMS = 20
MOST_STRATA = 64
PERSON = "person_id"
"""As a cluster: the person of each row, by the hospital's own number."""
Ties = Literal["efron", "breslow"]


class CoxCovariate(CodedOrLevels):
    """One covariate: a number with its ``scale``, or declared ``levels``, of which the first is the reference.

    ``scale`` is a public guess at the standard deviation. Hazard ratios stay those of one unit of the variable; the
    scale only keeps secret numbers in range, and a factor of ten either way does no harm. ``codes``: the few values that a
    number has.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    levels: Annotated[tuple[Level, ...], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> CoxCovariate:
        if (self.scale is None) == (self.levels is None):
            raise ValueError(f"covariate {self.variable}: give a scale (for a number) or levels")
        return self

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of its coefficients, as in R: the variable, or the variable with each level but the first."""
        if self.levels is None:
            return (self.variable,)
        return tuple(f"{self.variable}{level}" for level in self.levels[1:])

    @property
    def scales(self) -> tuple[float, ...]:
        """By what each term is divided before it is shared."""
        return (self.scale or 1.0,) * len(self.terms)


class CoxParameters(BaseModel):
    """Parameters of a Cox regression, stratified by hospital and by the strata of the survival analysis.

    ``cluster``: a variable that is the same for all rows of one person, or ``person_id`` for the hospital's own number of
    the person; standard errors, intervals and p values are then robust. ``shared_ids``: equal values at two hospitals mean
    one person. ``ph``: test proportional hazards, with time as 1 - KM. ``iterations``: Newton steps on shares, the same
    number whatever the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    covariates: Annotated[tuple[CoxCovariate, ...], Field(min_length=1, max_length=MOST_TERMS)]
    ties: Ties = "efron"
    cluster: ColumnName | None = None
    shared_ids: bool = False
    ph: bool = True
    iterations: Annotated[int, Field(ge=2, le=20)] = 5

    @model_validator(mode="after")
    def _consistent(self) -> CoxParameters:
        names = [covariate.variable for covariate in self.covariates]
        if len(set(names)) != len(names):
            raise ValueError("covariates: each may be named once")
        if self.cluster == PERSON and self.shared_ids:
            raise ValueError(
                f"shared_ids: {PERSON} is a hospital's own number; it means another person elsewhere"
            )
        if len(self.terms) > MOST_TERMS:
            raise ValueError(f"covariates: {len(self.terms)} coefficients; at most {MOST_TERMS}")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable it reads beside outcome and strata."""
        named = [covariate.variable for covariate in self.covariates]
        return (*named, self.cluster) if self.cluster not in (None, PERSON) else tuple(named)

    @property
    def level_count(self) -> int:
        """How many levels and codes all its covariates have."""
        return sum(len(covariate.counted) for covariate in self.covariates)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(itertools.chain.from_iterable(covariate.terms for covariate in self.covariates))

    @property
    def scales(self) -> tuple[float, ...]:
        """Scale of each term."""
        return tuple(itertools.chain.from_iterable(covariate.scales for covariate in self.covariates))
