"""A Cox regression as pandas tables. What is withheld or not estimable is a missing value."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.cox_result import CoxResult
from mpc_backend.analyses.distributions import chi_square_tail
from workbench.columns import numbers

NOT_NUMBERS = ("term", "why")
TESTS = {"wald": "Cox, Wald", "score": "Cox, score", "lr": "Cox, likelihood ratio"}
PROPORTIONAL = "Cox, proportional hazards"


def coefficients(result: CoxResult) -> pd.DataFrame:
    """One row a coefficient: log hazard ratio with errors, hazard ratio with limits, p, and why numbers are missing."""
    frame = pd.DataFrame([term.model_dump() for term in result.terms]).rename(columns={"name": "term"})
    frame["why"] = frame["why"].fillna("")
    return numbers(frame, *(name for name in frame.columns if name not in NOT_NUMBERS))


def tests(result: CoxResult) -> list[dict[str, float | int | str]]:
    """The tests that were made, one row each as those of a survival result."""
    rows: list[dict[str, float | int | str]] = []
    by = result.stratified_by
    if result.tests is not None:
        for name, title in TESTS.items():
            value = getattr(result.tests, name)
            if value is not None:
                df = result.tests.df
                rows.append(
                    {
                        "test": title,
                        "chi2": value,
                        "df": df,
                        "p": chi_square_tail(value, df),
                        "stratified_by": by,
                    }
                )
    if result.ph is not None:
        rows.append({"test": PROPORTIONAL, **result.ph.model_dump(), "stratified_by": by})
    return rows
