"""What a ranking may open, from the secret counts of similar patients.

Independent steps share their rounds: all divisions, all comparisons, all roundings are one batch each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.ranking_balance import Levels, Profile, Verdicts, compared, judged
from mpc_backend.analyses.ranking_earlier import Earlier, too_close, withheld
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import (
    CLOSE,
    FEW,
    FEW_FAILURES,
    LEAST_INFORMATION,
    NO_OVERLAP,
    SHORT,
    UNEVEN,
)
from mpc_backend.analyses.ranking_risks import Risks, means_and_risks
from mpc_backend.analyses.ranking_weights import Weighed, uneven, weighed
from mpc_backend.analyses.secret_curves import (
    SCALE,
    Hazards,
    Means,
    fractions,
    hazards,
    parts,
    raw,
    rounded_numbers,
    unit,
    variance_decimals,
)
from mpc_backend.analyses.significant import significant, thresholds
from mpc_backend.operations import concatenate, floor_divide, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SPREAD = 10**5
"""The reciprocal of the effective size is opened to five decimals."""
TIE = 2.0**-10
"""Added before a risk is rounded: halves of a step, which few patients often make, go up whatever the risk's last place is."""
RISK_PERSONS, RISK_VARIANCE = 5, 10**6
"""A risk is opened in multiples of what so many patients are worth in the middle of the band that is told of a treatment, and
its variance to two significant digits of six decimals."""
COARSE_DIGITS = 2
"""Significant digits of a treatment's variance and effective size where fewer than k patients fail."""
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
    """Counts of groups of similar patients: ``everyone`` (groups, treatments, strata); ``followed`` to tau and ``complete``
    to tau or to their event before (groups, outcomes, treatments, strata).

    Views (1 + receiving hospitals, groups, ...), the total and then the total without each hospital that receives the
    answer: ``sizes`` by treatment, ``remaining`` at tau and ``failures`` by outcome and treatment. ``others``: of those
    hospitals' views by stratum, all, those at tau and failures (receiving, 3, groups, outcomes, treatments, strata).
    """

    everyone: SecretInt
    followed: SecretInt
    complete: SecretInt
    sizes: SecretInt
    remaining: SecretInt
    failures: SecretInt
    others: SecretInt


def _similar(parameters: RankingParameters, cells: SecretInt, own: SecretInt) -> Similar:
    tau, bits = parameters.tau, cells.bits
    everyone = cells[..., 2 * tau]
    followed = (everyone - cells[..., tau : 2 * tau].sum(4)).with_bits(bits)
    failed = cells[..., :tau].sum(4).with_bits(bits)
    whole = stack([failed, everyone - followed, everyone], axis=4).with_bits(bits)
    apart = (whole[None] - own).with_bits(bits)
    views = concatenate([whole[None], apart], axis=0).sum(4).with_bits(bits)
    return Similar(
        everyone[:, 0],
        followed,
        (followed + failed).with_bits(bits),
        views[:, :, 0, :, 2],
        (views[..., 2] - views[..., 1]).with_bits(bits),
        views[..., 0],
        stack([apart[..., 2], apart[..., 2] - apart[..., 1], apart[..., 0]], axis=1).with_bits(bits),
    )


def released_outputs(
    parameters: RankingParameters,
    released: Released,
    cells: SecretInt,
    own: SecretInt,
    profile: Profile | None = None,
) -> Outputs:
    """The outputs of `released_answer` where there are no earlier answers."""
    return released_answer(parameters, released, cells, own, profile)[0]


def released_answer(
    parameters: RankingParameters,
    released: Released,
    cells: SecretInt,
    own: SecretInt,
    profile: Profile | None = None,
    earlier: Earlier | None = None,
) -> tuple[Outputs, SecretInt]:
    """States and, for supported treatments only, numbers, for each of several groups of patients: (groups, treatments),
    the total (groups,); everything else opens to zero. Those of the harm outcome are called ``harm_...``,
    those of the negative control ``control_...``. And what they tell: which treatments are shown, and last whether the total
    is, (groups, treatments + 1).

    ``cells`` (groups, outcomes, treatments, strata, 2 tau + 1): events before tau by time, exits before tau by time,
    everybody. ``own`` (receiving hospitals, groups, outcomes, treatments, strata, 3): each one's own patients' events before
    tau, exits before tau, everybody. ``profile``: by level of the covariates whose balance is judged.
    """
    tau, bits = parameters.tau, cells.bits
    events, exits = cells[..., :tau], cells[..., tau : 2 * tau]
    at_risk = (cells[..., 2 * tau :] - (exits.cumsum(4) - exits)).with_bits(bits)
    groups = _similar(parameters, cells, own)
    pooled = groups.everyone.sum(1).with_bits(bits)
    of = pooled.sum(1).reshape(-1, 1).broadcast_to(pooled.shape).with_bits(bits)
    rest = (at_risk - events).with_bits(bits)
    failed = (groups.complete - groups.followed)[..., None]
    counts = concatenate([at_risk, groups.followed[..., None], failed], axis=4).with_bits(bits)
    pairs = [(events, at_risk), (None, rest), (pooled, of), (None, groups.complete)]
    if released.receiving_sites:
        pairs.append((None, stack([counts[..., place] for place in (0, tau, tau + 1)])))
    if profile is not None:
        persons = groups.everyone
        pairs += [
            (profile.counts, persons[..., None].broadcast_to(profile.counts.shape)),
            (None, persons),
            (profile.pooled(), pooled[..., None].broadcast_to(profile.counts[:, 0].shape)),
        ]
    hazard, inverse, share, weight, *more = fractions(pairs)
    each, portions = (more[:1], more[1:]) if released.receiving_sites else ([], more)
    found = hazards(hazard, inverse)
    means, risks, spread = means_and_risks(found, share, weight, tau)
    apart = (groups.others, each[0]) if each else None
    even = weighed(released.policy.minimum_cell, found, share, counts, apart)
    levels = None if profile is None else Levels(compared(share, *portions), profile.views())
    return _masked(parameters, released, groups, found, means, risks, spread, even, levels, earlier)


