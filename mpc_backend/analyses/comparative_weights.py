"""Propensity scores and weights on shares: the score is fitted on all hospitals' rows, and nothing of it is opened.

With the log odds eta of a person's score and t = eta for the treated and -eta for the others, the log odds of the arm the
person is in: weight ``iptw`` is 1 / P(own arm) = 1 + e^-t, t cut to the public truncation; ``overlap`` is P(other arm) =
1 / (1 + e^t); ``strata`` is the persons of the score's quintile by those of them in the own arm. Weights are not divided
by their arm's mean or multiplied by its share (stabilised): every number that is released is a ratio within an arm, which
such a factor leaves as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.comparative_parameters import MOST_COLUMNS, STRATA, ComparativeParameters
from mpc_backend.analyses.comparative_tables import COVARIATE_SCALE
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.logistic_newton import COEFFICIENT_SCALE, DESIGN_SCALE, fit_logistic
from mpc_backend.analyses.secret_curves import raw, real
from mpc_backend.operations import concatenate, divide, exp, sigmoid, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.products import matrix_multiplied

ODDS_SCALE = 24
ODDS_BITS = 36
"""Log odds below 2^11: coefficients up to 10 in 24 columns of numbers up to 16 that are estimable together."""
RAW_BITS = 30
"""Weights are below 2^RAW_BITS as integers, so that squares stay below 2^60."""
KEY_BITS, KEY_SCALE = 22, 18
"""Scores are cut into strata by log odds between -8 and 8, to 2^-18."""
TIED = 2
"""Persons of equal covariates have keys no further apart than this: two truncations, each to one of two neighbours."""
MOST_ROWS = 2**20


@dataclass(frozen=True)
class People:
    """All hospitals' rows, one after the other: flags (2, n) of comparator and treated, covariates (n, columns), and the
    rows of each hospital."""

    flags: SecretInt
    covariates: SecretFixed
    sites: dict[str, slice]

    @property
    def valid(self) -> SecretInt:
        """1 in every row that is a person (n,)."""
        return self.flags.sum(0).with_bits(2)


@dataclass(frozen=True)
class Weighted:
    """Weights (2, n) by arm, zero in the other's rows; extreme scores (n,), 0 or 1; whether there is a score and every
    stratum has both arms ()."""

    weights: SecretFixed
    extreme: SecretInt | None
    usable: SecretBits | None


def weight_scale(parameters: ComparativeParameters) -> int:
    """Fractional bits of the weights, public."""
    return RAW_BITS - parameters.weight_bits


def weighted(session: Session, parameters: ComparativeParameters, people: People) -> Weighted:
    """The weights the study asks for.

    Raises:
        InputsRefused: more rows, or more hospitals, than the fit can take.
    """
    rows = people.flags.shape[1]
    if rows > MOST_ROWS:
        raise InputsRefused(f"{rows} rows over all hospitals, padding included; at most {MOST_ROWS}")
    scale = weight_scale(parameters)
    if parameters.weights == "none":
        return Weighted(people.flags.to_fixed(scale).with_bits(scale + 2), None, None)
    design = _design(parameters, people)
    fit = fit_logistic(session, design, people.flags[1])
    session.progress("propensity score fitted", 0.5)
    words = matrix_multiplied(design, fit.coefficients)
    odds = SecretFixed(design.protocol, words, DESIGN_SCALE + COEFFICIENT_SCALE).rescaled(ODDS_SCALE)
    odds = odds.with_bits(ODDS_BITS)
    beyond = _beyond(parameters, odds)
    extreme = beyond.sum(0).with_bits(2)
    if parameters.weights == "strata":
        found, overlap = _by_stratum(people, odds, scale)
        return Weighted(found, extreme, fit.estimable & overlap)
    sign = people.flags[1] - people.flags[0]
    if parameters.weights == "iptw":
        ends = np.array([[-parameters.extreme_odds], [parameters.extreme_odds]])
        odds = odds + ((ends - odds[None]) * beyond).sum(0).with_bits(ODDS_BITS)
        own = (odds * sign).with_bits(ODDS_SCALE + 5)
        row = exp(-own, scale) + 1.0
    else:
        row = sigmoid(-(odds * sign).with_bits(ODDS_BITS), scale)
    flags = people.flags.with_bits(2)
    return Weighted((row[None] * flags).with_bits(RAW_BITS + 1), extreme, fit.estimable)


def _design(parameters: ComparativeParameters, people: People) -> SecretFixed:
    """Constant, the score's covariates, and a column for every hospital but the first (n, columns)."""
    valid = people.valid
    columns = [valid.to_fixed(COVARIATE_SCALE)[:, None]]
    columns.append(people.covariates[:, np.array(parameters.score_places, dtype=np.int64)])
    if parameters.hospital:
        for rows in list(people.sites.values())[1:]:
            here = np.zeros(valid.shape[0], dtype=np.int64)
            here[rows] = 1
            columns.append((valid * here).to_fixed(COVARIATE_SCALE)[:, None])
    design = concatenate([each.with_bits(COVARIATE_SCALE + 6) for each in columns], axis=1)
    if design.shape[1] > MOST_COLUMNS:
        raise InputsRefused(
            f"a score of {design.shape[1]} columns, constant and {len(people.sites)} hospitals included; at most "
            f"{MOST_COLUMNS}: name fewer covariates, or say hospital: false"
        )
    return design


