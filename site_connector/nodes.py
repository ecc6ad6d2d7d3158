"""What the connector asks of a node. Outbound only: the connector calls, nothing ever calls it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from governance.envelope import Envelope
from governance.study import StudyProtocol
from mpc_backend.client.connection import NodeClient


class NodeLink(Protocol):
    """One node. Methods raise `NodeUnreachable` when it does not answer, `NodeRefused` when it says no, and
    `BadAnswer`, which is a refusal too, when it answers nonsense.
    """

    node: str

    def studies_naming(self, site: str) -> Sequence[str]:
        """Digests of open studies that name this site, as the node says."""

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """The study with this digest and the signed statements about it, which are not trusted yet."""

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """Hand a signed statement over; repeating it is harmless."""

    def open_runs(self, digest: str, known: Collection[str]) -> Sequence[Envelope]:
        """Signed requests of runs that wait, without those already known; not yet trusted."""

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """Hand over a manifest with this node's sealed package; repeating the same upload is harmless."""


class HttpNode:
    """A node over HTTPS, as `NodeLink` describes it."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self.node = client.entry.id

    def studies_naming(self, site: str) -> Sequence[str]:
        """See `NodeLink`."""
        lines = self._client.studies()
        return [line.digest for line in lines if site in line.sites and not line.closed]

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """See `NodeLink`."""
        answer = self._client.study(digest)
        return answer.study, answer.envelopes

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """See `NodeLink`."""
        self._client.post_envelope(digest, envelope)

    def open_runs(self, digest: str, known: Collection[str]) -> Sequence[Envelope]:
        """See `NodeLink`."""
        waiting = [run.run_id for run in self._client.runs(digest) if run.state == "waiting"]
        return [self._client.run(one).request for one in waiting if one not in known]

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """See `NodeLink`."""
        self._client.upload(manifest, package)
