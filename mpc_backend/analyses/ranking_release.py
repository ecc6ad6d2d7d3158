"""What a ranking may open, from the secret counts of similar patients; and how the recipient reads it.

Independent steps share their rounds: all divisions, all comparisons, all roundings are one batch each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Opened, Outputs, Released
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import FEW_FAILURES, LEAST_INFORMATION, OpenedRanking
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
from mpc_backend.analyses.significant import significant, thresholds
from mpc_backend.operations import concatenate, floor_divide, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SPREAD = 10**5
"""The reciprocal of the effective size is opened to five decimals."""
COARSE_DIGITS = 2
"""Significant digits of a treatment's variance and effective size where fewer than k patients fail."""
INFORMATION_STEP = 5
NUMBER_BITS = 32
"""Signed width of a variance or an inverse effective size as it is opened."""
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
    their event before (treatments, strata).

    Views (1 + receiving hospitals, treatments), the total and then the total without each hospital that receives the
    answer: ``sizes``, ``remaining`` at tau, ``failures``.
    """

    everyone: SecretInt
    followed: SecretInt
    complete: SecretInt
    sizes: SecretInt
    remaining: SecretInt
    failures: SecretInt


def _similar(parameters: RankingParameters, cells: SecretInt, own: SecretInt) -> Similar:
    tau, bits = parameters.tau, cells.bits
    everyone = cells[..., 2 * tau]
    followed = (everyone - cells[..., tau : 2 * tau].sum(2)).with_bits(bits)
    failed = cells[..., :tau].sum(2).with_bits(bits)
    wholes = stack([failed.sum(1), everyone.sum(1) - followed.sum(1), everyone.sum(1)], axis=1)
    views = concatenate([wholes[None], wholes[None] - own], axis=0).with_bits(bits)
    return Similar(
        everyone,
        followed,
        (followed + failed).with_bits(bits),
        views[..., 2],
        (views[..., 2] - views[..., 1]).with_bits(bits),
        views[..., 0],
    )


def released_outputs(
    parameters: RankingParameters, released: Released, cells: SecretInt, own: SecretInt
) -> Outputs:
    """States and, for supported treatments only, numbers; everything else opens to zero.

    ``cells`` (treatments, strata, 2 tau + 1): events before tau by time, exits before tau by time, everybody. ``own``
    (receiving hospitals, treatments, 3): each one's own patients' events before tau, exits before tau, everybody.
    """
    tau, bits = parameters.tau, cells.bits
    events, exits, everyone = cells[..., :tau], cells[..., tau : 2 * tau], cells[..., 2 * tau]
    at_risk = (everyone[:, :, None] - (exits.cumsum(2) - exits)).with_bits(bits)
    groups = _similar(parameters, cells, own)
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
    places, tau = decimals(parameters), parameters.tau
    estimate, variance, inverse = rounded_numbers(
        [
            (means.mean, tau * 10**places),
            (means.variance, tau**2 * 10 ** variance_decimals(places)),
            (spread, SPREAD),
        ]
    )
    fine = concatenate([variance, inverse]).with_bits(NUMBER_BITS)
    found_states = _states(parameters, released, groups, found, fine)
    size = groups.sizes[0]
    flags = concatenate([found_states.states, found_states.coarse[None]]).to_int()
    shown, coarse = flags[3], flags[4]
    banded = floor_divide(concatenate([size, size.sum(0).reshape(1)]), band(released)) * band(released)
    visible = ((shown.sum(0).reshape(1) - len(size)) != -1) & found_states.large
    cut = significant(fine, found_states.below, COARSE_DIGITS)
    few, many = concatenate([coarse, coarse]), concatenate([shown - coarse, shown - coarse])
    mask = concatenate([few, many, shown, shown, visible.to_int()])
    values = concatenate([cut, fine, estimate, banded]) * mask
    arms = len(size)
    spreads = values[: 2 * arms] + values[2 * arms : 4 * arms]
    return {
        "state": flags[0] + flags[1] * 2 + flags[2] * 3,
        "few": found_states.few_failed,
        "coarse": found_states.coarse,
        "estimate": values[4 * arms : 5 * arms],
        "variance": spreads[:arms],
        "spread": spreads[arms:],
        "size": values[5 * arms : 6 * arms],
        "total": values[-1],
        "total_shown": visible[0],
    }


@dataclass(frozen=True)
class States:
    """``states`` (4, treatments): too few (also by effective size, which means something only with overlap and
    follow-up), no overlap, too short, shown. Of the shown ones (treatments,): ``few_failed``, fewer than ten failures;
    ``coarse``, fewer than k in some view. ``below`` (powers, numbers): whether each number is below each threshold of
    significant digits. ``large`` (1,): whether all similar patients may be told."""

    states: SecretBits
    few_failed: SecretBits
    coarse: SecretBits
    below: SecretBits
    large: SecretBits


def _states(
    parameters: RankingParameters, released: Released, groups: Similar, found: Hazards, numbers: SecretInt
) -> States:
    """All comparisons, in the same rounds. Every view must hold k patients, k of them followed to tau: a hospital that
    receives the answer could subtract its own."""
    k, arms, strata = released.policy.minimum_cell, *groups.everyone.shape
    pooled = groups.everyone.sum(0)
    curve = raw(found.survival[..., parameters.tau - 1])
    powers = thresholds(COARSE_DIGITS, _largest(parameters))
    small = _below(
        [
            (groups.everyone, 1),
            (groups.followed, 1),
            (-curve, -round(UNFINISHED * 2**SCALE)),
            (pooled, 1),
            (groups.sizes[0], minimum(parameters, released)),
            (groups.sizes, k),
            (groups.remaining, k),
            (groups.failures[0], FEW_FAILURES),
            (groups.failures, k),
            (groups.sizes.sum(1), k),
            (numbers[len(numbers) // 2 :], SPREAD // LEAST_INFORMATION + 1),
            *((numbers, power) for power in powers),
        ]
    )
    empty, unfollowed, unfinished, needless, thin, few, late, few_failed, rare, little, broad = small[:11]
    alone = stack([few.any(axis=0), late.any(axis=0), rare.any(axis=0)])
    needed = ~needless.reshape(1, strata).broadcast_to((arms, strata))
    gaps = stack([empty, unfollowed & unfinished]) & stack([needed, needed])
    lacks, broken = gaps.any(axis=2)[0], gaps.any(axis=2)[1]
    kept = ~stack([thin, alone[1]]) & ~stack([alone[0], broken])
    supported, long = kept[0], kept[1]
    enough = supported & ~lacks
    outcome = stack([supported, enough, enough]) & stack([lacks, ~long, long])
    shown = outcome[2] & broad
    marked = stack([shown, shown]) & stack([few_failed, alone[2]])
    states = stack([~supported ^ outcome[2] ^ shown, outcome[0], outcome[1], shown])
    return States(states, marked[0], marked[1], stack(small[11:]), ~little.any(axis=0).reshape(1))


def _largest(parameters: RankingParameters) -> int:
    """The largest whole number that a variance or an inverse effective size is opened as."""
    variance = 2 * parameters.tau**2 * 10 ** variance_decimals(decimals(parameters))
    return int(min(max(SPREAD, variance), 2 ** (NUMBER_BITS - 1) - 1))


def _below(tests: list[tuple[SecretInt, int]]) -> list[SecretBits]:
    """x < limit for arrays with their public limits, in the same rounds."""
    bits = max(x.bits for x, _ in tests) + 1
    flat = concatenate([(x - limit).with_bits(bits).ravel() for x, limit in tests])
    below = flat < 0
    ends = np.cumsum([x.size for x, _ in tests])
    return [below[end - x.size : end].reshape(x.shape) for end, (x, _) in zip(ends, tests, strict=True)]


def _upper_end(numbers: NDArray[np.int64], coarse: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The largest number that rounds to each coarse one: an effective size is not overstated by rounding."""
    places = np.floor(np.log10(np.maximum(numbers, 1))) - (COARSE_DIGITS - 1)
    half = np.where(coarse & (places > 0), 0.5 * 10 ** np.maximum(places, 0), 0.0)
    return np.asarray(numbers + half)


def opened_ranking(parameters: RankingParameters, released: Released, opened: Opened) -> OpenedRanking:
    """Opened outputs in the units of the study, in the clear."""
    places = decimals(parameters)
    spread = _upper_end(np.asarray(opened["spread"], np.int64), np.asarray(opened["coarse"], bool)) / SPREAD
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
