"""The shared tables of competing risks and how a site fills them. In the clear, at the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc_backend.analyses import log_rank_scores as log_rank
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.competing_parameters import CompetingParameters
from mpc_backend.analyses.grid import LONGEST_TIME, Ints, coarsen, level_codes, whole_numbers
from mpc_backend.analyses.survival_tables import COUNT_BITS, log_rank_spec
from mpc_backend.tables import Arrays, Column, TableSpec

if TYPE_CHECKING:
    import pandas as pd


def exits_spec(parameters: CompetingParameters) -> TableSpec:
    """Persons who leave: one row per arm x reason (reason fastest: each cause, then censored), one entry per time."""
    column = Column(name="exits", kind="int", bits=COUNT_BITS, ring=64, width=parameters.bins)
    rows = len(parameters.arms) * parameters.reasons
    return TableSpec(name="exits", level="aggregate", columns=(column,), rows=rows)


def tests_spec(parameters: CompetingParameters) -> TableSpec:
    """One row per cause-specific log-rank test."""
    return log_rank_spec(len(parameters.arms), len(parameters.causes))


def counts(parameters: CompetingParameters, site: SiteData) -> Ints:
    """Persons who leave (arms, causes and censored, bins) at one site; persons with a missing fact do not count."""
    frame = site.frame.reset_index(drop=True)
    arms = level_codes(frame, parameters.arm, parameters.arms)
    read = [_outcome(frame, cause) for cause in parameters.causes]
    times, events = (np.stack([part[place] for part in read]) for place in (0, 1))
    known = np.all([part[2] for part in read], axis=0) & (arms >= 0)
    first = times.min(axis=0)
    happened = (times == first) & (events == 1)
    reason = np.where(happened.any(axis=0), happened.argmax(axis=0), len(parameters.causes))
    grid = coarsen(first, parameters.time_unit, parameters.unit)
    reason = np.where(grid > parameters.horizon, len(parameters.causes), reason)
    grid = np.minimum(grid, parameters.horizon)
    found = np.zeros((len(parameters.arms), parameters.reasons, parameters.bins), dtype=np.int64)
    np.add.at(found, (arms[known], reason[known], grid[known]), 1)
    return found


def _outcome(frame: pd.DataFrame, cause: str) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    times, timed = whole_numbers(frame, f"{cause}_time", 0, LONGEST_TIME)
    events, judged = whole_numbers(frame, f"{cause}_event", 0, 1)
    return times, events, timed & judged


def local_tables(parameters: CompetingParameters, site: SiteData) -> dict[str, Arrays]:
    """Both tables of one site."""
    found = counts(parameters, site)
    everybody = found.sum(axis=1, keepdims=True)
    tests = [
        log_rank.scores(found[:, cause : cause + 1], everybody - found[:, cause : cause + 1])
        for cause in range(len(parameters.causes))
    ]
    return {
        "exits": {"exits": found.reshape(-1, parameters.bins)},
        "tests": {
            "score": np.stack([score for score, _ in tests]),
            "variance": np.stack([variance.ravel() for _, variance in tests]),
        },
    }
