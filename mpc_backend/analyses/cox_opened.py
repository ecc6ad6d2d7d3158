"""A Cox regression from outputs that were rounded and masked on shares, in the clear at the recipient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.cox_exact import PREFIX
from mpc_backend.analyses.cox_parameters import CoxParameters
from mpc_backend.analyses.cox_released import COEF_DECIMALS, ERROR_DECIMALS, FEW, RARE, UNSOLVED
from mpc_backend.analyses.cox_result import (
    DETERMINED,
    NOT_ESTIMABLE,
    CoxResult,
    CoxTerm,
    CoxTests,
    chi_square,
    estimated,
)
from mpc_backend.analyses.secret_tests import CHI2_DECIMALS


def released_cox(
    cox: CoxParameters,
    policy: DisclosurePolicy,
    stratified_by: str,
    confidence: float,
    opened: Mapping[str, Any],
) -> CoxResult:
    """The result; numbers of persons and events are not opened."""
    given = {
        name.removeprefix(PREFIX): np.asarray(value)
        for name, value in opened.items()
        if name.startswith(PREFIX)
    }
    terms = [_term(cox, policy, place, given, confidence) for place in range(len(cox.terms))]
    tests = given["chi2"] / 10.0**CHI2_DECIMALS
    tested, p = bool(given["tested"]), len(cox.terms)
    ph = chi_square(float(tests[3]), p) if given.get("ph_tested") else None
    return CoxResult(
        ties=cox.ties, n=None, events=None, stratified_by=stratified_by, clustered=cox.cluster is not None,
        terms=terms, ph=ph,
        tests=CoxTests(wald=float(tests[0]), score=float(tests[1]), lr=max(0.0, float(tests[2])), df=p) if tested else None,
    )  # fmt: skip


def _term(
    cox: CoxParameters, policy: DisclosurePolicy, place: int, given: Mapping[str, Any], confidence: float
) -> CoxTerm:
    name, k = cox.terms[place], policy.minimum_cell
    why = {
        FEW: f"fewer than {k} events",
        RARE: f"fewer than {k} persons or events at a level of a covariate: the whole model is withheld",
        UNSOLVED: DETERMINED,
    }.get(int(given["state"]))
    if why is not None:
        return CoxTerm(name=name, why=why)
    if not given["settled"][place]:
        return CoxTerm(name=name, why=NOT_ESTIMABLE)
    scale, errors = cox.scales[place], given["errors"] / 10.0**ERROR_DECIMALS
    coef = _per_unit(given["coef"][place] / 10.0**COEF_DECIMALS, scale)
    se, robust = (_per_unit(errors[at], scale) for at in (place, place + len(cox.terms)))
    return estimated(name, coef, se, robust, clustered=cox.cluster is not None, confidence=confidence)


def _per_unit(number: float, scale: float) -> float:
    """A rounded number per unit, without the digits that dividing it makes up."""
    return float(f"{number / scale:.5g}")
