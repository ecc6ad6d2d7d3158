"""Asking for a run: the signed request with a secret query if the analysis takes one, waiting, opening."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from governance.envelope import Envelope, sign_document
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey
from governance.receipt import Receipt
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Result
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.plain import padded
from mpc_backend.analyses.registry import resolve
from mpc_backend.client.answers import RunAnswer
from mpc_backend.client.errors import RunAborted, RunRefused, RunTimeout
from mpc_backend.client.nodes import Faults, NodeSet
from mpc_backend.client.results import finish_result, open_results
from mpc_backend.client.sharing import SealedShares, seal_tables
from mpc_backend.planned import query_tables

Views = Mapping[str, RunAnswer]
"""What each node says of a run, by node id."""
Seen = Callable[[Views], None]
QUERY = "query"
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4


@dataclass(frozen=True)
class PreparedRun:
    """A signed request, and each node's part of its secret query (None if it takes none)."""

    request: RunRequest
    envelope: Envelope
    queries: Mapping[str, bytes] | None


@dataclass(frozen=True)
class Answer:
    """What a run gave: the typed result and the receipt to keep."""

    run_id: str
    result: Result
    receipt: Receipt


def prepare_run(
    federation: Federation,
    study: StudyProtocol,
    analysis: str,
    key: SigningKey,
    *,
    parameters: Mapping[str, Any] | None = None,
    facts: Mapping[str, object] | None = None,
    now: datetime | None = None,
) -> PreparedRun:
    """Make and sign a run request; ``facts`` are a patient's, for analyses with a secret query.

    The facts are shared here, in this process: they leave it only as one sealed package for each node.

    Raises:
        governance.errors.UnknownRequester, UnknownAnalysis: not a recipient, or no such analysis.
        InputsRefused: facts given to an analysis that takes none, or missing.
        mpc_backend.analyses.errors.AnalysisError: facts the analysis cannot use.
    """
    entry, nonce = study.analysis(analysis), secrets.token_hex(16)
    recipient = study.recipient(key.public)
    request = RunRequest(
        study_digest=study.digest,
        analysis=analysis,
        nonce=nonce,
        created_at=now or datetime.now(UTC),
        requester_key=key.public,
        recipient=recipient.id,
        parameters=dict(parameters or {}),
    )
    planned = query_tables(study, entry, request)
    if bool(planned) != (facts is not None):
        takes = "takes a patient's facts" if planned else "takes no patient's facts"
        raise InputsRefused(f"analysis {analysis!r} {takes}")
    queries = None
    if facts is not None:
        shared = _share_facts(federation, study, request, facts)
        request, queries = request.model_copy(update={"commitments": shared.commitments}), shared.sealed
    return PreparedRun(request, sign_document(request, key), queries)


def _share_facts(
    federation: Federation, study: StudyProtocol, request: RunRequest, facts: Mapping[str, object]
) -> SealedShares:
    chosen, parameters = resolve(study, request.analysis, request.parameters)
    columns = chosen.query(parameters, facts)
    planned = query_tables(study, study.analysis(request.analysis), request)
    tables = [(table, padded(table.spec, columns[table.spec.name])) for table in planned]
    return seal_tables(federation, study.digest, QUERY, request.nonce, tables)


def post_run(nodes: NodeSet, prepared: PreparedRun) -> str:
    """Give the request to every node; returns the run's id.

    Raises:
        NothingSent: not every node answers.
        NodeUnreachable, NodeRefused: the first node that failed after all; nothing runs unless all have it.
    """
    nodes.post_run(prepared.envelope, prepared.queries)
    return prepared.request.run_id


def wait_for_run(
    nodes: NodeSet,
    run_id: str,
    *,
    seen: Seen | None = None,
    timeout: float = 600.0,
) -> Views:
    """Wait until every node has the result ready; returns what each says then.

    Args:
        nodes: where it was asked for.
        run_id: the run.
        seen: told what the nodes say at every look before that; see `stage_of`.
        timeout: seconds to wait; the run goes on at the nodes after that.

    Raises:
        RunAborted, RunRefused: it will give no result; says why and at which node.
        RunTimeout: still waiting or running; says for what, and whom to ask.
        NoUsableAnswer: no node tells anything of it.
    """
    began = time.monotonic()
    while True:
        ready, views, faults = look_at_run(nodes, run_id)
        if ready:
            return views
        if seen is not None:
            seen(views)
        waited = time.monotonic() - began
        if waited > timeout:
            raise RunTimeout(run_id, timeout, [stage_of(views)[0], *_whom_to_ask(views, faults)])
        time.sleep(pause_after(waited))


def look_at_run(nodes: NodeSet, run_id: str) -> tuple[bool, Views, Faults]:
    """Whether every node has the result ready, what each says, and why others say nothing.

    Raises:
        RunAborted, RunRefused: it will give no result; says why and at which node.
        NoUsableAnswer: no node tells anything of it.
    """
    views, faults = nodes.run(run_id)
    _raise_if_over(run_id, views)
    ready = len(views) == len(nodes.nodes) and all(view.state == "done" for view in views.values())
    return ready, views, faults


def pause_after(waited: float, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to the next look: a tenth of what was waited, so that short runs are read soon and long ones seldom."""
    return min(max(waited / 10, FIRST_PAUSE), longest)


def _raise_if_over(run_id: str, views: Views) -> None:
    for state, error in (("refused", RunRefused), ("aborted", RunAborted)):
        over = [view for view in views.values() if view.state == state]
        if over:
            told = next((view for view in over if view.who), over[0])
            raise error(run_id, told.reason, told.who)


def _whom_to_ask(views: Views, faults: Faults) -> list[str]:
    missing = sorted({site for view in views.values() for site in view.waiting_for})
    inbox = "the inbox there says whether the connector runs, and whether it refused the run and why"
    sites = [f"ask the data steward of {', '.join(missing)}: {inbox}"] if missing else []
    return [*sites, *map(str, faults.values())]


def stage_of(views: Views) -> tuple[str, float]:
    """Label and fraction of the slowest node, in words for people."""
    last = min(views.values(), key=lambda view: (view.state == "done", view.fraction))
    if last.state == "waiting" and last.waiting_for:
        return f"Waiting for the upload of {', '.join(last.waiting_for)}", last.fraction
    label = last.label or last.state
    return label[:1].upper() + label[1:], last.fraction


def open_run(nodes: NodeSet, study: StudyProtocol, request: RunRequest, key: SealingKey) -> Answer:
    """Fetch, check, open and finish a run that is done.

    Raises:
        see `mpc_backend.client.results.open_results` and `NodeSet.results`.
    """
    opened = open_results(nodes.federation, study, request, nodes.results(request.run_id), key)
    return Answer(request.run_id, finish_result(study, request, opened), opened.receipt)


def run(
    nodes: NodeSet,
    study: StudyProtocol,
    analysis: str,
    *,
    signing_key: SigningKey,
    sealing_key: SealingKey,
    parameters: Mapping[str, Any] | None = None,
    facts: Mapping[str, object] | None = None,
    seen: Seen | None = None,
    timeout: float = 600.0,
) -> Answer:
    """Ask, wait, open: the whole of a run for its recipient.

    Raises:
        see `prepare_run`, `post_run`, `wait_for_run`, `open_run`.
    """
    prepared = prepare_run(nodes.federation, study, analysis, signing_key, parameters=parameters, facts=facts)
    run_id = post_run(nodes, prepared)
    wait_for_run(nodes, run_id, seen=seen, timeout=timeout)
    return open_run(nodes, study, prepared.request, sealing_key)
