"""Whether one person carries a weighted number, on shares.

An effective size of k still lets one person weigh a third of an arm, and a failure of such a person be the estimate. With
equal weights "k persons, k of them at tau, k failures" are rules of counts; here they are of weights: while a person is at
risk, up to tau, nobody weighs more than a k-th of all at risk, and no failure more than a k-th of the failures before tau.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.disclosure import views
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretInt

WEIGHED_BITS = 52
"""2^20 weights below 2^30, less some ten thousand times one of them, as signed integers."""


@dataclass(frozen=True)
class WeightedEndpoint:
    """One outcome: weights of who fails (2, n), zero for others; one-hot times (rows, bins) and, by hospital, sums of weights
    by time (2, bins), of all who leave then and of those who fail."""

    failing: SecretInt
    times: Mapping[str, SecretInt]
    exits: Mapping[str, SecretInt]
    failures: Mapping[str, SecretInt]


@dataclass(frozen=True)
class Even:
    """By arm (2,): nobody weighs too much ``at_start``; for each outcome, nobody does while at risk, and no failure does."""

    at_start: SecretBits
    outcomes: Sequence[SecretBits]


def judge(
    released: Released, weights: SecretInt, sites: Mapping[str, slice], endpoints: Sequence[WeightedEndpoint]
) -> Even:
    """``weights`` (2, n) by arm, zero in the other arm's rows.

    In total, and of the persons outside each hospital that receives the result, who could subtract its own.
    """
    k = released.policy.minimum_cell
    counted = [list(sites), *([site for site in sites if site != own] for own in released.receiving_sites)]
    whole = views(released, {site: weights[:, rows].sum(1) for site, rows in sites.items()})
    spare = [_against(whole, weights, sites, counted, k)]
    for endpoint in endpoints:
        left = views(released, endpoint.exits)
        at_risk = left[..., ::-1].cumsum(2)[..., ::-1]
        early = views(released, endpoint.failures)[..., :-1].sum(2)
        spare += [
            _at_exit(at_risk, weights, sites, endpoint.times, counted, k),
            _against(early, endpoint.failing, sites, counted, k),
        ]
    held = (stack(spare).with_bits(WEIGHED_BITS) >= 0).all(axis=2)
    return Even(held[0], [held[place] & held[place + 1] for place in range(1, len(spare), 2)])


def _against(
    whole: SecretInt,
    weights: SecretInt,
    sites: Mapping[str, slice],
    counted: Sequence[Sequence[str]],
    k: int,
) -> SecretInt:
    """Sums (views, 2) less k times each person's weight, for all persons of each view: (2, persons of all views)."""
    parts = []
    for view, names in enumerate(counted):
        mine = _rows(weights, sites, names)
        parts.append(whole[view][:, None].broadcast_to(mine.shape) - mine * k)
    return concatenate(parts, axis=1)


def _at_exit(
    at_risk: SecretInt,
    weights: SecretInt,
    sites: Mapping[str, slice],
    times: Mapping[str, SecretInt],
    counted: Sequence[Sequence[str]],
    k: int,
) -> SecretInt:
    """The same of what is at risk (views, 2, bins) when a person leaves, or at tau: the least that person is part of."""
    bins = at_risk.shape[2]
    by_site = {site: at_risk.reshape(-1, bins) @ hot.T for site, hot in times.items()}
    parts = []
    for view, names in enumerate(counted):
        then = concatenate([by_site[site][2 * view : 2 * view + 2] for site in names], axis=1)
        parts.append(then - _rows(weights, sites, names) * k)
    return concatenate(parts, axis=1)


def _rows(weights: SecretInt, sites: Mapping[str, slice], names: Sequence[str]) -> SecretInt:
    return concatenate([weights[:, sites[name]] for name in names], axis=1)
