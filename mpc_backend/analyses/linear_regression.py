"""Linear regression over all hospitals: least squares from sums of products that each hospital makes of its own rows.

Nodes add the sums and solve the normal equations on shares; coefficients, standard errors, residual standard error and
R squared are opened once, rounded. See docs/analyses/linear.md.
"""

from __future__ import annotations

from typing import ClassVar

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.disclosure import require_sites, sum_of
from mpc_backend.analyses.linear_secret import solved
from mpc_backend.analyses.regression_parameters import LinearParameters
from mpc_backend.analyses.regression_release import outputs
from mpc_backend.analyses.regression_result import RegressionResult, linear_result
from mpc_backend.analyses.regression_tables import cells_spec, linear_tables, sums_spec
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt


class LinearRegression(Analysis[LinearParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "linear"
    parameters = LinearParameters
    result = RegressionResult

    def tables(self, parameters: LinearParameters) -> tuple[TableSpec, ...]:
        return sums_spec(parameters), cells_spec(parameters)

    def local(self, parameters: LinearParameters, site: SiteData) -> dict[str, Arrays]:
        found = linear_tables(parameters, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: LinearParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        q = len(parameters.terms) + 1
        sums: SecretFixed | None = None
        for columns in inputs["sums"].values():
            part = columns["products"]
            assert isinstance(part, SecretFixed)
            sums = part if sums is None else sums + part
        assert sums is not None
        persons = {site: _counts(columns["persons"]) for site, columns in inputs["cells"].items()}
        everybody = sum_of(list(persons.values()))[: parameters.groups].sum(0)
        found = solved(parameters, sums.reshape(q, q), everybody)
        session.progress("normal equations solved", 0.8)
        return outputs(released, persons, parameters.groups, q - 1, found)

    def finish(self, parameters: LinearParameters, released: Released, opened: Opened) -> RegressionResult:
        return linear_result(parameters, released, opened)


def _counts(value: object) -> SecretInt:
    assert isinstance(value, SecretInt)
    return value.reshape(-1)
