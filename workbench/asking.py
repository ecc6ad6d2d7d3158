"""One round of questions to every node: who answers, which studies there are, how they stand, what is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from governance.approval import Version
from governance.federation import Federation
from governance.run_request import Spent
from governance.study import StudyProtocol
from mpc_backend.client.answers import RunLine
from mpc_backend.client.errors import BadAnswer, NoUsableAnswer
from mpc_backend.client.nodes import Faults, NodeSet
from workbench.consortium import NodeView, Snapshot, view_study


class Asker:
    """Asks the nodes of one federation, over connections kept between rounds."""

    def __init__(self, federation: Federation) -> None:
        self._nodes = NodeSet(federation)

    def __call__(self, federation: Federation, moment: datetime) -> Snapshot:
        """Everything the workbench shows of the consortium; that no node answers is part of the answer."""
        try:
            return look(self._nodes, moment)
        except NoUsableAnswer as error:
            return Snapshot(federation, moment, _node_views(federation, error.faults))

    def close(self) -> None:
        """Close the connections."""
        self._nodes.close()


def look(nodes: NodeSet, moment: datetime) -> Snapshot:
    """Every study the nodes hold, judged from its signatures. What one node says wrongly costs a complaint.

    Raises:
        NoUsableAnswer: no node gives a list of studies.
    """
    listed = nodes.studies()
    seen: list[tuple[Version, Spent]] = []
    amendments: dict[str | None, list[Version]] = {}
    complaints: list[str] = []
    for digest in listed.digests:
        try:
            held = nodes.study(digest, moment)
        except NoUsableAnswer as error:
            complaints.append(str(error))
            continue
        runs, faults = nodes.runs(digest)
        complaints += held.complaints
        complaints += [str(fault) for fault in faults.values() if isinstance(fault, BadAnswer)]
        version = Version(held.study, held.statements)
        seen.append((version, spent_of(held.study, runs)))
        amendments.setdefault(held.study.amends, []).append(version)

    def amending(digest: str) -> list[Version]:
        return amendments.get(digest, [])

    studies = [
        view_study(nodes.federation, one.study, one.envelopes, moment, amending, spent) for one, spent in seen
    ]
    views = _node_views(nodes.federation, listed.faults)
    return Snapshot(nodes.federation, moment, views, tuple(studies), tuple(complaints))


def _node_views(federation: Federation, faults: Faults) -> tuple[NodeView, ...]:
    return tuple(
        NodeView(node.id, node.organisation, node.id not in faults, str(faults.get(node.id, "")))
        for node in federation.nodes
    )


def spent_of(study: StudyProtocol, runs: Mapping[str, Iterable[RunLine]]) -> Spent:
    """Runs that are no longer free: those that began at any node, whatever came of them, and those that wait to.

    Nodes charge a run when it begins, and refuse one beyond what those that wait leave over.
    """
    begun = {run.run_id: run.recipient for lines in runs.values() for run in lines if _takes_one(run)}
    keys = {person.id: person.signing_key for person in study.recipients}
    counted = Counter(keys[recipient] for recipient in begun.values() if recipient in keys)
    return Spent(runs=len(begun), by_requester=dict(counted))


def _takes_one(run: RunLine) -> bool:
    return run.started_at is not None or run.state in ("waiting", "running")