def _beyond(parameters: ComparativeParameters, odds: SecretFixed) -> SecretInt:
    """Whether a score lies below, or above, what counts as extreme (2, n)."""
    limit = parameters.extreme_odds
    return (stack([odds + limit, limit - odds]) < 0).to_int()


def _by_stratum(people: People, odds: SecretFixed, scale: int) -> tuple[SecretFixed, SecretBits]:
    """Weights (2, n) by quintile of the score, and whether every quintile has both arms ()."""
    above = above_cuts(people, odds)
    levels = concatenate([above[:1] * 0 + 1, above, above[:1] * 0])
    hot = (levels[:-1] - levels[1:]).with_bits(2)
    both = (people.flags[:, None] * hot[None]).with_bits(2)
    counts = both.sum(2).with_bits(22)
    persons = counts.sum(0)[None].broadcast_to(counts.shape).with_bits(22)
    # A weight of 2^10 or more would leave the declared range; its stratum has no overlap.
    overlap = ((counts * (1 << (RAW_BITS - scale)) - persons).with_bits(34) > 0).all()
    ratio = divide(persons, counts, scale, quotient_bits=RAW_BITS - scale).with_bits(RAW_BITS + 1)
    rows = [(both[arm].T @ raw(ratio[arm])).with_bits(RAW_BITS + 1) for arm in (0, 1)]
    found = stack([real(each, scale) for each in rows])
    return found, overlap


def above_cuts(people: People, odds: SecretFixed) -> SecretInt:
    """Whether a row's score reaches each cut between quintiles (4, n), 0 or 1.

    Cut j is the greatest key c with at most j fifths of the persons below c, found bit by bit for all cuts at once; rows that
    are no persons have a key above all others. Who has the score of the cut reaches it, whichever way it was truncated.
    """
    key = raw((odds + 8.0).rescaled(KEY_SCALE)).with_bits(KEY_SCALE + 13)
    outside = (stack([key, ((1 << KEY_BITS) - 1) - key]) < 0).to_int()
    ends = np.array([[0], [(1 << KEY_BITS) - 1]])
    key = (key + ((ends - key[None]) * outside).sum(0)).with_bits(KEY_BITS + 2)
    valid = people.valid
    key = (key + (1 - valid) * (1 << KEY_BITS)).with_bits(KEY_BITS + 3)
    share = np.arange(1, STRATA)
    limit = valid.sum(0).reshape(1) * share
    cuts = limit * 0
    for bit in reversed(range(KEY_BITS)):
        tried = (cuts + (1 << bit)).with_bits(KEY_BITS + 3)
        below = (key[None] - tried[:, None]).with_bits(KEY_BITS + 4) < 0
        fits = ((below.sum(1) * STRATA - limit).with_bits(25) <= 0).to_int()
        cuts = cuts + fits * (1 << bit)
    reached = (key[None] - (cuts - TIED)[:, None]).with_bits(KEY_BITS + 4) >= 0
    found: SecretInt = reached.to_int()
    return found
