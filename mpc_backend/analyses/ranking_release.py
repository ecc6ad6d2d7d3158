"""What a ranking may open, from the secret counts of similar patients.

Independent steps share their rounds: all divisions, all comparisons, all roundings are one batch each.
"""

from __future__ import annotations

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.curve_heights import STEP_PERSONS
from mpc_backend.analyses.ranking_balance import Levels, Profile, compared
from mpc_backend.analyses.ranking_earlier import Earlier
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import CLOSE, FEW, NO_OVERLAP, SHORT, UNEVEN
from mpc_backend.analyses.ranking_risks import Risks, means_and_risks
from mpc_backend.analyses.ranking_scales import (
    COARSE_DIGITS,
    NUMBER_BITS,
    RISK_VARIANCE,
    SPREAD,
    TIE,
    band,
    decimals,
)
from mpc_backend.analyses.ranking_states import Evidence, States, similar_counts, states
from mpc_backend.analyses.ranking_weights import weighed
from mpc_backend.analyses.secret_curves import (
    Means,
    fractions,
    hazards,
    parts,
    rounded_numbers,
    unit,
    variance_decimals,
)
from mpc_backend.analyses.significant import significant
from mpc_backend.operations import concatenate, floor_divide, stack
from mpc_backend.values import SecretBits, SecretFixed, SecretInt


def released_outputs(
    parameters: RankingParameters,
    released: Released,
    cells: SecretInt,
    own: SecretInt,
    profile: Profile | None = None,
) -> Outputs:
    """The outputs of `released_answer` where there are no earlier answers."""
    return released_answer(parameters, released, cells, own, profile)[0]


