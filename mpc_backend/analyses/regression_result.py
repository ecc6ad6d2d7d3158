"""What the recipient of a regression reads: coefficients with errors, intervals and tests, in the clear."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Opened, Released, Result, Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount, cells
from mpc_backend.analyses.distributions import (
    chi_square_tail,
    fisher_tail,
    normal_reach,
    student_reach,
    student_two_sided,
    wald_p,
)
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.regression_parameters import (
    LinearParameters,
    LogisticParameters,
    RegressionParameters,
)
from mpc_backend.analyses.regression_release import (
    FEW,
    RARE,
    SHOWN,
    UNSOLVED,
    intercept_weights,
    real,
)
from mpc_backend.analyses.survival_exact import exact_cell

NOTE = "Rows of all hospitals together; persons with a missing value in any variable do not count."
FEW_EVENTS = 10


class Term(BaseModel):
    """One coefficient; null where the model is withheld or not estimable. ``odds_ratio`` with limits: of
    a logistic regression."""

    name: str
    coef: float | None = None
    se: float | None = None
    statistic: float | None = None
    p: float | None = None
    lower: float | None = None
    upper: float | None = None
    odds_ratio: float | None = None
    odds_ratio_lower: float | None = None
    odds_ratio_upper: float | None = None


class ModelTest(BaseModel):
    """All coefficients but the intercept are zero: F on (df, residual df), or likelihood ratio chi-square on df."""

    statistic: float
    df: int
    p: float


class RegressionResult(Result):
    """Result of ``linear`` and ``logistic``. ``why_not``: why there are no numbers."""

    kind: Literal["linear", "logistic"]
    estimand: str
    n: Cell
    events: Cell | None = None
    terms: list[Term]
    test: ModelTest | None = None
    r_squared: float | None = None
    adjusted_r_squared: float | None = None
    sigma: float | None = None
    residual_df: int | None = None
    confidence: float
    why_not: str | None = None
    release: str


def linear_result(parameters: LinearParameters, released: Released, opened: Opened) -> RegressionResult:
    """From opened outputs of a linear regression."""
    policy, exact = released.policy, released.policy.release == "exact"
    state, (n,) = int(opened["state"]), _counts(opened, policy, 1)
    sizes = parameters.outcome_scale * _sizes(parameters)
    found = _result(parameters, policy, state, n, "mean")
    if state != SHOWN:
        return found
    coefs, errors = (real(opened[name], exact) * sizes for name in ("coefficient", "error"))
    coefs[0] += parameters.outcome_centre
    rest = (n.value if n.value is not None else 0) - len(parameters.terms)
    rest = rest if exact else max(rest, policy.minimum_cell)
    wide = student_reach(parameters.confidence, rest)
    share = float(np.clip(real(opened["r_squared"], exact), 0, 1))
    p = len(parameters.terms) - 1
    return found.model_copy(
        update={
            "terms": [
                _term(name, coef, error, wide, student_two_sided(coef / error, rest) if error else None)
                for name, coef, error in zip(parameters.terms, coefs, errors, strict=True)
            ],
            "sigma": float(real(opened["sigma"], exact)) * parameters.outcome_scale,
            "r_squared": share,
            "adjusted_r_squared": 1 - (1 - share) * (rest + p) / rest,
            "residual_df": rest,
            "test": _f_test(share, p, rest),
        }
    )


def _f_test(share: float, p: int, rest: int) -> ModelTest | None:
    if share >= 1:
        return None
    statistic = share / p / ((1 - share) / rest)
    return ModelTest(statistic=statistic, df=p, p=fisher_tail(statistic, p, rest))


def logistic_result(parameters: LogisticParameters, released: Released, opened: Opened) -> RegressionResult:
    """From opened outputs of a logistic regression."""
    policy, exact = released.policy, released.policy.release == "exact"
    state, (n, events) = int(opened["state"]), _counts(opened, policy, 2)
    found = _result(parameters, policy, state, n, "log odds")
    withheld = [Suppressed(what="events", why=events.why)] if isinstance(events, HiddenCount) else []
    found = found.model_copy(update={"events": events, "suppressed": [*found.suppressed, *withheld]})
    if state != SHOWN:
        return found
    coefs, errors = (real(opened[name], exact) * _sizes(parameters) for name in ("coefficient", "error"))
    wide = normal_reach(parameters.confidence)
    statistic, p = max(0.0, float(real(opened["lr"], exact))), len(parameters.terms) - 1
    rarer = min(events.value or 0, (n.value or 0) - (events.value or 0))
    few = [f"Fewer than {FEW_EVENTS} persons of the rarer outcome for each coefficient."]
    return found.model_copy(
        update={
            "terms": [
                _term(name, coef, error, wide, wald_p(coef, error), odds=True)
                for name, coef, error in zip(parameters.terms, coefs, errors, strict=True)
            ],
            "test": ModelTest(statistic=statistic, df=p, p=chi_square_tail(statistic, p)),
            "notes": [*found.notes, *(few if rarer < FEW_EVENTS * p else [])],
        }
    )  # fmt: skip


def _sizes(parameters: RegressionParameters) -> np.ndarray:
    """What turns opened coefficients into those of one unit of each variable."""
    _, size = intercept_weights(parameters.back)
    return np.array([size, *(1 / parameters.scales[1:])])


def _term(name: str, coef: float, error: float, wide: float, p: float | None, *, odds: bool = False) -> Term:
    limits = (coef, coef - wide * error, coef + wide * error)
    ratio, lower, upper = (math.exp(value) if odds and value < 700 else None for value in limits)
    return Term(
        name=name,
        coef=coef,
        se=error,
        statistic=coef / error if error else None,
        p=p,
        lower=limits[1],
        upper=limits[2],
        odds_ratio=ratio,
        odds_ratio_lower=lower,
        odds_ratio_upper=upper,
    )


def _counts(opened: Opened, policy: DisclosurePolicy, groups: int) -> list[Cell]:
    """Persons in all, then with the outcome where there are groups of it."""
    values = np.asarray(opened["persons"], dtype=np.int64).reshape(-1)
    if policy.release == "exact":
        shown: list[Cell] = [exact_cell(int(count), policy) for count in (values.sum(), *values[1:])]
        return shown[:groups]
    states = np.asarray(opened["persons_state"], dtype=np.int64)
    return list(cells(states, values, policy, policy.rounding))


def _result(
    parameters: RegressionParameters, policy: DisclosurePolicy, state: int, n: Cell, what: str
) -> RegressionResult:
    """Without numbers."""
    k, outcome = policy.minimum_cell, "follows from" if what == "mean" else "is separated by"
    why = {
        SHOWN: None,
        FEW: f"fewer than {k} persons of a group of the outcome, or fewer than {k} more than coefficients",
        RARE: f"fewer than {k} persons at some level or code of a covariate, or of the outcome there",
        UNSOLVED: "not estimable: a variable hardly varies for its declared scale, or follows from others, or the outcome "
        f"{outcome} the covariates; leave out which does, or join its levels",
    }[state]
    if state == UNSOLVED and n.value is not None and n.value <= len(parameters.terms):
        why = f"not estimable: {n.value} persons for {len(parameters.terms)} coefficients; ask for fewer"
    hidden = [Suppressed(what="persons", why=n.why)] if isinstance(n, HiddenCount) else []
    withheld = [Suppressed(what="coefficients", why=why)] if why is not None else []
    return RegressionResult(
        kind="linear" if what == "mean" else "logistic",
        estimand=f"{what} of {parameters.outcome} by {', '.join(each.variable for each in parameters.predictors)}",
        n=n,
        terms=[Term(name=name) for name in parameters.terms],
        confidence=parameters.confidence,
        why_not=why,
        suppressed=[*hidden, *withheld],
        notes=[UNLINKED, NOTE],
        release=policy.footnote(),
    )
