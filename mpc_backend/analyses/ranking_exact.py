"""A ranking from the full table of similar patients, in the clear: exact release, and the oracle of the secret one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import (
    FEW,
    FEW_FAILURES,
    LEAST_INFORMATION,
    NO_OVERLAP,
    SHORT,
    SHOWN,
    OpenedRanking,
)


def opened_exactly(parameters: RankingParameters, opened: Mapping[str, NDArray[np.generic]]) -> OpenedRanking:
    """The numbers of an exact release: no rounding, no minimum cell; the statistical minimum of patients stays."""
    cells = np.asarray(opened["cells"], dtype=np.int64)
    return from_cells(parameters, int(opened["tier"]), cells, minimum_cell=0, band=1)


def from_cells(
    parameters: RankingParameters, tier: int, cells: Ints, minimum_cell: int, band: int
) -> OpenedRanking:
    """Unrounded numbers from counts (treatments, strata, 2 tau + 1): events and exits before tau by time, then all."""
    tau = parameters.tau
    events, exits, everyone = cells[..., :tau], cells[..., tau : 2 * tau], cells[..., 2 * tau]
    followed = everyone - exits.sum(axis=2)
    table = _table(events, exits, followed)
    pooled = everyone.sum(axis=0)
    share = pooled / max(1, int(pooled.sum()))
    mixed = km.standardise(table, share, tau)
    complete = followed + events.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = 1 / np.where(share > 0, share**2 / complete, 0.0).sum(axis=1)
    state = _states(parameters, minimum_cell, everyone, followed, table.survival[..., tau - 1] == 0)
    state = np.where((state == SHOWN) & (information < LEAST_INFORMATION), FEW, state)
    shown = state == SHOWN
    size = everyone.sum(axis=1)
    total = int(size.sum())
    return OpenedRanking(
        tier=tier,
        state=state,
        estimate=np.where(shown, mixed.mean, 0.0),
        standard_error=np.where(shown, np.sqrt(mixed.mean_variance), 0.0),
        information=np.where(shown, information, 0.0).astype(np.int64),
        few=shown & (events.sum(axis=(1, 2)) < FEW_FAILURES),
        size=np.where(shown, size // band * band, 0),
        total=None
        if minimum_cell and ((~shown).sum() == 1 or total < minimum_cell)
        else total // band * band,
        band=band,
    )


def _table(events: Ints, exits: Ints, followed: Ints) -> km.LifeTable:
    """Life tables with everybody who reaches tau leaving in an extra last bin."""
    end = np.zeros_like(followed)[..., None]
    return km.life_table(
        np.concatenate([events, end], axis=2), np.concatenate([exits - events, followed[..., None]], axis=2)
    )


def _states(
    parameters: RankingParameters, minimum_cell: int, everyone: Ints, followed: Ints, ended: NDArray[np.bool_]
) -> Ints:
    needed = everyone.sum(axis=0) > 0
    few = everyone.sum(axis=1) < max(minimum_cell, parameters.minimum_support)
    lacks = (needed & (everyone == 0)).any(axis=1)
    short = (followed.sum(axis=1) < minimum_cell) | (needed & (followed == 0) & ~ended).any(axis=1)
    return np.select([few, lacks, short], [FEW, NO_OVERLAP, SHORT], SHOWN).astype(np.int64)
