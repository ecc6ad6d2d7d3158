"""A Cox regression from its opened sums, in the clear: exact release, and the oracle of the thresholded one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Outputs
from mpc_backend.analyses.cox_fit import CoxFit, CoxSums
from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.analyses.cox_residuals import TimeTest
from mpc_backend.analyses.cox_result import (
    ALIASED,
    CONSTANT,
    LARGEST_ERROR,
    LARGEST_SHOWN,
    LARGEST_STEP,
    NO_EVENTS,
    NOT_ESTIMABLE,
    OUT_OF_RANGE,
    CoxResult,
    CoxTerm,
    CoxTests,
    chi_square,
    estimated,
)
from mpc_backend.analyses.cox_risk import LARGEST_PREDICTOR
from mpc_backend.values import SecretFixed

Floats = NDArray[np.float64]
LEAST_INFORMATION = 1e-4
"""Below this share of a scale squared at zero coefficients, a covariate never differed within a risk set."""
TOLERANCE = 1e-5
"""Of a covariate's information that the covariates before it leave: below, it is a combination of them."""
NO_SPREAD = 3e-3
"""A robust error that is so much smaller than the model's is what fixed point makes of zero."""
LARGEST_EXCESS = 0.25
"""Expected minus observed deaths: rounding leaves less than a thousandth, a number out of range far more."""
PREFIX = "cox_"


def exact_outputs(
    sums: CoxSums, fit: CoxFit, likelihood: SecretFixed, middle: SecretFixed, time: TimeTest | None
) -> Outputs:
    """The pooled sums that are opened where everything may be."""
    found: Outputs = {
        "persons": sums.persons, "events": sums.events, "null_score": sums.null_score,
        "null_information": sums.null_information, "likelihood": likelihood - sums.null_likelihood,
        "beta": fit.beta, "score": fit.score, "information": fit.information, "middle": middle,
        "excess": fit.excess, "beyond": (fit.sets.predictor > LARGEST_PREDICTOR).sum(),
    }  # fmt: skip
    if time is not None:
        found |= {"time_score": time.score, "time_between": time.between, "time_own": time.own}
    return {PREFIX + name: value for name, value in found.items()}


@dataclass(frozen=True)
class _Opened:
    """Opened sums with the terms that can be estimated (``kept``), and why others cannot (``why``, by place)."""

    values: Mapping[str, Any]
    kept: list[int]
    why: dict[int, str]

    def vector(self, name: str) -> Floats:
        return np.asarray(self.values[PREFIX + name], np.float64)[self.kept]

    def matrix(self, name: str) -> Floats:
        return np.asarray(self.values[PREFIX + name], np.float64)[np.ix_(self.kept, self.kept)]

    def number(self, name: str) -> float:
        return float(self.values[PREFIX + name])


def exact_cox(
    cox: CoxParameters, stratified_by: str, confidence: float, opened: Mapping[str, Any]
) -> CoxResult:
    """Coefficients, errors and tests from opened sums."""
    found = _estimable(cox, opened)
    events = round(found.number("events"))
    common: dict[str, Any] = {
        "ties": cox.ties, "n": round(found.number("persons")), "events": events,
        "stratified_by": stratified_by, "clustered": cox.cluster is not None,
    }  # fmt: skip
    reason = NO_EVENTS if events == 0 else _broken(found)
    if reason is not None or not found.kept:
        terms = [CoxTerm(name=name, why=reason or found.why[place]) for place, name in enumerate(cox.terms)]
        return CoxResult(**common, terms=terms)
    return _fitted(cox, common, confidence, found)


