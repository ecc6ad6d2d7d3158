"""What a survival analysis may open under thresholds, computed on shares from the full tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Outputs
from mpc_backend.analyses.curve_display import TOTAL_BITS, at_risk_of, table_outputs
from mpc_backend.analyses.curve_display import steps as curve_steps
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, VARIANCE_DIGITS, steps_in_one
from mpc_backend.analyses.curve_weights import Even, judge, weights
from mpc_backend.analyses.disclosure import at_least, masked
from mpc_backend.analyses.distributions import normal_reach
from mpc_backend.analyses.secret_curves import (
    SCALE,
    Hazards,
    Means,
    curve_variance,
    fractions,
    hazards,
    mean_decimals,
    mixed,
    restricted_means,
    rounded_numbers,
    unit,
    variance_decimals,
    whole,
)
from mpc_backend.analyses.secret_tests import released_tests
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.operations import concatenate, floor_divide, minimum, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, NO_OVERLAP, SHORT, RARE, UNEVEN = 0, 1, 2, 3, 4, 5
FLAT = 2.0**-16
"""Curves closer than this to one half count as flat on it."""
MEAN_DIGITS = 3
"""Significant digits of the variance of a restricted mean."""


@dataclass(frozen=True)
class SurvivalTables:
    """Views (views, arms, strata, bins) of events and exits: the total, then the total without the persons of each hospital
    from which something must stay hidden. Scores (tests, arms) and covariances (tests, arms^2) over all.
    """

    events: SecretInt
    exits: SecretInt
    score: SecretFixed
    variance: SecretFixed


@dataclass(frozen=True)
class Counts:
    """The views of `SurvivalTables`, with the persons at risk."""

    events: SecretInt
    exits: SecretInt
    at_risk: SecretInt

    def whole(self, name: str) -> SecretInt:
        """The total of one of them, (arms, strata, bins)."""
        value = getattr(self, name)
        assert isinstance(value, SecretInt)
        return value[0]


@dataclass(frozen=True)
class Curves:
    """Main and crude curves (curves, bins): survival, its variance, and restricted means (curves,)."""

    survival: SecretFixed
    variance: SecretFixed
    means: Means
    even: Even


def released_outputs(
    session: Session, parameters: SurvivalParameters, policy: DisclosurePolicy, tables: SurvivalTables
) -> Outputs:
    """Every output under thresholds; numbers of hidden arms, steps and tests open to zero."""
    exits = tables.exits.with_bits(TOTAL_BITS)
    counts = Counts(tables.events.with_bits(TOTAL_BITS), exits, at_risk_of(exits))
    curves, overlap, ended = _curves(parameters, policy, counts)
    even = curves.even
    session.progress("curves computed", 0.5)
    persons = counts.exits.sum(3).sum(2)
    enough = (persons >= policy.minimum_cell).all(axis=0)
    outputs = _tables(parameters, policy, counts)
    shown = outputs["table_value"]
    assert isinstance(shown, SecretInt)
    numbers = _rounded(parameters, curves, steps_in_one(shown[:, 0, 0], 1)[0])
    able = enough & overlap & even.events
    outputs |= _display(parameters, policy, counts, numbers, able, even.persons)
    frequent = _frequent(parameters, policy, counts)
    lasting = even.events & even.persons[:, parameters.restricted_at]
    conditions = Conditions(enough, overlap, lasting, ended, frequent[0])
    outputs |= _means(parameters, policy, counts, numbers, conditions)
    outputs["frequent"], outputs["even"] = frequent[1], able
    followed = (counts.at_risk.sum(2) >= policy.minimum_cell).all(axis=0) & even.persons
    outputs["median"] = _medians(parameters, curves, able & frequent[1], followed)
    session.progress("display, tables and means", 0.8)
    testable = (enough & frequent[1]).all(axis=0)
    return outputs | released_tests(tables.score, tables.variance, len(parameters.arms), testable)


def _pooled(counts: SecretInt) -> SecretInt:
    """Summed over strata, which stay as an axis of length one: (arms, strata, bins) -> (arms, 1, bins)."""
    total = counts.sum(1)
    return total.reshape(total.shape[0], 1, total.shape[1])


def _curves(
    parameters: SurvivalParameters, policy: DisclosurePolicy, counts: Counts
) -> tuple[Curves, SecretBits, SecretBits]:
    """Main then crude curves; which arms (arms,) overlap with all strata; which are followed to tau in all of them.

    The crude curve is one more stratum, which has all the weight in the second set of curves and none in the first.
    """
    events, at_risk = counts.whole("events"), counts.whole("at_risk")
    if not parameters.standardised:
        events, at_risk = _pooled(events), _pooled(at_risk)
        found = hazards(*fractions([(events, at_risk), (None, (at_risk - events).with_bits(TOTAL_BITS))]))
        share = found.hazard[0, :, 0] * 0 + 1.0
        ended = _complete(parameters, at_risk, found)
        always = ended[0] | np.ones(ended[0].shape, dtype=bool)
        even = Even(always.reshape(-1, 1).broadcast_to((len(parameters.arms), parameters.bins)), always)
        return _mixes(parameters, found, share[None, None], even), *ended
    both = concatenate([events, _pooled(events)], axis=1), concatenate([at_risk, _pooled(at_risk)], axis=1)
    persons = at_risk[:, :, 0].sum(0).with_bits(TOTAL_BITS)
    left = (both[1] - both[0]).with_bits(TOTAL_BITS)
    hazard, rest, share, each = fractions([both, (None, left), (persons, whole(persons)), (None, at_risk)])
    found = hazards(hazard, rest)
    none, one = share[:1] * 0, share[:1] * 0 + 1.0
    sets = stack([concatenate([share, none]), concatenate([share * 0, one])])
    strata = Hazards(found.survival[:, :-1], found.hazard[:, :-1], found.rest[:, :-1])
    weight = weights(strata, share, each)
    even = judge(policy, parameters.restricted_at, counts.at_risk, counts.events, weight)
    return _mixes(parameters, found, unit(sets)[:, None], even), *_complete(parameters, at_risk, strata)


def _mixes(parameters: SurvivalParameters, found: Hazards, share: SecretFixed, even: Even) -> Curves:
    """Curves (sets * arms, bins) from hazards (arms, strata, bins) and weights (sets, 1, strata)."""
    share = unit(share)
    last = found.survival.rearranged(lambda words: np.moveaxis(words, 1, 2))
    means = restricted_means(found, share, parameters.restricted_at)
    return Curves(
        mixed(last, share[:, None]).reshape(-1, parameters.bins),
        curve_variance(found, share).reshape(-1, parameters.bins),
        Means(means.mean.ravel(), means.variance.ravel()),
        even,
    )


def _complete(
    parameters: SurvivalParameters, at_risk: SecretInt, found: Hazards
) -> tuple[SecretBits, SecretBits]:
    """Arms (arms,) with patients in every stratum, and with every stratum followed to tau or ended before."""
    tau = parameters.restricted_at
    start, end = at_risk[:, :, 0], at_risk[:, :, tau]
    nobody = stack([start, end, start.sum(0)[None].broadcast_to(start.shape)]) == 0
    unfinished = nobody[1] & (found.survival[:, :, tau - 1] > FLAT)
    problems = (stack([nobody[0], unfinished]) & ~stack([nobody[2], nobody[2]])).any(axis=2)
    return ~problems[0], ~problems[1]


@dataclass(frozen=True)
class Rounded:
    """Curves (curves, display times), as how many steps of `curve_heights` they are high, and means (curves,) as whole numbers
    of their last decimal; variances have the decimals of `variance_decimals`."""

    height: SecretInt
    height_variance: SecretInt
    mean: SecretInt
    mean_variance: SecretInt


def _rounded(parameters: SurvivalParameters, curves: Curves, steps: SecretInt) -> Rounded:
    """``steps`` (arms,): how many steps make 1."""
    places, tau = np.array(parameters.display_times), parameters.restricted_at
    decimals = mean_decimals(tau)
    heights, factor = curves.survival[:, places], tau**2 * 10 ** variance_decimals(decimals)
    sets = heights.shape[0] // len(steps)
    high = unit(heights) * concatenate([steps] * sets)[:, None].broadcast_to(heights.shape)
    finest = 10 ** variance_decimals(HEIGHT_DECIMALS)
    height, height_variance, mean, variance = rounded_numbers(
        [
            (high.with_bits(SCALE + 16), 1),
            (curves.variance[:, places], finest),
            (curves.means.mean, tau * 10**decimals),
            (curves.means.variance, factor),
        ]
    )
    spread = rounded_to(height_variance.ravel(), VARIANCE_DIGITS, finest).reshape(heights.shape)
    return Rounded(height, spread, mean, rounded_to(variance, MEAN_DIGITS, min(2 * factor, 2**31 - 1)))


def _tables(parameters: SurvivalParameters, policy: DisclosurePolicy, counts: Counts) -> Outputs:
    """At risk, then cumulative events and censorings."""
    failed, left = counts.events.sum(2), (counts.exits - counts.events).sum(2)
    times = parameters.table_times
    return table_outputs(policy, counts.at_risk.sum(2), [failed, left], times, parameters.horizon)


def _display(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    counts: Counts,
    numbers: Rounded,
    shown: SecretBits,
    even: SecretBits,
) -> Outputs:
    """The curves where they may step, and how far each is followed; ``even`` (arms, bins): where nobody weighs too much."""
    places = np.array(parameters.display_times)
    steps, followed = curve_steps(policy, counts.events.sum(2), counts.at_risk.sum(2), places, shown)
    flags = (stack([steps, followed]) & stack([even[:, places]] * 2)).to_int()
    sets = numbers.height.shape[0] // len(shown)
    mask = concatenate([flags[0]] * sets, axis=0)
    heights = stack([numbers.height, numbers.height_variance]) * mask
    return {
        "step": flags[0],
        "followed": flags[1].sum(1),
        "height": heights[0],
        "height_variance": heights[1],
    }


def _frequent(parameters: SurvivalParameters, policy: DisclosurePolicy, counts: Counts) -> SecretBits:
    """Whether k events lie before tau, and in all, in every view: (2, arms).

    A mean, a variance or a median made of fewer gives away how many there were, and when.
    """
    events = counts.events.sum(2)
    tau = parameters.restricted_at
    both = stack([events[:, :, :tau].sum(2), events.sum(2)], axis=1).with_bits(TOTAL_BITS)
    return at_least(both, policy)


@dataclass(frozen=True)
class Conditions:
    """What a restricted mean needs, by arm (arms,): persons, overlap with the strata, nobody who weighs too much up to tau,
    strata that are followed to tau or finished, events before tau."""

    enough: SecretBits
    overlap: SecretBits
    even: SecretBits
    finished: SecretBits
    frequent: SecretBits


def _means(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    counts: Counts,
    numbers: Rounded,
    arms: Conditions,
) -> Outputs:
    """Restricted means and their variances; states by arm, SHOWN or why not."""
    tau = parameters.restricted_at
    followed = (counts.at_risk.sum(2)[:, :, tau] >= policy.minimum_cell).all(axis=0) & arms.finished
    able = arms.enough & arms.overlap
    reached = able & followed
    frequent = reached & arms.frequent
    flags = stack(
        [
            ~arms.enough, arms.enough & ~arms.overlap, able & ~followed, reached & ~arms.frequent,
            frequent & arms.even, frequent & ~arms.even,
        ]
    ).to_int()  # fmt: skip
    sets = numbers.mean.shape[0] // len(arms.enough)
    mask = concatenate([flags[4]] * sets, axis=0)
    means = stack([numbers.mean, numbers.mean_variance]) * mask
    state = flags[0] * FEW + flags[1] * NO_OVERLAP + flags[2] * SHORT + flags[3] * RARE + flags[5] * UNEVEN
    return {"state": state, "mean": means[0], "mean_variance": means[1]}


def median_step(horizon: int) -> int:
    """Released medians are multiples of this: 1, 2 or 5 times a power of ten, at least 1/150 of the horizon."""
    least = horizon / 150
    power = int(10 ** max(0, math.floor(math.log10(max(least, 1)))))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= min(least, 10 * power))


def _medians(
    parameters: SurvivalParameters, curves: Curves, shown: SecretBits, followed: SecretBits
) -> SecretInt:
    """Twice the median, then twice its lower and its upper limit, each (curves,): twice the bins if not reached, 0 for
    arms (arms,) that are not shown. A time that is not ``followed`` (arms, bins), for which fewer than k are at risk, is not
    reached: who is left would be the median.

    The estimate is the midpoint of the first time at or below one half and the first time below it (R's rule).
    """
    survival, bins = curves.survival, parameters.bins
    above = concatenate([(survival > 0.5 + FLAT)[None], (survival > 0.5 - FLAT)[None]], axis=0)
    lower, upper = _limits(parameters, curves, survival)
    followed = concatenate([followed] * (survival.shape[0] // len(shown)))
    reached = concatenate([above, (~lower)[None], (~upper)[None]], axis=0) | stack([~followed] * 4)
    firsts = _first_false(concatenate([reached, followed[None]], axis=0))
    firsts, last = firsts[:4], firsts[4]
    reaches = firsts < bins
    step = median_step(parameters.horizon)
    end = minimum(minimum(firsts[1], last), parameters.horizon)
    twice = concatenate([(firsts[0] + end)[None], firsts[2:] * 2], axis=0)
    if step > 1:
        twice = floor_divide(twice + step, 2 * step) * (2 * step)
    found = concatenate([reaches[:1], reaches[2:]], axis=0)
    reached_twice = masked(found, twice - 2 * bins) + 2 * bins
    return reached_twice * concatenate([shown] * (survival.shape[0] // len(shown))).to_int()


def _first_false(bits: SecretBits) -> SecretInt:
    """Index of the first false along the last axis; its length where all are true."""
    misses = (~bits).to_int(32).cumsum(bits.ndim - 1)
    return (misses == 0).to_int().sum(bits.ndim - 1)


def _limits(
    parameters: SurvivalParameters, curves: Curves, survival: SecretFixed
) -> tuple[SecretBits, SecretBits]:
    """Where the lower and the upper limit of the log-log band are at or below one half (curves, bins).

    With L = -log S, the lower limit is there if S <= 1/2 or z^2 Var S >= f(S)^2, the upper one if S <= 1/2 and
    z^2 Var S <= f(S)^2, where f(S) = S L log(L / log 2).
    """
    z = normal_reach(parameters.confidence)
    distance = _polynomial(survival.rescaled(POLYNOMIAL_SCALE).with_bits(POLYNOMIAL_SCALE + 2))
    excess = curves.variance.rescaled(SCALE) * (z * z) - (distance * distance).rescaled(SCALE)
    half, wide, alive = survival <= 0.5 + FLAT, excess >= 0, survival > FLAT
    return half | wide, half & ~wide & alive


POLYNOMIAL_SCALE = 24
DEGREE = 11


def _coefficients() -> NDArray[np.float64]:
    """f(S) in powers of 2 S - 1, fitted where it is compared with a standard error (absolute error below 2e-4)."""
    grid = np.linspace(0.01, 0.995, 4000)
    log = -np.log(grid)
    weight = np.where((grid > 0.1) & (grid < 0.95), 1.0, 0.2)
    fitted = chebyshev.chebfit(2 * grid - 1, grid * log * np.log(log / math.log(2)), DEGREE, w=weight)
    return np.asarray(chebyshev.cheb2poly(fitted))


def _polynomial(survival: SecretFixed) -> SecretFixed:
    """f(S) by powers of 2 S - 1 in [-1, 1], doubling the number of known powers each round."""
    centred = (survival * 2 - 1.0).with_bits(POLYNOMIAL_SCALE + 2)
    powers = centred[None]
    while powers.shape[0] < DEGREE:
        more = (powers * powers[-1:]).with_bits(POLYNOMIAL_SCALE + 2)
        powers = concatenate([powers, more], axis=0)
    factors = _coefficients()
    shaped = factors[1 : DEGREE + 1].reshape(-1, *(1,) * survival.ndim)
    return (powers[:DEGREE] * shaped).sum(0) + float(factors[0])
