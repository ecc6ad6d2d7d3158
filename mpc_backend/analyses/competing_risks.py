"""Competing risks over all hospitals: Aalen-Johansen cumulative incidence by cause and arm, time lost, log-rank tests.

Hospitals share counts of who leaves by arm, cause and time, and their own part of each cause-specific log-rank test, which is
stratified by hospital. Numbers at tau and tests are computed on the full secret tables and opened once, rounded; a
released curve is for display. See docs/analyses/competing_risks.md.
"""

from __future__ import annotations

from typing import ClassVar

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.competing_parameters import CompetingParameters
from mpc_backend.analyses.competing_released import exact_result, released_result
from mpc_backend.analyses.competing_result import CompetingResult
from mpc_backend.analyses.competing_secret import CompetingTables, released_outputs
from mpc_backend.analyses.competing_tables import exits_spec, local_tables, tests_spec
from mpc_backend.analyses.disclosure import require_sites, sum_of
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt


class CompetingRisks(Analysis[CompetingParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "competing_risks"
    parameters = CompetingParameters
    result = CompetingResult

    def tables(self, parameters: CompetingParameters) -> tuple[TableSpec, ...]:
        return exits_spec(parameters), tests_spec(parameters)

    def local(self, parameters: CompetingParameters, site: SiteData) -> dict[str, Arrays]:
        found = local_tables(parameters, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: CompetingParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        tables = _gathered(parameters, inputs)
        if released.policy.release == "exact":
            exits = sum_of(list(tables.exits.values()))
            return {"exits": exits, "score": tables.score, "variance": tables.variance}
        return released_outputs(session, parameters, released, tables)

    def finish(self, parameters: CompetingParameters, released: Released, opened: Opened) -> CompetingResult:
        found = exact_result if released.policy.release == "exact" else released_result
        return found(parameters, released.policy, opened)


def _gathered(parameters: CompetingParameters, inputs: Inputs) -> CompetingTables:
    """Counts by hospital in the shape (arms, reasons, bins), tests summed over hospitals."""
    exits: dict[str, SecretInt] = {}
    for site, columns in inputs["exits"].items():
        counts = columns["exits"]
        assert isinstance(counts, SecretInt)
        exits[site] = counts.reshape(len(parameters.arms), parameters.reasons, parameters.bins)
    parts: dict[str, SecretFixed] = {}
    for columns in inputs["tests"].values():
        for name in ("score", "variance"):
            part = columns[name]
            assert isinstance(part, SecretFixed)
            flat = part.reshape(len(parameters.causes), -1)
            parts[name] = parts[name] + flat if name in parts else flat
    return CompetingTables(exits, parts["score"], parts["variance"])