def released_answer(
    parameters: RankingParameters,
    released: Released,
    cells: SecretInt,
    own: SecretInt,
    profile: Profile | None = None,
    earlier: Earlier | None = None,
) -> tuple[Outputs, SecretInt]:
    """States and, for supported treatments only, numbers, for each of several groups of patients: (groups, treatments),
    the total (groups,); everything else opens to zero. Those of the harm outcome are called ``harm_...``,
    those of the negative control ``control_...``. And what they tell: which treatments are shown, and last whether the total
    is, (groups, treatments + 1).

    ``cells`` (groups, outcomes, treatments, strata, 2 tau + 1): events before tau by time, exits before tau by time,
    everybody. ``own`` (receiving hospitals, groups, outcomes, treatments, strata, 3): each one's own patients' events before
    tau, exits before tau, everybody. ``profile``: by level of the covariates whose balance is judged.
    """
    tau, bits = parameters.tau, cells.bits
    events, exits = cells[..., :tau], cells[..., tau : 2 * tau]
    at_risk = (cells[..., 2 * tau :] - (exits.cumsum(4) - exits)).with_bits(bits)
    groups = similar_counts(parameters, cells, own)
    pooled = groups.everyone.sum(1).with_bits(bits)
    of = pooled.sum(1).reshape(-1, 1).broadcast_to(pooled.shape).with_bits(bits)
    rest = (at_risk - events).with_bits(bits)
    failed = (groups.complete - groups.followed)[..., None]
    counts = concatenate([at_risk, groups.followed[..., None], failed], axis=4).with_bits(bits)
    pairs = [(events, at_risk), (None, rest), (pooled, of), (None, groups.complete)]
    if released.receiving_sites:
        pairs.append((None, stack([counts[..., place] for place in (0, tau, tau + 1)])))
    if profile is not None:
        persons = groups.everyone
        pairs += [
            (profile.counts, persons[..., None].broadcast_to(profile.counts.shape)),
            (None, persons),
            (profile.pooled(), pooled[..., None].broadcast_to(profile.counts[:, 0].shape)),
        ]
    hazard, left, share, weight, *more = fractions(pairs)
    each, portions = (more[:1], more[1:]) if released.receiving_sites else ([], more)
    found = hazards(hazard, left)
    means, risks, spread = means_and_risks(found, share, weight, tau)
    apart = (groups.others, each[0]) if each else None
    even = weighed(released.policy.minimum_cell, found, share, counts, apart)
    levels = None if profile is None else Levels(compared(share, *portions), profile.views())
    banded = _banded(released, groups.sizes[0])
    rounded = _rounded(parameters, means, risks, spread, banded[0] + band(released) // 2)
    variance, inverse, risk_variance = rounded[1], rounded[2], rounded[4]
    fine = concatenate([variance, inverse, risk_variance]).with_bits(NUMBER_BITS)
    given = Evidence(groups, found, fine, inverse, even, levels, earlier)
    return _told(parameters, banded, rounded, fine, states(parameters, released, given))


Rounded = tuple[SecretInt, SecretInt, SecretInt, SecretInt, SecretInt]
"""Estimates, their variances, one over effective sizes; of the first outcome risks and their variances. All flat."""


def _banded(released: Released, size: SecretInt) -> tuple[SecretInt, SecretInt]:
    """Lower ends of the bands in which patients are told, by treatment (groups, treatments) and in all (groups,)."""
    people = [size, size.sum(1)]
    flat = floor_divide(concatenate([each.ravel() for each in people]), band(released)) * band(released)
    by_treatment, total = parts(flat, people)
    return by_treatment, total


def _rounded(
    parameters: RankingParameters, means: Means, risks: Risks, spread: SecretFixed, middle: SecretInt
) -> Rounded:
    """``middle`` of the band of patients (groups, treatments)."""
    places, tau = decimals(parameters), parameters.tau
    estimate, variance, inverse, risk, risk_variance = (
        numbers.ravel()
        for numbers in rounded_numbers(
            [
                (means.mean, tau * 10**places),
                (means.variance, tau**2 * 10 ** variance_decimals(places)),
                (spread, SPREAD),
                (unit(risks.risk) * (1.0 / STEP_PERSONS) * middle + TIE, 1),
                (risks.variance, RISK_VARIANCE),
            ]
        )
    )
    return estimate, variance, inverse, risk, risk_variance


def _told(
    parameters: RankingParameters,
    persons: tuple[SecretInt, SecretInt],
    rounded: Rounded,
    fine: SecretInt,
    found: States,
) -> tuple[Outputs, SecretInt]:
    """Outputs and what they tell. ``persons`` in bands, by treatment and in all; ``fine``: the numbers that are cut to
    significant digits."""
    marks = _beside(found.marks)
    flags = concatenate([marks[:6], marks[7:]]).to_int()
    shown, coarse, near = flags[4], flags[5], (flags[6:] * CLOSE).sum(0)
    visible = ((shown[:, 0].sum(1) - shown.shape[2]) != -1) & found.large
    cut, whole = significant(fine, found.below, COARSE_DIGITS), visible.to_int()
    values = _masked(persons, rounded, (fine, cut), (shown, coarse), whole)
    by_outcome: Outputs = {
        "state": flags[0] * FEW + flags[1] * NO_OVERLAP + flags[2] * SHORT + flags[3] * UNEVEN + near,
        "few": marks[6],
        "coarse": marks[5],
        **{name: values.pop(name) for name in ("estimate", "variance", "spread")},
    }
    outputs: Outputs = {
        **{
            f"{begin}{name}": value[:, place]
            for place, begin in enumerate(parameters.outcome_names)
            for name, value in by_outcome.items()
        },
        **values,
        "total_shown": visible,
        **({} if found.balance is None else found.balance.outputs()),
    }
    return outputs, concatenate([shown[:, 0], whole.reshape(-1, 1)], axis=1)


def _masked(
    persons: tuple[SecretInt, SecretInt],
    rounded: Rounded,
    precision: tuple[SecretInt, SecretInt],
    flags: tuple[SecretInt, SecretInt],
    visible: SecretInt,
) -> Outputs:
    """Every number times whether it is told, in one product; ``precision``: the variances and inverse effective sizes as they
    are and cut, ``flags``: whether a treatment is shown, and with few digits (groups, outcomes, treatments)."""
    estimate, variance, inverse, risk, risk_variance = rounded
    (fine, cut), (shown, coarse) = precision, flags
    first, count, people = shown[:, 0], shown.size, [each.ravel() for each in persons]
    few, many, told = coarse.ravel(), (shown - coarse).ravel(), (first - coarse[:, 0]).ravel()
    mask = concatenate([few, few, many, many, shown.ravel(), told, told, first.ravel(), visible])
    numbers = concatenate([cut[: 2 * count], fine[: 2 * count], estimate, risk, cut[2 * count :], *people])
    like = [variance, inverse, variance, inverse, estimate, risk, risk_variance, *persons]
    coarsely, roughly, finely, exactly, means, risks, errors, sizes, total = parts(numbers * mask, like)
    return {
        "estimate": means.reshape(shown.shape),
        "variance": (coarsely + finely).reshape(shown.shape),
        "spread": (roughly + exactly).reshape(shown.shape),
        "risk": risks.reshape(first.shape),
        "risk_variance": errors.reshape(first.shape),
        "size": sizes,
        "total": total,
    }


def _beside(marks: SecretBits) -> SecretBits:
    """Nothing about other outcomes where the treatment itself is not shown: (marks, groups, outcomes, treatments)."""
    if marks.shape[2] == 1:
        return marks
    others = marks[:, :, 1:]
    shown: SecretBits = concatenate(
        [marks[:, :, :1], others & marks[4:5, :, :1].broadcast_to(others.shape)], axis=2
    )
    return shown
