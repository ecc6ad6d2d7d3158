"""The consortium as this workbench last saw it: nodes, studies, who signed what. Pages read this and never wait.

A background thread (`workbench.network`) asks the nodes every few seconds and puts a new `Snapshot` in place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from governance.approval import Amendments, Standing, Statements, check_approved, read_statements
from governance.envelope import Envelope
from governance.errors import Expired, GovernanceError, NotApproved, NotYetValid, Superseded, Withdrawn
from governance.federation import Federation
from governance.run_request import Spent, runs_left
from governance.study import StudyProtocol

StudyState = Literal[
    "awaiting approval",
    "approved",
    "declined",
    "withdrawn",
    "replaced",
    "expired",
    "not yet valid",
    "refused",
]


@dataclass(frozen=True)
class NodeView:
    """One node: whether it gave an answer that can be used, and if not, why."""

    id: str
    organisation: str
    answered: bool
    problem: str = ""


@dataclass(frozen=True)
class StudyView:
    """One study with what was validly said about it. ``spent``: runs that began or wait to."""

    study: StudyProtocol
    statements: Statements
    state: StudyState
    why: str
    standing: Standing | None
    spent: Spent = field(default_factory=Spent)

    @property
    def digest(self) -> str:
        """The study's digest, which names it everywhere."""
        return self.study.digest

    @property
    def signed(self) -> int:
        """How many hospitals approved."""
        return sum(self.statements.state_of(site) == "approved" for site in self.study.sites)

    def runs_left(self, requester_key: str) -> int:
        """Runs one requester still has."""
        return runs_left(self.study, self.spent, requester_key)


@dataclass(frozen=True)
class Snapshot:
    """Everything seen in one round of questions. ``complaints``: what nodes hold or say that does not hold,
    each with the node's name.
    """

    federation: Federation
    at: datetime
    nodes: tuple[NodeView, ...]
    studies: tuple[StudyView, ...] = ()
    complaints: tuple[str, ...] = ()

    def study(self, digest: str) -> StudyView | None:
        """The study with this digest, if it was seen."""
        return next((view for view in self.studies if view.digest == digest), None)

    def concerning(self, key: str) -> list[StudyView]:
        """Studies whose investigator or recipient has this signing key, newest validity first."""
        mine = [view for view in self.studies if key in parties(view.study)]
        return sorted(mine, key=lambda view: view.study.validity.not_before, reverse=True)

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong with what nodes say, each with the node's name."""
        return [*(node.problem for node in self.nodes if node.problem), *self.complaints]

    @property
    def silent(self) -> list[str]:
        """Nodes that gave no answer that can be used."""
        return [node.id for node in self.nodes if not node.answered]


def parties(study: StudyProtocol) -> set[str]:
    """Signing keys of the people a study names."""
    return {study.investigator.key, *(person.signing_key for person in study.recipients)}


def view_study(
    federation: Federation,
    study: StudyProtocol,
    envelopes: Iterable[Envelope],
    moment: datetime,
    amendments: Amendments,
    spent: Spent | None = None,
) -> StudyView:
    """Judge a study from its signatures, here and now; no node's word for it is taken.

    ``envelopes`` and those of ``amendments``: whose signatures hold, as `NodeSet.study` gives them.

    Raises:
        governance.errors.GovernanceError: an envelope is not signed by the party it speaks for.
    """
    given = list(envelopes)
    statements = read_statements(federation, study, given)
    state, why, standing = _judge(federation, study, given, moment, amendments)
    return StudyView(study, statements, state, why, standing, spent or Spent())


def _judge(
    federation: Federation,
    study: StudyProtocol,
    envelopes: list[Envelope],
    moment: datetime,
    amendments: Amendments,
) -> tuple[StudyState, str, Standing | None]:
    try:
        return "approved", "", check_approved(federation, study, envelopes, moment, amendments)
    except NotApproved as error:
        return ("declined" if error.declined else "awaiting approval"), str(error), None
    except GovernanceError as error:
        state = next((state for kind, state in _STATES if isinstance(error, kind)), _OTHERWISE)
        return state, str(error), None


_STATES: tuple[tuple[type[GovernanceError], StudyState], ...] = (
    (Superseded, "replaced"),
    (Withdrawn, "withdrawn"),
    (Expired, "expired"),
    (NotYetValid, "not yet valid"),
)
_OTHERWISE: StudyState = "refused"
