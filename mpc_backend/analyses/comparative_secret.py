"""What a comparison of two treatments may open under thresholds, computed on shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.comparative_balance import Moments, balance
from mpc_backend.analyses.comparative_even import Even, WeightedEndpoint, judge
from mpc_backend.analyses.comparative_parameters import ComparativeParameters
from mpc_backend.analyses.comparative_weights import People, Weighted, weight_scale, weighted
from mpc_backend.analyses.curve_display import SMALLEST_ROUNDING
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, VARIANCE_DIGITS, times_worth
from mpc_backend.analyses.disclosure import (
    all_of,
    at_least,
    masked,
    release_chain,
    rounded,
    runs,
    sum_of,
    total,
    views,
)
from mpc_backend.analyses.secret_curves import (
    mean_decimals,
    raw,
    real,
    rounded_numbers,
    unit,
    variance_decimals,
)
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.analyses.weighted_secret import (
    PERSON_BITS,
    SIZE_PLACES,
    SecretEstimates,
    SecretTables,
    effective_size,
    estimates,
    inverse_size,
    sums_by_time,
)
from mpc_backend.operations import concatenate, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, UNUSABLE, FEW, THIN, SHORT, RARE, UNEVEN = 0, 1, 2, 3, 4, 5, 6
MEAN_DIGITS = 3
"""Significant digits of the variance of a restricted mean."""


@dataclass(frozen=True)
class Endpoint:
    """One outcome's columns over all rows: ``failed`` (n,), and one-hot times (rows, bins) by hospital."""

    failed: SecretInt
    times: Mapping[str, SecretInt]


@dataclass(frozen=True)
class Shared:
    """Everything the hospitals shared: rows, endpoints, and the summaries by hospital, counts (2,) or (2, k)."""

    people: People
    endpoints: list[Endpoint]
    counts: Mapping[str, Mapping[str, SecretInt]]
    moments: Moments


@dataclass(frozen=True)
class Sums:
    """Weights and squares by arm: (2, n), zero in the other arm's rows, as integers behind `scale` and 2 scale - 24."""

    weights: SecretInt
    squares: SecretInt
    scale: int


def squared(parameters: ComparativeParameters, found: Weighted) -> Sums:
    """The weights with their squares, which are cut to 36 bits."""
    scale = weight_scale(parameters)
    both = raw(found.weights)
    square = real(both * both, 2 * scale).rescaled(2 * scale - 24)
    return Sums(both, raw(square), scale)


@dataclass(frozen=True)
class _Weighted:
    """One outcome under the weights: what its curve is made of, and what may show that one person carries it."""

    tables: SecretTables
    judged: WeightedEndpoint


def _weighted(sums: Sums, endpoint: Endpoint, sites: Mapping[str, slice]) -> _Weighted:
    """Sums by time, by hospital and over all: four rows of weights by the times, and the same of the failures."""
    rows = concatenate([sums.weights, sums.squares])
    failing = rows * endpoint.failed
    both = concatenate([rows, failing])
    by_site = {site: sums_by_time(both[:, where], endpoint.times[site]) for site, where in sites.items()}
    found = sum_of(list(by_site.values()))
    return _Weighted(
        SecretTables(found[0:2], found[4:6], found[2:4], found[6:8]),
        WeightedEndpoint(
            failing[0:2],
            endpoint.times,
            {site: each[0:2] for site, each in by_site.items()},
            {site: each[4:6] for site, each in by_site.items()},
        ),
    )


def exact_outputs(session: Session, parameters: ComparativeParameters, shared: Shared) -> Outputs:
    """Full tables: for synthetic data and tests."""
    found = weighted(session, parameters, shared.people)
    sums = squared(parameters, found)
    outputs: Outputs = {}
    for place, endpoint in enumerate(shared.endpoints):
        tables = _weighted(sums, endpoint, shared.people.sites).tables
        outputs[f"exits{place}"] = real(tables.exits, sums.scale)
        outputs[f"events{place}"] = real(tables.events, sums.scale)
        outputs[f"exit_squares{place}"] = real(tables.exit_squares, 2 * sums.scale - 24)
        outputs[f"event_squares{place}"] = real(tables.event_squares, 2 * sums.scale - 24)
    for name in ("persons", "events", "at_risk"):
        outputs[name] = total(shared.counts[name])
    moments = balance(found.weights, shared.people.covariates, shared.moments)
    outputs |= {"before": moments.before, "after": moments.after, "varies": moments.varies}
    if found.extreme is not None and found.usable is not None:
        outputs["usable"] = found.usable.reshape(1)
        outputs["extreme"] = (shared.people.flags * found.extreme[None]).sum(1)
    return outputs


