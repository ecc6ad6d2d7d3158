"""Table one as its recipient reads it."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Opened, Released, Result, Suppressed
from mpc_backend.analyses.cells import RELEASED, SUPPRESSED, Cell, HiddenCount, cell
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.survival_exact import exact_cell
from mpc_backend.analyses.table_one_parameters import Quantity, TableOneParameters
from mpc_backend.analyses.table_one_release import (
    DECIMALS,
    DIFFERENCE_DECIMALS,
    EXACT_DECIMALS,
    FEW,
    SHOWN,
    UNSOLVED,
)

NOTE = "Standardised differences are against the first group; shares of levels are of persons whose level is known."
ALL_PERSONS = "Where the number of missing is hidden, shares are of all persons of the group."
TOGETHER = "too few persons in this cell, or too few in the only other hidden one of this variable"


class Described(BaseModel):
    """A number in one group. ``q1`` to ``q3``: quartiles on the declared grid; null where nothing may or can be said."""

    group: str
    missing: Cell
    mean: float | None = None
    sd: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    why_not: str | None = None


class LevelCount(BaseModel):
    """Persons at one level, and their share of those whose level is known."""

    level: str
    count: Cell
    share: float | None = None


class Counted(BaseModel):
    """A category in one group."""

    group: str
    missing: Cell
    levels: list[LevelCount]


class Difference(BaseModel):
    """Standardised difference of one group against the first; categories have no sign."""

    group: str
    reference: str
    smd: float | None = None
    why_not: str | None = None


class NumberRow(BaseModel):
    """A number by group."""

    variable: str
    groups: list[Described]
    differences: list[Difference]


class CategoryRow(BaseModel):
    """A category by group."""

    variable: str
    groups: list[Counted]
    differences: list[Difference]


class GroupSize(BaseModel):
    """Persons of a group."""

    group: str
    n: Cell


class TableOneResult(Result):
    """Result of ``table_one``."""

    kind: Literal["table_one"] = "table_one"
    by: str
    groups: list[GroupSize]
    numbers: list[NumberRow]
    categories: list[CategoryRow]
    release: str


def table_one_result(parameters: TableOneParameters, released: Released, opened: Opened) -> TableOneResult:
    """From opened outputs."""
    reader = _Reader(parameters, released.policy, opened)
    numbers = [reader.number(place) for place in range(len(parameters.numbers))]
    categories = [reader.category(place) for place in range(len(parameters.categories))]
    sizes = [GroupSize(group=group, n=reader.size(place)) for place, group in enumerate(parameters.groups)]
    hidden = any(isinstance(each.missing, HiddenCount) for row in categories for each in row.groups)
    return TableOneResult(
        by=parameters.by,
        groups=sizes,
        numbers=numbers,
        categories=categories,
        suppressed=_withheld(sizes, numbers, categories),
        notes=[UNLINKED, NOTE, *([ALL_PERSONS] if hidden else [])],
        release=released.policy.footnote(),
    )


class _Reader:
    """Opened outputs by group and variable."""

    def __init__(self, parameters: TableOneParameters, policy: DisclosurePolicy, opened: Opened) -> None:
        self.parameters, self.policy, self.opened = parameters, policy, opened
        self.exact = policy.release == "exact"

    def _cell(self, shown: bool, value: int, why: str | None = None) -> Cell:
        if self.exact:
            return exact_cell(value, self.policy)
        found = cell(RELEASED if shown else SUPPRESSED, value, self.policy, self.policy.rounding)
        if isinstance(found, HiddenCount) and why is not None:
            return HiddenCount(state="suppressed", why=why)
        return found

    def size(self, group: int) -> Cell:
        """Persons of a group."""
        return self._cell(bool(self.opened["group_shown"][group]), int(self.opened["persons"][group]))

    def count(self, group: int, row: int, place: int) -> Cell:
        """Persons in a cell of a variable."""
        shown = bool(self.opened["cell_shown"][group, row, place])
        _, labels = self.parameters.rows[row]
        why = None if place == len(labels) - 1 else TOGETHER
        return self._cell(shown, int(self.opened["cells"][group, row, place]), why)

    def number(self, place: int) -> NumberRow:
        """One number."""
        each = self.parameters.numbers[place]
        groups = [self._described(each, group, place) for group in range(len(self.parameters.groups))]
        return NumberRow(variable=each.variable, groups=groups, differences=self._differences(place))

    def _described(self, each: Quantity, group: int, place: int) -> Described:
        state = int(self.opened["number_state"][group, place])
        found = Described(
            group=self.parameters.groups[group],
            missing=self.count(group, place, 1),
            why_not={SHOWN: None, FEW: self._few(each), UNSOLVED: UNUSABLE}[state],
        )
        quarters = np.asarray(self.opened["quartile"], dtype=np.float64)[:, group, place] / 4
        known = int(self.opened["cells"][group, place, 0]) > 0 if self.exact else state == SHOWN
        if known:
            found.q1, found.median, found.q3 = (float(f"{each.low + q * each.step:.12g}") for q in quarters)
        if state == SHOWN:
            unit = 1.0 if self.exact else 10.0**-DECIMALS
            mean, variance = (float(self.opened[name][group, place]) * unit for name in ("mean", "variance"))
            found.mean, found.sd = each.centre + mean * each.scale, math.sqrt(max(0.0, variance)) * each.scale
        return found

    def _few(self, each: Quantity) -> str:
        return (
            f"fewer than {self.policy.minimum_cell} persons{', or of one of its codes' if each.codes else ''}"
        )

    def category(self, place: int) -> CategoryRow:
        """One category."""
        row, kinds = len(self.parameters.numbers) + place, self.parameters.categories[place]
        groups = []
        for group, label in enumerate(self.parameters.groups):
            missing = self.count(group, row, len(kinds.levels))
            counts = [self.count(group, row, level) for level in range(len(kinds.levels))]
            known = (self.size(group).value or 0) - (missing.value or 0)
            levels = [
                LevelCount(level=level, count=count, share=_share(count, known))
                for level, count in zip(kinds.levels, counts, strict=True)
            ]
            groups.append(Counted(group=label, missing=missing, levels=levels))
        return CategoryRow(variable=kinds.variable, groups=groups, differences=self._differences(row))

    def _differences(self, row: int) -> list[Difference]:
        first, *others = self.parameters.groups
        found, decimals = [], EXACT_DECIMALS if self.exact else DIFFERENCE_DECIMALS
        few = "a group or a level in it is withheld"
        for place, group in enumerate(others):
            state = int(self.opened["difference_state"][place, row])
            why = {SHOWN: None, FEW: few, UNSOLVED: UNUSABLE}[state]
            value = float(self.opened["difference"][place, row]) / 10.0**decimals if why is None else None
            found.append(Difference(group=group, reference=first, smd=value, why_not=why))
        return found


UNUSABLE = "not estimable: too few persons, no spread, or a centre or scale far from what was declared"


def _share(count: Cell, known: int) -> float | None:
    if count.value is None or known <= 0:
        return None
    return min(1.0, count.value / known)


def _withheld(
    sizes: list[GroupSize], numbers: list[NumberRow], categories: list[CategoryRow]
) -> list[Suppressed]:
    """Everything hidden, by what it is."""
    found = [
        Suppressed(what=f"{each.group}: persons", why=each.n.why)
        for each in sizes
        if isinstance(each.n, HiddenCount)
    ]
    rows: list[NumberRow | CategoryRow] = [*numbers, *categories]
    for row in rows:
        found += _withheld_of(row)
    names = [
        row.variable for row in rows if any(isinstance(each.missing, HiddenCount) for each in row.groups)
    ]
    if names:
        few = next(e.missing.why for r in rows for e in r.groups if isinstance(e.missing, HiddenCount))
        found.append(Suppressed(what=f"numbers of missing values of {', '.join(names)}", why=few))
    return found


def _withheld_of(row: NumberRow | CategoryRow) -> list[Suppressed]:
    found = []
    for each in row.groups:
        if isinstance(each, Described) and each.why_not is not None:
            found.append(Suppressed(what=f"{each.group}: {row.variable}", why=each.why_not))
        if isinstance(each, Counted):
            found += [
                Suppressed(what=f"{each.group}: {row.variable} {level.level}", why=level.count.why)
                for level in each.levels
                if isinstance(level.count, HiddenCount)
            ]
    return found + [
        Suppressed(what=f"{each.group} against {each.reference}: {row.variable}", why=each.why_not)
        for each in row.differences
        if each.why_not is not None
    ]
