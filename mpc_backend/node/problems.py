"""Refusals over HTTP: problem+json (RFC 9457) with registered types, and which error of ours becomes which.

A client acts on ``type``; ``detail`` is for people and says what was wrong, with what, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance import errors as governance
from mpc_backend.analyses.errors import AnalysisError
from mpc_backend.errors import EngineError
from mpc_backend.node.errors import NodeError, Refusal

TYPE_PREFIX = "urn:tessera:problem:"
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """One registered type of refusal."""

    status: int
    title: str


PROBLEMS = {
    "malformed": Problem(400, "The request is malformed"),
    "signature": Problem(403, "A signature is missing, does not verify, or is another party's"),
    "not-permitted": Problem(403, "The signed documents do not allow this now"),
    "not-approved": Problem(409, "The study is not approved by everyone it needs"),
    "over-budget": Problem(403, "The signed number of runs is used up"),
    "expired": Problem(403, "Outside the time the study or document is valid"),
    "federation-mismatch": Problem(409, "Written for another federation than this node's"),
    "policy": Problem(403, "More is asked for than the federation allows"),
    "not-listed": Problem(403, "The federation lists its investigators, and this key is none of them"),
    "unknown-study": Problem(404, "This node has no such study"),
    "unknown-run": Problem(404, "This node has no such run"),
    "not-found": Problem(404, "There is nothing at this address"),
    "method": Problem(405, "This address does not take that method"),
    "duplicate-upload": Problem(409, "The site has uploaded for this already"),
    "superseded": Problem(409, "An approved amendment has replaced this version of the study"),
    "withdrawn": Problem(409, "The site has withdrawn from the study"),
    "shares-mismatch": Problem(422, "The shares do not match the signed manifest"),
    "tables-mismatch": Problem(422, "The tables are not those the signed study asks for"),
    "replayed": Problem(409, "This request was accepted before"),
    "no-result": Problem(409, "The run has no result to give"),
    "too-large": Problem(413, "The body is larger than this node accepts"),
    "too-many": Problem(429, "This node keeps no more of these"),
    "stopping": Problem(503, "The node is stopping"),
    "internal": Problem(500, "The node failed; its log has the reason"),
}

_TYPES: tuple[tuple[type[Exception], str], ...] = (
    (governance.NotApproved, "not-approved"),
    (governance.NotYetValid, "expired"),
    (governance.Expired, "expired"),
    (governance.Superseded, "superseded"),
    (governance.Withdrawn, "withdrawn"),
    (governance.OverBudget, "over-budget"),
    (governance.Replayed, "replayed"),
    (governance.NotPermitted, "not-permitted"),
    (governance.SignatureError, "signature"),
    (governance.FederationMismatch, "federation-mismatch"),
    (governance.NotListed, "not-listed"),
    (governance.PolicyRefused, "policy"),
    (governance.SealError, "shares-mismatch"),
    (governance.DocumentError, "malformed"),
    (AnalysisError, "tables-mismatch"),
)


def slug_of(error: Exception) -> str:
    """The registered type of an error; ``internal`` for what nobody may be told more of."""
    if isinstance(error, Refusal):
        return error.problem
    return next((slug for kind, slug in _TYPES if isinstance(error, kind)), "internal")


def problem_body(
    slug: str, detail: str, instance: str, more: dict[str, object] | None = None
) -> dict[str, Any]:
    """The members of one problem document."""
    problem = PROBLEMS[slug]
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + slug,
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": instance,
    }
    return {**(more or {}), **body}


def details_of(error: Exception) -> dict[str, object]:
    """Members beyond the usual ones that a client can act on."""
    if isinstance(error, governance.NotApproved):
        return {"missing": list(error.missing), "declined": list(error.declined)}
    if isinstance(error, governance.Superseded):
        return {"amendment": error.by}
    return dict(error.more) if isinstance(error, Refusal) else {}


EXPECTED = (governance.GovernanceError, AnalysisError, NodeError, EngineError)
"""Errors whose message was written to be read by the caller."""