def _fitted(cox: CoxParameters, common: dict[str, Any], confidence: float, found: _Opened) -> CoxResult:
    info, beta = found.matrix("information"), _without_aliased(found)
    inverse = np.asarray(np.linalg.inv(info), np.float64)
    step = inverse @ found.vector("score")
    errors = np.sqrt(np.diag(inverse))
    variance = inverse @ found.matrix("middle") @ inverse
    robust = np.sqrt(np.maximum(np.diag(variance), 0.0))
    robust = np.where(robust < NO_SPREAD * errors, 0.0, robust)
    lost = (np.abs(beta) > LARGEST_SHOWN) | (np.abs(step) > LARGEST_STEP) | ~(errors < LARGEST_ERROR)
    beta = beta + np.where(lost, 0.0, step)
    why = {**found.why, **{found.kept[place]: NOT_ESTIMABLE for place in np.flatnonzero(lost)}}
    terms = []
    for place, name in enumerate(cox.terms):
        if place in why:
            terms.append(CoxTerm(name=name, why=why[place]))
            continue
        at, scale = found.kept.index(place), cox.scales[place]
        numbers = (float(values[at]) / scale for values in (beta, errors, robust))
        terms.append(estimated(name, *numbers, clustered=common["clustered"], confidence=confidence))
    null = float(
        found.vector("null_score")
        @ np.linalg.solve(found.matrix("null_information"), found.vector("null_score"))
    )
    wald = _robust_inverse(variance, errors) if common["clustered"] else info
    tests = CoxTests(
        wald=None if lost.any() or wald is None else float(beta @ wald @ beta),
        score=null, lr=None if lost.any() else max(0.0, 2 * found.number("likelihood")), df=len(found.kept),
    )  # fmt: skip
    return CoxResult(
        **common, terms=terms, tests=tests, ph=None if lost.any() else _time_test(found, inverse)
    )


def _robust_inverse(variance: Floats, errors: Floats) -> Floats | None:
    """The inverse of a robust variance (p, p); None where its rank falls short, as it does where all fail at once and no
    residual is left. ``errors`` (p,), those of the model, say what is small."""
    scaled = variance / np.outer(errors, errors)
    if np.linalg.matrix_rank(scaled, tol=TOLERANCE, hermitian=True) < len(errors):
        return None
    return np.asarray(np.linalg.inv(variance), np.float64)


def _time_test(found: _Opened, inverse: Floats) -> Any:
    if PREFIX + "time_score" not in found.values:
        return None
    between, score = found.matrix("time_between"), found.vector("time_score")
    own = found.matrix("time_own") - between.T @ inverse @ between
    kept = np.diag(own) > TOLERANCE * np.diag(found.matrix("time_own"))
    if not kept.all():
        return None
    return chi_square(float(score @ np.linalg.solve(own, score)), len(score))


def _estimable(cox: CoxParameters, opened: Mapping[str, Any]) -> _Opened:
    """Which covariates carry information of their own, in the order given."""
    whole = np.asarray(opened[PREFIX + "null_information"], np.float64)
    kept: list[int] = []
    why: dict[int, str] = {}
    for place in range(len(cox.terms)):
        own = whole[place, place]
        if own < LEAST_INFORMATION:
            why[place] = CONSTANT
            continue
        across = whole[kept, place]
        explained = across @ np.linalg.solve(whole[np.ix_(kept, kept)], across) if kept else 0.0
        if own - explained < TOLERANCE * own:
            why[place] = ALIASED
            continue
        kept.append(place)
    return _Opened(opened, kept, why)


def _without_aliased(found: _Opened) -> Floats:
    """Coefficients of the kept terms, with those of their combinations carried over to them."""
    beta = np.asarray(found.values[PREFIX + "beta"], np.float64)
    aliased = [place for place, reason in found.why.items() if reason == ALIASED]
    if not aliased:
        return beta[found.kept]
    whole = np.asarray(found.values[PREFIX + "null_information"], np.float64)
    inner, across = whole[np.ix_(found.kept, found.kept)], whole[np.ix_(found.kept, aliased)]
    return np.asarray(beta[found.kept] + np.linalg.solve(inner, across) @ beta[aliased])


def _broken(found: _Opened) -> str | None:
    """Why no number can be believed, if so."""
    if found.number("beyond") > 0 or abs(found.number("excess")) > LARGEST_EXCESS:
        beta = np.abs(np.asarray(found.values[PREFIX + "beta"], np.float64))
        return NOT_ESTIMABLE if (beta > LARGEST_SHOWN).any() else OUT_OF_RANGE
    return None
