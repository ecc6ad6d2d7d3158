"""How many persons: a cohort's attrition over all hospitals, each person counted once per hospital.

Every hospital shares one vector of exact counts. Thresholds and differences are tested on the exact sums inside MPC, and
only what may be shown is rounded and opened. See docs/analyses/cohort_count.md.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mpc_backend.analyses.base import (
    Analysis,
    Inputs,
    Opened,
    Outputs,
    Parameters,
    Released,
    Result,
    SiteData,
    Suppressed,
)
from mpc_backend.analyses.cells import Cell, HiddenCount, cells
from mpc_backend.analyses.disclosure import release_chain, require_sites, total, views
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, Column, TableSpec
from mpc_backend.values import SecretInt

COUNT_BITS = 32
Label = Annotated[str, Field(min_length=1, max_length=500)]


class CountParameters(Parameters):
    """``steps``: a label per attrition step, the entry event first. Left out in a study, they follow from its cohort."""

    steps: Annotated[tuple[Label, ...], Field(max_length=100)] = ()


class Step(BaseModel):
    """Persons left after one criterion."""

    model_config = ConfigDict(frozen=True)

    label: str
    count: Cell


class CountResult(Result):
    """The released attrition: the population first, then each step; ``count`` is the last one."""

    kind: Literal["cohort_count"] = "cohort_count"
    population: Cell
    steps: list[Step]
    count: Cell
    release: str


class CohortCount(Analysis[CountParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "cohort_count"
    parameters = CountParameters

    def tables(self, parameters: CountParameters) -> tuple[TableSpec, ...]:
        _require_steps(parameters)
        column = Column(name="persons", kind="int", bits=COUNT_BITS, ring=64)
        return (
            TableSpec(name="attrition", level="aggregate", columns=(column,), rows=1 + len(parameters.steps)),
        )

    def local(self, parameters: CountParameters, site: SiteData) -> dict[str, Arrays]:
        """The population, then the persons left after each step."""
        _require_steps(parameters)
        persons = np.array([site.population, *(left for _, left in site.attrition)], dtype=np.int64)
        if len(site.attrition) != len(parameters.steps):
            raise LocalDataError(
                f"the cohort was evaluated in {len(site.attrition)} steps, the study announces {len(parameters.steps)}"
            )
        if (np.diff(persons) > 0).any() or persons[-1] < 0:
            raise LocalDataError("the attrition grows from one step to the next; evaluate the cohort anew")
        return {"attrition": {"persons": persons}}

    def compute(
        self, session: Session, parameters: CountParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        by_site = {site: _persons(columns["persons"]) for site, columns in inputs["attrition"].items()}
        if released.policy.release == "exact":
            counts = total(by_site)
            return {"state": counts * 0, "value": counts}
        policy = released.policy
        chains = views(released, by_site)[:, None, :]
        states, values = release_chain(chains, policy, policy.rounding)
        return {"state": states[0], "value": values[0]}

    def finish(self, parameters: CountParameters, released: Released, opened: Opened) -> CountResult:
        policy = released.policy
        step = 1 if policy.release == "exact" else policy.rounding
        shown = cells(opened["state"].astype(np.int64), opened["value"].astype(np.int64), policy, step)
        steps = [
            Step(label=label, count=count) for label, count in zip(parameters.steps, shown[1:], strict=True)
        ]
        return CountResult(
            population=shown[0],
            steps=steps,
            count=shown[-1],
            suppressed=_hidden(["population", *parameters.steps], shown),
            notes=["History judged per hospital; persons may be counted at more than one."],
            release=policy.footnote(),
        )


def _hidden(labels: list[str], shown: list[Cell]) -> list[Suppressed]:
    return [
        Suppressed(what=label, why=count.why)
        for label, count in zip(labels, shown, strict=True)
        if isinstance(count, HiddenCount)
    ]


def _persons(value: object) -> SecretInt:
    assert isinstance(value, SecretInt)
    return value


def _require_steps(parameters: CountParameters) -> None:
    if not parameters.steps:
        raise ParametersRefused("steps: none announced; resolve the parameters with the study's cohort first")
