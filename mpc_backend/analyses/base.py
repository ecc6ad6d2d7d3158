"""The shape every analysis has: one file, one `Analysis`, five steps from a hospital's rows to a released result.

    tables   what each site must share (public, from the parameters alone)
    local    at the site, in the clear: rows -> the columns of those tables
    compute  at every node, on shares: tables (and a secret query) -> named secret outputs
    finish   at the recipient, in the clear: opened outputs -> a typed result

Nodes run `compute` and nothing else; its outputs leave a node only as shares sealed to the recipient. Where an answer is held
against the requester's earlier ones, `answer` gives beside the outputs what nodes keep of it, as shares (`remembered`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from governance.disclosure import DisclosurePolicy
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretValue

if TYPE_CHECKING:
    import pandas as pd

    from mpc_backend.analyses.linked_steps import LinkedRows


class Parameters(BaseModel):
    """What a signed study fixes about one analysis; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The time-to-event variables it names, each with the unit in which it takes their times."""
        return {}

    @property
    def covariates(self) -> tuple[str, ...]:
        """Every other variable it names; a study must declare them all."""
        return ()

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Variables that it reads as numbers without counting the persons of each value: none may be a flag."""
        return ()


P = TypeVar("P", bound=Parameters)
Inputs = Mapping[str, Mapping[str, Mapping[str, SecretValue]]]
"""Shared columns: inputs[table][site][column]. A query table has the single pseudo-site ``query``."""
Outputs = dict[str, SecretValue]
Opened = Mapping[str, NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_]]


def rows_of(inputs: Inputs) -> dict[str, int]:
    """The rows of every table, of all sites together; public."""
    return {
        table: sum(len(next(iter(columns.values()))) for columns in sites.values())
        for table, sites in inputs.items()
    }


@dataclass(frozen=True)
class SiteData:
    """One hospital's own view of a cohort, in the clear, never leaving the site.

    ``frame``: one row per cohort entry (by default per person), columns as the study's variables name them; a
    time-to-event variable ``v`` gives columns ``v_time`` and ``v_event``; missing is NA. ``attrition``: (label, distinct
    persons left) for the entry event and then each criterion. ``population``: distinct persons in the hospital's data.
    ``persons``: the hospital's own number of the person of each row; None: every row is a person. ``linked``: all persons
    of the hospital as a count shares them that recognises persons of several hospitals; None: the study asks for none.
    """

    frame: pd.DataFrame
    attrition: tuple[tuple[str, int], ...] = ()
    population: int = 0
    persons: NDArray[np.int64] | None = None
    linked: LinkedRows | None = None


def shaped(spec: TableSpec, columns: Arrays) -> Arrays:
    """Columns in the shape in which they are shared: (rows,) where the declared width is 1."""
    narrow = {column.name for column in spec.columns if column.width == 1}
    return {
        name: values.reshape(len(values)) if name in narrow else values for name, values in columns.items()
    }


class Suppressed(BaseModel):
    """One thing that was withheld, and why, in words a reader of the result understands."""

    what: str
    why: str


class Result(BaseModel):
    """What the recipient reads. Subclasses add the estimates; ``suppressed`` is never silent."""

    kind: str
    suppressed: list[Suppressed] = []
    notes: list[str] = []


@dataclass(frozen=True)
class Released:
    """The policy under which outputs are made: the study's, with the sites that contribute and those that also receive."""

    policy: DisclosurePolicy
    sites: tuple[str, ...]
    receiving_sites: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Answer:
    """What a run gives: ``outputs``, which may be opened; and the columns of the table that `Analysis.remembered` names, which
    never are: None where it names none."""

    outputs: Outputs
    record: Mapping[str, SecretValue] | None = None


class Analysis(ABC, Generic[P]):
    """One kind of analysis; see the module docstring. Instances are stateless. ``result``: the type that `finish` returns."""

    kind: ClassVar[str]
    result: ClassVar[type[Result]]
    parameters: type[P]

    @abstractmethod
    def tables(self, parameters: P) -> tuple[TableSpec, ...]:
        """The tables every site shares, and the query table if a run brings a secret query."""

    @abstractmethod
    def local(self, parameters: P, site: SiteData) -> dict[str, Arrays]:
        """At the site, in the clear: the columns of every table but the query, unpadded.

        Raises:
            mpc_backend.analyses.errors.LocalDataError: the site's data cannot give a column (names the column, never a value).
        """

    def published(self, parameters: P, released: Released) -> TableSpec | None:
        """The table that `publish` makes, which nodes keep as shares between runs; None: there is none."""
        return None

    def publish(
        self, session: Session, parameters: P, released: Released, inputs: Inputs
    ) -> dict[str, SecretValue]:
        """At every node, on shares: what follows from the hospitals' tables alone, once for each set of uploads.

        `compute` finds it among its inputs as ``inputs[table]["nodes"]``, or makes it itself where it is not there.
        Opens nothing.
        """
        raise TypeError(f"analysis {self.kind} publishes no table")

    def remembered(self, parameters: P, released: Released, rows: Mapping[str, int]) -> TableSpec | None:
        """What nodes keep of an answer, as shares, for the same requester's later runs over the same uploads; None: nothing.

        ``rows``: the rows of every table, of all sites together. The records of earlier answers are among the inputs as
        ``inputs[table][run]``, in the same order at every node, if there are any.
        """
        return None

    def answer(self, session: Session, parameters: P, released: Released, inputs: Inputs) -> Answer:
        """`compute`, and the record of what it tells if `remembered` names one."""
        return Answer(self.compute(session, parameters, released, inputs))

    @abstractmethod
    def compute(self, session: Session, parameters: P, released: Released, inputs: Inputs) -> Outputs:
        """At every node, on shares. Opens nothing; disclosure control happens here."""

    @abstractmethod
    def finish(self, parameters: P, released: Released, opened: Opened) -> Result:
        """At the recipient, in the clear: everything that follows from released numbers alone."""

    def query(self, parameters: P, facts: Mapping[str, object]) -> dict[str, Arrays]:
        """At the physician's client, in the clear: the columns of the query table. Only for analyses with one."""
        raise TypeError(f"analysis {self.kind} takes no query")
