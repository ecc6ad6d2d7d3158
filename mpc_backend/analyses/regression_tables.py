"""The shared tables of a regression and how a site fills them. In the clear, at the site.

A linear regression needs sums of products alone, which each hospital makes from its own rows. A logistic one needs the
rows, because its weights depend on everybody's coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.coded import counted_values, measured, require_codes
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import one_hot, whole_numbers
from mpc_backend.analyses.logistic_newton import DESIGN_SCALE
from mpc_backend.analyses.regression_parameters import (
    LinearParameters,
    LogisticParameters,
    RegressionParameters,
)
from mpc_backend.tables import Arrays, Column, TableSpec

COUNT_BITS = 28
SUM_SCALE, SUM_BITS = 24, 60
LARGEST = 64.0
"""Of a number less its centre, in scales: sums of squares of 2^22 persons stay below 2^34."""
MOST_ROWS = 1 << 22
Floats = NDArray[np.float64]


def sums_spec(parameters: LinearParameters) -> TableSpec:
    """One row: sums of products of constant, covariates and outcome, each with each."""
    width = (len(parameters.terms) + 1) ** 2
    column = Column(name="products", kind="fixed", bits=SUM_BITS, ring=64, scale=SUM_SCALE, width=width)
    return TableSpec(name="sums", level="aggregate", columns=(column,), rows=1)


def cells_spec(parameters: LinearParameters | LogisticParameters) -> TableSpec:
    """One row: persons in all, then of every declared level, each by group of the outcome."""
    width = (1 + len(parameters.levels)) * parameters.groups
    column = Column(name="persons", kind="int", bits=COUNT_BITS, ring=64, width=width)
    return TableSpec(name="cells", level="aggregate", columns=(column,), rows=1)


def rows_spec(parameters: LogisticParameters) -> TableSpec:
    """One row a person: the design, the constant first, and the outcome."""
    design = Column(
        name="design", kind="fixed", bits=DESIGN_SCALE + 7, ring=64, scale=DESIGN_SCALE, width=len(parameters.terms)
    )  # fmt: skip
    columns = (Column(name="valid", kind="bit"), design, Column(name="outcome", kind="int", bits=2, ring=16))
    return TableSpec(name="rows", level="rows", columns=columns)


def linear_tables(parameters: LinearParameters, site: SiteData) -> dict[str, Arrays]:
    """Both tables of one site for a linear regression."""
    frame = site.frame.reset_index(drop=True)
    design, counts, known = _design(parameters, site)
    outcome, codes = measured(frame, parameters.outcome, parameters.outcome_codes)
    groups = codes if parameters.outcome_codes else np.ones((len(frame), 1), dtype=np.int64)
    known &= ~np.isnan(outcome)
    require_codes(frame[known], [*_numbers(parameters), (parameters.outcome, parameters.outcome_codes)])
    scaled = (outcome - parameters.outcome_centre) / parameters.outcome_scale
    rows = np.column_stack([design, np.nan_to_num(scaled)])[known]
    require_range((*parameters.terms, parameters.outcome), rows)
    cells = np.column_stack([np.ones(len(frame), dtype=np.int64), counts])[known]
    return {
        "sums": {"products": (rows.T @ rows).reshape(1, -1)},
        "cells": {"persons": (cells.T @ groups[known]).reshape(1, -1)},
    }


def logistic_tables(parameters: LogisticParameters, site: SiteData) -> dict[str, Arrays]:
    """Both tables of one site for a logistic regression."""
    frame = site.frame.reset_index(drop=True)
    design, counts, known = _design(parameters, site)
    outcome, judged = whole_numbers(frame, parameters.outcome, 0, 1)
    known &= judged
    require_codes(frame[known], _numbers(parameters))
    rows, groups = design[known], one_hot(outcome[known], 2)
    require_range(parameters.terms, rows)
    cells = np.column_stack([np.ones(len(frame), dtype=np.int64), counts])[known]
    return {
        "rows": {
            "valid": np.ones(len(rows), dtype=np.int64),
            "design": np.rint(rows * 2.0**DESIGN_SCALE) / 2.0**DESIGN_SCALE,
            "outcome": outcome[known],
        },
        "cells": {"persons": (cells.T @ groups).reshape(1, -1)},
    }


def _numbers(parameters: RegressionParameters) -> list[tuple[str, tuple[str, ...] | None]]:
    return [(each.variable, each.codes) for each in parameters.predictors if each.levels is None]


def _design(
    parameters: RegressionParameters, site: SiteData
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Constant and covariates (rows, terms), each declared level and code (rows, levels), and the rows where all are known."""
    frame = site.frame.reset_index(drop=True)
    columns: list[Floats] = [np.ones((len(frame), 1))]
    counts: list[NDArray[np.int64]] = []
    known = np.ones(len(frame), dtype=bool)
    for predictor in parameters.predictors:
        if predictor.levels is None:
            assert predictor.centre is not None and predictor.scale is not None
            values, codes = measured(frame, predictor.variable, predictor.codes)
            scaled = (values - predictor.centre) / predictor.scale
            known &= ~np.isnan(scaled)
            counts.append(codes)
            columns.append(np.nan_to_num(scaled)[:, None])
            continue
        counts.append(counted_values(frame, predictor))
        known &= counts[-1].any(axis=1)
        columns.append(counts[-1][:, 1:].astype(np.float64))
    return np.concatenate(columns, axis=1), np.concatenate(counts, axis=1), known


def require_range(names: Sequence[str], rows: Floats) -> None:
    """Refuse rows (persons, names), counted in scales from their centres, that sums of products have no room for.

    Raises:
        LocalDataError: names the variables; or too many persons.
    """
    far = [name for name, values in zip(names, rows.T, strict=True) if (np.abs(values) >= LARGEST).any()]
    if far:
        raise LocalDataError(
            f"{', '.join(far)} holds numbers {LARGEST:g} or more scales from the declared centre; declare centre and scale "
            "near mean and standard deviation, or correct the outliers"
        )
    require_persons(len(rows))


def require_persons(count: int) -> None:
    """Refuse more persons than sums have room for."""
    if count > MOST_ROWS:
        raise LocalDataError(f"more than {MOST_ROWS} persons, the most from one hospital")
