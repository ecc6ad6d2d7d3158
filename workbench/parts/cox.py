"""A Cox regression on a page: hazard ratios with their limits, and how they were made."""

from __future__ import annotations

import pandas as pd

from mpc_backend.analyses.cox_result import CoxResult, CoxTerm
from workbench.parts.survival import p_text


def hazard_table(result: CoxResult) -> pd.DataFrame:
    """Hazard ratios with limits as a page shows them."""
    rows = [
        {"Covariate": term.name, "Hazard ratio": _ratio(term), "p": "" if term.p is None else p_text(term.p)}
        for term in result.terms
    ]
    return pd.DataFrame(rows).set_index("Covariate")


def _ratio(term: CoxTerm) -> str:
    if term.coef is None:
        return f"not shown: {term.why}"
    if term.hr is None or term.lower is None or term.upper is None:
        return f"coefficient {term.coef:.3g}; its ratio is beyond e^700 for one unit"
    return f"{term.hr:.3g} ({term.lower:.3g} to {term.upper:.3g})"


def made_how(result: CoxResult) -> str:
    """How the model was fitted, in one sentence."""
    errors = "robust, by person" if result.clustered else "from the model"
    return (
        f"Cox regression stratified by {result.stratified_by}, ties by {result.ties.capitalize()}; "
        f"limits and p from standard errors {errors}."
    )
