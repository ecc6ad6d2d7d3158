"""What a Cox regression may open under thresholds: numbers to significant digits, masked on shares where they are withheld.

Nothing is opened unless k deaths and k persons stand behind the model in every view, and behind each declared level of
each covariate. A model with a smaller level is withheld whole: whether it can be solved, and the coefficients of the
other covariates, depend on whether the level has nobody or somebody, and on whether they died. Numbers of persons and
deaths are not opened at all: beside those of the curves they would tell how many rows lack a covariate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.cox_exact import LARGEST_EXCESS, PREFIX
from mpc_backend.analyses.cox_fit import BETA_SCALE, CoxFit, CoxSums
from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.analyses.cox_residuals import TimeTest
from mpc_backend.analyses.cox_result import LARGEST_ERROR, LARGEST_SHOWN, LARGEST_STEP
from mpc_backend.analyses.cox_risk import LARGEST_PREDICTOR, RESULT_SCALE
from mpc_backend.analyses.disclosure import masked, views
from mpc_backend.analyses.secret_curves import rounded_numbers
from mpc_backend.analyses.secret_tests import CHI2_DECIMALS
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.operations import concatenate, dot, positive_inverse, select, sqrt, stack
from mpc_backend.operations.linear import PositiveInverse
from mpc_backend.values import SecretBits, SecretFixed, SecretInt, SecretValue
from mpc_backend.values.products import matrix_multiplied

SHOWN, FEW, RARE, UNSOLVED = 0, 1, 2, 3
COUNT_BITS = 29
COEF_DECIMALS, COEF_DIGITS = 5, 4
ERROR_DECIMALS, ERROR_DIGITS = 6, 3
INVERSE_SCALE, VARIANCE_SCALE = 30, 40
LARGEST_VARIANCE_BITS = 5
"""Of coefficients per scale: errors beyond `LARGEST_ERROR` are not shown."""
TEST_SCALE = 20


@dataclass(frozen=True)
class Counts:
    """Persons and deaths in every view: in all (views, 2), and by level of covariates with levels (views, 2, levels)."""

    whole: SecretInt
    levels: SecretInt | None


def counts(cox: CoxParameters, released: Released, sites: Mapping[str, Mapping[str, SecretValue]]) -> Counts:
    """From the hospitals' sums."""
    names = ("persons", "events")
    whole = {
        site: stack([_whole(table[name]).reshape(()) for name in names]) for site, table in sites.items()
    }
    if not cox.level_count:
        return Counts(views(released, whole).with_bits(COUNT_BITS), None)
    levels = {
        site: stack([_whole(table[f"level_{name}"]).reshape(-1) for name in names])
        for site, table in sites.items()
    }
    return Counts(*(views(released, each).with_bits(COUNT_BITS) for each in (whole, levels)))


def _whole(value: SecretValue) -> SecretInt:
    assert isinstance(value, SecretInt)
    return value


@dataclass(frozen=True)
class SecretNumbers:
    """Coefficients and errors (p,) per scale; chi-squares (tests,) of Wald, score, LR, and of proportional hazards if asked
    for; and which of these systems could not be inverted."""

    coef: SecretFixed
    step: SecretFixed
    error: SecretFixed
    robust: SecretFixed
    chi2: SecretFixed
    deficient: SecretBits
    ph_deficient: SecretBits | None


def released_outputs(
    cox: CoxParameters,
    released: Released,
    found: Counts,
    sums: CoxSums,
    fit: CoxFit,
    likelihood: SecretFixed,
    middle: SecretFixed,
    time: TimeTest | None,
) -> Outputs:
    """Every output under thresholds; what is hidden opens to zero."""
    numbers = secret_numbers(cox, sums, fit, likelihood, middle, time)
    k = released.policy.minimum_cell
    enough = (found.whole >= k).reshape(-1).all()
    common = enough if found.levels is None else enough & (found.levels >= k).ravel().all()
    shown = common & sound(fit) & ~numbers.deficient
    flags = stack([~enough, enough & ~common, common & ~shown]).to_int()
    terms = _settled(numbers) & shown.reshape(1)
    every = terms.all()
    outputs: Outputs = {
        "state": flags[0] * FEW + flags[1] * RARE + flags[2] * UNSOLVED,
        "settled": terms,
        "tested": every,
    }
    outputs |= _rounded(cox, numbers, terms, every)
    return {PREFIX + name: value for name, value in outputs.items()}


