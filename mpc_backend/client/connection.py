"""One node over HTTPS, accepted only with the certificate that the federation file lists for it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx

from governance.canonical import canonical_json, sha256_hex
from governance.envelope import Envelope
from governance.errors import DocumentError
from governance.federation import NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.answers import (
    OTHER,
    PROBLEM,
    RESULT,
    RUN,
    RUN_LIST,
    STATUS,
    STUDY,
    STUDY_LIST,
    UPLOAD_LIST,
    Kind,
    ResultAnswer,
    RunAnswer,
    RunLine,
    StatusAnswer,
    StudyAnswer,
    StudyLine,
    UploadLine,
    printable,
    read_answer,
)
from mpc_backend.client.deadline import punctual, within
from mpc_backend.client.errors import AnswerTooLarge, BadAnswer, NodeRefused, NodeUnreachable
from mpc_backend.node.problems import TYPE_PREFIX
from mpc_backend.transport.certificates import control_client_context

T = TypeVar("T")
PIECE_BYTES = 1 << 20
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
"""For single steps of a request. Connecting includes the TLS handshake, which a node that computes may be slow with."""
IDLE_SECONDS = 10.0
"""A connection that was idle for so long is not used again: sooner than a node closes it (`mpc_backend.node.serve`), for a
request that meets the close would look like a node that is down.
"""
REQUEST_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 512 * 1024
"""A whole request, its answer included, may take REQUEST_SECONDS, and more by what it sends and may be answered."""
_USUAL = {"type", "title", "status", "detail", "instance"}


class NodeClient:
    """One node. Every method raises NodeUnreachable if it does not answer, NodeRefused if it refuses, and
    BadAnswer, a NodeRefused too, if what it answers is not what a node answers.
    """

    def __init__(self, entry: NodeEntry, transport: httpx.BaseTransport | None = None) -> None:
        self.entry = entry
        self._http = httpx.Client(
            base_url=entry.control_url,
            verify=punctual(control_client_context(entry.tls_certificate)),
            timeout=TIMEOUT,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
            transport=transport,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    # Reading

    def status(self) -> StatusAnswer:
        """Who the node is and whether it is busy."""
        return self._read(STATUS, "its status", "/v1/status")

    def studies(self) -> tuple[StudyLine, ...]:
        """Every study the node holds."""
        return self._read(STUDY_LIST, "its list of studies", "/v1/studies")

    def study(self, digest: str) -> StudyAnswer:
        """A study, its document checked against the digest, with the statements the node holds about it."""
        what = f"study {digest[:12]}"
        answer = self._read(STUDY, what, f"/v1/studies/{digest}")
        try:
            found = answer.study.digest
        except DocumentError as error:
            raise BadAnswer(self.entry.id, f"cannot read {what}: {error}") from error
        if found != digest:
            raise BadAnswer(self.entry.id, f"hands out study {found[:12]} when asked for {digest[:12]}")
        return answer

    def uploads(self, digest: str) -> tuple[UploadLine, ...]:
        """Which sites have uploaded for a study."""
        path = f"/v1/studies/{digest}/uploads"
        return self._read(UPLOAD_LIST, f"its uploads for study {digest[:12]}", path)

    def runs(self, study: str) -> tuple[RunLine, ...]:
        """Runs of a study, oldest first."""
        what = f"its runs of study {study[:12]}"
        lines = self._read(RUN_LIST, what, f"/v1/runs?study={study}")
        if any(line.study != study for line in lines):
            raise BadAnswer(self.entry.id, f"lists runs of another study among {what}")
        return lines

    def run(self, run_id: str) -> RunAnswer:
        """How far a run is, and its signed request."""
        answer = self._read(RUN, f"run {run_id[:12]}", f"/v1/runs/{run_id}")
        if answer.run_id != run_id:
            raise BadAnswer(self.entry.id, f"tells of run {answer.run_id[:12]} when asked for {run_id[:12]}")
        return answer

    def result(self, run_id: str) -> ResultAnswer:
        """The node's sealed output of a run that is done, and every node's attestation."""
        return self._read(RESULT, f"the result of run {run_id[:12]}", f"/v1/runs/{run_id}/result")

    # Posting

    def post_study(self, study: StudyProtocol) -> None:
        """Hand a study over; repeating it is harmless."""
        self.post("/v1/studies", study.canonical())

    def submit(self, study: StudyProtocol, submission: Envelope) -> None:
        """Hand a study over with its investigator's signature; repeating it is harmless."""
        body = {"study": study.model_dump(mode="json"), "submission": submission.model_dump(mode="json")}
        self.post("/v1/submissions", canonical_json(body))

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
        head = manifest.canonical()
        try:
            self.post("/v1/uploads", _pieces(head, sealed), len(head) + len(sealed))
        except NodeRefused as error:
            held = error.more.get("manifest")
            if error.problem != "duplicate-upload" or held != sha256_hex(manifest.body):
                raise

    # HTTP

    def get(self, path: str) -> Any:
        """A JSON document, as the node gives it."""
        return self._json("GET", path, f"what is at {path}", OTHER.limit)

    def post(self, path: str, body: bytes | Iterator[bytes], size: int | None = None) -> Any:
        """Send bytes, get a JSON document, as the node gives it. ``size``: of a body in pieces."""
        what = f"the answer to what was sent to {path}"
        sent = len(body) if isinstance(body, bytes) else size or 0
        return self._json("POST", path, what, OTHER.limit, body, sent)

    def _read(self, kind: Kind[T], what: str, path: str) -> T:
        return read_answer(self.entry.id, what, kind.form, self._json("GET", path, what, kind.limit))

    def _json(
        self,
        method: str,
        path: str,
        what: str,
        limit: int,
        body: bytes | Iterator[bytes] | None = None,
        sent: int = 0,
    ) -> Any:
        entry = self.entry
        headers = {} if body is None else {"Content-Type": "application/json"}
        seconds = REQUEST_SECONDS + (limit + sent) / SLOWEST_BYTES_PER_SECOND
        with within(seconds) as until:
            try:
                with self._http.stream(method, path, content=body, headers=headers) as response:
                    taken = self._taken_in(response, what, limit if response.is_success else OTHER.limit)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = printable(str(error)) or type(error).__name__
                if time.monotonic() >= until:
                    why = f"{what} did not end within {seconds:.3g} s"
                raise NodeUnreachable(entry.id, entry.control_url, why) from error
        try:
            value = json.loads(taken)
        except (ValueError, RecursionError) as error:
            raise NodeUnreachable(
                entry.id, entry.control_url, f"status {response.status_code}, no JSON"
            ) from error
        if response.is_error:
            raise self._refusal(response.status_code, value)
        return value

    def _taken_in(self, response: httpx.Response, what: str, limit: int) -> bytearray:
        """The body, as long as it keeps to the limit. Nothing was to be compressed, so that no few bytes can
        become many.
        """
        node = self.entry
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise BadAnswer(
                node.id, f"cannot take in {what}: encoded as {printable(encoding[:40])!r}, unasked"
            )
        taken = bytearray()
        for piece in response.iter_bytes():
            taken += piece
            if len(taken) > limit:
                raise AnswerTooLarge(node.id, what, limit)
        return taken

    def _refusal(self, status: int, body: object) -> NodeRefused:
        """What a problem document says; raises BadAnswer if it is none."""
        node = self.entry.id
        problem = read_answer(node, f"the reason for its status {status}", PROBLEM, body)
        more = {name: value for name, value in (problem.model_extra or {}).items() if name not in _USUAL}
        detail = problem.detail or f"refused with status {status}"
        return NodeRefused(node, problem.type.removeprefix(TYPE_PREFIX), detail, more)


def _pieces(manifest: bytes, sealed: bytes) -> Iterator[bytes]:
    yield len(manifest).to_bytes(4, "little") + manifest
    view = memoryview(sealed)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])
