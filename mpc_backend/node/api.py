"""The control interface: documents, uploads, run requests and results over HTTPS. See docs/node.md.

Callers are known by what they sign, never by a password or an address; everything handed out is public to the
federation's members or sealed to its recipient.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from governance.canonical import canonical_json, parse_json, sha256_hex
from governance.document import explain_faults
from governance.envelope import Envelope
from governance.errors import GovernanceError
from governance.study import StudyProtocol
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import CosignedRow, EnvelopeRow, ResultRow, RunRow, StudyRow, UploadRow
from mpc_backend.node.errors import Refusal
from mpc_backend.node.problems import (
    EXPECTED,
    MEDIA_TYPE,
    PROBLEMS,
    details_of,
    problem_body,
    slug_of,
)
from mpc_backend.node.runs import PostedRun, post_run, readiness, run_view
from mpc_backend.node.service import NodeService
from mpc_backend.node.studies import (
    LARGEST_STUDY,
    PostedSubmission,
    envelopes_of,
    find_study,
    post_envelope,
    post_study,
    post_submission,
    study_state,
)
from mpc_backend.node.uploads import accept, receive

LARGEST_BODY = 32 * 1024 * 1024
LARGEST_PAGE = 1000
log = structlog.get_logger()
Digest = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]


def make_app(service: NodeService) -> FastAPI:
    """The application of one node."""
    core, jobs = service.core, service.jobs
    app = FastAPI(
        title=f"Tessera node {core.entry.id}", version=version("tessera-rwe"), docs_url=None, redoc_url=None
    )
    app.add_middleware(BodyLimit, limit=LARGEST_BODY, but="/v1/uploads")
    _add_problems(app, service)

    @app.get("/v1/status")
    def status() -> dict[str, Any]:
        """Who this node is, what it runs, and whether it is busy."""
        with core.database.read() as session:
            states = list(session.scalars(select(RunRow.state)))
        return {
            "node": core.entry.id,
            "index": core.index,
            "organisation": core.entry.organisation,
            "federation": core.federation.digest,
            "protocol": core.federation.protocol,
            "software": core.software,
            "version": version("tessera-rwe"),
            "running": jobs.running,
            "fault": jobs.fault,
            "runs": {state: states.count(state) for state in sorted(set(states))},
            "log_size": core.ledger.size,
        }

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(core.metrics.text(), media_type="text/plain; version=0.0.4")

    _add_studies(app, service)
    _add_uploads(app, service)
    _add_runs(app, service)
    _add_log(app, service)
    return app


def _add_studies(app: FastAPI, service: NodeService) -> None:
    core, jobs = service.core, service.jobs

    @app.post("/v1/studies", status_code=201)
    async def add_study(request: Request, response: Response) -> dict[str, Any]:
        """Keep a study protocol that its investigator signs later; the body is its canonical JSON."""
        document = _small_enough(await request.body())
        study, new = await run_in_threadpool(post_study, core, document)
        response.status_code = 201 if new else 200
        return {"digest": study.digest, "new": new}

    @app.post("/v1/submissions", status_code=201)
    async def add_submission(request: Request, response: Response) -> dict[str, Any]:
        """Keep a study protocol together with its investigator's signature, or neither; the body has both."""
        study, new = await run_in_threadpool(_take_submission, core, await request.body())
        response.status_code = 201 if new else 200
        jobs.wake()
        return {"digest": study.digest, "new": new}

    @app.get("/v1/studies")
    def list_studies() -> list[dict[str, Any]]:
        """Every study, oldest first, with a mark that changes with every statement about it, and which runs wait,
        oldest first.
        """
        with core.database.read() as session:
            rows = list(session.scalars(select(StudyRow).order_by(StudyRow.received_at, StudyRow.digest)))
            marks = select(EnvelopeRow.study, EnvelopeRow.digest).order_by(EnvelopeRow.digest)
            said = _by_study(session.execute(marks))
            waits = select(RunRow.study, RunRow.run_id).where(RunRow.state == "waiting")
            waiting = _by_study(session.execute(waits.order_by(RunRow.created_at, RunRow.run_id)))
        return [_study_line(row, said[row.digest], waiting[row.digest]) for row in rows]

    @app.get("/v1/studies/{digest}")
    def get_study(digest: str) -> dict[str, Any]:
        """A study, every statement signed about it, and how far it is."""
        with core.database.read() as session:
            study = find_study(session, digest)
            envelopes = [one.model_dump(mode="json") for one in envelopes_of(session, digest)]
            state = study_state(core, session, study)
        return {"study": study.model_dump(mode="json"), "envelopes": envelopes, "state": state}

    @app.post("/v1/studies/{digest}/envelopes", status_code=201)
    async def add_envelope(digest: str, request: Request, response: Response) -> dict[str, Any]:
        """Keep a signed statement: submission, decision or withdrawal; the body is a DSSE envelope."""
        envelope, new = await run_in_threadpool(_take_envelope, core, digest, await request.body())
        response.status_code = 201 if new else 200
        if new and "withdrawal" in envelope.payloadType:
            jobs.give_up("a site withdrew from the study; ask for a new run", digest)
        jobs.wake()
        return {"envelope": envelope.digest, "new": new}


