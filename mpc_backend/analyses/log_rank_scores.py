"""Log-rank tests in the clear: each hospital's own observed minus expected, and the chi-square of their sum.

The stratified test adds scores and variances over strata, so a hospital can compute its own part and share two small
arrays. Hypergeometric variance with ties; weights S(t-)^rho of Harrington and Fleming, Biometrika 69 (1982) 553, with
the pooled left-continuous curve of the stratum, as R's ``survdiff``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.distributions import chi_square_tail

Floats = NDArray[np.float64]
SMALLEST_PIVOT = 2.0**-10
"""A pivot of the correlation matrix below this is a linear dependence: the arm adds no degree of freedom."""


@dataclass(frozen=True)
class LogRank:
    """A test's chi-square, degrees of freedom and p value."""

    chi2: float
    df: int
    p: float


def scores(events: NDArray[np.int64], censored: NDArray[np.int64], rho: float = 0.0) -> tuple[Floats, Floats]:
    """Observed minus expected (arms,) and its covariance (arms, arms), summed over strata.

    ``events`` and ``censored``: (arms, strata, bins).
    """
    exits = (events + censored).astype(np.float64)
    risk = np.cumsum(exits[..., ::-1], axis=-1)[..., ::-1]
    failed, total = events.sum(axis=0).astype(np.float64), risk.sum(axis=0)
    weight = _left_continuous(failed, total) ** rho
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, risk / total, 0.0)
        spread = np.where(total > 1, failed * (total - failed) / (total - 1), 0.0) * weight**2
    score = ((events - failed * share) * weight).sum(axis=(1, 2))
    crossed = np.einsum("agb,hgb,gb->ah", share, share, spread)
    return score, np.diag(np.einsum("agb,gb->a", share, spread)) - crossed


def _left_continuous(failed: Floats, total: Floats) -> Floats:
    """Kaplan-Meier just before each bin, (strata, bins)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = np.cumprod(np.where(total > 0, 1 - failed / total, 1.0), axis=-1)
    return np.concatenate([np.ones_like(curve[..., :1]), curve[..., :-1]], axis=-1)


def chi_square_test(score: Floats, variance: Floats) -> LogRank | None:
    """u' V^- u over all arms but the last, by elimination on correlations; None where no arm could be compared.

    Hospitals share scores and variances in fixed point, so that what should vanish is off by units of their last place: an arm
    of which the others explain all but `SMALLEST_PIVOT` adds no degree of freedom, as on shares (``secret_tests``).
    """
    diagonal = np.maximum(np.diagonal(variance)[:-1], 0.0)
    root = np.where(diagonal > 0, np.sqrt(diagonal), np.inf)
    z, rows = score[:-1] / root, variance[:-1, :-1] / np.outer(root, root)
    value, rank = 0.0, 0
    for pivot in range(len(z)):
        if rows[pivot, pivot] <= SMALLEST_PIVOT:
            continue
        factor = rows[pivot + 1 :, pivot] / rows[pivot, pivot]
        value, rank = value + float(z[pivot] ** 2 / rows[pivot, pivot]), rank + 1
        z[pivot + 1 :] -= factor * z[pivot]
        rows[pivot + 1 :] -= np.outer(factor, rows[pivot])
    return LogRank(value, rank, chi_square_tail(value, rank)) if rank else None
