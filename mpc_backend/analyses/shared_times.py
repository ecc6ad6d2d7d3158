"""Survival statistics of shared rows, whose order and owner do not matter: linked persons, or data published once.

Session first, then values: a time and an event for each row, on an integer grid. The formulae are those of the survival
analysis, where hospitals bring tables of their own; nothing is opened, and nothing is withheld here either.
"""

from __future__ import annotations

import numpy as np

from mpc_backend.analyses.base import Outputs
from mpc_backend.analyses.secret_curves import (
    Hazards,
    curve_variance,
    fractions,
    hazards,
    restricted_means,
    unit,
)
from mpc_backend.analyses.secret_tests import SCORE_SCALE, chi_square
from mpc_backend.operations import concatenate, minimum, prefix_product, stack, sums_by_code
from mpc_backend.operations.categories import MOST_GROUPS, in_ring
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.products import dotted

COUNT_BITS = 29
SHARE_SCALE = 30
MOST_TIME = MOST_GROUPS - 1


def kaplan_meier(session: Session, time: SecretInt, event: SecretInt | SecretBits, horizon: int) -> Outputs:
    """The curve of rows (n,) at times 0 .. horizon: ``at_risk``, ``events``, ``survival``, and ``variance`` (Greenwood).

    Later times are censored at the horizon, which is at most 255. Events come before censorings of the same time.

    Raises:
        ValueError: a horizon out of range, or other lengths.
    """
    curves = _curves(*_table(time, event, horizon))
    session.progress("curve computed", 1.0)
    return {name: value[0] for name, value in curves.items()}


def survival_by_arm(
    session: Session, time: SecretInt, event: SecretInt | SecretBits, arm: SecretInt, arms: int, horizon: int
) -> Outputs:
    """What `kaplan_meier` says of each arm, (arms, bins), and ``log_rank``, from one count of the rows.

    Arms are coded 0 .. arms - 1; rows of other codes do not count.
    """
    exits, events = _by_arm(time, event, arm, arms, horizon)
    at_risk = _at_risk(exits)
    session.progress("rows counted", 0.6)
    curves, test = _curves(events, at_risk), _tested(events, at_risk)
    session.progress("curves and log-rank test computed", 1.0)
    return {**curves, "log_rank": test["chi2"], "df": test["df"]}


def rmst(session: Session, time: SecretInt, event: SecretInt | SecretBits, tau: int) -> Outputs:
    """Restricted ``mean`` time up to tau <= 255, in units of the grid, and its ``variance``, of rows (n,)."""
    found = _curve(*_table(time, event, tau))
    means = restricted_means(_stratum(found), unit(found.survival[:, :1] * 0 + 1.0), tau)
    session.progress("restricted mean computed", 1.0)
    return {"mean": means.mean[0] * tau, "variance": means.variance[0] * tau**2}


def log_rank(
    session: Session, time: SecretInt, event: SecretInt | SecretBits, arm: SecretInt, arms: int, horizon: int
) -> Outputs:
    """The log-rank test of rows (n,) with arms coded 0 .. arms - 1: ``chi2`` and ``df``, ``score`` (arms,), ``variance``.

    Rows of other codes do not count.
    """
    exits, events = _by_arm(time, event, arm, arms, horizon)
    test = _tested(events, _at_risk(exits))
    session.progress("log-rank test computed", 1.0)
    return test


def _tested(events: SecretInt, at_risk: SecretInt) -> Outputs:
    """The log-rank test of events and persons at risk (arms, bins)."""
    arms = len(events)
    score, variance = log_rank_scores(events[:, None], at_risk[:, None])
    chi2, df = chi_square(score[None], variance.reshape(1, arms * arms), arms)
    return {"chi2": chi2[0], "df": df[0], "score": score, "variance": variance}


def log_rank_scores(events: SecretInt, at_risk: SecretInt, rho: int = 0) -> tuple[SecretFixed, SecretFixed]:
    """Observed minus expected (arms,) and its covariance (arms, arms), summed over strata, of (arms, strata, bins).

    As `mpc_backend.analyses.log_rank_scores`; weights S(t-)^rho of each stratum.
    """
    arms, rows = len(events), (len(events), -1)
    failed, total = events.sum(0).with_bits(COUNT_BITS), at_risk.sum(0).with_bits(COUNT_BITS)
    whole = total[None].broadcast_to(at_risk.shape)
    below = (total - 1 + (total == 0)).with_bits(COUNT_BITS)
    pairs = [(at_risk, whole), ((total - failed).with_bits(COUNT_BITS), below)]
    share, spread, *hazard = fractions([*pairs, *([(failed, total)] if rho else [])])
    # Row by row, the covariance of who fails: d (N - d) / (N - 1) (share on the diagonal - share share').
    weight = (spread * failed).with_bits(SHARE_SCALE + COUNT_BITS).rescaled(SCORE_SCALE)
    if not rho:
        score = events.reshape(rows).sum(1).to_fixed(SCORE_SCALE) - _weighted(share, failed).sum(1)
    else:
        power = _powers(hazard[0], rho)
        weight = (weight * unit(power * power).rescaled(SCORE_SCALE)).with_bits(weight.bits)
        expected = unit(share * power[None]) * failed[None]
        beyond = (power[None] * events - expected).with_bits(SHARE_SCALE + COUNT_BITS)
        score = beyond.reshape(rows).sum(1).rescaled(SCORE_SCALE)
    shared = (share * weight[None]).rescaled(SCORE_SCALE).reshape(rows)
    flat = share.rescaled(SCORE_SCALE).reshape(rows)
    both = SecretFixed(share.protocol, dotted(shared[:, None], flat[None]), 2 * SCORE_SCALE)
    diagonal = shared.sum(1)[:, None] * np.eye(arms, dtype=np.int64)
    return score, diagonal - both.rescaled(SCORE_SCALE)


