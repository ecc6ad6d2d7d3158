"""Whether covariates are in balance between each two treatments of a ranking, on shares, without a division or a root a pair.

The standardised share of treatment j in a level is p_j = sum_g w_g x_jg / n_jg, over the mix of strata that its mean is
standardised to; with the difference D = p_j - p_l, SMD = D / sqrt V for V = (p_j q_j + p_l q_l) / 2, and the variance of D is
S = s_j + s_l, s_j = sum_g w_g^2 p_g q_g / n_jg, p_g the share among all similar patients of the stratum: of one or two
patients alone p q is often 0 (Austin, Stat. Med. 28, 2009, 3083; Hedges and Olkin 1985, V taken as known).
With B = 0.04 V and T = z^2 S:

- out of balance, |SMD| > 0.2 and its lower limit above 0.1: D^2 > B, L = D^2 - B/4 - T > 0 and L^2 > B T;
- cannot be judged, the upper limit above 0.2 otherwise: M = B + D^2 - T < 0 or 4 D^2 B > M^2.

A level counts only if k of all similar patients have it and k do not, in total and without those of each receiving
hospital. B has 2^-22 added to it, above the errors of what it is compared with: shares that differ by less than a
two-thousandth are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Opened, Outputs
from mpc_backend.analyses.distributions import normal_reach
from mpc_backend.analyses.ranking_contrasts import LARGE, OpenedBalance
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.secret_curves import SCALE, parts, raw, real
from mpc_backend.operations import concatenate, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.products import dotted

REACH = normal_reach(0.95) ** 2
QUARTER = LARGE**2 / 8
"""A quarter of (0.2)^2 V for the sum of both treatments' p q."""
NEGLIGIBLE = 1 << (SCALE - 22)
WHOLE_BITS, SQUARE_BITS = SCALE + 3, 62
PACKED = 60
"""Truth values to one number of a table of answers."""


@dataclass(frozen=True)
class Profile:
    """Similar patients by level of the covariates: ``counts`` (groups, treatments, strata, levels); ``own`` (receiving
    hospitals, groups, levels): on any treatment, at each hospital that receives the answer."""

    counts: SecretInt
    own: SecretInt

    def pooled(self) -> SecretInt:
        """Patients on any treatment: (groups, strata, levels)."""
        return self.counts.sum(1).with_bits(self.counts.bits)

    def views(self) -> SecretInt:
        """Patients on any treatment in total, and without each hospital: (1 + receiving, groups, levels)."""
        whole = self.counts.sum(2).sum(1)[None]
        return concatenate([whole, whole - self.own], axis=0).with_bits(self.counts.bits)


@dataclass(frozen=True)
class Levels:
    """What decides on balance. ``numbers`` (5, groups, pairs, levels), negative where: |SMD| > 0.2; L > 0; L^2 > B T; M < 0;
    4 D^2 B > M^2. ``having`` (1 + receiving, groups, levels): patients on any treatment, as `Profile.views`."""

    numbers: SecretInt
    having: SecretInt

    def tests(self, sizes: SecretInt, k: int) -> list[tuple[SecretInt, int]]:
        """What is to be compared with which limit; ``sizes`` (1 + receiving, groups, treatments) of the same views."""
        lacking = sizes.sum(2)[..., None] - self.having
        return [(self.numbers, 0), (self.having, k), (lacking, k)]


@dataclass(frozen=True)
class Verdicts:
    """By pair of treatments (groups, pairs) whether some covariate is out of balance, and whether none is but some cannot be
    judged; by covariate (groups, covariates) whether it is out of balance between some two. Nothing about a hidden one."""

    imbalanced: SecretBits
    unjudged: SecretBits
    covariates: SecretBits

    def outputs(self) -> Outputs:
        """By the names under which `opened_balance` finds them."""
        return {"imbalanced": self.imbalanced, "unjudged": self.unjudged, "out_of_balance": self.covariates}


