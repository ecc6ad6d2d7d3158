"""Means, variances and correlations over all hospitals, from sums of products that each makes of its own rows.

See docs/analyses/correlation.md.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.coded import measured, require_codes
from mpc_backend.analyses.correlation_parameters import CorrelationParameters
from mpc_backend.analyses.correlation_result import CorrelationResult, correlation_result
from mpc_backend.analyses.correlation_secret import moments
from mpc_backend.analyses.disclosure import require_sites, sum_of
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.regression_release import outputs
from mpc_backend.analyses.regression_tables import COUNT_BITS, SUM_BITS, SUM_SCALE, require_range
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, Column, TableSpec
from mpc_backend.values import SecretFixed, SecretInt


class Correlation(Analysis[CorrelationParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "correlation"
    parameters = CorrelationParameters
    result = CorrelationResult

    def tables(self, parameters: CorrelationParameters) -> tuple[TableSpec, ...]:
        width = (len(parameters.variables) + 1) ** 2
        products = Column(name="products", kind="fixed", bits=SUM_BITS, ring=64, scale=SUM_SCALE, width=width)
        persons = Column(
            name="persons", kind="int", bits=COUNT_BITS, ring=64, width=1 + parameters.code_cells
        )
        return (TableSpec(name="sums", level="aggregate", columns=(products, persons), rows=1),)

    def local(self, parameters: CorrelationParameters, site: SiteData) -> dict[str, Arrays]:
        frame = site.frame.reset_index(drop=True)
        read = [measured(frame, each.variable, each.codes) for each in parameters.variables]
        centres, scales = (
            np.array([getattr(each, name) for each in parameters.variables]) for name in ("centre", "scale")
        )
        scaled = (np.column_stack([values for values, _ in read]) - centres) / scales
        known = ~np.isnan(scaled).any(axis=1)
        require_codes(frame[known], [(each.variable, each.codes) for each in parameters.variables])
        rows, coded = scaled[known], [codes[known] for _, codes in read]
        require_range(parameters.covariates, rows)
        both = np.column_stack([np.ones(len(rows)), rows])
        columns = {"products": (both.T @ both).reshape(1, -1), "persons": _counts(len(rows), coded)}
        (spec,) = self.tables(parameters)
        return {"sums": shaped(spec, columns)}

    def compute(
        self, session: Session, parameters: CorrelationParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        q = len(parameters.variables) + 1
        sums: SecretFixed | None = None
        persons: dict[str, SecretInt] = {}
        for site, columns in inputs["sums"].items():
            part, counts = columns["products"], columns["persons"]
            assert isinstance(part, SecretFixed) and isinstance(counts, SecretInt)
            sums = part if sums is None else sums + part
            persons[site] = counts.reshape(-1)
        assert sums is not None
        everybody = sum_of(list(persons.values()))[:1]
        found, varies = moments(sums.reshape(q, q), everybody)
        shown = outputs(released, persons, 1, 0, found)
        return {**shown, "varies": varies & (shown_state(shown) == 0)}

    def finish(
        self, parameters: CorrelationParameters, released: Released, opened: Opened
    ) -> CorrelationResult:
        return correlation_result(parameters, released, opened)


def _counts(persons: int, coded: list[Ints]) -> Ints:
    """Persons in all, of each code, and of each two codes of two variables together (1, counts)."""
    both = [one.T @ other for one, other in itertools.combinations(coded, 2)]
    parts = [np.array([persons]), *(codes.sum(axis=0) for codes in coded), *(each.ravel() for each in both)]
    return np.concatenate(parts)[None]


def shown_state(shown: Outputs) -> SecretInt:
    """The state (1,) among the outputs."""
    state = shown["state"]
    assert isinstance(state, SecretInt)
    return state.reshape(1)