def _powers(hazard: SecretFixed, power: int) -> SecretFixed:
    """Kaplan-Meier just before each bin (strata, bins), to a whole power >= 1."""
    curve = unit(prefix_product(unit(1.0 - hazard), axis=-1))
    before = concatenate([curve[:, :1] * 0 + 1.0, curve[:, :-1]], axis=1)
    found = before
    for _ in range(power - 1):
        found = unit(found * before)
    return found


def _weighted(share: SecretFixed, failed: SecretInt) -> SecretFixed:
    """Sums over bins of shares (arms, strata, bins) of those who fail (strata, bins): (arms, strata)."""
    words = dotted(share, failed[None].broadcast_to(share.shape))
    return SecretFixed(share.protocol, words, share.scale).rescaled(SCORE_SCALE)


def _table(time: SecretInt, event: SecretInt | SecretBits, horizon: int) -> tuple[SecretInt, SecretInt]:
    """Events and persons at risk at each time, (1, bins) each."""
    exits, events = _counts(time, event, horizon, None)
    return events, _at_risk(exits)


def _at_risk(exits: SecretInt) -> SecretInt:
    """Persons at risk at each time, from exits (groups, bins)."""
    return exits[:, ::-1].cumsum(1)[:, ::-1].with_bits(COUNT_BITS)


def _by_arm(
    time: SecretInt, event: SecretInt | SecretBits, arm: SecretInt, arms: int, horizon: int
) -> tuple[SecretInt, SecretInt]:
    """Exits and events (arms, bins)."""
    return _counts(time, event, horizon, stack([(arm == code).to_int(32) for code in range(arms)]))


def _counts(
    time: SecretInt, event: SecretInt | SecretBits, horizon: int, member: SecretInt | None
) -> tuple[SecretInt, SecretInt]:
    """Exits and events by group and time, (groups, bins) each; one group without ``member`` (groups, n)."""
    if not 1 <= horizon <= MOST_TIME:
        raise ValueError(f"a horizon lies between 1 and {MOST_TIME}, found {horizon}: take a coarser grid")
    failed = event.to_int(32) if isinstance(event, SecretBits) else in_ring(event.with_bits(2), 32)
    held = minimum(time, horizon).with_bits((horizon + 1).bit_length() + 1)
    failed = (failed * (time <= horizon)).with_bits(2)
    if member is None:
        exits, (events,) = sums_by_code(held, horizon + 1, [failed])
        return _whole(exits)[None], _whole(events)[None]
    groups = member.shape[0]
    columns = [
        *(member[group] for group in range(groups)),
        *(member[group] * failed for group in range(groups)),
    ]
    _, sums = sums_by_code(held, horizon + 1, columns)
    found = stack([_whole(each) for each in sums])
    return found[:groups], found[groups:]


def _whole(value: object) -> SecretInt:
    """Counts as they are computed with from here on."""
    assert isinstance(value, SecretInt)
    return value.with_bits(COUNT_BITS).widened(64)


def _curve(events: SecretInt, at_risk: SecretInt) -> Hazards:
    """Hazards (groups, bins)."""
    left = (at_risk - events).with_bits(COUNT_BITS)
    return hazards(*fractions([(events.with_bits(COUNT_BITS), at_risk), (None, left)]))


def _curves(events: SecretInt, at_risk: SecretInt) -> Outputs:
    """Each group's curve with what it is made of, (groups, bins) each."""
    found = _curve(events, at_risk)
    variance = curve_variance(_stratum(found), unit(found.survival[:, :1] * 0 + 1.0))
    return {"at_risk": at_risk, "events": events, "survival": found.survival, "variance": variance}


def _stratum(found: Hazards) -> Hazards:
    """The same with an axis of one stratum before the bins: (groups, 1, bins)."""
    return Hazards(found.survival[:, None], found.hazard[:, None], found.rest[:, None])
