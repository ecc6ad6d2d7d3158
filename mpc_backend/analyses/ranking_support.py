"""Which tiers of similar patients have enough of them, and how counts of several outcomes are laid out; on shares."""

from __future__ import annotations

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_release import minimum
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretInt


def enough(parameters: RankingParameters, released: Released, counts: SecretInt) -> SecretBits:
    """Whether each of several groups of patients (groups,) has at least two supported treatments, from how many there are
    (treatments, places, 2, groups): in all and followed to tau, everywhere and at each hospital that receives the answer.

    Supported: enough similar patients, k of them outside every hospital that receives the answer, and k followed to tau,
    in all and outside those hospitals. A tier whose treatments would be withheld for short follow-up is passed over.
    """
    whole, k = counts[:, 0], released.policy.minimum_cell
    spare = [whole[:, 0] - minimum(parameters, released), whole[:, 1] - k]
    for place in range(1, counts.shape[1]):
        others = whole - counts[:, place] - k
        spare += [others[:, 0], others[:, 1]]
    supported = (stack(spare) >= 0).all(axis=0)
    return supported.to_int(32).sum(0) >= 2


def by_outcome(counts: SecretInt, outcomes: int, axis: int = 0) -> SecretInt:
    """Counts (..., outcomes x n + 1), those of the outcomes one after the other and everybody last, with an axis of
    outcomes (..., n + 1)."""
    size = (counts.shape[-1] - 1) // outcomes
    parts = [
        concatenate([counts[..., at * size : (at + 1) * size], counts[..., -1:]], axis=counts.ndim - 1)
        for at in range(outcomes)
    ]
    return stack(parts, axis=axis)
