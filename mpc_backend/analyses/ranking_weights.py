"""What one patient weighs in a standardised mean of a ranking, and whether that is too much, on shares.

The rules of `curve_weights`, as k patients and k of them at tau are rules of counts: with S_g a stratum's curve, w_g its share
and n_g its patients at risk, one of them weighs w_g S_g(t-) / n_g(t), and one failure on average w_g (1 - S_g(tau-)) / d_g.
In total that is judged at every time up to tau, and without any division; in a view without the patients of a hospital, at
the start, at tau and of failures, as its counts are.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.analyses.curve_weights import LIGHT, WEIGHED_BITS, WEIGHT_BITS
from mpc_backend.analyses.secret_curves import SCALE, VARIANCE_SCALE, Hazards, raw, real, unit
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

NOTHING = 1 << (SCALE - 20)
"""A stratum with less of the curve than 2^-20 has come down to zero; errors of divisions lie below."""


@dataclass(frozen=True)
class Weighed:
    """Numbers that must not be negative. ``whole`` (groups, outcomes, treatments, strata, tau + 2): by time from 0 to tau,
    then of failures. ``apart`` (receiving hospitals, 3, groups, outcomes, treatments, strata), where there are ``others``,
    patients of other hospitals: at the start, at tau, of failures; both None where no hospital receives the answer.
    """

    whole: SecretInt
    apart: SecretInt | None
    others: SecretInt | None


def weighed(
    k: int,
    found: Hazards,
    share: SecretFixed,
    counts: SecretInt,
    apart: tuple[SecretInt, SecretFixed] | None,
) -> Weighed:
    """``share`` (groups, strata); ``counts`` (groups, outcomes, treatments, strata, tau + 2): at risk just before each time
    from 0 to tau, and failures before tau. ``apart``: of others (receiving, 3, groups, outcomes, treatments, strata) how many
    there are at the start, at tau and of failures, and 1 / n of everybody's (3, ...).
    """
    tau = counts.shape[-1] - 2
    before = concatenate([found.survival[..., :1] * 0 + 1.0, found.survival[..., :tau]], axis=4)
    mix = share.reshape(len(share), 1, 1, -1, 1).broadcast_to(before.shape)
    left = raw(unit(unit(before) * mix))
    # In this order the last two columns are the curve at tau and what it has lost by then.
    masses = concatenate([left, left[..., :1] - left[..., -1:]], axis=4)
    everywhere = masses.sum(3)[:, :, :, None].broadcast_to(masses.shape).with_bits(SCALE + 2)
    whole = everywhere * counts - (masses - NOTHING) * k
    if apart is None:
        return Weighed(whole, None, None)
    others, each = apart
    own = stack([masses[..., place] for place in (0, tau, tau + 1)])
    weight = raw(real(own * raw(each), 2 * SCALE).rescaled(VARIANCE_SCALE).with_bits(WEIGHT_BITS))
    sums = (weight[None].broadcast_to(others.shape) * others).with_bits(WEIGHED_BITS).sum(5)
    spare = sums[..., None].broadcast_to(others.shape) - (weight - LIGHT)[None] * k
    return Weighed(whole, spare, others)


def uneven(whole: SecretBits, apart: SecretBits | None, nobody: SecretBits | None) -> SecretBits:
    """Where one patient of a stratum weighs too much, then where one failure does, (2, groups, outcomes, treatments, strata):
    from where the numbers of `Weighed` are negative, and where there are no others."""
    found = stack([whole[..., :-1].any(axis=4), whole[..., -1]])
    if apart is None or nobody is None:
        return found
    beyond = (apart & ~nobody).any(axis=0)
    return found | stack([beyond[0] | beyond[1], beyond[2]])
