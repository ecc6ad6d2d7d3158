"""What the connector asks of a node. Outbound only: the connector calls, nothing ever calls it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from governance.envelope import Envelope
from governance.study import StudyProtocol
from mpc_backend.client.connection import NodeClient


@dataclass(frozen=True)
class StudyNews:
    """What a node lists of a study. ``revision`` changes with every statement it takes in about the study;
    ``waiting``: ids of runs that wait there, oldest first.
    """

    digest: str
    revision: str
    waiting: tuple[str, ...] = ()


class NodeLink(Protocol):
    """One node. Methods raise `NodeUnreachable` when it does not answer, `NodeRefused` when it says no, and
    `BadAnswer`, which is a refusal too, when it answers nonsense.
    """

    node: str

    def studies_concerning(self, site: str, known: Collection[str]) -> Sequence[StudyNews]:
        """Open studies that name this site, and every amendment of known ones, as the node says."""

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """The study with this digest and the signed statements about it, which are not trusted yet."""

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """Hand a signed statement over; repeating it is harmless."""

    def run_request(self, run_id: str) -> Envelope:
        """The signed request of a run, which is not trusted yet."""

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """Hand over a manifest with this node's sealed package; repeating the same upload is harmless."""


class HttpNode:
    """A node over HTTPS, as `NodeLink` describes it."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self.node = client.entry.id

    def studies_concerning(self, site: str, known: Collection[str]) -> Sequence[StudyNews]:
        """See `NodeLink`."""
        return [
            StudyNews(line.digest, line.revision, line.waiting)
            for line in self._client.studies()
            if (site in line.sites and not line.closed) or line.amends in known
        ]

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """See `NodeLink`."""
        answer = self._client.study(digest)
        return answer.study, answer.envelopes

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """See `NodeLink`."""
        self._client.post_envelope(digest, envelope)

    def run_request(self, run_id: str) -> Envelope:
        """See `NodeLink`."""
        return self._client.run(run_id).request

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """See `NodeLink`."""
        self._client.upload(manifest, package)
