"""Linear and logistic regression: R's lm and glm (golden/regression.R)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from mpc_backend.analyses.distributions import (
    chi_square_tail,
    fisher_tail,
    normal_reach,
    student_reach,
    student_two_sided,
    two_sided,
)
from mpc_backend.analyses.regression_result import RegressionResult, Term
from tests.validation.lines import SHARED, Line, golden, near, same, tail, within
from tests.validation.sets import answered, data, thirds

TITLE = "Linear and logistic regression"
LEVELS = {"race": ["black", "other", "white"], "size": ["20-50", "<=20", ">50"]}
WEIGHT = ("bwt", "age", "lwt", "race", "smoke", "ht", "ui")
LOW = ("low", "age", "lwt", "race", "smoke", "ptl", "ht", "ui", "ftv")
NODES = ("nodes", "year", "age", "size", "grade")
CHEMO = ("chemo", "year", "age", "size", "grade", "nodes")
CASES = {
    "birthwt, weight": ("weight", "birthwt", "linear", WEIGHT),
    "birthwt, weight by age": ("weight_age", "birthwt", "linear", ("bwt", "age")),
    "birthwt, low weight": ("low", "birthwt", "logistic", LOW),
    "birthwt, low weight by smoking": ("low_smoke", "birthwt", "logistic", ("low", "smoke")),
    "rotterdam, chemotherapy": ("chemo", "rotterdam", "logistic", CHEMO),
    "rotterdam, nodes": ("nodes", "rotterdam", "linear", NODES),
}
"""Name -> the name in R's file, the data set, kind of regression, and the outcome with its covariates."""
FIT = 1e-5
"""Relative, of sigma, R squared and F."""


def codes(frame: pd.DataFrame, name: str) -> list[str] | None:
    """The values of a number that has no more than two."""
    found = sorted(frame[name].dropna().unique())
    return [f"{value:g}" for value in found] if len(found) <= 2 else None


def predictor(frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """A covariate as a study declares it."""
    if name in LEVELS:
        return {"variable": name, "levels": LEVELS[name]}
    centre, scale = round(frame[name].mean(), 1), float(f"{frame[name].std():.1g}")
    return {"variable": name, "centre": centre, "scale": scale, "codes": codes(frame, name)}


def study(frame: pd.DataFrame, kind: str, columns: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The parameters of a regression of the first column on the others."""
    outcome, *names = columns
    found = {"outcome": outcome, "predictors": [predictor(frame, name) for name in names], **more}
    if kind == "linear":
        usual = {
            "outcome_centre": round(frame[outcome].mean(), 1),
            "outcome_scale": float(f"{frame[outcome].std():.1g}"),
            "outcome_codes": codes(frame, outcome),
        }
        found = {**usual, **found}
    return found


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    _, source, kind, columns = CASES[name]
    frame = data(source)
    result = answered(kind, study(frame, kind, columns), thirds(frame), protocol)
    assert isinstance(result, RegressionResult)
    yield from compared(result, name)


def compared(result: RegressionResult, name: str) -> Iterator[Line]:
    """A regression beside R's of that case."""
    r = golden("regression.csv", "model", "term", "what")[CASES[name][0]]
    assert {term.name for term in result.terms} == set(r.index.get_level_values("term")) - {""}
    linear = result.kind == "linear"
    for term in result.terms:
        yield from _term(term, r[term.name], r[""]["df"] if linear else None)
    assert result.test is not None
    of, p = result.test, len(result.terms) - 1
    if not linear:
        yield near("likelihood ratio chi-square", of.statistic, r["", "lr"], SHARED)
        yield tail("likelihood ratio p", of.p, r["", "lr_p"], partial(chi_square_tail, df=p), r["", "lr"])
        return
    for what in ("sigma", "r_squared", "adjusted_r_squared"):
        theirs = r["", "adjusted" if what == "adjusted_r_squared" else what]
        yield near(what.replace("_", " "), getattr(result, what), theirs, FIT)
    yield same("residual df", result.residual_df, r["", "df"])
    yield near("F", of.statistic, r["", "f"], FIT)
    fisher = partial(fisher_tail, df=p, residual_df=r["", "df"])
    yield tail("F: p", of.p, r["", "f_p"], fisher, r["", "f"], FIT)


def _term(term: Term, r: pd.Series, df: float | None) -> Iterator[Line]:
    """``df``: residual degrees of freedom of Student's t; None: the normal distribution."""
    coef, se = r["coef"], r["se"]
    yield within(f"{term.name}: coefficient", term.coef, coef, se)
    yield near(f"{term.name}: SE", term.se, se, SHARED)
    reach = normal_reach(0.95) if df is None else student_reach(0.95, df)
    for what, limit in (("lower", term.lower), ("upper", term.upper)):
        slack = SHARED * (max(abs(coef), se) + reach * se)
        yield Line(f"{term.name}: {what} limit", limit, r[what], slack)
    z = r["statistic"]
    name = "z" if df is None else "t"
    yield Line(f"{term.name}: {name}", term.statistic, z, 2 * SHARED * max(abs(z), 1))
    upper = two_sided if df is None else partial(student_two_sided, df=df)
    yield tail(f"{term.name}: p", term.p, r["p"], upper, z, 2 * SHARED)