def _masked(
    parameters: RankingParameters,
    released: Released,
    groups: Similar,
    found: Hazards,
    means: Means,
    risks: Risks,
    spread: SecretFixed,
    even: Weighed,
    levels: Levels | None,
    earlier: Earlier | None,
) -> tuple[Outputs, SecretInt]:
    places, tau = decimals(parameters), parameters.tau
    size = groups.sizes[0]
    people = concatenate([size.ravel(), size.sum(1)])
    banded = floor_divide(people, band(released)) * band(released)
    middle = (banded[: size.size] + band(released) // 2).reshape(size.shape)
    estimate, variance, inverse, risk, risk_variance = (
        numbers.ravel()
        for numbers in rounded_numbers(
            [
                (means.mean, tau * 10**places),
                (means.variance, tau**2 * 10 ** variance_decimals(places)),
                (spread, SPREAD),
                (unit(risks.risk) * (1.0 / RISK_PERSONS) * middle + TIE, 1),
                (risks.variance, RISK_VARIANCE),
            ]
        )
    )
    fine = concatenate([variance, inverse, risk_variance]).with_bits(NUMBER_BITS)
    found_states = _states(parameters, released, groups, found, fine, inverse, even, levels, earlier)
    marks = _beside(found_states.marks)
    flags = concatenate([marks[:6], marks[7:]]).to_int()
    shown, coarse, near = flags[4], flags[5], (flags[6:] * CLOSE).sum(0)
    first = shown[:, 0]
    visible = ((first.sum(1) - size.shape[1]) != -1) & found_states.large
    cut = significant(fine, found_states.below, COARSE_DIGITS)
    few, many, seen = coarse.ravel(), (shown - coarse).ravel(), shown.ravel()
    told = (first - coarse[:, 0]).ravel()
    whole = visible.to_int()
    count, shape = shown.size, shown.shape
    mask = concatenate([few, few, many, many, seen, told, told, first.ravel(), whole])
    columns = [cut[: 2 * count], fine[: 2 * count], estimate, risk, cut[2 * count :], banded]
    values = parts(
        concatenate(columns) * mask,
        [variance, inverse, variance, inverse, estimate, risk, risk_variance, size, people[size.size :]],
    )
    spreads = [(values[at] + values[at + 2]).reshape(shape) for at in (0, 1)]
    by_outcome: Outputs = {
        "state": flags[0] * FEW + flags[1] * NO_OVERLAP + flags[2] * SHORT + flags[3] * UNEVEN + near,
        "few": marks[6],
        "coarse": marks[5],
        "estimate": values[4].reshape(shape),
        "variance": spreads[0],
        "spread": spreads[1],
    }
    outputs: Outputs = {
        **{
            f"{begin}{name}": value[:, place]
            for place, begin in enumerate(parameters.outcome_names)
            for name, value in by_outcome.items()
        },
        "risk": values[5].reshape(size.shape),
        "risk_variance": values[6].reshape(size.shape),
        "size": values[7],
        "total": values[8],
        "total_shown": visible,
        **({} if found_states.balance is None else found_states.balance.outputs()),
    }
    return outputs, concatenate([first, whole.reshape(-1, 1)], axis=1)


@dataclass(frozen=True)
class States:
    """``marks`` (7 or 8, groups, outcomes, treatments): too few (also by effective size, which means something only with
    overlap and follow-up), no overlap, too short, uneven, shown; of the shown ones, whether fewer than k fail in some view
    or one failure weighs more than a k-th of them, and whether fewer than ten fail; with earlier answers, whether it is
    withheld for being too close to one. ``below`` (powers, numbers): whether each number is below each threshold of
    significant digits. ``large`` (groups,): whether all similar patients may be told. ``balance``: None where the study names
    no covariates for it."""

    marks: SecretBits
    below: SecretBits
    large: SecretBits
    balance: Verdicts | None


def _beside(marks: SecretBits) -> SecretBits:
    """Nothing about other outcomes where the treatment itself is not shown: (marks, groups, outcomes, treatments)."""
    if marks.shape[2] == 1:
        return marks
    others = marks[:, :, 1:]
    shown: SecretBits = concatenate(
        [marks[:, :, :1], others & marks[4:5, :, :1].broadcast_to(others.shape)], axis=2
    )
    return shown


def _states(
    parameters: RankingParameters,
    released: Released,
    groups: Similar,
    found: Hazards,
    numbers: SecretInt,
    inverse: SecretInt,
    weights: Weighed,
    levels: Levels | None,
    earlier: Earlier | None,
) -> States:
    """All comparisons, in the same rounds. Every view must hold k patients, k of them followed to tau: a hospital that
    receives the answer could subtract its own."""
    k, by_stratum = released.policy.minimum_cell, groups.followed.shape
    shape = by_stratum[:3]
    pooled = groups.everyone.sum(1)
    curve = raw(found.survival[..., parameters.tau - 1])
    powers = thresholds(COARSE_DIGITS, _largest(parameters))
    others = (
        [] if weights.apart is None or weights.others is None else [(weights.apart, 0), (weights.others, 1)]
    )
    before = [] if earlier is None else earlier.tests(groups.sizes[:, 0], k)
    small = _below(
        [
            *before,
            (groups.everyone, 1),
            (groups.followed, 1),
            (-curve, -round(UNFINISHED * 2**SCALE)),
            (pooled, 1),
            (groups.sizes[0], minimum(parameters, released)),
            (groups.sizes, k),
            (groups.remaining, k),
            (groups.failures[0], FEW_FAILURES),
            (groups.failures, k),
            (groups.sizes.sum(2), k),
            (inverse, SPREAD // LEAST_INFORMATION + 1),
            (weights.whole, 0),
            *((numbers, power) for power in powers),
            *others,
            *([] if levels is None else levels.tests(groups.sizes, k)),
        ]
    )
    close, small = small[: len(before)], small[len(before) :]
    rest = small[12 + len(powers) :]
    empty, unfollowed, unfinished, needless, thin, few, late, few_failed, rare, little, narrow = small[:11]
    heavy = uneven(small[11], *(rest[: len(others)] or (None, None)))
    views = [few[:, :, None].broadcast_to(late.shape), late, rare]
    alone = stack(views, axis=1).any(axis=0)
    needed = (~needless)[:, None, None].broadcast_to(by_stratum)
    gaps = stack([empty[:, None].broadcast_to(by_stratum), unfollowed & unfinished])
    lacking = concatenate([gaps & stack([needed, needed]), heavy]).any(axis=4)
    lacks, broken = lacking[0], lacking[1]
    kept = ~stack([thin[:, None].broadcast_to(shape), alone[1]]) & ~stack([alone[0], broken])
    supported, long = kept[0], kept[1]
    enough = supported & ~lacks
    outcome = stack([supported, enough, enough]) & stack([lacks, ~long, long])
    able = outcome[2] & narrow.reshape(shape)
    even = stack([able, ~alone[2]]) & ~lacking[2:]
    shown = even[0]
    marked = stack([shown, shown]) & stack([~even[1], few_failed])
    few_left = ~supported ^ outcome[2] ^ able
    states = [few_left, outcome[0], outcome[1], able ^ shown, shown, marked[0], marked[1]]
    marks, large = stack(states), [little]
    if close:
        near = too_close(*close)
        marks, large = concatenate([marks[:4], withheld(marks[4:], near)]), [little, near[-1:].reshape(1, 1)]
    balance = None
    if levels is not None:
        shown = marks[4, :, 0]
        balance = judged(rest[len(others)], rest[len(others) + 1 :], shown, parameters.balance_levels)
    below = stack(small[12 : 12 + len(powers)])
    return States(marks, below, ~concatenate(large).any(axis=0), balance)


def _largest(parameters: RankingParameters) -> int:
    """The largest whole number that a variance or an inverse effective size is opened as."""
    variance = 2 * parameters.tau**2 * 10 ** variance_decimals(decimals(parameters))
    return int(min(max(SPREAD, variance, RISK_VARIANCE // 4), 2 ** (NUMBER_BITS - 1) - 1))


def _below(tests: list[tuple[SecretInt, int]]) -> list[SecretBits]:
    """x < limit for arrays with their public limits, in the same rounds."""
    bits = max(x.bits for x, _ in tests) + 1
    flat = concatenate([(x - limit).with_bits(bits).ravel() for x, limit in tests])
    below = flat < 0
    ends = np.cumsum([x.size for x, _ in tests])
    return [below[end - x.size : end].reshape(x.shape) for end, (x, _) in zip(ends, tests, strict=True)]
