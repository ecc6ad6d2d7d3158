"""A ranking from the full table of similar patients, in the clear: the exact release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.ranking_contrasts import judged_exactly
from mpc_backend.analyses.ranking_parameters import CONTROL, HARM, RankingParameters
from mpc_backend.analyses.ranking_result import (
    FEW,
    FEW_FAILURES,
    LEAST_INFORMATION,
    NO_OVERLAP,
    SHORT,
    SHOWN,
    OpenedNumbers,
    OpenedRanking,
    OpenedRisks,
)


def opened_exactly(parameters: RankingParameters, opened: Mapping[str, NDArray[np.generic]]) -> OpenedRanking:
    """The numbers of an exact release: no rounding, no minimum cell; the statistical minimum of patients stays."""
    cells = np.asarray(opened["cells"], dtype=np.int64)
    benefit = numbers_of(parameters, cells[0])
    others = {
        begin: _beside(numbers_of(parameters, counts), benefit)
        for begin, counts in zip(parameters.outcome_names[1:], cells[1:], strict=True)
    }
    size = cells[0, ..., 2 * parameters.tau].sum(axis=1)
    shown = np.where(benefit.state == SHOWN, size, 0)
    balance = None
    if parameters.balance:
        everyone, levels = cells[0, ..., 2 * parameters.tau], np.asarray(opened["balance"], dtype=np.int64)
        balance = judged_exactly(parameters.balance_levels, everyone, levels, benefit.state == SHOWN)
    risks = _risks(parameters, cells[0])
    return OpenedRanking(
        int(opened["tier"]),
        benefit,
        shown,
        int(size.sum()),
        1,
        risks,
        others.get(HARM),
        balance,
        others.get(CONTROL),
    )


def _beside(found: OpenedNumbers, benefit: OpenedNumbers) -> OpenedNumbers:
    """Of another outcome, nothing where the treatment itself is not shown."""
    return replace(found, state=np.where(benefit.state == SHOWN, found.state, SHOWN))


def numbers_of(parameters: RankingParameters, cells: Ints) -> OpenedNumbers:
    """Unrounded numbers of one outcome from counts (treatments, strata, 2 tau + 1): events and exits before tau by time,
    then all."""
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
    state = _states(parameters, everyone, followed, table.survival[..., tau - 1] == 0)
    state = np.where((state == SHOWN) & (information < LEAST_INFORMATION), FEW, state)
    shown = state == SHOWN
    return OpenedNumbers(
        state=state,
        estimate=np.where(shown, mixed.mean, 0.0),
        standard_error=np.where(shown, np.sqrt(mixed.mean_variance), 0.0),
        information=np.where(shown, information, 0.0).astype(np.int64),
        few=shown & (events.sum(axis=(1, 2)) < FEW_FAILURES),
    )


def _risks(parameters: RankingParameters, cells: Ints) -> OpenedRisks:
    """Unrounded risks of failure before tau, of everybody as `numbers_of` has them."""
    tau = parameters.tau
    events, exits, everyone = cells[..., :tau], cells[..., tau : 2 * tau], cells[..., 2 * tau]
    table = _table(events, exits, everyone - exits.sum(axis=2))
    share = everyone.sum(axis=0) / max(1, int(everyone.sum()))
    mixed = km.standardise(table, share, tau)
    curve, spread = mixed.survival[:, tau - 1], mixed.log_variance[:, tau - 1]
    error = np.where(curve > 0, curve * np.sqrt(np.where(curve > 0, spread, 0.0)), 0.0)
    return OpenedRisks(1 - curve, error, events.sum(axis=(1, 2)) > 0)


def _table(events: Ints, exits: Ints, followed: Ints) -> km.LifeTable:
    """Life tables with everybody who reaches tau leaving in an extra last bin."""
    end = np.zeros_like(followed)[..., None]
    return km.life_table(
        np.concatenate([events, end], axis=2), np.concatenate([exits - events, followed[..., None]], axis=2)
    )


def _states(parameters: RankingParameters, everyone: Ints, followed: Ints, ended: NDArray[np.bool_]) -> Ints:
    needed = everyone.sum(axis=0) > 0
    few = everyone.sum(axis=1) < parameters.minimum_support
    lacks = (needed & (everyone == 0)).any(axis=1)
    short = (needed & (followed == 0) & ~ended).any(axis=1)
    return np.select([few, lacks, short], [FEW, NO_OVERLAP, SHORT], SHOWN).astype(np.int64)
