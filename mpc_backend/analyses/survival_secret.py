"""What a survival analysis may open under thresholds, computed on shares from the full tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.stats import norm

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.disclosure import masked, release_chain, views
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.secret_curves import (
    SCALE,
    Hazards,
    Means,
    curve_variance,
    hazards,
    mixed,
    restricted_means,
    root,
    unit,
    weights,
)
from mpc_backend.analyses.secret_tests import released_tests
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.operations import concatenate, floor_divide, minimum, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, NO_OVERLAP, SHORT = 0, 1, 2, 3
CURVE_DECIMALS, ERROR_DECIMALS = 3, 4
FLAT = 2.0**-16
"""Curves closer than this to one half count as flat on it."""
TOTAL_BITS = 29
SMALLEST_ROUNDING = 5
"""At-risk tables are rounded at least this far, so that one column does not give another away."""


@dataclass(frozen=True)
class SurvivalTables:
    """Counts (arms, strata, bins) by hospital; scores (tests, arms) and covariances (tests, arms^2) over all."""

    events: Mapping[str, SecretInt]
    censored: Mapping[str, SecretInt]
    score: SecretFixed
    variance: SecretFixed


@dataclass(frozen=True)
class Counts:
    """Views (views, arms, strata, bins): the total, then the total without each hospital that receives the result."""

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


def released_outputs(
    session: Session, parameters: SurvivalParameters, released: Released, tables: SurvivalTables
) -> Outputs:
    """Every output under thresholds; numbers of hidden arms, steps and tests open to zero."""
    counts = _counts(released, tables)
    curves, overlap, ended = _curves(parameters, counts)
    session.progress("curves computed", 0.5)
    persons = counts.exits.sum(3).sum(2)
    enough = (persons >= released.policy.minimum_cell).all(axis=0)
    outputs = _tables(parameters, released.policy, counts)
    outputs |= _display(parameters, released.policy, counts, curves, enough & overlap)
    outputs |= _means(parameters, released.policy, counts, curves, enough, overlap, ended)
    session.progress("display, tables and means", 0.8)
    events = counts.events.sum(3).sum(2).sum(1)
    testable = enough.all(axis=0) & (events >= released.policy.minimum_cell).all(axis=0)
    return outputs | released_tests(tables.score, tables.variance, len(parameters.arms), testable)


def _counts(released: Released, tables: SurvivalTables) -> Counts:
    events = views(released, tables.events)
    exits = events + views(released, tables.censored)
    at_risk = exits[..., ::-1].cumsum(3)[..., ::-1]
    return Counts(events.with_bits(TOTAL_BITS), exits.with_bits(TOTAL_BITS), at_risk.with_bits(TOTAL_BITS))


def _pooled(counts: SecretInt) -> SecretInt:
    """Summed over strata, which stay as an axis of length one: (arms, strata, bins) -> (arms, 1, bins)."""
    total = counts.sum(1)
    return total.reshape(total.shape[0], 1, total.shape[1])


def _curves(parameters: SurvivalParameters, counts: Counts) -> tuple[Curves, SecretBits, SecretBits]:
    """Main then crude curves; which arms (arms,) overlap with all strata; which are followed to tau in all of them."""
    events, at_risk = counts.whole("events"), counts.whole("at_risk")
    if not parameters.standardised:
        found = hazards(_pooled(events), _pooled(at_risk))
        one = unit(
            SecretFixed(events.protocol, events.protocol.constant(np.full(1, 1 << SCALE, np.uint64)), SCALE)
        )
        return _curves_of(parameters, found, one), *_complete(parameters, counts, found, crude=True)
    arms = len(parameters.arms)
    both = hazards(
        concatenate([events, _pooled(events)], axis=1), concatenate([at_risk, _pooled(at_risk)], axis=1)
    )
    strata, crude = _sliced(both, slice(0, -1)), _sliced(both, slice(-1, None))
    share = weights(at_risk[:, :, 0].sum(0))
    first = _curves_of(parameters, strata, share)
    one = share.sum(0).reshape(1) * 0 + 1.0
    second = _curves_of(parameters, crude, unit(one))
    joined = Curves(
        concatenate([first.survival, second.survival], axis=0),
        concatenate([first.variance, second.variance], axis=0),
        Means(
            concatenate([first.means.mean, second.means.mean], axis=0),
            concatenate([first.means.variance, second.means.variance], axis=0),
        ),
    )
    assert joined.survival.shape[0] == 2 * arms
    return joined, *_complete(parameters, counts, strata, crude=False)


def _sliced(found: Hazards, strata: slice) -> Hazards:
    return Hazards(found.survival[:, strata], found.hazard[:, strata], found.rest[:, strata])


def _curves_of(parameters: SurvivalParameters, found: Hazards, share: SecretFixed) -> Curves:
    """Curves (arms, bins) from hazards (arms, strata, bins)."""
    last = found.survival.rearranged(lambda words: np.moveaxis(words, 1, 2))
    return Curves(
        mixed(last, share),
        curve_variance(found, share),
        restricted_means(found, share, parameters.restricted_at),
    )


def _complete(
    parameters: SurvivalParameters, counts: Counts, found: Hazards, crude: bool
) -> tuple[SecretBits, SecretBits]:
    """Arms (arms,) with patients in every stratum, and with every stratum followed to tau or ended before."""
    at_risk = counts.whole("at_risk")
    at_risk = _pooled(at_risk) if crude else at_risk
    tau = parameters.restricted_at
    needed = (at_risk[:, :, 0].sum(0) > 0)[None, :]
    empty, unfollowed = at_risk[:, :, 0] == 0, at_risk[:, :, tau] == 0
    unfinished = unfollowed & (found.survival[:, :, tau - 1] > FLAT)
    problems = concatenate([(needed & empty)[None], (needed & unfinished)[None]], axis=0).any(axis=2)
    return ~problems[0], ~problems[1]


def _tables(parameters: SurvivalParameters, policy: DisclosurePolicy, counts: Counts) -> Outputs:
    """The at-risk table (arms, 3, 1 + times): at risk, then events and censorings with the latest time first.

    Each is a chain of nested counts that starts with its largest: everybody, all events, all censorings.
    """
    times = parameters.table_times
    step = max(policy.rounding, SMALLEST_ROUNDING)
    risk = counts.at_risk.sum(2)[:, :, np.array((0, *times))]
    failed = counts.events.sum(2).cumsum(2)[:, :, _latest_first(parameters)]
    left = (counts.exits - counts.events).sum(2).cumsum(2)[:, :, _latest_first(parameters)]
    short = risk.shape[2] - failed.shape[2]
    none = [risk[:, :, :short] * 0] if short else []
    chains = [risk, *(concatenate([each, *none], axis=2) for each in (failed, left))]
    columns = stack(chains, axis=2)
    flat = columns.reshape(columns.shape[0], -1, columns.shape[3])
    states, values = release_chain(flat.with_bits(TOTAL_BITS), policy, step)
    shape = columns.shape[1:]
    return {"table_state": states.reshape(shape), "table_value": values.reshape(shape)}


def _latest_first(parameters: SurvivalParameters) -> Ints:
    """The horizon, then the table's times from the last to the first, each once."""
    return np.array(sorted({*parameters.table_times, parameters.horizon}, reverse=True))


