"""What the connector asks of a node. Outbound only: the connector calls, nothing ever calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from governance.envelope import Envelope
from governance.study import StudyProtocol


class NodeLink(Protocol):
    """One node. Methods raise `NodeDown` when it does not answer and `NodeRefused` when it says no."""

    node: str

    def study_digests(self) -> Sequence[str]:
        """Digests of the studies posted to this node."""

    def study(self, digest: str) -> StudyProtocol:
        """One study; the caller checks its digest."""

    def statements(self, digest: str) -> Sequence[Envelope]:
        """Signed statements about a study, not yet trusted."""

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """Hand a signed statement over; repeating it is harmless."""

    def open_runs(self, digest: str) -> Sequence[Envelope]:
        """Signed requests of runs that wait for uploads, not yet trusted."""

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """Hand over a manifest with this node's sealed package; repeating the same upload is harmless."""
