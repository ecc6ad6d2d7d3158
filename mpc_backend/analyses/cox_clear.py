"""Cox partial likelihood of one hospital's rows, in the clear: at the hospital, and as the reference of the shared one.

Cox, JRSS B 34 (1972) 187; ties by Efron, JASA 72 (1977) 557, or Breslow. Rows are ordered by stratum, then by time
from the last to the first, deaths after censorings of the same time: every risk set is then a run of rows, and sums
over it are running sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.cox_parameters import Ties
from mpc_backend.analyses.grid import Ints

Floats = NDArray[np.float64]
RIDGE = 1e-3
"""Precision of the weak prior that keeps a hospital's own fit finite; it moves where the pooled fit starts, not its end."""
LOCAL_STEPS = 30
CLOSE = 1e-9


@dataclass(frozen=True)
class Rows:
    """Rows (n,) in the order above. ``x`` (n, p); ``event`` 0/1; ``stratum`` codes.

    Tied deaths are a group: ``group`` numbers it (-1 outside), ``slot`` counts its deaths from 0, ``size`` is their
    number (1 outside). ``time``: bins of the grid.
    """

    x: Floats
    event: Ints
    stratum: Ints
    time: Ints
    group: Ints
    slot: Ints
    size: Ints
    order: Ints
    """Where each row stood before."""

    @property
    def last(self) -> NDArray[np.bool_]:
        """The last row of each group of deaths, which ends their risk set."""
        return np.asarray((self.event == 1) & (self.slot == self.size - 1))


@dataclass(frozen=True)
class Likelihood:
    """Log partial likelihood, its score (p,) and information (p, p)."""

    value: float
    score: Floats
    information: Floats


def ordered(x: Floats, time: Ints, event: Ints, stratum: Ints) -> Rows:
    """Rows in the order of risk sets."""
    order = np.lexsort((event, -time, stratum))
    x, time, event, stratum = x[order], time[order], event[order], stratum[order]
    deaths = np.flatnonzero(event)
    fresh = np.ones(len(deaths), dtype=bool)
    fresh[1:] = (np.diff(time[deaths]) != 0) | (np.diff(stratum[deaths]) != 0)
    number = np.cumsum(fresh) - 1
    counts = np.bincount(number, minlength=0)
    group, slot, size = np.full(len(x), -1), np.zeros(len(x), np.int64), np.ones(len(x), np.int64)
    group[deaths] = number
    slot[deaths] = np.arange(len(deaths)) - np.flatnonzero(fresh)[number] if len(deaths) else 0
    size[deaths] = counts[number] if len(deaths) else 0
    return Rows(x, event, stratum, time, group.astype(np.int64), slot, size, order.astype(np.int64))


def likelihood(rows: Rows, beta: Floats, ties: Ties) -> Likelihood:
    """The log partial likelihood at ``beta`` (p,), and its derivatives."""
    eta = rows.x @ beta
    weight = np.exp(eta)
    deaths = np.flatnonzero(rows.event)
    group = rows.group[deaths]
    ends = np.flatnonzero(rows.last)
    part = (rows.slot / rows.size)[deaths] if ties == "efron" else np.zeros(len(deaths))
    base, weighted = (
        within_strata(weight, rows.stratum),
        within_strata(weight[:, None] * rows.x, rows.stratum),
    )
    own = np.bincount(group, weight[deaths], minlength=len(ends))[group]
    own_x = np.zeros((len(ends), rows.x.shape[1]))
    np.add.at(own_x, group, weight[deaths, None] * rows.x[deaths])
    risk = base[ends][group] - part * own
    mean = (weighted[ends][group] - part[:, None] * own_x[group]) / risk[:, None]
    hazard = _cumulative(rows, deaths, part, 1 / risk)
    score = rows.x[deaths].sum(axis=0) - mean.sum(axis=0)
    information = rows.x.T @ (rows.x * (weight * hazard)[:, None]) - mean.T @ mean
    return Likelihood(float(eta[deaths].sum() - np.log(risk).sum()), score, information)


def _cumulative(rows: Rows, deaths: Ints, part: Floats, step: Floats) -> Floats:
    """The cumulative hazard of each row (n,): that of all deaths at or before its exit, and of deaths tied with it but
    for the parts that Efron leaves out."""
    at, left = np.zeros(len(rows.x)), np.zeros(len(rows.x))
    at[deaths] = step
    flipped = within_strata(at[::-1], rows.stratum[::-1])[::-1]
    group = rows.group[deaths]
    ends = int(group.max()) + 1 if len(group) else 0
    left[deaths] = np.bincount(group, part * step, minlength=ends)[group]
    first = np.flatnonzero((rows.event == 1) & (rows.slot == 0))
    flipped[deaths] = flipped[first][group]
    return np.asarray(flipped - left)


def within_strata(values: Floats, stratum: Ints) -> Floats:
    """Running sums over rows (n, ...), starting anew where a stratum begins."""
    total = np.cumsum(values, axis=0)
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = np.diff(stratum) != 0
    starts = np.flatnonzero(begins)
    before = (total - values)[starts]
    return np.asarray(total - before[np.cumsum(begins) - 1])


def centred(x: Floats, stratum: Ints) -> Floats:
    """Covariates (n, p) minus their mean in the stratum, which changes no partial likelihood."""
    if not len(x):
        return x
    count = np.bincount(stratum)
    means = np.stack([np.bincount(stratum, column) for column in x.T], axis=1) / np.maximum(count, 1)[:, None]
    return np.asarray(x - means[stratum])


def own_fit(rows: Rows, ties: Ties, largest: float) -> Floats:
    """The hospital's own coefficients (p,), by damped Newton steps with a weak prior, none beyond ``largest``."""
    p = rows.x.shape[1]
    beta, prior = np.zeros(p), RIDGE * np.eye(p)
    found = likelihood(rows, beta, ties)
    for _ in range(LOCAL_STEPS):
        step = np.linalg.solve(found.information + prior, found.score - RIDGE * beta)
        while True:
            tried = np.clip(beta + step, -largest, largest)
            after = likelihood(rows, tried, ties)
            if _height(after, tried) >= _height(found, beta) - CLOSE or np.abs(step).max() < CLOSE:
                break
            step = step / 2
        moved = float(np.abs(tried - beta).max())
        beta, found = tried, after
        if moved < CLOSE:
            break
    return beta


def _height(found: Likelihood, beta: Floats) -> float:
    return found.value - RIDGE / 2 * float(beta @ beta)
