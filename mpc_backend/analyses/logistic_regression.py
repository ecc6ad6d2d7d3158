"""Logistic regression over all hospitals, on rows that they share: Newton's method on shares.

Coefficients, standard errors and the likelihood ratio are opened once, rounded. See docs/analyses/logistic.md.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.disclosure import require_sites
from mpc_backend.analyses.logistic_newton import LogisticFit, fit_logistic
from mpc_backend.analyses.regression_parameters import LogisticParameters
from mpc_backend.analyses.regression_release import Found, intercept_weights, outputs
from mpc_backend.analyses.regression_result import RegressionResult, logistic_result
from mpc_backend.analyses.regression_tables import cells_spec, logistic_tables, rows_spec
from mpc_backend.operations import concatenate, sqrt
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt

VARIANCE_SCALE, VARIANCE_BITS = 38, 4
LARGEST_ERROR = 4.0
"""Of a coefficient of the standardised design: variances lie below 2^VARIANCE_BITS, or the fit says nothing."""
VARIANCE_ROW, COEFFICIENT_ROW = 18, 26
"""Fractional bits of the public weights that variances and coefficients are multiplied by."""


class LogisticRegression(Analysis[LogisticParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "logistic"
    parameters = LogisticParameters
    result = RegressionResult

    def tables(self, parameters: LogisticParameters) -> tuple[TableSpec, ...]:
        return rows_spec(parameters), cells_spec(parameters)

    def local(self, parameters: LogisticParameters, site: SiteData) -> dict[str, Arrays]:
        found = logistic_tables(parameters, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: LogisticParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        designs, outcomes = [], []
        for columns in inputs["rows"].values():
            design, outcome = columns["design"], columns["outcome"]
            assert isinstance(design, SecretFixed) and isinstance(outcome, SecretInt)
            designs.append(design.reshape(len(outcome), len(parameters.terms)))
            outcomes.append(outcome)
        fit = fit_logistic(
            session, concatenate(designs), concatenate(outcomes), steps=parameters.steps, likelihood=True
        )
        persons = {}
        for site, columns in inputs["cells"].items():
            counts = columns["persons"]
            assert isinstance(counts, SecretInt)
            persons[site] = counts.reshape(-1)
        errors = fit.information.errors(30)
        found = Found(_numbers(parameters, fit, errors), fit.estimable & (errors < LARGEST_ERROR).all())
        return outputs(released, persons, parameters.groups, len(parameters.terms), found, events=True)

    def finish(self, parameters: LogisticParameters, released: Released, opened: Opened) -> RegressionResult:
        return logistic_result(parameters, released, opened)


def _numbers(parameters: LogisticParameters, fit: LogisticFit, errors: SecretFixed) -> dict[str, SecretFixed]:
    """Coefficients and errors with the intercept over its size, and the likelihood ratio."""
    row, _ = intercept_weights(parameters.back)
    first = _mixed(fit.coefficients, row, COEFFICIENT_ROW)
    once = _mixed(fit.information.matrix(VARIANCE_SCALE, VARIANCE_BITS), row, VARIANCE_ROW)
    variance = _mixed(once, row, VARIANCE_ROW).with_bits(VARIANCE_SCALE + VARIANCE_BITS + 6)
    error = sqrt(variance.reshape(1), 30)
    assert fit.log_likelihood is not None and fit.null_log_likelihood is not None
    return {
        "coefficient": concatenate([first.reshape(1), fit.coefficients[1:]]),
        "error": concatenate([error, errors[1:]]),
        "lr": (fit.log_likelihood - fit.null_log_likelihood) * 2,
    }


def _mixed(numbers: SecretFixed, row: NDArray[np.float64], places: int) -> SecretFixed:
    """Sums over the last axis with public weights of at most 1, at the scale of the numbers."""
    weights = np.rint(row * 2.0**places).astype(np.int64)
    total = (SecretInt(numbers.protocol, numbers.shares, 62) * weights).sum(numbers.ndim - 1)
    return SecretFixed(numbers.protocol, total.shares, numbers.scale + places).rescaled(numbers.scale)
