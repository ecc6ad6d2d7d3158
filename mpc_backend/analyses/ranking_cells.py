"""Cells of a treatment ranking in mode ``cells``: what a study declares, and what follows from it for everybody.

Cells cross the age bands, the levels of the equality variables and bands of how many markers of a group are present. A tier
unites cells: it keeps some cuts and some variables, and each of its unions holds all cells that agree on those. What a
patient can ask is one value of each dimension, or that it is not known, which unites all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mpc_backend.analyses.grid import ColumnName

if TYPE_CHECKING:
    from mpc_backend.analyses.ranking_parameters import RankingParameters

Ints = NDArray[np.int64]
Cuts = Annotated[tuple[Annotated[int, Field(ge=1, le=1_000)], ...], Field(max_length=60)]
MOST_QUESTIONS = 20_000
MOST_NUMBERS = 40_000_000
"""Most numbers of the table of cells by treatment, stratum and time, and of that of unions."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarkerGroup(_Part):
    """Markers that count together: bands of how many of them are present, at ``cuts``; (1,) tells none from any."""

    name: ColumnName
    markers: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=512)]
    cuts: Annotated[Cuts, Field(min_length=1)]


class CellTier(_Part):
    """One rung of the ladder: cells that agree on ``equal`` and, cut no finer than here, on age and on marker groups.

    A variable, the age or a group that is not named need not agree.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    age_cuts: Cuts = ()
    equal: tuple[ColumnName, ...] = ()
    marker_cuts: Mapping[ColumnName, Cuts] = {}


class CellPlan(_Part):
    """Age bands at ``age_cuts``, marker groups, and the tiers from strict to loose; the first one is the cells themselves."""

    age_cuts: Cuts = ()
    marker_groups: Annotated[tuple[MarkerGroup, ...], Field(max_length=8)] = ()
    tiers: Annotated[tuple[CellTier, ...], Field(min_length=1, max_length=8)]

    @model_validator(mode="after")
    def _consistent(self) -> CellPlan:
        names = [group.name for group in self.marker_groups]
        if len(set(names)) != len(names):
            raise ValueError("marker_groups: names must be distinct")
        for what, cuts in (("age_cuts", self.age_cuts), *((g.name, g.cuts) for g in self.marker_groups)):
            if list(cuts) != sorted(set(cuts)):
                raise ValueError(f"{what}: cuts must be increasing")
        for group in self.marker_groups:
            if group.cuts[-1] > len(group.markers):
                raise ValueError(f"{group.name}: a cut at {group.cuts[-1]} of {len(group.markers)} markers")
        first = self.tiers[0]
        whole = {group.name: group.cuts for group in self.marker_groups}
        if first.age_cuts != self.age_cuts or dict(first.marker_cuts) != whole:
            raise ValueError(
                f"tier {first.name!r} is the first: it must name every cut of age and marker groups"
            )
        for strict, loose in itertools.pairwise(self.tiers):
            if not _relaxes(strict, loose):
                raise ValueError(
                    f"tier {loose.name!r} must unite cells of {strict.name!r}, and cut nothing anew"
                )
        return self


def _relaxes(strict: CellTier, loose: CellTier) -> bool:
    markers = all(
        set(cuts) <= set(strict.marker_cuts.get(name, ())) for name, cuts in loose.marker_cuts.items()
    )
    return markers and set(loose.age_cuts) <= set(strict.age_cuts) and set(loose.equal) <= set(strict.equal)


@dataclass(frozen=True)
class Dimension:
    """One side of the cells: ``size`` values; ``unions`` (tiers, size): which values each tier holds together."""

    name: str
    size: int
    unions: Ints

    def together(self, tier: int, value: int) -> frozenset[int]:
        """The values united with this one under a tier; with ``size``, not known: all of them."""
        row = self.unions[tier]
        same = np.arange(self.size) if value == self.size else np.flatnonzero(row == row[value])
        return frozenset(same.tolist())


def dimensions(parameters: RankingParameters) -> tuple[Dimension, ...]:
    """Age, then the equality variables, then the marker groups."""
    plan = plan_of(parameters)
    found = []
    if plan.age_cuts:
        assert parameters.age is not None  # by the parameters' validator
        found.append(_cut(parameters.age, plan.age_cuts, [tier.age_cuts for tier in plan.tiers]))
    for category in parameters.equal:
        size = len(category.levels)
        kept = [np.arange(size) * (category.variable in tier.equal) for tier in plan.tiers]
        found.append(Dimension(category.variable, size, np.stack(kept)))
    for group in plan.marker_groups:
        cuts = [tier.marker_cuts.get(group.name, ()) for tier in plan.tiers]
        found.append(_cut(group.name, group.cuts, cuts))
    return tuple(found)


def plan_of(parameters: RankingParameters) -> CellPlan:
    """The cells of a study in this mode."""
    assert parameters.cells is not None  # by the parameters' validator
    return parameters.cells


def _cut(name: str, cuts: tuple[int, ...], by_tier: list[tuple[int, ...]]) -> Dimension:
    starts = np.array((-1, *cuts))
    return Dimension(name, len(starts), np.stack([banded(starts, kept) for kept in by_tier]))


def banded(numbers: Ints, cuts: tuple[int, ...]) -> Ints:
    """The band of each number: below the first cut, from there to below the second, and so on."""
    return np.searchsorted(np.array(cuts, dtype=np.int64), numbers, side="right").astype(np.int64)


def cell_count(parameters: RankingParameters) -> int:
    """How many cells there are."""
    return math.prod(side.size for side in dimensions(parameters))


def question_count(parameters: RankingParameters) -> int:
    """What a patient can ask: a value or "not known" in each dimension."""
    return math.prod(side.size + 1 for side in dimensions(parameters))


def question_bits(parameters: RankingParameters) -> int:
    """Bits of a question's number."""
    return max(1, (question_count(parameters) - 1).bit_length())


