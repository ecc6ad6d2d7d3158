"""What may be told of each treatment of a ranking, and in which words it is withheld: all comparisons, in the same rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.ranking_balance import Levels, Verdicts, judged
from mpc_backend.analyses.ranking_earlier import Earlier, Test, too_close, withheld
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import FEW_FAILURES, LEAST_INFORMATION
from mpc_backend.analyses.ranking_scales import (
    COARSE_DIGITS,
    NUMBER_BITS,
    RISK_VARIANCE,
    SPREAD,
    decimals,
    minimum,
)
from mpc_backend.analyses.ranking_weights import Weighed, uneven
from mpc_backend.analyses.secret_curves import SCALE, Hazards, parts, raw, variance_decimals
from mpc_backend.analyses.significant import thresholds
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretInt

UNFINISHED = 2.0**-16
"""A stratum's curve above this at tau, with nobody left to follow, is unfinished."""
Below = Mapping[str, SecretBits]
"""By the name of each comparison where a number lies below its limit."""


@dataclass(frozen=True)
class Similar:
    """Counts of groups of similar patients: ``everyone`` (groups, treatments, strata); ``followed`` to tau and ``complete``
    to tau or to their event before (groups, outcomes, treatments, strata).

    Views (1 + receiving hospitals, groups, ...), the total and then the total without each hospital that receives the
    answer: ``sizes`` by treatment, ``remaining`` at tau and ``failures`` by outcome and treatment. ``others``: of those
    hospitals' views by stratum, all, those at tau and failures (receiving, 3, groups, outcomes, treatments, strata).
    """

    everyone: SecretInt
    followed: SecretInt
    complete: SecretInt
    sizes: SecretInt
    remaining: SecretInt
    failures: SecretInt
    others: SecretInt


def similar_counts(parameters: RankingParameters, cells: SecretInt, own: SecretInt) -> Similar:
    """From ``cells`` and ``own`` as `ranking_release.released_answer` takes them."""
    tau, bits = parameters.tau, cells.bits
    everyone = cells[..., 2 * tau]
    followed = (everyone - cells[..., tau : 2 * tau].sum(4)).with_bits(bits)
    failed = cells[..., :tau].sum(4).with_bits(bits)
    whole = stack([failed, everyone - followed, everyone], axis=4).with_bits(bits)
    apart = (whole[None] - own).with_bits(bits)
    views = concatenate([whole[None], apart], axis=0).sum(4).with_bits(bits)
    return Similar(
        everyone[:, 0],
        followed,
        (followed + failed).with_bits(bits),
        views[:, :, 0, :, 2],
        (views[..., 2] - views[..., 1]).with_bits(bits),
        views[..., 0],
        stack([apart[..., 2], apart[..., 2] - apart[..., 1], apart[..., 0]], axis=1).with_bits(bits),
    )


@dataclass(frozen=True)
class Evidence:
    """What decides on the treatments: counts and curves, ``numbers`` that are cut to significant digits (numbers,), of these
    ``inverse`` (groups x outcomes x treatments,) one over the effective sizes, what single patients weigh, levels of the
    covariates whose balance is judged, and the requester's earlier answers."""

    groups: Similar
    found: Hazards
    numbers: SecretInt
    inverse: SecretInt
    weights: Weighed
    levels: Levels | None
    earlier: Earlier | None


@dataclass(frozen=True)
class States:
    """``marks`` (7 or 8, groups, outcomes, treatments): too few (also by effective size, which means something only with
    overlap and follow-up), no overlap, too short, uneven, shown; of the shown ones, whether fewer than k fail in some view
    or one failure weighs more than a k-th of them, and whether fewer than ten fail; with earlier answers, whether it is
    withheld for being too close to one. ``below`` (powers, numbers): whether each number is below each threshold of
    significant digits. ``large`` (groups,): whether all similar patients may be told. ``balance``: None where the study names
    no covariates for it."""

    marks: SecretBits
    below: SecretBits
    large: SecretBits
    balance: Verdicts | None


