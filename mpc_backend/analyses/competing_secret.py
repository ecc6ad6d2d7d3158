"""What competing risks may open under thresholds, computed on shares from the full tables (formulae: `aalen_johansen`).

The reasons for which the persons of an arm leave add up to all of them, whose number is shown. What is withheld of one reason
must not follow from what is shown of the others: see `_visible` and `step_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.competing_parameters import CompetingParameters
from mpc_backend.analyses.curve_display import TOTAL_BITS, at_risk_of, table_outputs
from mpc_backend.analyses.curve_display import steps as curve_steps
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, VARIANCE_DIGITS, steps_in_one
from mpc_backend.analyses.disclosure import views
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
from mpc_backend.analyses.suppression import shown_cells
from mpc_backend.operations import concatenate, prefix_product, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, SHORT, RARE = 0, 1, 2, 3
LOST_DIGITS = 3
"""Significant digits of the variance of time lost."""
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
    visible = _visible(parameters, policy, counts)
    outputs = table_outputs(policy, counts.at_risk, reasons, times, horizon, visible.reasons)
    tau = parameters.restricted_at
    persons = counts.at_risk[:, :, 0]
    both = stack([persons, counts.at_risk[:, :, tau]], axis=1)
    enough, followed = ((both >= policy.minimum_cell).all(axis=0)[place] for place in (0, 1))
    shown = outputs["table_value"]
    assert isinstance(shown, SecretInt)
    steps = steps_in_one(shown[:, 0, 0], 1, finest_lost(tau))
    outputs |= _numbers(parameters, released, counts, curves, _Shown(enough, followed, visible, *steps))
    session.progress("display and numbers at tau", 0.8)
    testable = (visible.causes & enough[:, None]).all(axis=0)
    return outputs | released_tests(tables.score, tables.variance, len(parameters.arms), testable)


@dataclass(frozen=True)
class _Visible:
    """What may be shown: of each reason (arms, reasons), and of each cause at tau (arms, causes)."""

    reasons: SecretBits
    at_tau: SecretBits

    @property
    def causes(self) -> SecretBits:
        """Of each cause (arms, causes)."""
        return self.reasons[:, :-1]


@dataclass(frozen=True)
class _Shown:
    """Arms (arms,) with k persons and with k at risk at tau, what may be shown of their causes, and how many steps of their
    heights, and of their times lost, make 1."""

    enough: SecretBits
    followed: SecretBits
    visible: _Visible
    steps_in_one: SecretInt
    lost_steps_in_one: SecretInt


def _visible(parameters: CompetingParameters, policy: DisclosurePolicy, counts: _Counts) -> _Visible:
    """Reasons with k persons in every view, less what would tell the number of those withheld.

    Twice the persons of an arm fall into groups whose numbers add up to all of them: by reason; and by cause before tau, with
    everybody else. A cause is shown at tau if it is shown in both. Persons at risk are shown in any case, so that only those
    who were censored before the horizon, or tau, are unknown if the censored are hidden.
    """
    tau, censored = parameters.restricted_at, counts.exits[:, :, -1:]
    before = counts.events[..., :tau].sum(3)
    rest = counts.at_risk[:, :, :1] - before.sum(2)[:, :, None]
    early = (censored[..., :until].sum(3) for until in (parameters.horizon, tau))
    causes = counts.events.sum(3), before
    groups = concatenate([counts.exits.sum(3), concatenate([before, rest], axis=2)], axis=1)
    unknown = concatenate(
        [concatenate(list(each), axis=2) for each in zip(causes, early, strict=True)], axis=1
    )
    every = np.ones(groups.shape[1:], dtype=bool)
    shown = shown_cells(groups.with_bits(TOTAL_BITS), every, every, policy, unknown.with_bits(TOTAL_BITS))
    whole, at_tau = shown[: len(parameters.arms)], shown[len(parameters.arms) :]
    reasons = concatenate([whole[:, :-1], whole[:, -1:] & at_tau[:, -1:]], axis=1)
    return _Visible(reasons, (whole & at_tau)[:, :-1])


def finest_lost(tau: int) -> int:
    """A unit of the last decimal of time lost, as `step_of` takes it."""
    return int(10 ** (HEIGHT_DECIMALS - mean_decimals(tau)))


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
    shown: _Shown,
) -> Outputs:
    """The display, and risk and time lost (in steps) at tau with states SHOWN, FEW, SHORT or RARE by arm and cause."""
    tau = parameters.restricted_at
    shape = (len(parameters.arms), len(parameters.causes))
    places = [*parameters.display_times, tau]
    variance = _variances(curves, places)
    lost, lost_variance = _times_lost(curves, tau)
    height = concatenate([curves.curve[..., np.array(places)], lost[:, :, None]], axis=2)
    many = [shown.steps_in_one] * len(places) + [(shown.lost_steps_in_one * tau).with_bits(15)]
    factors = 10 ** variance_decimals(HEIGHT_DECIMALS), tau**2 * 10 ** variance_decimals(mean_decimals(tau))
    values, spread, lost_spread = rounded_numbers(
        [
            ((unit(height) * stack(many, axis=1)[:, None]).with_bits(SCALE + 16), 1),
            (variance, factors[0]),
            (lost_variance, factors[1]),
        ]
    )
    most = [min(factor, 2**31 - 1) for factor in factors]
    spread = rounded_to(spread.ravel(), VARIANCE_DIGITS, most[0]).reshape(variance.shape)
    lost_spread = rounded_to(lost_spread.ravel(), LOST_DIGITS, most[1]).reshape(shape)
    wide = stack([shown.enough, shown.enough & shown.followed])[:, :, None].broadcast_to((2, *shape))
    frequent = shown.visible.at_tau
    flags = stack([wide[1] & frequent, ~wide[0], wide[0] & ~wide[1], wide[1] & ~frequent]).to_int()
    numbers = stack([values[..., -2], spread[..., -1], values[..., -1], lost_spread]) * flags[:1]
    names = ("risk", "risk_variance", "lost", "lost_variance")
    state = flags[1] * FEW + flags[2] * SHORT + flags[3] * RARE
    outputs: Outputs = {"state": state, **{name: numbers[place] for place, name in enumerate(names)}}
    heights = values[..., :-2], spread[..., :-1]
    seen = shown.enough[:, None] & shown.visible.causes
    return outputs | _display(released, counts, heights, places[:-1], seen)


def _display(
    released: Released,
    counts: _Counts,
    heights: tuple[SecretInt, SecretInt],
    places: list[int],
    shown: SecretBits,
) -> Outputs:
    """The curves ``shown`` (arms, causes) where they may step (arms x causes, places), and how far each is followed
    (arms x causes,)."""
    flat = (len(counts.events), -1, counts.events.shape[3])
    risk = counts.at_risk[:, :, None].broadcast_to(counts.events.shape).reshape(flat)
    seen, followed = curve_steps(
        released.policy, counts.events.reshape(flat), risk, np.array(places), shown.ravel()
    )
    flags = stack([seen, followed]).to_int()
    masked = stack([each.reshape(flags.shape[1:]) for each in heights]) * flags[:1]
    return {"step": seen, "followed": flags[1].sum(1), "height": masked[0], "height_variance": masked[1]}