def _rounded(cox: CoxParameters, numbers: SecretNumbers, terms: SecretBits, every: SecretBits) -> Outputs:
    coef, errors, chi2 = rounded_numbers(
        [
            (numbers.coef, 10**COEF_DECIMALS),
            (concatenate([numbers.error, numbers.robust]), 10**ERROR_DECIMALS),
            (numbers.chi2, 10**CHI2_DECIMALS),
        ]
    )
    negative = coef.with_bits(32) < 0
    size = select(negative, -coef, coef).with_bits(32)
    size = rounded_to(size, COEF_DIGITS, int(LARGEST_SHOWN) * 10**COEF_DECIMALS)
    both = concatenate([terms, terms])
    rounded = rounded_to(errors.with_bits(32), ERROR_DIGITS, int(LARGEST_ERROR) * 10**ERROR_DECIMALS)
    tests = every.reshape(1).broadcast_to((3,))
    outputs: Outputs = {}
    if numbers.ph_deficient is not None:
        able = every & ~numbers.ph_deficient
        outputs["ph_tested"] = able
        tests = concatenate([tests, able.reshape(1)])
    return outputs | {
        "coef": masked(terms, select(negative, -size, size)),
        "errors": masked(both, rounded),
        "chi2": masked(tests, chi2),
    }


def sound(fit: CoxFit) -> SecretBits:
    """Whether every number kept its range."""
    beyond = (fit.sets.predictor > LARGEST_PREDICTOR).any()
    far = (stack([fit.excess, -fit.excess]).with_bits(62) > LARGEST_EXCESS).any()
    return ~beyond & ~far


def _settled(numbers: SecretNumbers) -> SecretBits:
    """Which coefficients (p,) are within bounds, no longer move, and have an error worth showing."""
    wide = stack([numbers.coef, -numbers.coef]).with_bits(BETA_SCALE + 12) < LARGEST_SHOWN
    still = stack([numbers.step, -numbers.step]).with_bits(BETA_SCALE + 20) < LARGEST_STEP
    known = numbers.error.with_bits(numbers.error.scale + 12) < LARGEST_ERROR
    return wide.all(axis=0) & still.all(axis=0) & known


def secret_numbers(
    cox: CoxParameters,
    sums: CoxSums,
    fit: CoxFit,
    likelihood: SecretFixed,
    middle: SecretFixed,
    time: TimeTest | None,
) -> SecretNumbers:
    width = fit.information.bits
    null = sums.null_information.rescaled(RESULT_SCALE).with_bits(width)
    inverses = positive_inverse(stack([fit.information, null, middle.with_bits(width)]))
    own, at_zero, robust = (_one(inverses, place) for place in range(3))
    step = own.solve(fit.score, BETA_SCALE)
    coef = fit.beta + step
    covariance = own.matrix(INVERSE_SCALE, LARGEST_VARIANCE_BITS)
    pulled = _pulled(fit.information, coef)
    lr = (likelihood - sums.null_likelihood) * 2
    wald = robust.form(pulled, TEST_SCALE) if cox.cluster is not None else _wald(pulled, coef)
    chi2 = [wald, at_zero.form(sums.null_score, TEST_SCALE), lr.rescaled(TEST_SCALE)]
    deficient = own.deficient | at_zero.deficient | robust.deficient
    ph = None
    if time is not None:
        statistic, ph = _time_statistic(covariance, time, width)
        chi2.append(statistic)
    return SecretNumbers(
        coef, step, own.errors(INVERSE_SCALE), _robust(covariance, middle), stack(chi2), deficient, ph
    )


def _one(inverses: PositiveInverse, place: int) -> PositiveInverse:
    """One of several systems that were inverted together."""
    return PositiveInverse(
        inverses.standard[place], inverses.power[place], inverses.half, inverses.deficient[place]
    )


def _pulled(information: SecretFixed, coef: SecretFixed) -> SecretFixed:
    """I b (p,)."""
    left, right = information.rescaled(16), coef.rescaled(20)
    return SecretFixed(left.protocol, matrix_multiplied(left, right), 36).rescaled(RESULT_SCALE)


def _wald(pulled: SecretFixed, coef: SecretFixed) -> SecretFixed:
    return dot(pulled.rescaled(TEST_SCALE), coef.rescaled(TEST_SCALE))


def _robust(covariance: SecretFixed, middle: SecretFixed) -> SecretFixed:
    """Roots (p,) of the diagonal of I^-1 B I^-1."""
    half = SecretFixed(middle.protocol, matrix_multiplied(covariance, middle), INVERSE_SCALE + middle.scale)
    variance = dot(half.rescaled(INVERSE_SCALE), covariance)
    wide = variance.with_bits(INVERSE_SCALE + LARGEST_VARIANCE_BITS + 3)
    return sqrt(wide, INVERSE_SCALE)


def _time_statistic(covariance: SecretFixed, time: TimeTest, width: int) -> tuple[SecretFixed, SecretBits]:
    """The score test of theta (), with b profiled out, and whether it could not be made."""
    between = SecretFixed(
        covariance.protocol, matrix_multiplied(covariance, time.between), INVERSE_SCALE + RESULT_SCALE
    ).rescaled(TEST_SCALE)
    explained = SecretFixed(
        covariance.protocol, matrix_multiplied(time.between.T, between), RESULT_SCALE + TEST_SCALE
    ).rescaled(RESULT_SCALE)
    inverse = positive_inverse((time.own - explained).with_bits(width))
    return inverse.form(time.score, TEST_SCALE), inverse.deficient