def released_outputs(
    session: Session, parameters: ComparativeParameters, released: Released, shared: Shared
) -> Outputs:
    """Every output under thresholds; what is hidden opens to zero."""
    found = weighted(session, parameters, shared.people)
    sums = squared(parameters, found)
    sizes = _sizes(released, shared, sums)
    outcomes = [_weighted(sums, endpoint, shared.people.sites) for endpoint in shared.endpoints]
    session.progress("weights and effective sizes", 0.7)
    even = _even(parameters, released, shared, sums, outcomes)
    arms = _arms(released, shared, found, sizes, even)
    outputs = _sizes_shown(released, shared, found, sizes, arms)
    for place, outcome in enumerate(outcomes):
        numbers = estimates(outcome.tables, inverse_size(sizes[0]))
        persons = outputs["count_value"]
        assert isinstance(persons, SecretInt)
        shown = _numbers(parameters, released, shared, place, numbers, arms, persons[0, :, 0])
        outputs |= {f"{name}{place}": value for name, value in shown.items()}
    session.progress("curves", 0.9)
    return outputs | _balance_shown(parameters, released, shared, found, arms)


@dataclass(frozen=True)
class _Arms:
    """By arm (2,): k persons; and a usable score, a usable score with k persons, with an effective size of k as well, and with
    nobody who weighs too much. ``even``: for each outcome, whether nobody does while at risk, and no failure does."""

    large: SecretBits
    usable: SecretBits
    enough: SecretBits
    thick: SecretBits
    supported: SecretBits
    even: Sequence[SecretBits]


def _even(
    parameters: ComparativeParameters,
    released: Released,
    shared: Shared,
    sums: Sums,
    outcomes: Sequence[_Weighted],
) -> Even:
    """Without weights it is what the counts say already."""
    if parameters.weights == "none":
        always = shared.people.flags[:, 0] >= 0
        return Even(always, [always] * len(outcomes))
    return judge(released, sums.weights, shared.people.sites, [each.judged for each in outcomes])


def _sizes(released: Released, shared: Shared, sums: Sums) -> SecretFixed:
    """Effective sizes by arm in every view (views, 2)."""
    sites = shared.people.sites
    weights = views(released, {site: sums.weights[:, rows].sum(1) for site, rows in sites.items()})
    squares = views(released, {site: sums.squares[:, rows].sum(1) for site, rows in sites.items()})
    persons = views(released, shared.counts["persons"]).with_bits(PERSON_BITS)
    return effective_size(weights, squares, persons, sums.scale)


def _arms(released: Released, shared: Shared, found: Weighted, sizes: SecretFixed, even: Even) -> _Arms:
    k = released.policy.minimum_cell
    persons = views(released, shared.counts["persons"]).with_bits(PERSON_BITS)
    least = stack([persons, raw(sizes)]) - np.array([k, k << SIZE_PLACES])[:, None, None]
    large = (least.with_bits(PERSON_BITS + SIZE_PLACES + 1) >= 0).all(axis=1)
    usable = persons[0] >= 0
    if found.usable is not None:
        usable = found.usable.reshape(1).broadcast_to(usable.shape)
    enough = usable & large[0]
    thick = enough & large[1]
    return _Arms(large[0], usable, enough, thick, thick & even.at_start, even.outcomes)


def _sizes_shown(
    released: Released, shared: Shared, found: Weighted, sizes: SecretFixed, arms: _Arms
) -> Outputs:
    """Persons, events before tau, and extreme scores as chains of nested counts by arm; effective sizes, banded."""
    policy = released.policy
    step = max(policy.rounding, SMALLEST_ROUNDING)
    persons = views(released, shared.counts["persons"])
    chains = [views(released, shared.counts["events"])[:, :, place] for place in range(len(shared.endpoints))]
    if found.extreme is not None:
        flagged = shared.people.flags * (found.extreme * arms.usable[:1])[None]
        sites = shared.people.sites
        chains.append(views(released, {site: flagged[:, rows].sum(1) for site, rows in sites.items()}))
    nested = stack([stack([persons, each], axis=2) for each in chains], axis=1).with_bits(29)
    flat = nested.reshape(nested.shape[0], -1, 2)
    states, values = release_chain(flat, policy, step)
    shape = nested.shape[1:]
    banded = rounded(sizes[0].floor().with_bits(PERSON_BITS), step)
    return {
        "count_state": states.reshape(shape),
        "count_value": values.reshape(shape),
        "effective": masked(arms.supported, banded),
    }


