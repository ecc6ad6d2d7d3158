"""Whether similar patients on different regimens are alike, in floating point from the generator's tables.

Shares of the declared levels, standardised to the strata of all similar patients as the restricted means are; standardised
mean differences with their intervals (Austin 2009). Nothing here imports the engine or its analyses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import hypot, inf, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.demo.intervals import Z
from workbench.demo.similar import SMALLEST, STRATA, Similar

AGE_CUTS: Final = (35, 45, 55)
LARGE: Final = 0.2
SMALL: Final = 0.1
Marks = NDArray[np.bool_]


@dataclass
class Alike:
    """Pairs of regimens out of balance, those that cannot be judged, and the covariates out of balance."""

    apart: list[tuple[int, int]] = field(default_factory=list)
    unjudged: list[tuple[int, int]] = field(default_factory=list)
    covariates: list[str] = field(default_factory=list)


def levels(similar: Similar) -> dict[str, list[Marks]]:
    """Who has each declared level of each covariate; nobody lacks one."""
    female = similar.people["female"].to_numpy() == 1
    band = np.digitize(similar.age, AGE_CUTS)
    return {"sex": [female, ~female], "age": [band == number for number in range(len(AGE_CUTS) + 1)]}


def alike(similar: Similar, members: Marks, regimens: Sequence[int]) -> Alike:
    """The verdict on each two of ``regimens`` (0-based) among ``members``, in the order of the regimens."""
    found, out = Alike(), set()
    judged = {
        name: [level for level in having if _common(similar, members, level)]
        for name, having in levels(similar).items()
    }
    for one, other in combinations(sorted(regimens), 2):
        said = {
            name: {_verdict(similar, members, having, one, other) for having in each}
            for name, each in judged.items()
        }
        differing = [name for name, verdicts in said.items() if "out" in verdicts]
        out.update(differing)
        if differing:
            found.apart.append((one, other))
        elif any("wide" in verdicts for verdicts in said.values()):
            found.unjudged.append((one, other))
    found.covariates = [name for name in judged if name in out]
    return found


def _common(similar: Similar, members: Marks, having: Marks) -> bool:
    """Whether enough have the level and enough lack it, also without each hospital that asks."""
    return min(similar.left(members & having), similar.left(members & ~having)) >= SMALLEST


def _verdict(similar: Similar, members: Marks, having: Marks, one: int, other: int) -> str:
    """Of one level: "out" of balance, too "wide" to be judged, or "even"."""
    (share, error), (base, base_error) = (
        _share(similar, members, having, regimen) for regimen in (one, other)
    )
    deviation = sqrt(max(0.0, share * (1 - share) + base * (1 - base)) / 2)
    apart, reach = abs(share - base), Z * hypot(error, base_error)
    difference, half = (apart / deviation, reach / deviation) if deviation else (inf if apart else 0.0, 0.0)
    if difference > LARGE and difference - half > SMALL:
        return "out"
    return "wide" if difference + half > LARGE else "even"


def _share(similar: Similar, members: Marks, having: Marks, regimen: int) -> tuple[float, float]:
    """Standardised share of a regimen's patients with the level; its standard error by the shares of all in each stratum."""
    share = variance = 0.0
    for stratum in range(STRATA):
        everybody = members & (similar.strata == stratum)
        weight = everybody.sum() / members.sum()
        mine = having[everybody & (similar.regimen == regimen)]
        if weight and len(mine):
            share += weight * mine.mean()
            common = having[everybody].mean()
            variance += weight**2 * common * (1 - common) / len(mine)
    return share, sqrt(variance)
