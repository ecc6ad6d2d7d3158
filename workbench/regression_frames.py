"""Regressions as pandas tables. What is withheld or not estimable is a missing value."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.regression_result import RegressionResult
from workbench.columns import counts, numbers


def coefficients(result: RegressionResult) -> pd.DataFrame:
    """The main table: one row a coefficient, log odds with their ratios for a logistic regression."""
    odds = {
        name for name in ("odds_ratio", "odds_ratio_lower", "odds_ratio_upper") if result.kind != "logistic"
    }
    frame = pd.DataFrame([term.model_dump(exclude=odds) for term in result.terms]).rename(
        columns={"name": "term"}
    )
    return numbers(frame, *(name for name in frame.columns if name != "term"))


def others(result: RegressionResult) -> dict[str, pd.DataFrame]:
    """Size and fit of the model, and the test of all its coefficients."""
    fit: dict[str, float | int | str | None] = {"persons": result.n.value}
    if result.events is not None:
        fit["events"] = result.events.value
    if result.kind == "linear":
        fit |= {
            name: getattr(result, name)
            for name in ("r_squared", "adjusted_r_squared", "sigma", "residual_df")
        }
    fit["not_shown"] = result.why_not or ""
    model = counts(pd.DataFrame([fit]), "persons", "events")
    tables = {"model": numbers(model, "r_squared", "adjusted_r_squared", "sigma", "residual_df")}
    if result.test is not None:
        name = "F" if result.kind == "linear" else "likelihood ratio"
        tables["tests"] = pd.DataFrame([{"test": name, **result.test.model_dump()}])
    return tables
