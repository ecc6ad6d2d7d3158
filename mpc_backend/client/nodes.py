"""Every node of a federation.

What is posted goes to all nodes; what is read is read from all nodes where they could differ. Nothing a node
says is trusted beyond the signatures it hands out: a node that answers nonsense is named and left out, and
what the others hold is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from governance.approval import read_statement
from governance.envelope import Envelope
from governance.errors import GovernanceError
from governance.federation import Federation, NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.answers import (
    ResultAnswer,
    RunAnswer,
    RunLine,
    StatusAnswer,
    UploadLine,
    printable,
)
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.errors import (
    BadAnswer,
    NodeRefused,
    NodeUnreachable,
    NothingSent,
    NoUsableAnswer,
)

T = TypeVar("T")
Faults = dict[str, NodeUnreachable | NodeRefused]
"""Why nodes gave no answer that can be used, by node id."""


@dataclass(frozen=True)
class StudyList:
    """Digests of all studies that nodes list, and why other nodes list none, by node id."""

    digests: tuple[str, ...]
    faults: Faults


@dataclass(frozen=True)
class HeldStudy:
    """A study with every statement about it that verifies. ``complaints``: what nodes hold or say about it
    that does not, each with the node's name.
    """

    study: StudyProtocol
    statements: tuple[Envelope, ...]
    complaints: tuple[str, ...] = ()


class NodeSet:
    """All nodes of a federation; use as a context manager or close it. ``connect`` makes each connection."""

    def __init__(
        self, federation: Federation, connect: Callable[[NodeEntry], NodeClient] = NodeClient
    ) -> None:
        self.federation = federation
        self.nodes = tuple(connect(entry) for entry in federation.nodes)
        self._pool = ThreadPoolExecutor(len(self.nodes), thread_name_prefix="nodes")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown()
        for node in self.nodes:
            node.close()

    def each(self, action: Callable[[NodeClient], T]) -> dict[str, T]:
        """Do something at every node at once; results by node id.

        Raises:
            NodeUnreachable, NodeRefused: the first that failed, after all were tried.
        """
        found, faults = self.each_that_answers(action)
        for fault in faults.values():
            raise fault
        return found

    def each_that_answers(self, action: Callable[[NodeClient], T]) -> tuple[dict[str, T], Faults]:
        """Do something at every node at once: results and faults by node id, in the federation's order."""
        futures = {node.entry.id: self._pool.submit(action, node) for node in self.nodes}
        found: dict[str, T] = {}
        faults: Faults = {}
        for node_id, future in futures.items():
            try:
                found[node_id] = future.result()
            except (NodeUnreachable, NodeRefused) as fault:
                faults[node_id] = fault
        return found, faults

    def any_that_answers(self, what: str, action: Callable[[NodeClient], T]) -> tuple[dict[str, T], Faults]:
        """The same, if at least one node gives an answer that can be used.

        Raises:
            NoUsableAnswer: none does; names each and why.
        """
        found, faults = self.each_that_answers(action)
        if not found:
            raise NoUsableAnswer(what, faults)
        return found, faults

    # Reading

    def status(self) -> dict[str, StatusAnswer]:
        """Each node's status, by node id; a node that does not answer is an error."""
        return self.each(NodeClient.status)

    def studies(self) -> StudyList:
        """Every study that any node lists.

        Raises:
            NoUsableAnswer: no node gives a list.
        """
        found, faults = self.any_that_answers("the list of studies", NodeClient.studies)
        return StudyList(tuple({line.digest: None for lines in found.values() for line in lines}), faults)

    def study(self, digest: str, now: datetime) -> HeldStudy:
        """A study and every statement any node holds about it that is signed by the party it speaks for.

        Whether it is approved is for the caller to judge, with `governance.approval.check_approved`.

        Raises:
            NoUsableAnswer: no node hands it out.
        """
        found, faults = self.any_that_answers(f"study {digest[:12]}", lambda node: node.study(digest))
        verifying = _Verifying(self.federation, next(iter(found.values())).study, now)
        for node_id, answer in found.items():
            verifying.take(node_id, answer.envelopes)
        complaints = [str(fault) for fault in faults.values() if isinstance(fault, BadAnswer)]
        return HeldStudy(
            verifying.study, tuple(verifying.sound.values()), (*complaints, *verifying.complaints())
        )

    def uploads(self, digest: str) -> dict[str, tuple[UploadLine, ...]]:
        """Which sites have uploaded for a study, by node id; a node that does not answer is an error."""
        return self.each(lambda node: node.uploads(digest))

    def runs(self, study: str) -> tuple[dict[str, tuple[RunLine, ...]], Faults]:
        """Runs of a study, by node id, and why other nodes tell none."""
        return self.each_that_answers(lambda node: node.runs(study))

    def run(self, run_id: str) -> tuple[dict[str, RunAnswer], Faults]:
        """One run as each node that answers sees it, by node id, and why others do not tell.

        Raises:
            NoUsableAnswer: no node does.
        """
        return self.any_that_answers(f"run {run_id[:12]}", lambda node: node.run(run_id))

    def results(self, run_id: str) -> dict[str, ResultAnswer]:
        """Each node's sealed output and attestations, by node id; every node must hand them out."""
        return self.each(lambda node: node.result(run_id))

    # Posting

    def check_all_answer(self, what: str) -> None:
        """Ask every node for its status, before something is sent that is of no use unless all nodes have it.

        Raises:
            NothingSent: a node gives none; names each and why.
        """
        faults = self.each_that_answers(NodeClient.status)[1]
        if faults:
            raise NothingSent(what, faults)

    def post_study(self, study: StudyProtocol) -> None:
        """Give a study to every node, if all of them answer.

        Raises:
            NothingSent: one does not.
            NodeUnreachable, NodeRefused: the first that failed after all.
        """
        self.check_all_answer("a study")
        self.each(lambda node: node.post_study(study))

    def submit(self, study: StudyProtocol, submission: Envelope) -> None:
        """Give a study with its investigator's signature to every node, if all of them answer.

        Raises:
            NothingSent: one does not.
            NodeUnreachable, NodeRefused: the first that failed after all.
        """
        self.check_all_answer("a study")
        self.each(lambda node: node.submit(study, submission))

    def post_envelope(self, study_digest: str, envelope: Envelope) -> None:
        """Give a signed statement about a study to every node."""
        self.each(lambda node: node.post_envelope(study_digest, envelope))

    def upload(self, manifest: Envelope, sealed: Mapping[str, bytes]) -> None:
        """Give each node its sealed package, with the signed manifest that names all of them.

        Nodes that have this very upload already are left alone, so an interrupted upload can be repeated.
        """
        self.each(lambda node: node.upload(manifest, sealed[node.entry.id]))

    def post_run(self, request: Envelope, queries: Mapping[str, bytes] | None = None) -> None:
        """Give a run request to every node, each with its own part of a secret query if there is one.

        Raises:
            NothingSent: a node does not answer, so that the request would only wait at the others.
            NodeUnreachable, NodeRefused: the first that failed after all.
        """
        self.check_all_answer("a run request")
        self.each(lambda node: node.post_run(request, None if queries is None else queries[node.entry.id]))


@dataclass
class _Verifying:
    """Sorts the statements that nodes hold about one study into sound ones and others."""

    federation: Federation
    study: StudyProtocol
    now: datetime
    sound: dict[str, Envelope] = field(default_factory=dict)
    _wrong: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)

    def take(self, node: str, envelopes: Iterable[Envelope]) -> None:
        """Keep each statement that the party it speaks for has signed."""
        for envelope in envelopes:
            digest = envelope.digest
            if digest in self.sound:
                continue
            try:
                read_statement(self.federation, self.study, envelope, self.now)
            except GovernanceError as error:
                self._wrong[node] += 1
                self._first.setdefault(node, printable(str(error)))
            else:
                self.sound[digest] = envelope

    def complaints(self) -> list[str]:
        """One line for each node that holds statements which do not verify."""
        study = self.study.digest[:12]
        return [
            f"{node}: holds {count} statement{'s' if count > 1 else ''} about study {study} that "
            f"{'do' if count > 1 else 'does'} not verify: {self._first[node]}"
            for node, count in self._wrong.items()
        ]
