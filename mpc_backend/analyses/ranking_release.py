"""What a ranking may open, from the secret counts of similar patients; and how the recipient reads it.

Independent steps share their rounds: all divisions, all comparisons, all roundings are one batch each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.base import Opened, Outputs, Released
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import FEW_FAILURES, OpenedRanking
from mpc_backend.analyses.secret_curves import (
    SCALE,
    Hazards,
    Means,
    error_of,
    fractions,
    hazards,
    raw,
    restricted_means,
    rounded_numbers,
    variance_decimals,
    weighted_variance,
    whole,
)
from mpc_backend.operations import concatenate, floor_divide, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SPREAD = 10**5
"""The reciprocal of the effective size is opened to five decimals."""
INFORMATION_STEP = 5
UNFINISHED = 2.0**-16
"""A stratum's curve above this at tau, with nobody left to follow, is unfinished."""


def decimals(parameters: RankingParameters) -> int:
    """Decimals of a released time: three significant digits of tau; its standard error has one more."""
    return max(0, 2 - math.floor(math.log10(parameters.tau)))


def band(released: Released) -> int:
    """Width of the bands in which numbers of patients are told."""
    return max(10, released.policy.rounding)


def minimum(parameters: RankingParameters, released: Released) -> int:
    """Patients a treatment needs to be shown."""
    return max(released.policy.minimum_cell, parameters.minimum_support)


@dataclass(frozen=True)
class Similar:
    """Counts of similar patients by treatment and stratum: ``everyone``, ``followed`` to tau, ``complete`` to tau or to
    their event before (treatments, strata); ``failures`` (treatments,)."""

    everyone: SecretInt
    followed: SecretInt
    complete: SecretInt
    failures: SecretInt


def released_outputs(parameters: RankingParameters, released: Released, cells: SecretInt) -> Outputs:
    """States and, for supported treatments only, numbers; everything else opens to zero.

    ``cells`` (treatments, strata, 2 tau + 1): events before tau by time, exits before tau by time, everybody.
    """
    tau, bits = parameters.tau, cells.bits
    events, exits, everyone = cells[..., :tau], cells[..., tau : 2 * tau], cells[..., 2 * tau]
    at_risk = (everyone[:, :, None] - (exits.cumsum(2) - exits)).with_bits(bits)
    followed = (everyone - exits.sum(2)).with_bits(bits)
    failed = events.sum(2).with_bits(bits)
    groups = Similar(everyone, followed, (followed + failed).with_bits(bits), failed.sum(1).with_bits(bits))
    pooled = everyone.sum(0).with_bits(bits)
    rest = (at_risk - events).with_bits(bits)
    hazard, inverse, share, weight = fractions(
        [(events, at_risk), (None, rest), (pooled, whole(pooled)), (None, groups.complete)]
    )
    found = hazards(hazard, inverse)
    means = restricted_means(found, share, tau)
    spread = weighted_variance(weight, share)
    return _masked(parameters, released, groups, found, means, spread)


def _masked(
    parameters: RankingParameters,
    released: Released,
    groups: Similar,
    found: Hazards,
    means: Means,
    spread: SecretFixed,
) -> Outputs:
    size = groups.everyone.sum(1)
    states, few_failed, large = _states(parameters, released, groups, found)
    flags = states.to_int()
    shown = flags[3]
    places, tau = decimals(parameters), parameters.tau
    estimate, variance, inverse = rounded_numbers(
        [
            (means.mean, tau * 10**places),
            (means.variance, tau**2 * 10 ** variance_decimals(places)),
            (spread, SPREAD),
        ]
    )
    banded = floor_divide(concatenate([size, size.sum(0).reshape(1)]), band(released)) * band(released)
    visible = ((shown.sum(0).reshape(1) - len(size)) != -1) & large
    mask = concatenate([*(shown for _ in range(4)), visible.to_int()])
    values = concatenate([estimate, variance, inverse, banded]) * mask
    numbers = values[:-1].reshape(4, len(size))
    return {
        "state": flags[0] + flags[1] * 2 + flags[2] * 3,
        "few": few_failed,
        "estimate": numbers[0],
        "variance": numbers[1],
        "spread": numbers[2],
        "size": numbers[3],
        "total": values[-1],
        "total_shown": visible[0],
    }


def _states(
    parameters: RankingParameters, released: Released, groups: Similar, found: Hazards
) -> tuple[SecretBits, SecretBits, SecretBits]:
    """Bits (4, treatments): too few, no overlap, too short, shown; shown with few failures (treatments,); whether all
    similar patients together are enough to be told (1,)."""
    k, arms, strata = released.policy.minimum_cell, *groups.everyone.shape
    size, pooled = groups.everyone.sum(1), groups.everyone.sum(0)
    curve = raw(found.survival[..., parameters.tau - 1])
    small = _below(
        [
            (groups.everyone, 1),
            (groups.followed, 1),
            (-curve, -round(UNFINISHED * 2**SCALE)),
            (pooled, 1),
            (size, minimum(parameters, released)),
            (groups.followed.sum(1), k),
            (groups.failures, FEW_FAILURES),
            (size.sum(0).reshape(1), k),
        ]
    )
    empty, unfollowed, unfinished, needless, few, late, few_failed, little = small
    needed = ~needless.reshape(1, strata).broadcast_to((arms, strata))
    gaps = stack([empty, unfollowed & unfinished]) & stack([needed, needed])
    lacks, broken = gaps.any(axis=2)[0], gaps.any(axis=2)[1]
    short = late | broken
    enough = ~few & ~lacks
    outcome = stack([~few, enough, enough]) & stack([lacks, short, ~short])
    return concatenate([few[None], outcome]), outcome[2] & few_failed, ~little


def _below(tests: list[tuple[SecretInt, int]]) -> list[SecretBits]:
    """x < limit for arrays with their public limits, in the same rounds."""
    bits = max(x.bits for x, _ in tests) + 1
    flat = concatenate([(x - limit).with_bits(bits).ravel() for x, limit in tests])
    below = flat < 0
    ends = np.cumsum([x.size for x, _ in tests])
    return [below[end - x.size : end].reshape(x.shape) for end, (x, _) in zip(ends, tests, strict=True)]


def opened_ranking(parameters: RankingParameters, released: Released, opened: Opened) -> OpenedRanking:
    """Opened outputs in the units of the study, in the clear."""
    places = decimals(parameters)
    spread = np.asarray(opened["spread"], dtype=np.float64) / SPREAD
    persons = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    error = error_of(opened["variance"], places)
    return OpenedRanking(
        tier=int(opened["tier"]),
        state=np.asarray(opened["state"], dtype=np.int64),
        estimate=np.asarray(opened["estimate"], dtype=np.float64) / 10.0**places,
        standard_error=error,
        information=(persons // INFORMATION_STEP * INFORMATION_STEP).astype(np.int64),
        few=np.asarray(opened["few"], dtype=bool),
        size=np.asarray(opened["size"], dtype=np.int64),
        total=int(opened["total"]) if opened["total_shown"] else None,
        band=band(released),
    )
