"""Who is similar to the secret patient, tier by tier, and which tier is used: all on shares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.operations import concatenate
from mpc_backend.values import SecretBits, SecretInt, SecretValue

Columns = Mapping[str, SecretValue]


def joined(by_site: Mapping[str, Columns], name: str) -> SecretValue:
    """A column of all hospitals' rows, one hospital after the other."""
    return concatenate([columns[name] for columns in by_site.values()], axis=0)


def similar(parameters: RankingParameters, people: Mapping[str, Columns], patient: Columns) -> SecretBits:
    """Whether each row is similar to the patient under each tier: (rows, tiers)."""
    valid = joined(people, "valid")
    assert isinstance(valid, SecretBits)
    tiers = len(parameters.tiers)
    near = valid.reshape(-1, 1).broadcast_to((len(valid), tiers))
    if parameters.markers or parameters.equal:
        near = near & _close(parameters, people, patient)
    if parameters.age is not None:
        near = near & _same_age(parameters, people, patient)
    return near


def _close(parameters: RankingParameters, people: Mapping[str, Columns], patient: Columns) -> SecretBits:
    """Hamming distance within the tier's limit and its equalities met: (rows, tiers).

    With u = known (1 - 2 q), the distance over known markers is sum known q + m . u. A broken equality costs one more
    than all markers together, so one comparison a tier decides both; one matrix product serves all tiers.
    """
    traits = joined(people, "traits")
    assert isinstance(traits, SecretInt)
    base, wanted = _wanted(parameters, patient)
    parts = traits.reshape(len(traits), -1) @ (wanted.reshape(-1, 1) * _blocks(parameters))
    penalty = len(parameters.markers) + 1
    uses = np.array(
        [[category.variable in tier.equal for tier in parameters.tiers] for category in parameters.equal],
        dtype=np.int64,
    ).reshape(len(parameters.equal), len(parameters.tiers))
    combine = np.concatenate([np.ones((1, len(parameters.tiers)), dtype=np.int64), -penalty * uses])
    distance = parts @ combine + base + penalty * uses.sum(axis=0)
    largest = penalty * (len(parameters.equal) + 1)
    limits = np.array([min(tier.max_distance, penalty - 1) for tier in parameters.tiers])
    close: SecretBits = distance.with_bits(largest.bit_length() + 1) <= limits
    return close


def _wanted(parameters: RankingParameters, patient: Columns) -> tuple[SecretInt, SecretInt]:
    """The number of the patient's known ones (1,), and the vector to multiply traits with (traits,)."""
    ring, parts = parameters.ring, []
    base: SecretInt | None = None
    if parameters.markers:
        marker, known = patient["marker"], patient["marker_known"]
        assert isinstance(marker, SecretBits) and isinstance(known, SecretBits)
        ones = (marker & known).to_int(ring).ravel()
        base = ones.sum(0).reshape(1)
        parts.append(known.to_int(ring).ravel() - ones * 2)
    if parameters.equal:
        level = patient["level"]
        assert isinstance(level, SecretBits)
        parts.append(level.to_int(ring).ravel())
    vector = concatenate(parts, axis=0)
    return (vector[:1] * 0 if base is None else base), vector


def _blocks(parameters: RankingParameters) -> np.ndarray:
    """0/1 (traits, 1 + equality variables): which traits belong to the distance and to each equality."""
    widths = [len(parameters.markers), *(len(category.levels) for category in parameters.equal)]
    return np.repeat(np.eye(len(widths), dtype=np.int64), widths, axis=0)


def _same_age(parameters: RankingParameters, people: Mapping[str, Columns], patient: Columns) -> SecretBits:
    """Age within the tier's caliper, or the patient's age unknown: (rows, tiers)."""
    age, mine, known = joined(people, "age"), patient["age"], patient["age_known"]
    assert isinstance(age, SecretInt) and isinstance(mine, SecretInt) and isinstance(known, SecretBits)
    calipers = np.array(
        [255 if tier.age_within is None else min(tier.age_within, 255) for tier in parameters.tiers]
    )
    shape = (len(age), len(calipers))
    older = (age - mine).reshape(-1, 1).broadcast_to(shape)
    both = concatenate([older, -older], axis=0) <= np.concatenate(
        [np.broadcast_to(calipers, shape), np.broadcast_to(calipers, shape)]
    )
    within = both[: shape[0]] & both[shape[0] :]
    return within | ~known.reshape(1, 1)


def first_supported(enough: SecretBits) -> tuple[SecretBits, SecretBits]:
    """The strictest tier that is supported, one-hot (tiers,), and whether there is none (1,); from (tiers,)."""
    chosen, taken = [enough[:1]], enough[:1]
    for tier in range(1, len(enough)):
        here = enough[tier : tier + 1] & ~taken
        chosen.append(here)
        taken = taken ^ here
    picked = concatenate(chosen, axis=0)
    assert isinstance(picked, SecretBits)
    return picked, ~taken
