"""Whether an answer computed on shares agrees with the pooled cleartext answer under the same disclosure rules.

The rules are restated here on plain integers. What the rules decide (which numbers are shown, which are
withheld and why) and every rounded count must be equal; a released real number may differ from the pooled
one by its rounding and by the last places of fixed-point arithmetic, nothing more. Here the comparisons
themselves and counts; `judge_survival` and `judge_ranking` have the other answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from mpc_backend.analyses.cells import Cell, ReleasedCount
from mpc_backend.analyses.cohort_count import CountResult
from workbench.demo.population import Population
from workbench.demo.similar import SMALLEST
from workbench.demo.truth import attrition

ROUNDING: Final = 10
ROOM: Final = 1e-9
"""For floating point, where a number is made of others by the same formula."""


@dataclass(frozen=True)
class Check:
    """One comparison: what, the pooled value, the answer's value, and the tolerance (None: must be equal)."""

    what: str
    pooled: object
    answer: object
    tolerance: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the two are equal, or within the tolerance."""
        if self.tolerance is None:
            return self.pooled == self.answer
        if not isinstance(self.pooled, float) or not isinstance(self.answer, float):
            return False
        return abs(self.pooled - self.answer) <= self.tolerance

    def __str__(self) -> str:
        within = "equal" if self.tolerance is None else f"within {self.tolerance:g}"
        return f"{self.what}: pooled {_short(self.pooled)}, answer {_short(self.answer)} ({within})"


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def reach(formula: Callable[..., float], *numbers: tuple[float, float]) -> tuple[float, float]:
    """A number made of others, and how far it may move when each of them is off by its tolerance.

    ``numbers``: each with its tolerance; ``formula`` rises or falls in each.
    """
    value = formula(*(number for number, _ in numbers))
    corners = product(*((number - off, number + off) for number, off in numbers))
    return value, ROOM + max(abs(formula(*corner) - value) for corner in corners)


Shown = int | str
"""A count as it is shown: rounded, or the state that hides it."""


def release(counts: Sequence[int]) -> list[Shown]:
    """A chain of nested counts as it may be shown.

    Suppressed is what is below `SMALLEST`, merged what lies closer than that to the last number shown.
    """
    shown: list[Shown] = []
    last: int | None = None
    for count in counts:
        if count < SMALLEST:
            shown.append("suppressed")
        elif last is not None and abs(count - last) < SMALLEST:
            shown.append("merged")
        else:
            shown.append((count + ROUNDING // 2) // ROUNDING * ROUNDING)
            last = count
    return shown


def as_shown(cells: Sequence[Cell]) -> list[Shown]:
    """The answer's cells in the same words."""
    return [cell.value if isinstance(cell, ReleasedCount) else cell.state for cell in cells]


def bands(shown: Sequence[Shown]) -> list[tuple[int, int] | None]:
    """Where the true count behind each number lies."""
    return [
        (max(SMALLEST, one - ROUNDING // 2), one + (ROUNDING - 1) // 2) if isinstance(one, int) else None
        for one in shown
    ]


def judge_counts(what: str, counts: Sequence[int], cells: Sequence[Cell]) -> list[Check]:
    """A chain of nested counts: numbers or states, and the bands the true ones are said to lie in."""
    expected, found = release(counts), as_shown(cells)
    told = [cell.band if isinstance(cell, ReleasedCount) else None for cell in cells]
    return [Check(what, expected, found), Check(f"{what}: bands", bands(expected), told)]


def judge_count(population: Population, result: CountResult) -> list[Check]:
    """Every step of the attrition with its label, and the count it ends with."""
    steps = attrition(population)
    labels = [label for label, _ in steps]
    counts = [len(population.persons), *(count for _, count in steps)]
    expected = release(counts)
    withheld = [
        label for label, one in zip(["population", *labels], expected, strict=True) if isinstance(one, str)
    ]
    return [
        Check("labels of the steps", labels, [step.label for step in result.steps]),
        *judge_counts(
            "population and steps", counts, [result.population, *(step.count for step in result.steps)]
        ),
        Check("the count", expected[-1:], as_shown([result.count])),
        Check("withheld", withheld, [one.what for one in result.suppressed]),
    ]
