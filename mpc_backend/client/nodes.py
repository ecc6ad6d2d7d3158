"""Every node of a federation over HTTPS, each accepted only with the certificate that the federation file
lists for it.

What is posted goes to all nodes; what is read is read from all nodes where they could differ. Nothing a node
says is trusted beyond the signatures it hands out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from governance.canonical import canonical_json, sha256_hex
from governance.envelope import Envelope
from governance.federation import Federation, NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.errors import NodeRefused, NodesDisagree, NodeUnreachable
from mpc_backend.node.problems import TYPE_PREFIX
from mpc_backend.transport.certificates import control_client_context

T = TypeVar("T")
PIECE_BYTES = 1 << 20
TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class NodeClient:
    """One node."""

    def __init__(self, entry: NodeEntry, transport: httpx.BaseTransport | None = None) -> None:
        self.entry = entry
        self._http = httpx.Client(
            base_url=entry.control_url,
            verify=control_client_context(entry.tls_certificate),
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        """A JSON document.

        Raises:
            NodeUnreachable, NodeRefused.
        """
        return self._json(lambda: self._http.get(path, params=query))

    def post(self, path: str, body: bytes | Iterator[bytes]) -> Any:
        """Send bytes, get a JSON document.

        Raises:
            NodeUnreachable, NodeRefused.
        """
        return self._json(
            lambda: self._http.post(path, content=body, headers={"Content-Type": "application/json"})
        )

    def _json(self, request: Callable[[], httpx.Response]) -> Any:
        entry = self.entry
        try:
            response = request()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise NodeUnreachable(entry.id, entry.control_url, why) from error
        try:
            body = response.json()
        except (ValueError, RecursionError) as error:
            raise NodeUnreachable(
                entry.id, entry.control_url, f"status {response.status_code}, no JSON"
            ) from error
        if response.is_error and not isinstance(body, dict):
            raise NodeRefused(
                entry.id, "malformed", f"status {response.status_code} with a body that tells no reason", {}
            )
        if response.is_error:
            slug = str(body.get("type", "")).removeprefix(TYPE_PREFIX)
            more = {name: value for name, value in body.items() if name not in _USUAL}
            raise NodeRefused(entry.id, slug, str(body.get("detail", response.status_code)), more)
        return body


_USUAL = {"type", "title", "status", "detail", "instance"}


class NodeSet:
    """All nodes of a federation; use as a context manager or close it."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.nodes = tuple(NodeClient(entry) for entry in federation.nodes)
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
        found, errors = self.each_that_answers(action)
        for error in errors.values():
            raise error
        return found

    def each_that_answers(
        self, action: Callable[[NodeClient], T]
    ) -> tuple[dict[str, T], dict[str, NodeUnreachable | NodeRefused]]:
        """Do something at every node at once: results and errors by node id, in the federation's order."""
        futures = {node.entry.id: self._pool.submit(action, node) for node in self.nodes}
        found: dict[str, T] = {}
        errors: dict[str, NodeUnreachable | NodeRefused] = {}
        for node_id, future in futures.items():
            try:
                found[node_id] = future.result()
            except (NodeUnreachable, NodeRefused) as error:
                errors[node_id] = error
        return found, errors

    # Reading

    def status(self) -> dict[str, dict[str, Any]]:
        """Each node's status, by node id; a node that does not answer is an error."""
        return self.each(lambda node: dict(node.get("/v1/status")))

    def studies(self) -> dict[str, dict[str, Any]]:
        """Every study any node that answers knows, by digest.

        Raises:
            NodeUnreachable: no node answers.
        """
        found, errors = self.each_that_answers(lambda node: node.get("/v1/studies"))
        if not found:
            raise next(iter(errors.values()))
        return {line["digest"]: line for lines in found.values() for line in lines}

    def study(self, digest: str) -> tuple[StudyProtocol, list[Envelope]]:
        """A study and every statement any node has about it. The document is checked against its digest;
        check the signatures with `governance.approval.check_approved`.

        Raises:
            NodeUnreachable, NodeRefused: no node has it.
            NodesDisagree: a node hands out another document.
        """
        found, errors = self.each_that_answers(lambda node: node.get(f"/v1/studies/{digest}"))
        if not found:
            raise next(iter(errors.values()))
        envelopes: dict[str, Envelope] = {}
        study: StudyProtocol | None = None
        for node_id, body in found.items():
            study = StudyProtocol.from_canonical(canonical_json(body["study"]))
            if study.digest != digest:
                raise NodesDisagree(
                    f"{node_id} hands out study {study.digest[:12]} when asked for {digest[:12]}"
                )
            for value in body["envelopes"]:
                envelope = Envelope.from_value(value)
                envelopes[envelope.digest] = envelope
        assert study is not None
        return study, list(envelopes.values())

    def uploads(self, digest: str) -> dict[str, list[dict[str, Any]]]:
        """Which sites have uploaded for a study, by node id."""
        return self.each(lambda node: list(node.get(f"/v1/studies/{digest}/uploads")))

    def runs(self, study: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Runs (of a study), by node id."""
        query = {} if study is None else {"study": study}
        return self.each(lambda node: list(node.get("/v1/runs", **query)))

    def run(self, run_id: str) -> dict[str, dict[str, Any]]:
        """One run as each node that answers sees it, by node id.

        Raises:
            NodeUnreachable, NodeRefused: no node answers or knows it.
        """
        found, errors = self.each_that_answers(lambda node: dict(node.get(f"/v1/runs/{run_id}")))
        if not found:
            raise next(iter(errors.values()))
        return found

    def results(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Each node's sealed output and attestations, by node id; every node must hand them out."""
        return self.each(lambda node: dict(node.get(f"/v1/runs/{run_id}/result")))

    def ledger(self, node_id: str, start: int = 0) -> dict[str, Any]:
        """Entries of one node's log, from ``start``."""
        node = next(one for one in self.nodes if one.entry.id == node_id)
        return dict(node.get("/v1/log/entries", start=start))

    # Posting

    def post_study(self, study: StudyProtocol) -> None:
        """Give a study to every node."""
        self.each(lambda node: node.post("/v1/studies", study.canonical()))

    def post_envelope(self, study_digest: str, envelope: Envelope) -> None:
        """Give a signed statement about a study to every node."""
        path = f"/v1/studies/{study_digest}/envelopes"
        self.each(lambda node: node.post(path, envelope.canonical()))

    def upload(self, manifest: Envelope, sealed: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
        """Give each node its sealed package, with the signed manifest that names all of them.

        Nodes that have this very upload already are left alone, so an interrupted upload can be repeated.
        """
        return self.each(lambda node: self._upload(node, manifest, sealed[node.entry.id]))

    def _upload(self, node: NodeClient, manifest: Envelope, sealed: bytes) -> dict[str, Any]:
        head = manifest.canonical()
        lead = len(head).to_bytes(4, "little") + head
        try:
            return dict(node.post("/v1/uploads", _pieces(lead, sealed)))
        except NodeRefused as error:
            if error.problem == "duplicate-upload" and error.more.get("manifest") == _body_digest(manifest):
                return {"upload_id": error.more["upload_id"], "repeated": True}
            raise

    def post_run(
        self, request: Envelope, queries: Mapping[str, bytes] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Give a run request to every node, each with its own part of a secret query if there is one."""

        def post(node: NodeClient) -> dict[str, Any]:
            query = None if queries is None else base64.b64encode(queries[node.entry.id]).decode()
            body = {"request": request.model_dump(mode="json"), "query": query}
            return dict(node.post("/v1/runs", canonical_json(body)))

        return self.each(post)


def _pieces(lead: bytes, sealed: bytes) -> Iterator[bytes]:
    yield lead
    view = memoryview(sealed)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


def _body_digest(envelope: Envelope) -> str:
    return sha256_hex(envelope.body)
