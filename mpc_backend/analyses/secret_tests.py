"""Chi-square statistics of log-rank tests on shares: elimination on the correlation matrix, one arm left out."""

from __future__ import annotations

import numpy as np

from mpc_backend.analyses.base import Outputs
from mpc_backend.analyses.disclosure import masked
from mpc_backend.analyses.log_rank_scores import SMALLEST_PIVOT
from mpc_backend.operations import divide, reciprocal, sqrt
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SCALE = 30
SCORE_SCALE = 20
VARIANCE_BITS = 46
ROOT_SCALE = 17
"""Variances below 2^25 at SCORE_SCALE, their roots below 2^13 at ROOT_SCALE: enough for 10^8 persons."""
RATIO_BITS = 8
"""Of observed minus expected over its variance, about a log hazard ratio."""
CHI2_DECIMALS = 3


def released_tests(score: SecretFixed, variance: SecretFixed, arms: int, shown: SecretBits) -> Outputs:
    """chi2 in units of its last decimal and df (tests,), zero unless ``shown``, () or (tests,); scores (tests, arms)."""
    if arms < 2:
        return {}
    chi2, df = chi_square(score, variance, arms)
    visible = shown.reshape(-1).broadcast_to(chi2.shape)
    return {
        "test_shown": visible,
        "chi2": masked(visible, chi2.exact_round(CHI2_DECIMALS)),
        "df": masked(visible, df),
    }


def chi_square(score: SecretFixed, variance: SecretFixed, arms: int) -> tuple[SecretFixed, SecretInt]:
    """u' V^- u over all arms but the last, and the rank of V: (tests,), scores below 2^10 standard errors.

    V is scaled to correlations; then Gauss elimination without exchange, which needs none for a matrix without negative
    eigenvalues: a pivot that vanishes has a row that vanishes, and is left out (a generalised inverse).
    """
    tests, kept = score.shape[0], arms - 1
    squares = variance.reshape(tests, arms, arms)[:, :kept, :kept]
    diagonal = squares[:, np.arange(kept), np.arange(kept)].with_bits(VARIANCE_BITS)
    if kept == 1:
        return _times(
            divide(score[:, 0], diagonal[:, 0], SCORE_SCALE, quotient_bits=RATIO_BITS), score[:, 0]
        ), (diagonal[:, 0] > 0).to_int()
    inverse = reciprocal(sqrt(diagonal, ROOT_SCALE).with_bits(ROOT_SCALE + 14), SCALE)
    z = (score[:, :kept] * inverse).rescaled(SCORE_SCALE)
    correlation = squares * inverse[:, :, None] * inverse[:, None, :]
    return _eliminate(correlation, [z[:, arm] for arm in range(kept)])


def _times(left: SecretFixed, right: SecretFixed) -> SecretFixed:
    return (left * right).rescaled(SCORE_SCALE)


def _eliminate(matrix: SecretFixed, z: list[SecretFixed]) -> tuple[SecretFixed, SecretInt]:
    """z' R^- z and the rank of R (tests, kept, kept), from the columns of z (tests,)."""
    kept = len(z)
    rows = {(i, j): matrix[:, i, j] for i in range(kept) for j in range(kept)}
    chi2: SecretFixed | None = None
    rank: SecretInt | None = None
    for pivot in range(kept):
        diagonal = rows[pivot, pivot].with_bits(SCALE + 2)
        alive = diagonal > SMALLEST_PIVOT
        inverse = reciprocal(diagonal, SCORE_SCALE) * alive
        part = _times(_times(z[pivot], z[pivot]), inverse)
        chi2, rank = (
            (part if chi2 is None else chi2 + part),
            (alive.to_int() if rank is None else rank + alive.to_int()),
        )
        for row in range(pivot + 1, kept):
            factor = (rows[row, pivot] * inverse).rescaled(SCORE_SCALE)
            z[row] = z[row] - _times(factor, z[pivot])
            for column in range(pivot + 1, kept):
                rows[row, column] = rows[row, column] - factor * rows[pivot, column]
    assert chi2 is not None and rank is not None
    return chi2, rank
