"""What competing risks may open under thresholds, computed on shares from the full tables (formulae: `aalen_johansen`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.competing_parameters import CompetingParameters
from mpc_backend.analyses.curve_display import CURVE_DECIMALS, TOTAL_BITS, at_risk_of, steps, table_outputs
from mpc_backend.analyses.disclosure import at_least, views
from mpc_backend.analyses.secret_curves import (
    HEIGHT_SCALE,
    SCALE,
    VARIANCE_SCALE,
    fractions,
    mean_decimals,
    raw,
    real,
    rounded_numbers,
    sum_of_products,
    unit,
    variance_decimals,
)
from mpc_backend.analyses.secret_tests import released_tests
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.operations import concatenate, prefix_product, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, SHORT, RARE = 0, 1, 2, 3
RISK_DECIMALS = 4
VARIANCE_DIGITS = 3
"""Significant digits of the variance of a number at tau."""
SUM_SCALE = 34
"""Of sums of variance terms, which stay below 6 wherever k persons are at risk: 6 2^(34 + 24) lies below 2^61."""


@dataclass(frozen=True)
class CompetingTables:
    """Persons who leave (arms, reasons, bins) by hospital; scores (causes, arms), covariances (causes, arms^2) over all."""

    exits: Mapping[str, SecretInt]
    score: SecretFixed
    variance: SecretFixed


@dataclass(frozen=True)
class _Counts:
    """Views: events (views, arms, causes, bins) and at risk (views, arms, bins)."""

    exits: SecretInt
    events: SecretInt
    at_risk: SecretInt


@dataclass(frozen=True)
class _Curves:
    """For each arm and cause (arms, causes, bins), numbers in [0, 1]: ``jump`` of the cumulative incidence ``curve``,
    ``left`` = S(u-) - jump, the hazard of any cause, 1 / n and 1 / (n - d)."""

    jump: SecretFixed
    curve: SecretFixed
    left: SecretFixed
    hazard: SecretFixed
    inverse: SecretFixed
    rest: SecretFixed


def released_outputs(
    session: Session, parameters: CompetingParameters, released: Released, tables: CompetingTables
) -> Outputs:
    """Every output under thresholds; numbers of hidden arms, causes, steps and tests open to zero."""
    policy = released.policy
    counts = _counts(released, tables)
    curves = _curves(counts)
    session.progress("curves computed", 0.5)
    reasons = [counts.exits[:, :, reason] for reason in range(parameters.reasons)]
    times, horizon = parameters.table_times, parameters.horizon
    outputs = table_outputs(policy, counts.at_risk, reasons, times, horizon)
    tau = parameters.restricted_at
    persons = counts.at_risk[:, :, 0]
    both = stack([persons, counts.at_risk[:, :, tau]], axis=1)
    enough, followed = ((both >= policy.minimum_cell).all(axis=0)[place] for place in (0, 1))
    outputs |= _numbers(parameters, released, counts, curves, enough, followed)
    session.progress("display and numbers at tau", 0.8)
    events = counts.events.sum(3).sum(1)
    testable = (events >= policy.minimum_cell).all(axis=0) & enough.all(axis=0).reshape(1)
    return outputs | released_tests(tables.score, tables.variance, len(parameters.arms), testable)


def _counts(released: Released, tables: CompetingTables) -> _Counts:
    exits = views(released, tables.exits).with_bits(TOTAL_BITS)
    return _Counts(exits, exits[:, :, :-1], at_risk_of(exits.sum(2)))


def _curves(counts: _Counts) -> _Curves:
    """All divisions in one batch."""
    events, risk = counts.events[0], counts.at_risk[0]
    gone = events.sum(1)
    everybody = risk[:, None].broadcast_to(events.shape)
    hazard, inverse, rest = fractions(
        [(events, everybody), (None, risk), (None, (risk - gone).with_bits(TOTAL_BITS))]
    )
    total = unit(hazard.sum(1))
    survival = prefix_product(unit(1.0 - total), axis=-1)
    before = unit(concatenate([survival[:, :1] * 0 + 1.0, survival[:, :-1]], axis=1))
    wide = unit(before[:, None].broadcast_to(hazard.shape))
    jump = unit(wide * hazard)
    spread = [each[:, None].broadcast_to(hazard.shape) for each in (total, inverse, rest)]
    return _Curves(jump, unit(jump.cumsum(2)), unit(wide - jump), *spread)


def _variances(curves: _Curves, places: list[int]) -> SecretFixed:
    """Var F_k(t) at some times (arms, causes, places): with G = F(t) - F(u) written out, a polynomial in F(t) whose
    coefficients are running sums, kept whole at 60 bits and cut once."""
    first = unit(
        stack([curves.jump, curves.jump, curves.hazard]) * stack([curves.left, curves.curve, curves.curve])
    )
    second = unit(first[2] * curves.curve)
    terms = raw(stack([first[0], curves.jump, first[1], curves.hazard, first[2], second])) * raw(
        stack([*[curves.inverse] * 3, *[curves.rest] * 3])
    )
    sums = real(terms.cumsum(3)[..., np.array(places)], 2 * SCALE).rescaled(SUM_SCALE)
    height = curves.curve[..., np.array(places)].rescaled(HEIGHT_SCALE).with_bits(HEIGHT_SCALE + 2)
    slope = (sums[1] + sums[4]) * 2 - (sums[3] * height).rescaled(SUM_SCALE)
    return sums[0] + sums[2] * 2 + sums[5] - (slope * height).rescaled(SUM_SCALE)


def _times_lost(curves: _Curves, tau: int) -> tuple[SecretFixed, SecretFixed]:
    """Areas up to tau as shares of tau at SCALE and their variances at VARIANCE_SCALE, both (arms, causes)."""
    until = curves.curve[..., :tau]
    left = (tau - np.arange(tau)) / tau
    behind = unit(until[..., ::-1].cumsum(2)[..., ::-1] * (1.0 / tau))
    area = unit(behind - until * left)
    jump, inverse, rest = curves.jump[..., :tau], curves.inverse[..., :tau], curves.rest[..., :tau]
    pairs = unit(stack([jump, area, area]) * stack([curves.left[..., :tau], jump, curves.hazard[..., :tau]]))
    own = pairs[0] * left**2 - pairs[1] * (2 * left)
    factors = concatenate([own, pairs[2] * area], axis=2).with_bits(SCALE + 3)
    variance = sum_of_products(factors, concatenate([inverse, rest], axis=2), VARIANCE_SCALE)
    return behind[..., 0], variance


def _numbers(
    parameters: CompetingParameters,
    released: Released,
    counts: _Counts,
    curves: _Curves,
    enough: SecretBits,
    followed: SecretBits,
) -> Outputs:
    """The display, and risk and time lost at tau with states SHOWN, FEW, SHORT or RARE by arm and cause."""
    policy, tau = released.policy, parameters.restricted_at
    shape = (len(parameters.arms), len(parameters.causes))
    places = list(parameters.display_times)
    variance = _variances(curves, [*places, tau])
    lost, lost_variance = _times_lost(curves, tau)
    decimals = mean_decimals(tau)
    factors = 10 ** variance_decimals(RISK_DECIMALS), tau**2 * 10 ** variance_decimals(decimals)
    height, height_variance, risk, risk_variance, mean, mean_variance = rounded_numbers(
        [
            (curves.curve[..., np.array(places)], 10**CURVE_DECIMALS),
            (variance[..., :-1], 10 ** variance_decimals(CURVE_DECIMALS)),
            (curves.curve[..., tau], 10**RISK_DECIMALS),
            (variance[..., -1], factors[0]),
            (lost, tau * 10**decimals),
            (lost_variance, factors[1]),
        ]
    )
    most = [min(factor, 2**31 - 1) for factor in factors]
    spread = [
        rounded_to(each.ravel(), VARIANCE_DIGITS, top).reshape(shape)
        for each, top in zip((risk_variance, mean_variance), most, strict=True)
    ]
    frequent = at_least(counts.events[..., :tau].sum(3).with_bits(TOTAL_BITS), policy)
    wide = stack([enough, enough & followed])[:, :, None].broadcast_to((2, *shape))
    flags = stack([wide[1] & frequent, ~wide[0], wide[0] & ~wide[1], wide[1] & ~frequent]).to_int()
    numbers = stack([risk, spread[0], mean, spread[1]]) * flags[:1]
    names = ("risk", "risk_variance", "lost", "lost_variance")
    state = flags[1] * FEW + flags[2] * SHORT + flags[3] * RARE
    outputs: Outputs = {"state": state, **{name: numbers[place] for place, name in enumerate(names)}}
    return outputs | _display(released, counts, (height, height_variance), places, enough)


def _display(
    released: Released,
    counts: _Counts,
    heights: tuple[SecretInt, SecretInt],
    places: list[int],
    enough: SecretBits,
) -> Outputs:
    """The curves where they may step (arms x causes, places), and how far each is followed (arms x causes,)."""
    flat = (len(counts.events), -1, counts.events.shape[3])
    risk = counts.at_risk[:, :, None].broadcast_to(counts.events.shape).reshape(flat)
    shown = enough[:, None].broadcast_to(counts.events.shape[1:3]).ravel()
    seen, followed = steps(released.policy, counts.events.reshape(flat), risk, np.array(places), shown)
    flags = stack([seen, followed]).to_int()
    masked = stack([each.reshape(flags.shape[1:]) for each in heights]) * flags[:1]
    return {"step": seen, "followed": flags[1].sum(1), "height": masked[0], "height_variance": masked[1]}
