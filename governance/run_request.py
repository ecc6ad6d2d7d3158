"""A request to run one analysis of an approved study, signed by the recipient who will read the answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import Field, JsonValue

from governance.bounds import check_cohort_within
from governance.document import Digest, Document, Nonce, Part, PublicKey, Slug, UtcTime, check_not_ahead
from governance.envelope import Envelope, open_document, peek_document
from governance.errors import ForeignParameters, OverBudget, Replayed, UnknownRequester
from governance.federation import Federation
from governance.study import COHORT_LEFT_OPEN, Recipient, StudyAnalysis, StudyProtocol


class RunRequest(Document):
    """Which analysis, for whom, with what.

    ``parameters``: public parameters, only where the study leaves them open (the cohort text of a feasibility count).
    ``commitments``: for a run that brings a secret query, SHA-256 of the ciphertext sealed to each node, by node id.
    ``nonce`` makes every request its own; the same request is accepted once.
    """

    payload_type: ClassVar[str] = "application/vnd.tessera.run+json"

    study_digest: Digest
    analysis: Slug
    nonce: Nonce
    created_at: UtcTime
    requester_key: PublicKey
    recipient: Slug
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    commitments: dict[Slug, Digest] = Field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The request's digest names the run."""
        return self.digest


class Spent(Part):
    """Runs already charged to a study: in all, by requester's key, and the nonces seen. Aborted runs are
    charged too."""

    runs: int = 0
    by_requester: Mapping[str, int] = Field(default_factory=dict)
    nonces: frozenset[str] = frozenset()


def check_run_request(
    federation: Federation, study: StudyProtocol, envelope: Envelope, now: datetime, spent: Spent
) -> RunRequest:
    """The request inside, if the study allows this run now. Approval is a matter of its own:
    `check_approved`.

    Raises:
        SignatureError, DocumentError: malformed, or not signed by the key it names.
        UnknownRequester: the signer is no recipient of this study, asks on another's behalf, or brings a
            secret query without being a physician.
        UnknownAnalysis: the study names no such analysis.
        ForeignParameters: parameters or commitments outside the study's bounds.
        NotYetValid, Expired: outside the study's time.
        DatedAhead: the request is dated ahead of our clock.
        Replayed: the nonce was seen before.
        OverBudget: no runs left.
    """
    claimed = peek_document(envelope, RunRequest)
    request = open_document(envelope, RunRequest, by=claimed.requester_key)
    if request.study_digest != study.digest:
        raise ForeignParameters(
            f"the request is for study {request.study_digest[:12]}, not for {study.digest[:12]}; ask anew"
        )
    asker = study.recipient(request.requester_key)
    if asker.id != request.recipient:
        raise UnknownRequester(f"the signer may not ask for results to be sealed to {request.recipient!r}")
    analysis = study.analysis(request.analysis)
    study.check_time(now)
    study.check_time(request.created_at)
    check_not_ahead("the run request", request.created_at, now)
    _check_parameters(study, analysis, request)
    _check_commitments(federation, asker, request)
    check_budget(study, request, spent)
    return request


def _check_parameters(study: StudyProtocol, analysis: StudyAnalysis, request: RunRequest) -> None:
    """Only a feasibility study leaves a parameter open: the cohort to count, within its concept sets."""
    is_open = analysis.cohort is None and analysis.kind in COHORT_LEFT_OPEN
    open_names = {"cohort"} if study.feasibility is not None and is_open else set()
    foreign = sorted(set(request.parameters) - open_names)
    if foreign:
        raise ForeignParameters(
            f"analysis {analysis.id!r} is fixed by the signed study; a run may not bring {', '.join(foreign)}"
        )
    if not open_names or study.feasibility is None:
        return
    text = request.parameters.get("cohort")
    if not isinstance(text, str):
        raise ForeignParameters(f"a run of {analysis.id!r} brings `cohort`, the cohort to count as text")
    check_cohort_within(text, study.feasibility.concept_sets)


def _check_commitments(federation: Federation, asker: Recipient, request: RunRequest) -> None:
    """A secret query describes one patient, so only a physician brings one; every run with a query has
    commitments."""
    if request.commitments and asker.role != "physician":
        raise UnknownRequester(
            f"{asker.id!r} is a {asker.role}; an analysis with a secret query is run for physicians only"
        )
    expected = {node.id for node in federation.nodes}
    found = set(request.commitments)
    if found and found != expected:
        raise ForeignParameters(
            f"commitments name {sorted(found)}; a run that brings shares commits to one ciphertext for each "
            f"of {sorted(expected)}"
        )


def check_budget(study: StudyProtocol, request: RunRequest, spent: Spent) -> None:
    """Refuse a repeated nonce and a run beyond the signed number.

    Raises:
        Replayed, OverBudget.
    """
    if request.nonce in spent.nonces:
        raise Replayed(
            f"run request {request.run_id[:12]} was accepted before; a new run needs a new request"
        )
    allowed = study.budget.runs
    if study.feasibility is not None:
        allowed = min(allowed, study.feasibility.max_counts)
    if spent.runs >= allowed:
        raise OverBudget(
            f"study {study.short_name}: {spent.runs} of {allowed} runs are used; an amendment can add more"
        )
    each = study.budget.runs_per_requester
    used = spent.by_requester.get(request.requester_key, 0)
    if each is not None and used >= each:
        raise OverBudget(f"study {study.short_name}: {request.recipient} has used {used} of {each} runs")


def runs_left(study: StudyProtocol, spent: Spent, requester_key: str | None = None) -> int:
    """How many runs remain, in all or for one requester; the number shown beside every count."""
    allowed = study.budget.runs
    if study.feasibility is not None:
        allowed = min(allowed, study.feasibility.max_counts)
    left = allowed - spent.runs
    if requester_key is not None and study.budget.runs_per_requester is not None:
        left = min(left, study.budget.runs_per_requester - spent.by_requester.get(requester_key, 0))
    return max(0, left)
