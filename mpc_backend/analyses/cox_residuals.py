"""What follows from the fitted risk sets on shares: log likelihood, robust middle of the sandwich, and the score test of
proportional hazards.

Robust: Lin and Wei, JASA 84 (1989) 1074; a person's score residual is x - mean over tied means where it dies, minus
w (A x - Q), Q the sum of steps times means up to its exit. Proportional hazards: Grambsch and Therneau, Biometrika 81 (1994)
515, as the score test of b + theta g(t) that R's ``cox.zph`` makes since survival 3, g(t) = 1 - S(t-).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_backend.analyses.cox_fit import CoxFit, CoxSums
from mpc_backend.analyses.cox_risk import HAZARD_SCALE, PLACES, RESULT_SCALE, information
from mpc_backend.analyses.cox_rows import CoxRows, crossed, product, rounded, rounded_product, wide_product
from mpc_backend.analyses.cox_tables import PART_SCALE
from mpc_backend.operations import concatenate, divide, group_by, log, stack
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.products import dotted, multiplied

LOG_SCALE = 30
COARSE_SCALE = 10
"""Of sums of x over deaths where they meet coefficients; what is below joins in a product of its own."""
MEAN_SCALE = 14
"""Of means where they meet steps: |h m| < 2^10, steps at up to 40 places."""
RESIDUAL_HAZARD_SCALE = 24
FINER, FINEST = 10, 44
"""Places of steps times g beyond those of steps, and at most: cutting them errs to one side, and cumulative hazards add up the
errors of all rows, padding too. Hazards below 2^16 keep to 2^60."""
SITE_KEY_BITS = 61


def log_likelihood(rows: CoxRows, sums: CoxSums, fit: CoxFit) -> SecretFixed:
    """The log partial likelihood (): sum of x b over deaths minus the sum of log R."""
    logs = log(fit.sets.risk, LOG_SCALE)
    risks = SecretFixed(logs.protocol, dotted(logs, rows.deaths), LOG_SCALE).rescaled(RESULT_SCALE)
    coarse = sums.event_x.rescaled(COARSE_SCALE)
    rest = sums.event_x - coarse
    own = [
        SecretFixed(logs.protocol, dotted(part, fit.beta), part.scale + fit.beta.scale)
        for part in (coarse, rest)
    ]
    return own[0].rescaled(RESULT_SCALE) + own[1].rescaled(RESULT_SCALE) - risks


def score_residuals(rows: CoxRows, fit: CoxFit) -> SecretFixed:
    """Each row's part of the score (n, p); they sum to the score."""
    sets, scale = fit.sets, rows.step_scale
    coarse = sets.mean.rescaled(MEAN_SCALE)
    steps = product(coarse, sets.step[:, None], scale)
    kept = None if sets.kept is None else product(coarse, sets.kept[:, None], scale)
    passed = rows.cumulative(steps, kept)
    at_risk = multiplied(rows.x, sets.hazard.rescaled(RESIDUAL_HAZARD_SCALE)[:, None])
    whole = RESIDUAL_HAZARD_SCALE + rows.x.scale
    lived = (SecretFixed(passed.protocol, at_risk, whole) - passed.rescaled(whole)).rescaled(PLACES)
    tied, _ = rows.tied_sums(sets.counted)
    died = multiplied(tied, rows.share[:, None])
    own, lost = multiplied(rows.x, rows.event[:, None]), multiplied(lived, sets.weight[:, None])
    fine = PLACES + PART_SCALE
    parts = [(own, rows.x.scale, 1), (died, fine, -1), (lost, PLACES + sets.weight.scale, -1)]
    total = sum(
        (
            sign * SecretFixed(passed.protocol, words, scale).rescaled(fine)
            for words, scale, sign in parts[1:]
        ),
        SecretFixed(passed.protocol, own, rows.x.scale).rescaled(fine),
    )
    return total.rescaled(PLACES)


def robust_middle(rows: CoxRows, fit: CoxFit, shared_ids: bool) -> SecretFixed:
    """B (p, p) of the sandwich I^-1 B I^-1: cross products of the residuals, summed by person where a cluster is given."""
    residuals = score_residuals(rows, fit)
    if rows.cluster is not None:
        residuals = _by_person(rows, residuals, rows.cluster, shared_ids)
    found = crossed(residuals, residuals)
    return found.rescaled(RESULT_SCALE).with_bits(RESULT_SCALE + rows.size_bits + 7)


def _by_person(rows: CoxRows, residuals: SecretFixed, cluster: SecretInt, shared_ids: bool) -> SecretFixed:
    """Residuals summed over the rows of each person (n, p), padded with zeros."""
    key = cluster.with_bits(SITE_KEY_BITS + 1)
    keys: list[SecretInt] = [key]
    if not shared_ids:
        site = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
        keys.append((key * 0 + site).with_bits(12))
    found = group_by(keys, [residuals[:, place] for place in range(residuals.shape[1])])
    return stack([_fixed(total) for total in found.sums], axis=1)


def _fixed(value: object) -> SecretFixed:
    assert isinstance(value, SecretFixed)
    return value


@dataclass(frozen=True)
class TimeTest:
    """Score of theta (p,), and the information between b and theta, and of theta (p, p)."""

    score: SecretFixed
    between: SecretFixed
    own: SecretFixed


def time_test(rows: CoxRows, fit: CoxFit, early: SecretFixed, events: SecretInt) -> TimeTest:
    """For g = ``early`` (n,) at each death, from its mean over deaths: no test notices that, but less cancels."""
    sets, g = fit.sets, early - _mean_at_deaths(rows, early, events)
    fine = min(rows.step_scale + FINER, FINEST)
    once = _weighted(sets.step, sets.kept, g, fine)
    twice = _weighted(once[0], once[1], g, fine)
    steps = stack([once[0], twice[0]], axis=1)
    kept = None if once[1] is None or twice[1] is None else stack([once[1], twice[1]], axis=1)
    hazards = rounded(rows.cumulative(steps, kept), HAZARD_SCALE)
    expected = rounded_product(hazards, sets.weight[:, None], rows.expected_scale)
    factor = (g * rows.event)[:, None]
    counted = rounded_product(sets.counted, factor, PLACES)
    mean = counted if rows.part is not None else rounded_product(sets.mean, factor, PLACES)
    died = crossed(rows.x, g * rows.event)
    fitted = crossed(rows.x, expected[:, 0])
    wide = max(died.scale, fitted.scale)
    score = (died.rescaled(wide) - fitted.rescaled(wide)).rescaled(RESULT_SCALE)
    return TimeTest(
        score,
        information(rows, expected[:, 0], counted, sets.mean),
        information(rows, expected[:, 1], counted, mean),
    )


def _mean_at_deaths(rows: CoxRows, early: SecretFixed, events: SecretInt) -> SecretFixed:
    total = SecretFixed(
        early.protocol, dotted(early, rows.event), PART_SCALE, PART_SCALE + rows.size_bits + 1
    )
    return divide(total, events.with_bits(rows.size_bits + 1), PART_SCALE, quotient_bits=PART_SCALE + 1)


def _weighted(
    step: SecretFixed, kept: SecretFixed | None, factor: SecretFixed, scale: int
) -> tuple[SecretFixed, SecretFixed | None]:
    """Steps, and what is kept of them, times a factor (n,) in [-1, 1], at ``scale``."""
    if kept is None:
        return wide_product(step, factor, scale), None
    n = step.shape[0]
    both = wide_product(concatenate([step, kept]), concatenate([factor, factor]), scale)
    return both[:n], both[n:]
