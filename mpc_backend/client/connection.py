"""One node over HTTPS, accepted only with the certificate that the federation file lists for it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from governance.canonical import canonical_json, sha256_hex
from governance.envelope import Envelope
from governance.errors import DocumentError
from governance.federation import NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.answers import (
    RUN_LINES,
    STUDY_LINES,
    UPLOAD_LINES,
    Problem,
    ResultAnswer,
    RunAnswer,
    RunLine,
    StatusAnswer,
    StudyAnswer,
    StudyLine,
    UploadLine,
    read_answer,
)
from mpc_backend.client.errors import BadAnswer, NodeRefused, NodeUnreachable
from mpc_backend.node.problems import TYPE_PREFIX
from mpc_backend.transport.certificates import control_client_context

PIECE_BYTES = 1 << 20
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_USUAL = {"type", "title", "status", "detail", "instance"}


class NodeClient:
    """One node. Every method raises NodeUnreachable if it does not answer, NodeRefused if it refuses, and
    BadAnswer, a NodeRefused too, if what it answers is not what a node answers.
    """

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

    # Reading

    def status(self) -> StatusAnswer:
        """Who the node is and whether it is busy."""
        return read_answer(self.entry.id, "its status", StatusAnswer, self.get("/v1/status"))

    def studies(self) -> tuple[StudyLine, ...]:
        """Every study the node holds."""
        return read_answer(self.entry.id, "its list of studies", STUDY_LINES, self.get("/v1/studies"))

    def study(self, digest: str) -> StudyAnswer:
        """A study, its document checked against the digest, with the statements the node holds about it."""
        what = f"study {digest[:12]}"
        answer = read_answer(self.entry.id, what, StudyAnswer, self.get(f"/v1/studies/{digest}"))
        try:
            found = answer.study.digest
        except DocumentError as error:
            raise BadAnswer(self.entry.id, f"cannot read {what}: {error}") from error
        if found != digest:
            raise BadAnswer(self.entry.id, f"hands out study {found[:12]} when asked for {digest[:12]}")
        return answer

    def uploads(self, digest: str) -> tuple[UploadLine, ...]:
        """Which sites have uploaded for a study."""
        body = self.get(f"/v1/studies/{digest}/uploads")
        return read_answer(self.entry.id, f"its uploads for study {digest[:12]}", UPLOAD_LINES, body)

    def runs(self, study: str | None = None) -> tuple[RunLine, ...]:
        """Runs (of a study), oldest first."""
        what = "its runs" if study is None else f"its runs of study {study[:12]}"
        body = self.get("/v1/runs", **({} if study is None else {"study": study}))
        lines = read_answer(self.entry.id, what, RUN_LINES, body)
        if study is not None and any(line.study != study for line in lines):
            raise BadAnswer(self.entry.id, f"lists runs of another study among {what}")
        return lines

    def run(self, run_id: str) -> RunAnswer:
        """How far a run is, and its signed request."""
        body = self.get(f"/v1/runs/{run_id}")
        answer = read_answer(self.entry.id, f"run {run_id[:12]}", RunAnswer, body)
        if answer.run_id != run_id:
            raise BadAnswer(self.entry.id, f"tells of run {answer.run_id[:12]} when asked for {run_id[:12]}")
        return answer

    def result(self, run_id: str) -> ResultAnswer:
        """The node's sealed output of a run that is done, and every node's attestation."""
        body = self.get(f"/v1/runs/{run_id}/result")
        return read_answer(self.entry.id, f"the result of run {run_id[:12]}", ResultAnswer, body)

    # Posting

    def post_study(self, study: StudyProtocol) -> None:
        """Hand a study over; repeating it is harmless."""
        self.post("/v1/studies", study.canonical())

    def post_envelope(self, study_digest: str, envelope: Envelope) -> None:
        """Hand a signed statement about a study over; repeating it is harmless."""
        self.post(f"/v1/studies/{study_digest}/envelopes", envelope.canonical())

    def post_run(self, request: Envelope, query: bytes | None) -> None:
        """Ask for a run, with this node's part of a secret query if there is one."""
        sealed = None if query is None else base64.b64encode(query).decode()
        body = {"request": request.model_dump(mode="json"), "query": sealed}
        self.post("/v1/runs", canonical_json(body))

    def upload(self, manifest: Envelope, sealed: bytes) -> None:
        """Hand over a signed manifest with this node's sealed package; repeating the very same is harmless.

        Layout: length of the manifest (4 bytes, little-endian), manifest, package.
        """
        try:
            self.post("/v1/uploads", _pieces(manifest.canonical(), sealed))
        except NodeRefused as error:
            held = error.more.get("manifest")
            if error.problem != "duplicate-upload" or held != sha256_hex(manifest.body):
                raise

    # HTTP

    def get(self, path: str, **query: str | int) -> Any:
        """A JSON document, as the node gives it."""
        return self._json(lambda: self._http.get(path, params=query))

    def post(self, path: str, body: bytes | Iterator[bytes]) -> Any:
        """Send bytes, get a JSON document, as the node gives it."""
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
        if response.is_error:
            raise self._refusal(response.status_code, body)
        return body

    def _refusal(self, status: int, body: object) -> NodeRefused:
        """What a problem document says; raises BadAnswer if it is none."""
        node = self.entry.id
        problem = read_answer(node, f"the reason for its status {status}", Problem, body)
        more = {name: value for name, value in (problem.model_extra or {}).items() if name not in _USUAL}
        detail = problem.detail or f"refused with status {status}"
        return NodeRefused(node, problem.type.removeprefix(TYPE_PREFIX), detail, more)


def _pieces(manifest: bytes, sealed: bytes) -> Iterator[bytes]:
    yield len(manifest).to_bytes(4, "little") + manifest
    view = memoryview(sealed)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])