def _display(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    counts: Counts,
    curves: Curves,
    shown: SecretBits,
) -> Outputs:
    """Curves where a step may be seen: floor(cumulative events / k) has risen and k are still at risk.

    With hospitals that receive the result, the events and persons are those without their own.
    """
    k, places = policy.minimum_cell, np.array(parameters.display_times)
    failed = _smallest(counts.events.sum(2).cumsum(2)[:, :, places])
    risk = _smallest(counts.at_risk.sum(2)[:, :, places])
    groups = floor_divide(failed, k)
    before = concatenate([groups[:, :1] * 0, groups[:, :-1]], axis=1)
    followed = (risk >= k) & shown[:, None]
    steps = (groups > before) & followed
    repeated = concatenate([steps] * (curves.survival.shape[0] // len(shown)), axis=0)
    height = curves.survival[:, places].exact_round(CURVE_DECIMALS)
    error = root(curves.variance[:, places]).exact_round(ERROR_DECIMALS)
    return {
        "step": steps,
        "followed": followed.to_int().sum(1),
        "height": masked(repeated, height),
        "error": masked(repeated, error),
    }


def _smallest(counts: SecretInt) -> SecretInt:
    """The smallest view that leaves a receiving hospital out; the total where no hospital receives."""
    if counts.shape[0] == 1:
        return counts[0]
    least = counts[1]
    for view in range(2, counts.shape[0]):
        least = minimum(least, counts[view])
    return least


def _means(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    counts: Counts,
    curves: Curves,
    enough: SecretBits,
    overlap: SecretBits,
    finished: SecretBits,
) -> Outputs:
    """Restricted means, standard errors and medians; states SHOWN, FEW, NO_OVERLAP or SHORT by arm."""
    tau = parameters.restricted_at
    late = (counts.at_risk.sum(2)[:, :, tau] >= policy.minimum_cell).all(axis=0) & finished
    few, lacks, short = ~enough, enough & ~overlap, enough & overlap & ~late
    state = few.to_int() + lacks.to_int() * 2 + short.to_int() * 3
    sets = curves.survival.shape[0] // len(enough)
    shown = concatenate([enough & overlap & late] * sets, axis=0)
    places = mean_decimals(tau)
    medians = _medians(parameters, curves)
    known = concatenate([enough & overlap] * sets, axis=0)
    return {
        "state": state,
        "mean": masked(shown, (curves.means.mean * tau).exact_round(places)),
        "mean_error": masked(shown, (root(curves.means.variance) * tau).exact_round(places + 1)),
        "median": masked(concatenate([known[None]] * 3, axis=0), medians),
    }


def mean_decimals(tau: int) -> int:
    """Decimals of a released restricted mean: four significant digits of tau; its standard error has one more."""
    return max(0, 3 - math.floor(math.log10(tau)))


def median_step(horizon: int) -> int:
    """Released medians are multiples of this: 1, 2 or 5 times a power of ten, at least 1/150 of the horizon."""
    least = horizon / 150
    power = int(10 ** max(0, math.floor(math.log10(max(least, 1)))))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= min(least, 10 * power))


def _medians(parameters: SurvivalParameters, curves: Curves) -> SecretInt:
    """Twice the median, then twice its lower and its upper limit, each (curves,); twice the bins if not reached.

    The estimate is the midpoint of the first time at or below one half and the first time below it (R's rule).
    """
    survival, bins = curves.survival, parameters.bins
    above = concatenate([(survival > 0.5 + FLAT)[None], (survival > 0.5 - FLAT)[None]], axis=0)
    lower, upper = _limits(parameters, curves, survival)
    reached = concatenate([above, (~lower)[None], (~upper)[None]], axis=0)
    firsts = _first_false(reached)
    reaches = firsts < bins
    step = median_step(parameters.horizon)
    end = minimum(firsts[1], parameters.horizon)
    twice = concatenate([(firsts[0] + end)[None], firsts[2:] * 2], axis=0)
    if step > 1:
        twice = floor_divide(twice + step, 2 * step) * (2 * step)
    found = concatenate([reaches[:1], reaches[2:]], axis=0)
    return masked(found, twice - 2 * bins) + 2 * bins


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
    z = float(norm.ppf(0.5 + parameters.confidence / 2))
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
