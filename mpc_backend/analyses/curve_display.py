"""What a curve and its at-risk table may show under thresholds: which steps, how far, and which counts.

For every analysis with curves over a public grid. A step falls where k events have come since the last one; the curve ends
where fewer than k are at risk; the at-risk table is made of chains of nested counts (`disclosure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Opened, Outputs
from mpc_backend.analyses.cells import SUPPRESSED, Cell, cells
from mpc_backend.analyses.disclosure import far_apart, masked, release_chain
from mpc_backend.analyses.grid import Ints
from mpc_backend.operations import concatenate, minimum, select, stack
from mpc_backend.values import SecretBits, SecretInt

DISPLAY_POINTS = 60
"""A released curve has at most this many places where a step may fall, whatever the grid."""
TOTAL_BITS = 29
"""Signed width of a count over all hospitals."""
SMALLEST_ROUNDING = 5
"""At-risk tables are rounded at least this far, so that one column does not give another away."""
DISPLAY = (
    "for display: steps are merged until each has at least {k} events, cut where fewer than {k} are at risk, and heights are "
    "rounded to what five persons are worth"
)


def display_times(horizon: int) -> tuple[int, ...]:
    """The times at which a step of a released curve may fall: at most `DISPLAY_POINTS`, evenly, up to the horizon."""
    step = -(-horizon // DISPLAY_POINTS)
    return (*range(step, horizon, step), horizon)


def table_times(declared: tuple[int, ...], horizon: int) -> tuple[int, ...]:
    """The times of the at-risk table: as declared, else about six over the horizon."""
    step = max(1, -(-horizon // 6))
    return declared or tuple(range(step, horizon + 1, step))


def table_outputs(
    policy: DisclosurePolicy,
    at_risk: SecretInt,
    exits: Sequence[SecretInt],
    times: tuple[int, ...],
    horizon: int,
    shown: SecretBits | None = None,
) -> Outputs:
    """The at-risk table (arms, 1 + kinds, 1 + times) of counts (views, arms, bins): at risk, then the persons who left for
    each reason, cumulative, with the latest time first.

    Each is a chain of nested counts that starts with its largest: everybody, then all who left for the reason. Reasons that
    are not ``shown`` (arms, kinds) are withheld at every time.
    """
    latest_first = np.array(sorted({*times, horizon}, reverse=True))
    risk = at_risk[:, :, np.array((0, *times))]
    gone = [each.cumsum(2)[:, :, latest_first] for each in exits]
    short = risk.shape[2] - len(latest_first)
    none = [risk[:, :, :short] * 0] if short else []
    columns = stack([risk, *(concatenate([each, *none], axis=2) for each in gone)], axis=2)
    flat = columns.reshape(columns.shape[0], -1, columns.shape[3])
    states, values = release_chain(flat.with_bits(TOTAL_BITS), policy, _rounding(policy))
    shape = columns.shape[1:]
    states, values = states.reshape(shape), values.reshape(shape)
    if shown is not None:
        mask = concatenate([shown[:, :1] | np.ones((shape[0], 1), dtype=bool), shown], axis=1)
        wide = mask[:, :, None].broadcast_to(shape)
        states, values = select(wide, states, states * 0 + SUPPRESSED), masked(wide, values)
    return {"table_state": states, "table_value": values}


def _rounding(policy: DisclosurePolicy) -> int:
    return max(policy.rounding, SMALLEST_ROUNDING)


@dataclass(frozen=True)
class TableCells:
    """The opened at-risk table of one arm: ``persons``, then by time ``at_risk`` and by reason ``gone``, and the reasons'
    totals ``all_gone``."""

    persons: Cell
    at_risk: list[Cell]
    gone: list[list[Cell]]
    all_gone: list[Cell]


def table_cells(
    policy: DisclosurePolicy, opened: Opened, arm: int, times: tuple[int, ...], horizon: int
) -> TableCells:
    """The cells of `table_outputs` for one arm, in the order of the times."""
    states, values = (
        np.asarray(opened[name][arm], dtype=np.int64) for name in ("table_state", "table_value")
    )
    rows = [cells(row, found, policy, _rounding(policy)) for row, found in zip(states, values, strict=True)]
    last = len(times) - 1 if times[-1] == horizon else len(times)
    return TableCells(
        rows[0][0],
        list(rows[0][1:]),
        [[row[last - place] for place in range(len(times))] for row in rows[1:]],
        [row[0] for row in rows[1:]],
    )


def steps(
    policy: DisclosurePolicy, failed: SecretInt, at_risk: SecretInt, places: Ints, shown: SecretBits
) -> tuple[SecretBits, SecretBits]:
    """Where a curve may be seen to step, and where it is followed, both (curves, places).

    ``failed``: events (views, curves, bins), ``at_risk`` likewise, ``shown`` (curves,). A step holds k events in every view;
    one at each rise of floor(cumulative events / k) might hold a single event, and show when it was.
    """
    gone = failed.cumsum(2)[:, :, places].with_bits(TOTAL_BITS)
    risk = smallest(at_risk[:, :, places])
    followed = (risk >= policy.minimum_cell) & shown[:, None]
    return far_apart(gone, policy) & followed, followed


def smallest(counts: SecretInt) -> SecretInt:
    """The smallest view that leaves a receiving hospital out; the total where no hospital receives."""
    if counts.shape[0] == 1:
        return counts[0]
    least = counts[1]
    for view in range(2, counts.shape[0]):
        least = minimum(least, counts[view])
    return least


def at_risk_of(exits: SecretInt) -> SecretInt:
    """Persons at risk just before each bin from those who leave in it, over the last axis; free."""
    return exits[..., ::-1].cumsum(exits.ndim - 1)[..., ::-1].with_bits(TOTAL_BITS)
