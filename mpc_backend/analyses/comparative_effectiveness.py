"""Two treatments compared among new users over all hospitals: propensity score, weights, weighted Kaplan-Meier, balance.

The score is fitted on the shared rows of all hospitals and never opened, nor are weights. Restricted means and risks by arm
come from weighted curves on the full secret tables and are opened once, rounded, with robust standard errors. See
docs/analyses/comparative_effectiveness.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.comparative_balance import Moments
from mpc_backend.analyses.comparative_parameters import ComparativeParameters
from mpc_backend.analyses.comparative_released import exact_result, released_result
from mpc_backend.analyses.comparative_result import ComparativeResult
from mpc_backend.analyses.comparative_secret import Endpoint, Shared, exact_outputs, released_outputs
from mpc_backend.analyses.comparative_tables import local_tables, people_spec, summary_spec
from mpc_backend.analyses.comparative_weights import People
from mpc_backend.analyses.disclosure import require_sites, total
from mpc_backend.operations import concatenate, stack
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt, SecretValue

Columns = Mapping[str, Mapping[str, SecretValue]]


class ComparativeEffectiveness(Analysis[ComparativeParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "comparative_effectiveness"
    parameters = ComparativeParameters
    result = ComparativeResult

    def tables(self, parameters: ComparativeParameters) -> tuple[TableSpec, ...]:
        return people_spec(parameters), summary_spec(parameters)

    def local(self, parameters: ComparativeParameters, site: SiteData) -> dict[str, Arrays]:
        found = local_tables(parameters, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: ComparativeParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        shared = _gathered(parameters, inputs)
        if released.policy.release == "exact":
            return exact_outputs(session, parameters, shared)
        return released_outputs(session, parameters, released, shared)

    def finish(
        self, parameters: ComparativeParameters, released: Released, opened: Opened
    ) -> ComparativeResult:
        found = exact_result if released.policy.release == "exact" else released_result
        return found(parameters, released.policy, opened)


def _gathered(parameters: ComparativeParameters, inputs: Inputs) -> Shared:
    """Rows of all hospitals, one after the other, and the summaries by hospital."""
    people, summary = inputs["people"], inputs["summary"]
    sites: dict[str, slice] = {}
    start = 0
    for site, columns in people.items():
        sites[site] = slice(start, start + len(_whole(columns["valid"])))
        start = sites[site].stop
    valid, treated = (_joined(people, name) for name in ("valid", "treated"))
    covariates = concatenate([_table(columns["covariates"], parameters) for columns in people.values()])
    endpoints = [
        Endpoint(
            _joined(people, f"failed{place}"),
            {site: _whole(columns[f"exit{place}"]) for site, columns in people.items()},
        )
        for place in range(len(parameters.endpoints))
    ]
    flags = stack([valid - treated, treated]).with_bits(2)
    return Shared(
        People(flags, covariates, sites),
        endpoints,
        _counts(parameters, summary),
        _moments(parameters, summary),
    )


def _counts(parameters: ComparativeParameters, summary: Columns) -> dict[str, dict[str, SecretInt]]:
    """Counts by name and hospital: persons (2,), the others (2, k)."""
    found: dict[str, dict[str, SecretInt]] = {}
    for name in ("persons", "events", "at_risk", "levels", *(["codes"] if any(parameters.codes) else [])):
        shape = (2,) if name == "persons" else (2, -1)
        found[name] = {site: _whole(columns[name]).reshape(shape) for site, columns in summary.items()}
    return found


def _moments(parameters: ComparativeParameters, summary: Columns) -> Moments:
    parts = {
        name: [_table(columns[name], parameters) for columns in summary.values()]
        for name in ("sums", "squares")
    }
    sums, squares = (stack(each, axis=0).sum(0) for each in parts.values())
    persons = total({site: _whole(columns["persons"]) for site, columns in summary.items()})
    return Moments(persons, sums, squares)


def _joined(people: Columns, name: str) -> SecretInt:
    return concatenate([_whole(columns[name]) for columns in people.values()])


def _whole(column: SecretValue) -> SecretInt:
    assert isinstance(column, SecretInt)
    return column


def _table(column: SecretValue, parameters: ComparativeParameters) -> SecretFixed:
    assert isinstance(column, SecretFixed)
    return column.reshape(-1, len(parameters.columns))
