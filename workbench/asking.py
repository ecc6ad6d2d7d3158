"""One round of questions to every node: who answers, which studies there are, how they stand, what is
spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from governance.errors import GovernanceError
from governance.federation import Federation
from governance.run_request import Spent
from governance.study import StudyProtocol
from mpc_backend.client.errors import ClientError
from mpc_backend.client.nodes import NodeSet
from workbench.consortium import NodeView, Snapshot, StudyView, view_study


class Asker:
    """Asks the nodes of one federation, over connections kept between rounds."""

    def __init__(self, federation: Federation) -> None:
        self._nodes = NodeSet(federation)

    def __call__(self, federation: Federation, moment: datetime) -> Snapshot:
        """Everything the workbench shows of the consortium; a node that does not answer is part of the
        answer.
        """
        answered, errors = self._nodes.each_that_answers(lambda node: dict(node.get("/v1/status")))
        views = tuple(
            NodeView(node.id, node.organisation, node.id in answered, str(errors.get(node.id, "")))
            for node in federation.nodes
        )
        if not answered:
            return Snapshot(federation, moment, views)
        studies: list[StudyView] = []
        problems: dict[str, str] = {}
        for digest in self._nodes.studies():
            try:
                studies.append(self._study(federation, digest, moment))
            except (ClientError, GovernanceError) as error:
                problems[digest] = str(error)
        return Snapshot(federation, moment, views, tuple(studies), problems)

    def close(self) -> None:
        """Close the connections."""
        self._nodes.close()

    def _study(self, federation: Federation, digest: str, moment: datetime) -> StudyView:
        study, envelopes = self._nodes.study(digest)
        runs, _ = self._nodes.each_that_answers(lambda node: list(node.get("/v1/runs", study=digest)))
        return view_study(federation, study, envelopes, moment, spent_of(study, runs))


def spent_of(study: StudyProtocol, runs: Mapping[str, Iterable[Mapping[str, Any]]]) -> Spent:
    """Runs charged to a study: those that began at any node, whatever came of them."""
    begun = {run["run_id"]: run["recipient"] for lines in runs.values() for run in lines if run["started_at"]}
    keys = {person.id: person.signing_key for person in study.recipients}
    counted = Counter(keys[recipient] for recipient in begun.values() if recipient in keys)
    return Spent(runs=len(begun), by_requester=dict(counted))
