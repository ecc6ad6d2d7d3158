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
    """Chi-square with a generalised inverse; None where no arm could be compared."""
    rank = int(
        np.linalg.matrix_rank(variance, hermitian=True, tol=1e-9 * max(1.0, float(np.trace(variance))))
    )
    if rank == 0:
        return None
    value = float(score @ np.linalg.pinv(variance, rcond=1e-9, hermitian=True) @ score)
    return LogRank(value, rank, chi_square_tail(value, rank))
