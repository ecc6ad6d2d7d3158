"""What one person weighs in a curve that is mixed from strata, and whether that is too much, on shares.

With equal weights "k persons and k events" is a rule of counts. In a standardised curve the few of an arm in a large stratum
would make it alone; and who adds persons of other arms chooses how large their stratum is. So nobody at risk may weigh more
than a k-th of those at risk, nor an event more than a k-th of all events, in any view, which are those rules of counts where
weights are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.secret_curves import SCALE, VARIANCE_SCALE, Hazards, parts, raw, real, unit
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

WEIGHT_BITS, WEIGHED_BITS = VARIANCE_SCALE + 2, VARIANCE_SCALE + 3
"""Signed widths at VARIANCE_SCALE of what one person weighs, and of what any number of them do: at most one."""
LIGHT = 1 << (VARIANCE_SCALE - 27)
"""What a person weighs is known to within this; k who weigh alike are enough, whatever strata they are in."""


@dataclass(frozen=True)
class Even:
    """Where nobody makes the curve alone, in any view. ``persons`` (arms, bins): nobody at risk weighs too much up to that
    time; ``events`` (arms,): no event does, nor one of those before tau.
    """

    persons: SecretBits
    events: SecretBits


def weights(found: Hazards, share: SecretFixed, each: SecretFixed) -> SecretFixed:
    """w_g S_g(t-) / n_g(t) of one at risk in stratum g: (arms, strata, bins) from hazards, shares (strata,) and 1 / n."""
    before = concatenate([found.survival[..., :1] * 0 + 1.0, found.survival[..., :-1]], axis=2)
    part = unit(unit(before) * share.reshape(1, -1, 1).broadcast_to(before.shape))
    return real(raw(part) * raw(each), 2 * SCALE).rescaled(VARIANCE_SCALE).with_bits(WEIGHT_BITS)


def judge(
    policy: DisclosurePolicy, tau: int, at_risk: SecretInt, events: SecretInt, weight: SecretFixed
) -> Even:
    """Judge weights (arms, strata, bins) by views (views, arms, strata, bins) of persons at risk and of events."""
    everywhere = weight[None].broadcast_to(at_risk.shape)
    weighed = (stack([everywhere, everywhere]) * stack([at_risk, events])).with_bits(WEIGHED_BITS).sum(3)
    persons, failed = weighed[0], weighed[1]
    whole, early = failed.sum(2), failed[..., :tau].sum(2)
    happened = (events[0] > 0).to_int()
    known = real(raw(weight) - LIGHT, VARIANCE_SCALE)
    most = stack([known, known * happened]).with_bits(WEIGHED_BITS) * policy.minimum_cell
    views, arms, bins = persons.shape
    spare = [
        persons.reshape(views, arms, 1, bins).broadcast_to(at_risk.shape) - most[:1],
        whole.reshape(views, arms, 1, 1).broadcast_to(at_risk.shape) - most[1:],
        early.reshape(views, arms, 1, 1).broadcast_to((*at_risk.shape[:3], tau)) - most[1:, ..., :tau],
    ]
    fine = parts(concatenate([each.ravel() for each in spare]) >= 0, spare)
    held = [each.all(axis=2).all(axis=0) for each in fine]
    broken = (~held[0]).to_int(32).cumsum(1)
    return Even(broken == 0, held[1].all(axis=1) & held[2].all(axis=1))