def pairs_of(treatments: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the second treatment of each pair (pairs,): 0 with 1, 0 with 2, and so on."""
    first, second = np.triu_indices(treatments, 1)
    return first.astype(np.int64), second.astype(np.int64)


def compared(
    share: SecretFixed, portion: SecretFixed, inverse: SecretFixed, together: SecretFixed
) -> SecretInt:
    """The numbers of `Levels`.

    ``share`` (groups, strata) of the mix; ``portion`` x / n (groups, treatments, strata, levels); ``inverse`` 1 / n (groups,
    treatments, strata); ``together`` x / n of all treatments (groups, strata, levels), all at SCALE. What is wrong about a
    treatment without overlap is masked with it."""
    part, mix, common = raw(portion), raw(share)[:, None], raw(together)
    weighted, square, light = _products([(mix[..., None], part), (common, common), (mix, raw(inverse))])
    weighted, square, light, heavy = _cut([weighted.sum(2), square, light, _times(mix, REACH)])
    spread = (common - square)[:, None]
    first, second = pairs_of(part.shape[1])
    difference = weighted[:, first] - weighted[:, second]
    square, each, weights = _products(
        [(difference, difference), (weighted, weighted), (light, heavy)],
    )
    square, each, weights = _cut([square, each, weights])
    (errors,) = _products([(weights[..., None], spread)])
    errors, quarters = _cut([errors.sum(2), _times(weighted - each, QUARTER)])
    reach = errors[:, first] + errors[:, second]
    quarter = quarters[:, first] + quarters[:, second] + NEGLIGIBLE // 4
    limit = quarter * 4
    lower, middle = square - quarter - reach, limit + square - reach
    # Two products each along the last axis: L^2 - B T, and 4 D^2 B - M^2.
    left = stack([stack([lower, limit], axis=3), stack([square * 4, -middle], axis=3)])
    right = stack([stack([lower, -reach], axis=3), stack([limit, middle], axis=3)])
    products = SecretInt(left.protocol, dotted(left, right), SQUARE_BITS)
    small = stack([limit - square, -lower, -products[0], middle, -products[1]])
    found: SecretInt = small.with_bits(SQUARE_BITS)
    return found


def _products(pairs: Sequence[tuple[SecretInt, SecretInt]]) -> list[SecretInt]:
    """Products of numbers at SCALE, broadcast within each pair, all in one round; at twice SCALE."""
    shapes = [np.broadcast_shapes(left.shape, right.shape) for left, right in pairs]
    lefts, rights = (
        [pair[side].broadcast_to(shape) for pair, shape in zip(pairs, shapes, strict=True)] for side in (0, 1)
    )
    flat = concatenate([each.ravel() for each in lefts]) * concatenate([each.ravel() for each in rights])
    return parts(flat.with_bits(2 * SCALE + 2), lefts)


def _times(numbers: SecretInt, factor: float) -> SecretInt:
    """Numbers at SCALE times a public one, at twice SCALE."""
    product: SecretInt = numbers * round(factor * 2**SCALE)
    return product.with_bits(2 * SCALE + 3)


def _cut(products: Sequence[SecretInt]) -> list[SecretInt]:
    """Numbers at twice SCALE, cut to SCALE in the same rounds."""
    flat = concatenate([each.with_bits(2 * SCALE + 3).ravel() for each in products])
    return parts(raw(real(flat, 2 * SCALE).rescaled(SCALE)).with_bits(WHOLE_BITS), products)


def judged(
    below: SecretBits, rare: Sequence[SecretBits], shown: SecretBits, widths: Sequence[int]
) -> Verdicts:
    """The verdicts. ``below`` (5, groups, pairs, levels): which of the numbers of `Levels` are negative; ``rare``: where fewer
    than k patients of a view (views, groups, levels) have a level, and where fewer than k lack it; ``shown`` (groups,
    treatments); ``widths``: levels of each covariate."""
    first, second = pairs_of(shown.shape[1])
    common = ~concatenate(list(rare)).any(axis=0)
    seen = (shown[:, first] & shown[:, second])[:, :, None].broadcast_to(below.shape[1:])
    both = _and(
        (below[0], below[1]), (~below[3], ~below[4]), (seen, common[:, None].broadcast_to(seen.shape))
    )
    beyond, near, here = both[0], both[1], both[2]
    far = _and((beyond, below[2]), (~near, here))
    found = stack([far[0] & here, far[1]])[..., _by_covariate(widths)].any(axis=4)
    pairs = found.any(axis=3)
    covariates = found[0].to_int(32).sum(1)
    return Verdicts(pairs[0], pairs[1] & ~pairs[0], covariates != 0)


def _and(*pairs: tuple[SecretBits, SecretBits]) -> SecretBits:
    """Both of each pair, in one round."""
    return stack([left for left, _ in pairs]) & stack([right for _, right in pairs])


def _by_covariate(widths: Sequence[int]) -> NDArray[np.int64]:
    """The places of each covariate's levels (covariates, most levels); the last stands again where there are fewer."""
    places = np.minimum(np.arange(max(widths)), np.array(widths)[:, None] - 1)
    return np.asarray(places + (np.cumsum(widths) - np.array(widths))[:, None])


def packed(flags: SecretInt) -> SecretInt:
    """Truth values as numbers (rows, flags), `PACKED` of them to one number of a table (rows, numbers); free."""
    count = flags.shape[1]
    columns = [
        (flags[:, start : start + PACKED] * (1 << np.arange(min(PACKED, count - start)))).sum(1)
        for start in range(0, count, PACKED)
    ]
    return stack(columns, axis=1).with_bits(PACKED + 2)


def packed_width(count: int) -> int:
    """Numbers that so many truth values take."""
    return -(-count // PACKED)


def opened_balance(parameters: RankingParameters, opened: Opened) -> OpenedBalance | None:
    """The verdicts as they are opened, or packed from a table of answers; in the clear."""
    if not parameters.balance:
        return None
    names = ("imbalanced", "unjudged", "out_of_balance")
    sizes = (parameters.pairs_count, parameters.pairs_count, len(parameters.balance))
    if parameters.cells is None:
        return OpenedBalance(*(np.asarray(opened[name], dtype=bool) for name in names))
    return OpenedBalance(*(_unpacked(opened[name], size) for name, size in zip(names, sizes, strict=True)))


def _unpacked(numbers: NDArray[np.generic], count: int) -> NDArray[np.bool_]:
    """The truth values (count,) of `packed` numbers."""
    bits = np.asarray(numbers, dtype=np.int64)[:, None] >> np.arange(PACKED) & 1
    return np.asarray(bits.ravel()[:count] == 1)
