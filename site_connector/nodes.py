"""What the connector asks of a node. Outbound only: the connector calls, nothing ever calls it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from governance.canonical import canonical_json, sha256_hex
from governance.envelope import Envelope
from governance.errors import DocumentError
from governance.study import StudyProtocol
from mpc_backend.client.errors import NodeRefused
from mpc_backend.client.nodes import NodeClient


class NodeLink(Protocol):
    """One node. Methods raise `NodeUnreachable` when it does not answer and `NodeRefused` when it says no."""

    node: str

    def studies_naming(self, site: str) -> Sequence[str]:
        """Digests of open studies that name this site, as the node says."""

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """One study and the signed statements about it, nothing trusted yet; the caller checks the digest."""

    def statements(self, digest: str) -> Sequence[Envelope]:
        """The signed statements about a study whose document is known."""

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """Hand a signed statement over; repeating it is harmless."""

    def open_runs(self, digest: str, known: Collection[str]) -> Sequence[Envelope]:
        """Signed requests of runs that wait, without those already known; not yet trusted."""

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """Hand over a manifest with this node's sealed package; repeating the same upload is harmless."""


DIGEST = re.compile(r"[0-9a-f]{64}")


class HttpNode:
    """A node over HTTPS, accepted only with the certificate the federation file lists for it.

    A node may answer anything. An answer of another form than the node's interface has is a refusal of type
    ``malformed`` by this node, so that what other nodes say still counts.
    """

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self.node = client.entry.id

    def studies_naming(self, site: str) -> Sequence[str]:
        """See `NodeLink`."""
        with self._reading("its list of studies"):
            lines = self._client.get("/v1/studies")
            return [_digest(line["digest"]) for line in lines if site in line["sites"] and not line["closed"]]

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        """See `NodeLink`."""
        with self._reading(f"study {digest[:12]}"):
            body = self._client.get(f"/v1/studies/{digest}")
            study = StudyProtocol.from_canonical(canonical_json(body["study"]))
            return study, [Envelope.from_value(one) for one in body["envelopes"]]

    def statements(self, digest: str) -> Sequence[Envelope]:
        """See `NodeLink`."""
        with self._reading(f"the statements about study {digest[:12]}"):
            body = self._client.get(f"/v1/studies/{digest}")
            return [Envelope.from_value(one) for one in body["envelopes"]]

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        """See `NodeLink`."""
        self._client.post(f"/v1/studies/{digest}/envelopes", envelope.canonical())

    def open_runs(self, digest: str, known: Collection[str]) -> Sequence[Envelope]:
        """See `NodeLink`."""
        with self._reading(f"its runs of study {digest[:12]}"):
            runs = self._client.get("/v1/runs", study=digest)
            waiting = [_digest(run["run_id"]) for run in runs if run["state"] == "waiting"]
            wanted = [one for one in waiting if one not in known]
            return [Envelope.from_value(self._client.get(f"/v1/runs/{one}")["request"]) for one in wanted]

    def upload(self, manifest: Envelope, package: bytes) -> None:
        """See `NodeLink`. Layout: length of the manifest (4 bytes, little-endian), manifest, package."""
        head = manifest.canonical()
        try:
            self._client.post("/v1/uploads", iter([len(head).to_bytes(4, "little") + head, package]))
        except NodeRefused as error:
            held = error.more.get("manifest")
            if error.problem != "duplicate-upload" or held != sha256_hex(manifest.body):
                raise

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn whatever goes wrong in reading an answer into this node's refusal."""
        try:
            yield
        except DocumentError as error:
            raise NodeRefused(self.node, "malformed", f"cannot read {what}: {error}", {}) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            kind = type(error).__name__
            raise NodeRefused(self.node, "malformed", f"cannot read {what} ({kind})", {}) from error


def _digest(value: str) -> str:
    """An id a node gave, before it becomes part of an address or a key."""
    if not DIGEST.fullmatch(value):
        raise ValueError("not a SHA-256 digest in hexadecimal")
    return value
