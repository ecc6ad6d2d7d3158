"""Survival by arm over all hospitals: Kaplan-Meier standardised over strata, restricted means, medians, log-rank tests,
Cox regression.

Hospitals share counts of events and censorings by arm, stratum and time, and their own part of each log-rank test, which
is stratified by hospital. Medians, restricted means and tests are computed on the full secret tables and opened once,
rounded; a released curve is for display. See docs/analyses/survival.md.

With linkage hospitals share a row for each person instead, and the same tables are counted on shares, each person once
(`linked_survival`).
"""

from __future__ import annotations

from typing import ClassVar

from mpc_backend.analyses import cox_tables
from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.cox_compute import cox_outputs, with_cox
from mpc_backend.analyses.disclosure import of_persons, require_sites, views
from mpc_backend.analyses.linked_steps import linked_tables
from mpc_backend.analyses.linked_survival import linked_survival
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.analyses.survival_released import exact_result, released_result
from mpc_backend.analyses.survival_result import SurvivalResult
from mpc_backend.analyses.survival_secret import SurvivalTables, released_outputs
from mpc_backend.analyses.survival_tables import (
    life_table_spec,
    linked_persons,
    local_tables,
    require_linked,
    tests_spec,
)
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt


class Survival(Analysis[SurvivalParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "survival"
    parameters = SurvivalParameters
    result = SurvivalResult

    def tables(self, parameters: SurvivalParameters) -> tuple[TableSpec, ...]:
        if parameters.linkage:
            require_linked(parameters)
            return linked_tables(parameters.linked, first=parameters.first, followed=True)
        specs = life_table_spec(parameters), tests_spec(parameters)
        return specs if parameters.cox is None else (*specs, *cox_tables.specs(parameters, parameters.cox))

    def local(self, parameters: SurvivalParameters, site: SiteData) -> dict[str, Arrays]:
        if parameters.linkage:
            require_linked(parameters)
            return linked_persons(parameters, site)
        found = local_tables(parameters, site)
        if parameters.cox is not None:
            found |= cox_tables.local_tables(parameters, parameters.cox, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: SurvivalParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        outputs = self._curves_and_tests(session, parameters, released, inputs)
        if parameters.cox is not None:
            outputs |= cox_outputs(session, parameters, parameters.cox, released, inputs)
        return outputs

    def _curves_and_tests(
        self, session: Session, parameters: SurvivalParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        policy, sound = of_persons(released.policy, linked=parameters.linkage), {}
        if parameters.linkage:
            tables, reliable = linked_survival(parameters, inputs)
            sound = {"sound": reliable.reshape(1)}
            session.progress("persons counted", 0.3)
        else:
            tables = _gathered(parameters, released, inputs)
        if policy.release != "exact":
            return released_outputs(session, parameters, policy, tables) | sound
        return {
            "events": tables.events[0],
            "censored": tables.exits[0] - tables.events[0],
            "score": tables.score,
            "variance": tables.variance,
            **sound,
        }

    def finish(self, parameters: SurvivalParameters, released: Released, opened: Opened) -> SurvivalResult:
        made = exact_result if released.policy.release == "exact" else released_result
        result = made(parameters, of_persons(released.policy, linked=parameters.linkage), opened)
        return result if parameters.cox is None else with_cox(result, parameters, released.policy, opened)


def _gathered(parameters: SurvivalParameters, released: Released, inputs: Inputs) -> SurvivalTables:
    """Counts in views (views, arms, strata, bins), tests summed over hospitals."""
    shape = (len(parameters.arms), parameters.strata_count, parameters.bins)
    counts: dict[str, dict[str, SecretInt]] = {"events": {}, "censored": {}}
    for site, columns in inputs["life_table"].items():
        for name, found in counts.items():
            value = columns[name]
            assert isinstance(value, SecretInt)
            found[site] = value.reshape(shape)
    parts: dict[str, SecretFixed] = {}
    for columns in inputs["tests"].values():
        for name in ("score", "variance"):
            part = columns[name]
            assert isinstance(part, SecretFixed)
            flat = part.reshape(len(parameters.tests), -1)
            parts[name] = parts[name] + flat if name in parts else flat
    events = views(released, counts["events"])
    return SurvivalTables(
        events, events + views(released, counts["censored"]), parts["score"], parts["variance"]
    )