def question_of(parameters: RankingParameters, values: tuple[int | None, ...]) -> int:
    """The number of a question, last dimension fastest; None: not known, the last value of its dimension."""
    number = 0
    for side, value in zip(dimensions(parameters), values, strict=True):
        number = number * (side.size + 1) + (side.size if value is None else value)
    return number


@dataclass(frozen=True)
class Unions:
    """``members`` (unions, cells) 0/1: the different unions of cells; ``asked`` (tiers, questions): which one answers."""

    members: Ints
    asked: Ints


def unions(parameters: RankingParameters) -> Unions:
    """Every union of cells that some question needs in some tier; each stands once."""
    sides = dimensions(parameters)
    tiers = len(plan_of(parameters).tiers)
    places: dict[tuple[frozenset[int], ...], int] = {}
    asked = np.zeros((tiers, question_count(parameters)), dtype=np.int64)
    for tier in range(tiers):
        for number, values in enumerate(itertools.product(*(range(side.size + 1) for side in sides))):
            key = tuple(side.together(tier, value) for side, value in zip(sides, values, strict=True))
            asked[tier, number] = places.setdefault(key, len(places))
    return Unions(np.stack([_members(sides, key) for key in places]), asked)


def _members(sides: tuple[Dimension, ...], key: tuple[frozenset[int], ...]) -> Ints:
    inside = np.ones(1, dtype=np.int64)
    for side, values in zip(sides, key, strict=True):
        here = np.zeros(side.size, dtype=np.int64)
        here[list(values)] = 1
        inside = (inside[:, None] * here).ravel()
    return inside


def check_plan(parameters: RankingParameters) -> None:
    """Whether the cells fit the rest of the parameters.

    Raises:
        ValueError: a variable is not declared, or a table would be too large.
    """
    plan = plan_of(parameters)
    if bool(plan.age_cuts) != (parameters.age is not None):
        raise ValueError("cells: age_cuts go with a declared age, and a declared age with age_cuts")
    known = tuple(category.variable for category in parameters.equal)
    if set(plan.tiers[0].equal) != set(known):
        raise ValueError(
            f"tier {plan.tiers[0].name!r} is the first: it must name in equal {', '.join(known) or 'none'}"
        )
    grouped = {marker for group in plan.marker_groups for marker in group.markers}
    if grouped != set(parameters.markers):
        wrong = ", ".join(sorted(grouped ^ set(parameters.markers)))
        raise ValueError(
            f"marker_groups: every marker belongs to a group and every grouped one is declared; not so {wrong}"
        )
    if not dimensions(parameters):
        raise ValueError("cells: declare age_cuts, equal or marker_groups; without them there is one cell")
    if question_count(parameters) > MOST_QUESTIONS:
        raise ValueError(
            f"cells: {question_count(parameters)} questions can be asked; at most {MOST_QUESTIONS}"
        )
    numbers = len(parameters.treatments) * parameters.strata_count * parameters.tau * len(parameters.outcomes)
    most = max(cell_count(parameters), len(unions(parameters).members)) * numbers
    if most > MOST_NUMBERS:
        raise ValueError(
            f"cells: {most} numbers of cell x treatment x stratum x time; at most {MOST_NUMBERS}: take fewer "
            "cells, fewer strata or a coarser unit"
        )


def united(plan: CellPlan, tier: int) -> list[str]:
    """What a tier unites against the cells themselves, in words."""
    strict, used = plan.tiers[0], plan.tiers[tier]
    words = [f"{name} need not agree" for name in strict.equal if name not in used.equal]
    kept = {"age": used.age_cuts, **used.marker_cuts}
    for name, cuts in {"age": strict.age_cuts, **strict.marker_cuts}.items():
        if cuts and not kept.get(name):
            words.append(f"any {name}" if name == "age" else f"any number of {name}")
        elif cuts != kept.get(name):
            words.append(f"{name} cut at {', '.join(map(str, kept[name]))} only")
    return words