def _numbers(
    parameters: ComparativeParameters,
    released: Released,
    shared: Shared,
    place: int,
    numbers: SecretEstimates,
    arms: _Arms,
    persons: SecretInt,
) -> Outputs:
    """Restricted mean and risk with variances by arm (2,), and states SHOWN, UNUSABLE, FEW, THIN, SHORT, RARE or UNEVEN.

    The risk is opened as how many times what a few of the ``persons`` shown (2,) are worth.
    """
    policy, tau = released.policy, parameters.tau
    at_risk = views(released, shared.counts["at_risk"])[:, :, place]
    events = views(released, shared.counts["events"])[:, :, place]
    followed = (at_risk >= policy.minimum_cell).all(axis=0) & numbers.followed
    frequent = at_least(events, policy)
    reached = arms.supported & followed
    whole = reached & frequent
    shown = whole & arms.even[place]
    uneven = (arms.thick ^ arms.supported) ^ (whole ^ shown)
    flags = stack(
        [shown, ~arms.usable, arms.usable & ~arms.enough, arms.enough & ~arms.thick,
         arms.supported & ~followed, reached & ~frequent, uneven]
    ).to_int()  # fmt: skip
    state = flags[1] * UNUSABLE + flags[2] * FEW + flags[3] * THIN + flags[4] * SHORT + flags[5] * RARE
    state = state + flags[6] * UNEVEN
    decimals = mean_decimals(tau)
    factors = tau**2 * 10 ** variance_decimals(decimals), 10 ** variance_decimals(HEIGHT_DECIMALS)
    risks = times_worth(unit(1.0 - numbers.survival), persons)
    mean, mean_variance, risk, risk_variance = rounded_numbers(
        [
            (numbers.mean, tau * 10**decimals),
            (numbers.mean_variance, factors[0]),
            (risks, 1),
            (numbers.survival_variance, factors[1]),
        ]
    )
    spread = [
        rounded_to(each, digits, min(factor, 2**31 - 1))
        for each, digits, factor in zip(
            (mean_variance, risk_variance), (MEAN_DIGITS, VARIANCE_DIGITS), factors, strict=True
        )
    ]
    opened = stack([mean, spread[0], risk, spread[1]]) * flags[:1]
    names = ("mean", "mean_variance", "risk", "risk_variance")
    return {"state": state, **{name: opened[row] for row, name in enumerate(names)}}


def _balance_shown(
    parameters: ComparativeParameters, released: Released, shared: Shared, found: Weighted, arms: _Arms
) -> Outputs:
    """Standardised differences of the covariates before and after weighting, where both arms have k persons and, for a level,
    k with it and k without it, for a number with codes k of each."""
    policy, places = released.policy, list(parameters.level_places)
    moments = balance(found.weights, shared.people.covariates, shared.moments)
    before, after = rounded_numbers([(moments.before, 1000), (moments.after, 1000)])
    shown = moments.varies & arms.large.all().reshape(1).broadcast_to(before.shape)
    if places:
        having = views(released, shared.counts["levels"])
        without = views(released, shared.counts["persons"])[:, :, None] - having
        large = at_least(stack([having, without], axis=1).with_bits(29), policy).all(axis=0).all(axis=0)
        numbers = np.ones(len(parameters.columns), dtype=bool)
        numbers[places] = False
        shown = shown & (large | numbers)
    if any(parameters.codes):
        coded = views(released, shared.counts["codes"]).with_bits(29)
        every = at_least(coded, policy).all(axis=0).reshape(1, -1)
        shown = shown & all_of(every, runs(parameters.codes)).reshape(-1)
    supported = shown & arms.supported.all().reshape(1).broadcast_to(before.shape)
    return {
        "balance_shown": shown,
        "balance_after_shown": supported,
        "before": masked(shown, before),
        "after": masked(supported, after),
    }