def _take_submission(core: NodeCore, body: bytes) -> tuple[StudyProtocol, bool]:
    posted = PostedSubmission.from_value(parse_json(body))
    return post_submission(core, _small_enough(canonical_json(posted.study)), posted.submission)


def _take_envelope(core: NodeCore, digest: str, body: bytes) -> tuple[Envelope, bool]:
    envelope = Envelope.from_value(parse_json(body))
    return envelope, post_envelope(core, digest, envelope)


def _small_enough(document: bytes) -> bytes:
    if len(document) > LARGEST_STUDY:
        raise Refusal("too-large", f"a study of {len(document)} bytes; at most {LARGEST_STUDY} are accepted")
    return document


def _by_study(pairs: Iterable[Sequence[Any]]) -> defaultdict[str, list[str]]:
    """Digests by study, in the order given."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for study, digest in pairs:
        found[study].append(digest)
    return found


def _study_line(row: StudyRow, said: list[str], waiting: list[str]) -> dict[str, Any]:
    document = parse_json(row.document)
    received = row.received_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    names = {name: document[name] for name in ("short_name", "kind", "sites", "amends")}
    news = {"revision": sha256_hex("".join(said).encode()), "waiting": waiting}
    return {"digest": row.digest, **names, "received_at": received, "closed": row.closed, **news}


def _add_uploads(app: FastAPI, service: NodeService) -> None:
    core, jobs = service.core, service.jobs

    @app.post("/v1/uploads", status_code=201)
    async def add_upload(request: Request) -> dict[str, Any]:
        """Take a site's shares: length of the manifest (4 bytes), signed manifest, sealed package."""
        incoming = await receive(core, request.stream())
        accepted = await run_in_threadpool(accept, core, incoming)
        jobs.wake()
        return accepted

    @app.get("/v1/studies/{digest}/uploads")
    def list_uploads(digest: str) -> list[dict[str, Any]]:
        """Which sites have uploaded for a study."""
        with core.database.read() as session:
            find_study(session, digest)
            rows = session.scalars(
                select(UploadRow).where(UploadRow.study == digest).order_by(UploadRow.received_at)
            )
            return [
                {
                    "site": row.site,
                    "run": row.run or None,
                    "upload_id": row.upload_id,
                    "manifest": row.manifest_digest,
                    "received_at": row.received_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "destroyed": row.destroyed,
                }
                for row in rows
            ]


def _add_runs(app: FastAPI, service: NodeService) -> None:
    core, jobs = service.core, service.jobs

    def view(row: RunRow) -> dict[str, Any]:
        missing: list[str] = []
        if row.state == "waiting":
            try:
                with core.database.read() as session:
                    missing = readiness(core, session, row).missing
            except GovernanceError as error:
                return run_view(row, [], (str(error), 0.0))
        live = jobs.progress_of(row.run_id) or (
            ("waiting for the first node to begin", 0.0) if row.state == "waiting" else None
        )
        if missing:
            live = (f"waiting for uploads of {', '.join(missing)}", 0.0)
        return run_view(row, missing, live)

    @app.post("/v1/runs", status_code=202)
    def add_run(posted: PostedRun) -> dict[str, Any]:
        """Ask for a run: the signed request, and a secret query sealed to this node if the analysis takes one."""
        row, _ = post_run(core, posted)
        jobs.wake()
        return view(row)

    @app.get("/v1/runs")
    def list_runs(study: Digest | None = None) -> list[dict[str, Any]]:
        """Runs, oldest first."""
        query = select(RunRow).order_by(RunRow.created_at)
        with core.database.read() as session:
            rows = list(session.scalars(query if study is None else query.where(RunRow.study == study)))
        return [view(row) for row in rows]

    def find(run_id: str) -> RunRow:
        with core.database.read() as session:
            row = session.get(RunRow, run_id)
        if row is None:
            raise Refusal(
                "unknown-run", f"this node has no run {run_id[:12]}; post its request to every node"
            )
        return row

    @app.get("/v1/runs/{run_id}")
    def get_run(run_id: str) -> dict[str, Any]:
        """How far a run is, and its signed request (connectors need it for a feasibility count)."""
        row = find(run_id)
        return {**view(row), "request": parse_json(row.request)}

    @app.get("/v1/runs/{run_id}/result")
    def get_result(run_id: str) -> dict[str, Any]:
        """This node's sealed output and every node's attestation; only for a run that is done."""
        row = find(run_id)
        if row.state != "done":
            raise Refusal(
                "no-result", f"run {run_id[:12]} is {row.state}{': ' + row.reason if row.reason else ''}"
            )
        with core.database.read() as session:
            result = session.get(ResultRow, run_id)
        assert result is not None  # written before a run is done
        sealed = (core.directory.results / run_id).read_bytes()
        return {
            "node": core.entry.id,
            "run_id": run_id,
            "request": parse_json(row.request),
            "sealed": base64.b64encode(sealed).decode(),
            "attestations": parse_json(result.attestations),
        }


