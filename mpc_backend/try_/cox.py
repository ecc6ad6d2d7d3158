"""The Cox part of `tessera try survival`: covariates of a file as a study would declare them, and the answer in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.cox_parameters import MOST_TERMS, CoxCovariate, Ties
from mpc_backend.analyses.cox_result import CoxResult, CoxTerm
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import column, numbers
from mpc_backend.try_.data import levels
from mpc_backend.try_.declare import codes_of, one_digit

PREFIX = "covariate"
CLUSTER = "cluster_id"


def prepared(
    frame: pd.DataFrame, covariates: Sequence[str], ties: Ties, cluster: str | None, site: str | None
) -> tuple[dict[str, pd.Series], dict[str, Any] | None]:
    """Columns to add to the rows, and the parameters of the regression; None without covariates."""
    if not covariates:
        if cluster is not None:
            raise LocalDataError(
                "--cluster belongs to a Cox regression; name its covariates with --covariates"
            )
        return {}, None
    columns = {f"{PREFIX}{place}": column(frame, name) for place, name in enumerate(covariates)}
    used = (*covariates, *(() if cluster is None else (cluster,)))
    declared = [
        _declared(frame, name, f"{PREFIX}{place}", site, used) for place, name in enumerate(covariates)
    ]
    parameters: dict[str, Any] = {"covariates": declared, "ties": ties, "shared_ids": True}
    if cluster is not None:
        columns[CLUSTER], parameters["cluster"] = column(frame, cluster), CLUSTER
    return columns, parameters


def columns_of(covariates: Sequence[str], cluster: str | None) -> dict[str, str]:
    """Names inside the study -> columns of the file."""
    found = {f"{PREFIX}{place}": name for place, name in enumerate(covariates)}
    return found if cluster is None else {**found, CLUSTER: cluster}


def _declared(
    frame: pd.DataFrame, source: str, name: str, site: str | None, used: Sequence[str]
) -> dict[str, Any]:
    """A numeric column with its standard deviation, to one digit, as its scale; any other with its levels."""
    given = column(frame, source)
    if pd.api.types.is_numeric_dtype(given.dtype):
        values = numbers(frame, source)
        known = values[~np.isnan(values)]
        scale = one_digit(float(known.std()) if known.size else 0.0)
        return {"variable": name, "scale": scale, "codes": codes_of(frame, source, site, used)}
    found = levels(frame, source, MOST_TERMS + 1)
    if len(found) == 1:
        raise LocalDataError(f"column {source} has one level only; a covariate needs two")
    return {"variable": name, "levels": list(found)}


def named(result: CoxResult, covariates: Sequence[str], parameters: dict[str, Any]) -> CoxResult:
    """The result with the file's own names of terms."""
    declared = [CoxCovariate.model_validate(each) for each in parameters["covariates"]]
    names = [
        source + term.removeprefix(each.variable)
        for source, each in zip(covariates, declared, strict=True)
        for term in each.terms
    ]
    terms = [term.model_copy(update={"name": name}) for term, name in zip(result.terms, names, strict=True)]
    return result.model_copy(update={"terms": terms})


def in_words(result: CoxResult) -> list[str]:
    """One line a coefficient, one for the tests."""
    size = "" if result.events is None else f", {result.n} persons, {result.events} events"
    lines = [
        f"Cox regression, ties by {result.ties.capitalize()}, stratified by {result.stratified_by}{size}"
    ]
    lines += [_term(term) for term in result.terms]
    if result.tests is not None:
        shown = [
            f"{name} {value:.4g}"
            for name, value in (
                ("Wald", result.tests.wald),
                ("score", result.tests.score),
                ("LR", result.tests.lr),
            )
            if value is not None
        ]
        lines.append(f"all coefficients zero: {', '.join(shown)} on {result.tests.df} df")
    if result.ph is not None:
        lines.append(
            f"proportional hazards: chi2 {result.ph.chi2:.4g} on {result.ph.df} df, p {result.ph.p:.3g}"
        )
    return lines


def _term(term: CoxTerm) -> str:
    if term.coef is None:
        return f"{term.name:<24} {term.why}"
    p = "" if term.p is None else f", p {term.p:.3g}"
    hr, lower, upper = (
        "beyond e^700" if ratio is None else f"{ratio:.4g}" for ratio in (term.hr, term.lower, term.upper)
    )
    return (
        f"{term.name:<24} hazard ratio {hr} ({lower} to {upper}){p}; coefficient "
        f"{term.coef:.4g} (SE {term.se:.3g}, robust {term.robust_se:.3g})"
    )
