"""Risk sets of a Cox regression on shares, and the score and information made of them.

With weights w = e^(x b), R the sum of w over a risk set and D that over its tied deaths, the k-th of d deaths (from 0) has
the step h = 1 / (R - k D / d) and the mean m = h (sum of w x over the risk set, tied deaths counted 1 - k / d times). A row's
cumulative hazard A adds the steps up to its exit, of deaths tied with itself 1 - k / d times. Then

    score = sum of x over deaths - X' (w A),     information = X' diag(w A) X - M' M

and both end in a matrix product, whose traffic counts its outputs: nothing costs n p^2 messages.

Bounds, with n rows: |x| < 2^7; e^-10 < w < e^10, because the linear predictor is held there; weights averaging less than 2^7,
so that R < 2^7 n; means lie among the x. The sum of w A is the number of deaths whatever b is: it tells whether a bound that
is assumed and not forced was broken, because a product that wraps breaks that sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpc_backend.analyses.cox_rows import CoxRows, crossed, paired, product, wide_product
from mpc_backend.operations import concatenate, exp, minimum, reciprocal
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.products import matrix_multiplied

PREDICTOR_SCALE = 24
PREDICTOR_BITS = PREDICTOR_SCALE + 16
LARGEST_PREDICTOR = 10.0
WEIGHT_SCALE = 24
WEIGHT_BITS = WEIGHT_SCALE + 16
COARSE_SCALE = 20
"""Of weights where they meet covariates: |w x| < 2^22."""
MEAN_WEIGHT_BITS = 7
HAZARD_SCALE = 26
"""Of cumulative hazards before they meet a weight: w A < 2^12."""
PLACES = 20
"""Fractional bits of means, and of numbers that meet them in sums."""
RESULT_SCALE = 24


@dataclass(frozen=True)
class RiskSets:
    """What coefficients make of the rows: n rows, p covariates.

    ``predictor`` x b before it is held; ``weight`` w; ``risk`` what h is the inverse of; ``step`` deaths times h, and ``kept``
    what of it tied deaths count themselves (None with Breslow's ties: all of it) (n,); ``mean`` m (n, p) and ``counted``
    deaths times m; ``hazard`` A and ``expected`` w A (n,).
    """

    predictor: SecretFixed
    weight: SecretFixed
    risk: SecretFixed
    step: SecretFixed
    kept: SecretFixed | None
    mean: SecretFixed
    counted: SecretFixed
    hazard: SecretFixed
    expected: SecretFixed


def risk_sets(rows: CoxRows, beta: SecretFixed) -> RiskSets:
    """The risk sets at coefficients (p,)."""
    words = matrix_multiplied(rows.x, beta)
    predictor = SecretFixed(beta.protocol, words, rows.x.scale + beta.scale).rescaled(PREDICTOR_SCALE)
    predictor = predictor.with_bits(PREDICTOR_BITS)
    # Both cut downwards, by about a unit of the last place: logarithms of sums of many weights would show it.
    weight = (exp(minimum(predictor, LARGEST_PREDICTOR), WEIGHT_SCALE) + 2.0**-WEIGHT_SCALE).with_bits(
        WEIGHT_BITS
    )
    weighted = product(weight.rescaled(COARSE_SCALE)[:, None], rows.x, rows.sum_scale)
    risk, step, kept, mean, counted = (_breslow if rows.part is None else _efron)(rows, weight, weighted)
    hazard = rows.cumulative(step[:, None], None if kept is None else kept[:, None])[:, 0]
    expected = product(weight, hazard.rescaled(HAZARD_SCALE), rows.expected_scale)
    return RiskSets(predictor, weight, risk, step, kept, mean, counted, hazard, expected)


_Steps = tuple[SecretFixed, SecretFixed, SecretFixed | None, SecretFixed, SecretFixed]


def _breslow(rows: CoxRows, weight: SecretFixed, weighted: SecretFixed) -> _Steps:
    """Each group of tied deaths acts at its last row, with the whole risk set."""
    sums = rows.running(_beside(weight, weighted))
    risk = _risk(rows, sums[:, 0])
    inverse = reciprocal(risk, rows.step_scale)
    mean = product(_at(sums[:, 1:], rows.sum_scale), inverse[:, None], PLACES)
    return risk, inverse * rows.deaths, None, mean, mean * rows.deaths[:, None]


def _efron(rows: CoxRows, weight: SecretFixed, weighted: SecretFixed) -> _Steps:
    """Each death acts at its own row; its risk set ends with the last death tied with it."""
    assert rows.part is not None
    both = _beside(weight, weighted)
    own, later = rows.tied_sums(both)
    sums = rows.running(both) + later
    risk = _risk(rows, sums[:, 0] - product(own[:, 0], rows.part, WEIGHT_SCALE))
    step = reciprocal(risk, rows.step_scale) * rows.deaths
    lost = wide_product(step, rows.part)
    whole, tied = (_at(each[:, 1:], rows.sum_scale) for each in (sums, own))
    mean = paired([step[:, None], -lost[:, None]], [whole, tied], PLACES)
    return risk, step, step - lost, mean, mean


def _beside(weight: SecretFixed, weighted: SecretFixed) -> SecretFixed:
    """w and w x as the columns of one array (n, 1 + p), each at its own scale: sums do not mind."""
    return concatenate([weight[:, None], _at(weighted, weight.scale)], axis=1).with_bits(WEIGHT_BITS + 4)


def _at(values: SecretFixed, scale: int) -> SecretFixed:
    """The same words read at another scale."""
    return SecretFixed(values.protocol, values.shares, scale, values.bits)


def _risk(rows: CoxRows, sums: SecretFixed) -> SecretFixed:
    return _at(sums, WEIGHT_SCALE).with_bits(WEIGHT_SCALE + rows.size_bits + MEAN_WEIGHT_BITS + 1)


def score(rows: CoxRows, event_x: SecretFixed, expected: SecretFixed) -> SecretFixed:
    """Sum of x over deaths (p,) minus X' (w A)."""
    fitted = crossed(rows.x, expected)
    return (event_x.rescaled(fitted.scale) - fitted).rescaled(RESULT_SCALE)


def information(rows: CoxRows, expected: SecretFixed, counted: SecretFixed, mean: SecretFixed) -> SecretFixed:
    """X' diag(w A) X - M' M (p, p); with weights in both, a weighted sum of the deaths' covariance matrices."""
    spread = product(rows.x, expected[:, None], PLACES)
    found = crossed(rows.x, spread) - crossed(counted, mean)
    return found.rescaled(RESULT_SCALE).with_bits(RESULT_SCALE + rows.size_bits + 7)


def consistent_sum(rows: CoxRows, sets: RiskSets, events: SecretInt) -> SecretFixed:
    """The sum of w A minus the number of deaths (): near 0, unless a number left its range."""
    total = sets.expected.sum() - events.to_fixed(sets.expected.scale)
    return total.with_bits(62)