def _add_log(app: FastAPI, service: NodeService) -> None:
    core = service.core

    @app.get("/v1/log/checkpoint")
    def checkpoint() -> dict[str, Any]:
        """The latest checkpoint of this node's log, with the signatures of the nodes that witnessed it."""
        with core.database.read() as session:
            row = session.scalar(select(CosignedRow).order_by(CosignedRow.size.desc()))
        if row is None:
            raise Refusal("not-found", "this log has no witnessed checkpoint yet; ask again in a minute")
        return {"size": row.size, "checkpoint": parse_json(row.envelope)}

    @app.get("/v1/log/entries")
    def entries(
        start: Annotated[int, Query(ge=0)] = 0, stop: Annotated[int | None, Query(ge=0)] = None
    ) -> dict[str, Any]:
        """Entries of the log, at most 1,000 at a time."""
        last = start + LARGEST_PAGE if stop is None else min(stop, start + LARGEST_PAGE)
        return {"size": core.ledger.size, "start": start, "entries": core.ledger.entries(start, last)}

    @app.get("/v1/log/inclusion")
    def inclusion(position: Annotated[int, Query(ge=0)], size: Annotated[int, Query(ge=1)]) -> dict[str, Any]:
        """Proof that an entry is in the log of this size."""
        return {"root": core.ledger.root(size), "proof": core.ledger.inclusion_proof(position, size)}

    @app.get("/v1/log/consistency")
    def consistency(old: Annotated[int, Query(ge=1)], size: Annotated[int, Query(ge=1)]) -> dict[str, Any]:
        """Proof that the log of this size extends the older one."""
        return {"root": core.ledger.root(size), "proof": core.ledger.consistency_proof(old, size)}


# Refusals


class BodyLimit:
    """Refuses bodies above ``limit`` bytes while they arrive, on every path but one that limits itself."""

    def __init__(self, app: ASGIApp, limit: int, but: str) -> None:
        self._app, self._limit, self._but = app, limit, but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] == self._but:
            await self._app(scope, receive, send)
            return
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise Refusal(
                    "too-large", f"the body is larger than the {self._limit} bytes this node accepts"
                )
            return message

        await self._app(scope, limited, send)


def _add_problems(app: FastAPI, service: NodeService) -> None:
    counter = service.core.metrics.requests

    def answer(
        request: Request, slug: str, detail: str, more: dict[str, object] | None = None
    ) -> JSONResponse:
        body = problem_body(slug, detail, request.url.path, more)
        return JSONResponse(body, status_code=PROBLEMS[slug].status, media_type=MEDIA_TYPE)

    async def expected(request: Request, error: Exception) -> Response:
        slug = slug_of(error)
        log.info("refused", path=request.url.path, problem=slug, detail=str(error)[:500])
        return answer(request, slug, str(error), details_of(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, "malformed", explain_faults(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        slug = {404: "not-found", 405: "method"}.get(error.status_code, "malformed")
        return answer(request, slug, f"{request.method} {request.url.path}: {error.detail}")

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, error=type(error).__name__)
        return answer(
            request, "internal", f"the node failed with {type(error).__name__}; nothing was changed"
        )

    for kind in EXPECTED:
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        route = request.scope.get("route")
        counter.labels(getattr(route, "path", "other"), str(response.status_code)).inc()
        return response
