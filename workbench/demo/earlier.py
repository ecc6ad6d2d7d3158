"""What the demonstration's physician was told before, in the clear: which treatments may not be told again.

Worked out from the pooled persons, one by one, and not from counts as the nodes do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.demo.similar import SMALLEST, Similar

TOO_CLOSE: Final = "too close to an earlier answer"
Persons = NDArray[np.bool_]


@dataclass(frozen=True)
class Told:
    """One answer: who was similar, which treatments (0-based) were shown, and whether the number of all was."""

    members: Persons
    shown: frozenset[int]
    total: bool


@dataclass
class Earlier:
    """One physician's answers, the oldest first."""

    told: list[Told] = field(default_factory=list)

    def close(self, similar: Similar, members: Persons, arm: int) -> bool:
        """Whether a treatment may not be told of these persons: an earlier answer told it, and single persons on it, or in
        the whole set, are in one of the two alone."""
        on_it = similar.regimen == arm
        return any(
            arm in one.shown
            and (_few(similar, members, one.members, on_it) or _few(similar, members, one.members, True))
            for one in self.told
        )

    def tell(self, members: Persons, shown: set[int], *, total: bool) -> None:
        """One more answer."""
        self.told.append(Told(members, frozenset(shown), total))

    def total_close(self, similar: Similar, members: Persons) -> bool:
        """The same of the number of all similar persons."""
        return any(one.total and _few(similar, members, one.members, True) for one in self.told)


def _few(similar: Similar, members: Persons, before: Persons, among: Persons | bool) -> bool:
    alone = (members & ~before & among, before & ~members & among)
    return any(0 < count < SMALLEST for persons in alone for count in _views(similar, persons))


def _views(similar: Similar, persons: Persons) -> Iterator[int]:
    """How many they are, and how many without those of each hospital that asks."""
    yield int(persons.sum())
    for hospital in similar.receiving:
        yield int((persons & (similar.hospital != hospital)).sum())
