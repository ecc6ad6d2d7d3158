"""What is wrong in an extract on purpose, with exact counts, so that a load report can be checked.

Every planted record is added beside the true ones and names a real person of the hospital: the true answers
stay those of the population, whatever a loader does with the planted records, as long as it does what it reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UNMAPPED_CODES = 5


@dataclass(frozen=True)
class Extract:
    """One hospital's extract: where it lies, its true rows and its planted rows by kind of input.

    ``rows``: input (resource type, table or file) -> true rows. ``planted``: input -> kind of fault -> rows
    added. ``unmapped``: source code without a standard concept -> rows.
    """

    hospital: str
    folder: Path
    rows: Mapping[str, int]
    planted: Mapping[str, Mapping[str, int]]
    unmapped: Mapping[str, int] = field(default_factory=dict)

    def rows_in(self, name: str) -> int:
        """All rows of one input."""
        return self.rows[name] + sum(self.planted.get(name, {}).values())


def some_rows(frame: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """A random sample of ``share`` of the rows, at least two, as copies to spoil."""
    count = max(2, round(share * len(frame)))
    return frame.iloc[np.sort(rng.choice(len(frame), count, replace=False))].copy()


def unmapped_codes(prefix: str, count: int, rng: np.random.Generator) -> NDArray[np.object_]:
    """``count`` local codes that no vocabulary knows, a few of them frequent."""
    codes = np.array([f"{prefix}-{n:03d}" for n in range(1, UNMAPPED_CODES + 1)], dtype=object)
    return codes[np.minimum(rng.geometric(0.45, count) - 1, UNMAPPED_CODES - 1)]


def tally(codes: NDArray[np.object_]) -> dict[str, int]:
    """Rows by code."""
    names, counts = np.unique(codes.astype(str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
