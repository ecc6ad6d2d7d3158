"""How many persons: a cohort's attrition over all hospitals, each person counted once, or once per hospital without linkage.

Every hospital shares one vector of exact counts or, with linkage, one row a person. Thresholds and differences are tested on
exact sums inside MPC, and only what may be shown is rounded and opened. See docs/analyses/cohort_count.md.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from governance.disclosure import DisclosurePolicy
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
from mpc_backend.analyses.cells import SUPPRESSED, Cell, HiddenCount, cells
from mpc_backend.analyses.disclosure import masked, of_persons, release_chain, require_sites, views
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.linked_secret import linked_counts
from mpc_backend.analyses.linked_steps import (
    Label,
    LinkedStep,
    check_steps,
    linked_columns,
    linked_rows_of,
    linked_tables,
)
from mpc_backend.analyses.linked_words import REPEATED, UNLINKED, linked_note
from mpc_backend.operations import select
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, Column, TableSpec
from mpc_backend.values import SecretInt

COUNT_BITS = 32


class CountParameters(Parameters):
    """``steps``: a label per attrition step, the entry event first. Left out in a study, they follow from its cohort.

    ``linkage``: a person of several hospitals counts once. ``linked`` then says of each step how hospitals' records are
    combined, and ``first`` that the entry is a person's first record of its kind at any hospital; both follow from the cohort.
    """

    steps: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    linkage: StrictBool = False
    linked: Annotated[tuple[LinkedStep, ...], Field(max_length=100)] = ()
    first: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.linked and not self.linkage:
            raise ValueError("linked steps need linkage: true")
        if self.linked and len(self.linked) != len(self.steps):
            raise ValueError(f"{len(self.steps)} steps are named and {len(self.linked)} are linked")
        check_steps(self.linked, first=self.first)
        return self


class Step(BaseModel):
    """Persons left after one criterion."""

    model_config = ConfigDict(frozen=True)

    label: str
    count: Cell


class CountResult(Result):
    """The released attrition: the population first, then each step; ``count`` is the last one.

    ``linked``: a person of several hospitals is counted once; otherwise once at each of them.
    """

    kind: Literal["cohort_count"] = "cohort_count"
    population: Cell
    steps: list[Step]
    count: Cell
    release: str
    linked: bool = False


class CohortCount(Analysis[CountParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "cohort_count"
    parameters = CountParameters
    result = CountResult

    def tables(self, parameters: CountParameters) -> tuple[TableSpec, ...]:
        _require_steps(parameters)
        if parameters.linkage:
            return linked_tables(parameters.linked, first=parameters.first)
        column = Column(name="persons", kind="int", bits=COUNT_BITS, ring=64)
        return (
            TableSpec(name="attrition", level="aggregate", columns=(column,), rows=1 + len(parameters.steps)),
        )

    def local(self, parameters: CountParameters, site: SiteData) -> dict[str, Arrays]:
        """The population, then the persons left after each step; with linkage a row for each person."""
        _require_steps(parameters)
        if parameters.linkage:
            return linked_columns(parameters.linked, linked_rows_of(site, parameters.linked))
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
        if parameters.linkage:
            return _linked_outputs(parameters, released, inputs)
        by_site = {site: _persons(columns["persons"]) for site, columns in inputs["attrition"].items()}
        states, values = _states_and_values(views(released, by_site)[:, None, :], released.policy)
        return {"state": states, "value": values}

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
            notes=[_counted(parameters), *([] if opened.get("sound", True) else [REPEATED])],
            release=of_persons(policy, linked=parameters.linkage).footnote(),
            linked=parameters.linkage,
        )


def _states_and_values(chains: SecretInt, policy: DisclosurePolicy) -> tuple[SecretInt, SecretInt]:
    """Of counts (views, 1, 1 + steps); (1 + steps,) each."""
    if policy.release == "exact":
        return chains[0, 0] * 0, chains[0, 0]
    states, values = release_chain(chains, policy, policy.rounding)
    return states[0], values[0]


def _linked_outputs(parameters: CountParameters, released: Released, inputs: Inputs) -> Outputs:
    """States and values of linked counts, which are withheld where a hospital's rows are at fault."""
    chains, sound = linked_counts(parameters.linked, inputs, first=parameters.first)
    states, values = _states_and_values(chains, of_persons(released.policy, linked=True))
    every = sound.reshape(1).broadcast_to(states.shape)
    return {
        "state": select(every, states, states * 0 + SUPPRESSED),
        "value": masked(every, values),
        "sound": sound.reshape(1),
    }


def _hidden(labels: list[str], shown: list[Cell]) -> list[Suppressed]:
    return [
        Suppressed(what=label, why=count.why)
        for label, count in zip(labels, shown, strict=True)
        if isinstance(count, HiddenCount)
    ]


def _counted(parameters: CountParameters) -> str:
    """How persons were counted, and whose records each step looked at."""
    if not parameters.linkage:
        return UNLINKED
    return linked_note(parameters.steps, parameters.linked, first=parameters.first)


def _persons(value: object) -> SecretInt:
    assert isinstance(value, SecretInt)
    return value


def _require_steps(parameters: CountParameters) -> None:
    if not parameters.steps:
        raise ParametersRefused("steps: none announced; resolve the parameters with the study's cohort first")
    if parameters.linkage and not parameters.linked:
        raise ParametersRefused(
            "linked: none announced; resolve the parameters with the study's cohort first"
        )