def states(parameters: RankingParameters, released: Released, given: Evidence) -> States:
    """Every view must hold k patients, k of them followed to tau: a hospital that receives the answer could subtract its
    own."""
    k, powers = released.policy.minimum_cell, thresholds(COARSE_DIGITS, _largest(parameters))
    cut = {f"cut {power}": (given.numbers, power) for power in powers}
    before = _numbered(
        "earlier", [] if given.earlier is None else given.earlier.tests(given.groups.sizes[:, 0], k)
    )
    covariates = _numbered("level", [] if given.levels is None else given.levels.tests(given.groups.sizes, k))
    tests = {
        **_of_counts(parameters, released, given),
        **_of_weights(given.weights),
        **cut,
        **before,
        **covariates,
    }
    below = _below(tests)
    marks, large = _marks(below, given.groups.followed.shape), [below["little"]]
    if before:
        near = too_close(*(below[name] for name in before))
        marks, large = concatenate([marks[:4], withheld(marks[4:], near)]), [*large, near[-1:].reshape(1, 1)]
    balance = None
    if covariates:
        far, *rare = (below[name] for name in covariates)
        balance = judged(far, rare, marks[4, :, 0], parameters.balance_levels)
    return States(marks, stack([below[name] for name in cut]), ~concatenate(large).any(axis=0), balance)


def _of_counts(parameters: RankingParameters, released: Released, given: Evidence) -> dict[str, Test]:
    groups, k = given.groups, released.policy.minimum_cell
    curve = raw(given.found.survival[..., parameters.tau - 1])
    return {
        "empty": (groups.everyone, 1),
        "unfollowed": (groups.followed, 1),
        "unfinished": (-curve, -round(UNFINISHED * 2**SCALE)),
        "needless": (groups.everyone.sum(1), 1),
        "thin": (groups.sizes[0], minimum(parameters, released)),
        "few": (groups.sizes, k),
        "late": (groups.remaining, k),
        "few failed": (groups.failures[0], FEW_FAILURES),
        "rare": (groups.failures, k),
        "little": (groups.sizes.sum(2), k),
        "narrow": (given.inverse, SPREAD // LEAST_INFORMATION + 1),
    }


def _of_weights(weights: Weighed) -> dict[str, Test]:
    whole: dict[str, Test] = {"heavy": (weights.whole, 0)}
    if weights.apart is None or weights.others is None:
        return whole
    return {**whole, "heavy apart": (weights.apart, 0), "nobody apart": (weights.others, 1)}


def _marks(below: Below, by_stratum: tuple[int, ...]) -> SecretBits:
    """The first seven marks of `States`; ``by_stratum``: the shape (groups, outcomes, treatments, strata)."""
    shape, late = by_stratum[:3], below["late"]
    views = [below["few"][:, :, None].broadcast_to(late.shape), late, below["rare"]]
    some, lacking = stack(views, axis=1).any(axis=0), _lacking(below, by_stratum)
    lacks, broken = lacking[0], lacking[1]
    kept = ~stack([below["thin"][:, None].broadcast_to(shape), some[1]]) & ~stack([some[0], broken])
    supported, long = kept[0], kept[1]
    enough = supported & ~lacks
    outcome = stack([supported, enough, enough]) & stack([lacks, ~long, long])
    able = outcome[2] & below["narrow"].reshape(shape)
    even = stack([able, ~some[2]]) & ~lacking[2:]
    shown = even[0]
    marked = stack([shown, shown]) & stack([~even[1], below["few failed"]])
    few_left = ~supported ^ outcome[2] ^ able
    marks: SecretBits = stack([few_left, outcome[0], outcome[1], able ^ shown, shown, marked[0], marked[1]])
    return marks


def _lacking(below: Below, by_stratum: tuple[int, ...]) -> SecretBits:
    """Whether a stratum that is needed has nobody on a treatment, whether it has nobody left to follow before its curve came
    down, and whether one patient or one failure weighs too much: (4, groups, outcomes, treatments)."""
    needed = (~below["needless"])[:, None, None].broadcast_to(by_stratum)
    empty = below["empty"][:, None].broadcast_to(by_stratum)
    gaps = stack([empty, below["unfollowed"] & below["unfinished"]]) & stack([needed, needed])
    heavy = uneven(below["heavy"], below.get("heavy apart"), below.get("nobody apart"))
    return concatenate([gaps, heavy]).any(axis=4)


def _largest(parameters: RankingParameters) -> int:
    """The largest whole number that a variance or an inverse effective size is opened as."""
    variance = 2 * parameters.tau**2 * 10 ** variance_decimals(decimals(parameters))
    return int(min(max(SPREAD, variance, RISK_VARIANCE // 4), 2 ** (NUMBER_BITS - 1) - 1))


def _numbered(name: str, tests: list[Test]) -> dict[str, Test]:
    return {f"{name} {number}": test for number, test in enumerate(tests)}


def _below(tests: Mapping[str, Test]) -> Below:
    """x < limit for arrays with their public limits, in the same rounds."""
    bits = max(x.bits for x, _ in tests.values()) + 1
    flat = concatenate([(x - limit).with_bits(bits).ravel() for x, limit in tests.values()])
    return dict(zip(tests, parts(flat < 0, [x for x, _ in tests.values()]), strict=True))
