"""What a signed study fixes about a treatment ranking: treatments, matching with its ladder, strata, horizon."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.grid import ColumnName, Level, Stratum, Unit, strata_count
from mpc_backend.analyses.ranking_cells import CellPlan, CellTier, check_plan, unions

LARGEST_TABLE = 1_000_000
MOST_TIMES = 4_000
HARM, CONTROL = "harm_", "control_"
MOST_COVARIATES, MOST_LEVELS = 16, 64
MOST_COMPARED, MOST_COMPARED_OF_ALL = 500_000, 4_000_000
"""Most numbers by pair of treatments and level of a covariate, of one group of patients and of all unions of cells."""
Count = Annotated[int, Field(ge=0, le=1_000)]


class Category(BaseModel):
    """A variable on which similar patients agree exactly, with its declared levels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variable: ColumnName
    levels: Annotated[tuple[Level, ...], Field(min_length=2, max_length=64)]


class Tier(BaseModel):
    """One rung of the relaxation ladder: who counts as similar.

    At most ``max_distance`` markers differ, age differs by at most ``age_within`` years (None: any age), and the
    variables of ``equal`` agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    max_distance: Count
    age_within: Count | None = None
    equal: tuple[ColumnName, ...] = ()


class RankingParameters(Parameters):
    """Parameters of ``treatment_ranking``.

    ``mode``: ``neighbours`` compares each patient with those near by ``tiers``; ``cells`` looks the answer up in a table of
    declared ``cells``, which have tiers of their own.
    ``outcome``: a time-to-event variable whose event is the failure to be delayed; its times are in ``time_unit``
    and are taken by ceiling to ``unit``; ``tau`` counts ``unit``s. ``harm``: a second time-to-event variable in the same
    units, whose event is harm; its restricted mean is shown beside that of the outcome. ``negative_control``: one that no
    treatment can cause, so that a difference in it speaks for confounding. ``period``: bands of the index
    year, always adjusted for, unless the study says that the data hold no index date; ``strata``: further declared
    covariates. ``balance``: covariates whose balance between each two treatments is judged, by declared levels or cuts,
    matched on and adjusted for or not; who lacks one counts in a level of its own. ``capacity``: most rows over all
    hospitals, padding included; up to 65,535 the counts travel in 16-bit words; beyond 2^22 squares of counts would not fit
    the ring with their fractional bits.
    """

    mode: Literal["neighbours", "cells"] = "neighbours"
    treatment: ColumnName
    treatments: Annotated[tuple[Level, ...], Field(min_length=2, max_length=2_000)]
    outcome: ColumnName
    harm: ColumnName | None = None
    negative_control: ColumnName | None = None
    time_unit: Unit = "day"
    unit: Unit = "month"
    tau: Annotated[int, Field(ge=1, le=MOST_TIMES)]
    markers: Annotated[tuple[ColumnName, ...], Field(max_length=512)] = ()
    age: ColumnName | None = None
    equal: Annotated[tuple[Category, ...], Field(max_length=16)] = ()
    tiers: Annotated[tuple[Tier, ...], Field(max_length=8)] = ()
    cells: CellPlan | None = None
    period: Stratum | Literal["not available"]
    strata: Annotated[tuple[Stratum, ...], Field(max_length=4)] = ()
    balance: Annotated[tuple[Stratum, ...], Field(max_length=MOST_COVARIATES)] = ()
    minimum_support: Annotated[int, Field(ge=20, le=10_000)] = 20
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    capacity: Annotated[int, Field(ge=1_024, le=2**22)] = 65_535

    @model_validator(mode="after")
    def _consistent(self) -> RankingParameters:
        _distinct("treatments", self.treatments)
        _distinct("markers", self.markers)
        _distinct("equal", tuple(category.variable for category in self.equal))
        if isinstance(self.period, Stratum) and self.period.cuts is None:
            raise ValueError("period: give cuts of the index year; it is always adjusted for")
        if self.strata_count > 64:
            raise ValueError(f"strata: {self.strata_count} cells; at most 64 can carry any comparison")
        if self.harm == self.outcome:
            raise ValueError(f"harm: {self.harm} is the outcome already; name another variable or none")
        if self.negative_control is not None and self.negative_control in (self.outcome, self.harm):
            raise ValueError(
                f"negative_control: {self.negative_control} is the outcome or the harm; name one that no treatment can cause"
            )
        cells = len(self.treatments) * self.strata_count * self.tau * len(self.outcomes)
        if cells > LARGEST_TABLE:
            raise ValueError(
                f"tau: {cells} cells of treatment x stratum x time x outcome; at most {LARGEST_TABLE}: take a coarser unit"
            )
        if self.mode == "cells":
            if self.cells is None or self.tiers:
                raise ValueError("mode cells: give cells, with tiers of their own, and no tiers beside them")
            check_plan(self)
        elif self.cells is not None or not self.tiers:
            raise ValueError("mode neighbours: give tiers, at least one, and no cells")
        self._check_balance()
        self._check_tiers()
        return self

    def _check_tiers(self) -> None:
        known = {category.variable for category in self.equal}
        for tier in self.tiers:
            if not set(tier.equal) <= known:
                raise ValueError(
                    f"tier {tier.name!r} matches on {sorted(set(tier.equal) - known)}, not in equal"
                )
            if tier.age_within is not None and self.age is None:
                raise ValueError(f"tier {tier.name!r} has an age caliper, but no age variable is declared")
        for strict, loose in itertools.pairwise(self.tiers):
            if not _relaxes(strict, loose):
                raise ValueError(f"tier {loose.name!r} must relax {strict.name!r} in every criterion")

    def _check_balance(self) -> None:
        _distinct("balance", tuple(covariate.variable for covariate in self.balance))
        if refusal := too_much_balance(self, self.balance_levels):
            raise ValueError(f"balance: {refusal}")

    @property
    def balance_levels(self) -> tuple[int, ...]:
        """Levels of each covariate whose balance is judged, the last for who lacks it."""
        return tuple(len(covariate.labels) + 1 for covariate in self.balance)

    @property
    def pairs_count(self) -> int:
        """How many pairs of treatments there are."""
        return len(self.treatments) * (len(self.treatments) - 1) // 2

    @property
    def ladder(self) -> tuple[Tier | CellTier, ...]:
        """The tiers of either mode, strict to loose."""
        return self.tiers if self.cells is None else self.cells.tiers

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The outcome, then the harm and the negative control if there are any, in ``time_unit``."""
        names = (self.outcome, self.harm, self.negative_control)
        return dict.fromkeys((name for name in names if name is not None), self.time_unit)

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """What the names of each outcome's columns and released numbers begin with."""
        given = {"": self.outcome, HARM: self.harm, CONTROL: self.negative_control}
        return tuple(begin for begin, name in given.items() if name is not None)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Treatment, what is matched on, what is adjusted for, and what is judged for balance."""
        ages = () if self.age is None else (self.age,)
        equal = (category.variable for category in self.equal)
        return (
            self.treatment,
            *self.markers,
            *ages,
            *equal,
            *(stratum.variable for stratum in self.all_strata),
            *(covariate.variable for covariate in self.balance),
        )

    @property
    def all_strata(self) -> tuple[Stratum, ...]:
        """The period bands first, then the declared strata."""
        return (self.period, *self.strata) if isinstance(self.period, Stratum) else self.strata

    @property
    def strata_count(self) -> int:
        """Number of adjustment cells."""
        return strata_count(self.all_strata)

    @property
    def ring(self) -> Literal[16, 32]:
        """Word size of the counts: public, from ``capacity`` alone."""
        return 16 if self.capacity < 2**16 else 32

    @property
    def levels_width(self) -> int:
        """Width of all one-hot levels of the equality variables together."""
        return sum(len(category.levels) for category in self.equal)


def too_much_balance(parameters: RankingParameters, widths: Sequence[int]) -> str | None:
    """Why covariates of so many levels each, one of them for who lacks it, cannot be judged; None where they can."""
    if sum(widths) > MOST_LEVELS:
        return (
            f"{sum(widths)} levels, with one more of each covariate for who lacks it; at most {MOST_LEVELS}: take wider "
            "bands or fewer covariates"
        )
    compared = parameters.pairs_count * sum(widths)
    groups = 1 if parameters.cells is None or not widths else len(unions(parameters).members)
    for found, most, what in (
        (compared, MOST_COMPARED, "pair of treatments x level"),
        (compared * groups, MOST_COMPARED_OF_ALL, "pair of treatments x level x union of cells"),
    ):
        if found > most:
            advice = "take fewer covariates, wider bands, fewer treatments or fewer cells"
            return f"{found} numbers of {what}; at most {most}: {advice}"
    return None


def _distinct(what: str, values: tuple[str, ...]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what}: names must be distinct")


def _relaxes(strict: Tier, loose: Tier) -> bool:
    """Whether everybody similar under ``strict`` is similar under ``loose``."""
    ages = loose.age_within is None or (
        strict.age_within is not None and strict.age_within <= loose.age_within
    )
    return ages and strict.max_distance <= loose.max_distance and set(loose.equal) <= set(strict.equal)
