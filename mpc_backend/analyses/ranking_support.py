"""Which tiers of similar patients have enough of them, and how counts of several outcomes are laid out; on shares."""

from __future__ import annotations

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import LEAST_INFORMATION
from mpc_backend.analyses.ranking_scales import minimum
from mpc_backend.analyses.secret_curves import parts, raw
from mpc_backend.operations import concatenate, divide, ratio_of_counts, stack
from mpc_backend.operations.divide import WIDEST_COUNT
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

RATIO_SCALE = 16
LEAST_SPREAD = round(2**RATIO_SCALE * (1 / LEAST_INFORMATION + 0.000003))
"""What 1 / effective size may be at most, with room for errors of the ratios it is summed from."""


def enough(
    parameters: RankingParameters,
    released: Released,
    counts: SecretInt,
    everyone: SecretInt,
    complete: SecretInt,
) -> SecretBits:
    """Whether each of several groups of patients (groups,) has at least two supported treatments, from how many there are.

    ``counts`` (treatments, places, 2, groups): in all and followed to tau, everywhere and at each hospital that receives the
    answer. ``everyone`` and ``complete`` (treatments, strata, groups): in all, and followed to tau or to the event.

    Supported: enough similar patients, k of them outside every hospital that receives the answer, and k followed to tau, in
    all and outside those hospitals; an effective number of completely followed ones of at least 20; and in no stratum so few
    of these that one weighs more than a k-th. A tier whose treatments would be withheld for that is passed over.
    """
    whole, k = counts[:, 0], released.policy.minimum_cell
    spare = [whole[:, 0] - minimum(parameters, released), whole[:, 1] - k]
    for place in range(1, counts.shape[1]):
        others = whole - counts[:, place] - k
        spare += [others[:, 0], others[:, 1]]
    heaviest = 1 if released.policy.release == "exact" else k
    represented, effective = _weighed(everyone, complete, heaviest)
    every = [*spare, effective, represented]
    *large, apart = parts(concatenate([each.ravel() for each in every]) >= 0, every)
    supported = stack([*large, apart.all(axis=1)]).all(axis=0)
    return supported.to_int(32).sum(0) >= 2


def _weighed(everyone: SecretInt, complete: SecretInt, k: int) -> tuple[SecretInt, SecretInt]:
    """Not negative where one completely followed patient of a stratum weighs at most a k-th (treatments, strata, groups), and
    where the effective number is large enough (treatments, groups).

    With P_g similar patients in stratum g, P in all and c_g completely followed: k P_g <= P c_g, so that none is empty that
    weighs anything; and sum_g P_g^2 / c_g <= P^2 / 20.
    """
    bits = everyone.bits
    pooled = everyone.sum(0).with_bits(bits)
    every = pooled.sum(0).with_bits(bits)
    mix = pooled[None].broadcast_to(complete.shape)
    ratio = raw(_ratio(mix, complete.with_bits(bits)))
    all_of = every[None, None].broadcast_to(complete.shape)
    found = concatenate([all_of.ravel(), mix.ravel(), every]) * concatenate(
        [complete.ravel(), ratio.ravel(), every]
    )
    held, spread, square = parts(found, [complete, ratio, every])
    return held - mix * k, square[None] * LEAST_SPREAD - spread.sum(1)


def _ratio(above: SecretInt, below: SecretInt) -> SecretFixed:
    """Numbers of persons over numbers of persons at RATIO_SCALE; to 2^-17 of themselves where they are short."""
    if above.bits <= WIDEST_COUNT + 1:
        return ratio_of_counts(above, below, RATIO_SCALE)
    return divide(above, below, RATIO_SCALE, quotient_bits=above.bits)


def by_outcome(counts: SecretInt, outcomes: int, axis: int = 0) -> SecretInt:
    """Counts (..., outcomes x n + 1), those of the outcomes one after the other and everybody last, with an axis of
    outcomes (..., n + 1)."""
    size = (counts.shape[-1] - 1) // outcomes
    found = [
        concatenate([counts[..., at * size : (at + 1) * size], counts[..., -1:]], axis=counts.ndim - 1)
        for at in range(outcomes)
    ]
    return stack(found, axis=axis)
