"""Runs: accepting signed requests, what they wait for, and how far they are."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from governance.approval import Standing
from governance.envelope import Envelope, peek_document
from governance.errors import GovernanceError, OverBudget
from governance.files import write_new
from governance.run_request import RunRequest, Spent, check_budget, check_run_request, runs_left
from governance.study import StudyProtocol
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import OPEN_STATES, ResultRow, RunRow, UploadRow, utc_now
from mpc_backend.node.errors import Refusal
from mpc_backend.node.studies import find_study, standing_of
from mpc_backend.planned import query_tables

LARGEST_QUERY = 16 * 1024 * 1024


class PostedRun(BaseModel):
    """A run request as posted: the signed request, and for a secret query the ciphertext sealed to this node."""

    model_config = ConfigDict(extra="forbid")

    request: Envelope
    query: Annotated[str | None, Field(max_length=LARGEST_QUERY)] = None

    def sealed_query(self) -> bytes | None:
        """The ciphertext.

        Raises:
            Refusal: not base64.
        """
        if self.query is None:
            return None
        try:
            return base64.b64decode(self.query, validate=True)
        except binascii.Error as error:
            raise Refusal("malformed", "the sealed query is not base64") from error


def post_run(core: NodeCore, posted: PostedRun) -> tuple[RunRow, bool]:
    """Keep a run request; False if this very request is known already.

    Raises:
        Refusal, governance.errors.GovernanceError: unsigned, not allowed by the study, over budget, or with a
            query that is not the one its request commits to.
    """
    claimed = peek_document(posted.request, RunRequest)
    sealed = posted.sealed_query()
    with core.database.write() as session:
        known = session.get(RunRow, claimed.run_id)
        if known is not None:
            return known, False
        study = find_study(session, claimed.study_digest)
        standing_of(core, session, study)
        spent = spent_on(session, study.digest)
        request = check_run_request(core.federation, study, posted.request, utc_now(), spent)
        _check_waiting(session, study, request, spent)
        check_query(core, study, request, sealed)
        row = RunRow(
            run_id=request.run_id,
            study=study.digest,
            analysis=request.analysis,
            recipient=request.recipient,
            requester_key=request.requester_key,
            nonce=request.nonce,
            request=posted.request.canonical(),
        )
        session.add(row)
        session.flush()
        if sealed is not None:
            path = core.directory.queries / request.run_id
            path.unlink(missing_ok=True)  # left by a crash between this and the commit
            write_new(path, sealed)
    core.record("run requested", study=study.digest, run=request.run_id, analysis=request.analysis)
    return row, True


def _check_waiting(session: Session, study: StudyProtocol, request: RunRequest, spent: Spent) -> None:
    """A requester's runs that wait must be ones the budget still holds."""
    key = request.requester_key
    where = (RunRow.study == study.digest, RunRow.requester_key == key, RunRow.charged.is_(None))
    waiting = session.scalars(select(RunRow.run_id).where(*where, RunRow.state.in_(OPEN_STATES))).all()
    left = runs_left(study, spent, key)
    if len(waiting) >= left:
        raise OverBudget(
            f"study {study.short_name}: {request.recipient} has {len(waiting)} runs waiting and {left} left; "
            f"ask again when they have ended"
        )


def check_query(core: NodeCore, study: StudyProtocol, request: RunRequest, sealed: bytes | None) -> None:
    """Whether a run brings a query exactly if its analysis takes one, and the one the request commits to.

    Raises:
        Refusal: it does not.
    """
    takes = bool(query_tables(study, study.analysis(request.analysis), request))
    if takes != (sealed is not None) or takes != bool(request.commitments):
        needs = "takes a secret query, sealed to each node" if takes else "takes no query"
        raise Refusal("not-permitted", f"analysis {request.analysis!r} {needs}")
    if sealed is not None and hashlib.sha256(sealed).hexdigest() != request.commitments[core.entry.id]:
        raise Refusal("shares-mismatch", "the sealed query is not the one the signed request commits to")


def spent_on(session: Session, study: str, *, but: str = "") -> Spent:
    """Runs charged to a study as this node saw them begin, whatever came of them; ``but`` leaves one run out.

    Other nodes' counts are not kept: one of them could otherwise use up the budget for good by a lie.
    """
    rows = [row for row in session.scalars(select(RunRow).where(RunRow.study == study)) if row.run_id != but]
    begun = [row for row in rows if row.charged is not None]
    by_requester: dict[str, int] = {}
    for row in begun:
        by_requester[row.requester_key] = by_requester.get(row.requester_key, 0) + 1
    return Spent(runs=len(begun), by_requester=by_requester, nonces=frozenset(row.nonce for row in rows))


class Readiness(BaseModel):
    """What a run needs at this node: the sites it will use with their manifests' digests, and who is missing."""

    sites: dict[str, str]
    missing: list[str]
    charged: int


def readiness(core: NodeCore, session: Session, row: RunRow) -> Readiness:
    """Check a run again from the signed documents, as at its start.

    Raises:
        governance.errors.GovernanceError: it is not allowed any more.
    """
    study = find_study(session, row.study)
    request = peek_document(Envelope.from_canonical(row.request), RunRequest)
    standing = standing_of(core, session, study)
    spent = spent_on(session, row.study, but=row.run_id)
    check_run_request(core.federation, study, Envelope.from_canonical(row.request), utc_now(), spent)
    found = uploads_for(session, study, standing, request)
    return Readiness(
        sites={site: upload.manifest_digest for site, upload in found.items()},
        missing=[site for site in standing.sites if site not in found],
        charged=spent.runs + 1,
    )


def uploads_for(
    session: Session, study: StudyProtocol, standing: Standing, request: RunRequest
) -> dict[str, UploadRow]:
    """The uploads a run uses, by site, in the study's order; absent sites are left out."""
    run = request.run_id if study.feasibility is not None else ""
    where = (UploadRow.study == study.digest, UploadRow.run == run, UploadRow.destroyed.is_(False))
    found = {row.site: row for row in session.scalars(select(UploadRow).where(*where))}
    return {site: found[site] for site in standing.sites if site in found}


def largest_charge(session: Session, study: str) -> int:
    """The most runs another node may have seen begin: every signed request that this node knows.

    No run begins without this node, but a start that failed half-way is charged at some nodes only.
    """
    return session.scalar(select(func.count()).select_from(RunRow).where(RunRow.study == study)) or 0


def check_charge(session: Session, study: StudyProtocol, request: RunRequest, charged: int) -> None:
    """Whether the number of runs all nodes agreed on is possible and within the signed budget.

    Raises:
        governance.errors.OverBudget: it is not.
    """
    most = largest_charge(session, study.digest)
    if charged > most:
        raise OverBudget(
            f"study {study.short_name}: a node counts {charged} runs, but only {most} were requested; its "
            f"operator should look into it"
        )
    spent = spent_on(session, study.digest, but=request.run_id)
    check_budget(study, request, spent.model_copy(update={"runs": max(spent.runs, charged - 1)}))


def charge_run(core: NodeCore, study: StudyProtocol, request: RunRequest, charged: int) -> None:
    """Charge a run, once all nodes are linked and agreed on keys and before anything is computed.

    Raises:
        governance.errors.OverBudget: see `check_charge`.
    """
    with core.database.write() as session:
        check_charge(session, study, request, charged)
        row = session.get(RunRow, request.run_id)
        assert row is not None  # runs are never deleted
        row.charged = charged


def run_view(
    row: RunRow, missing: Iterable[str] = (), live: tuple[str, float] | None = None
) -> dict[str, Any]:
    """What anyone may know of a run: ids, state, progress."""
    label, fraction = live or (row.label, row.fraction)
    return {
        "run_id": row.run_id,
        "study": row.study,
        "analysis": row.analysis,
        "recipient": row.recipient,
        "state": row.state,
        "label": label,
        "fraction": fraction,
        "waiting_for": list(missing),
        "reason": row.reason,
        "who": row.who,
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def runs_to_refuse(core: NodeCore) -> dict[str, str]:
    """Runs that wait here though they are not permitted any more, or wait too long: why, by the run's id.

    Each node looks for itself: one that the run never reached, or that refused it alone, tells nobody.
    """
    found: dict[str, str] = {}
    with core.database.read() as session:
        for row in session.scalars(select(RunRow).where(RunRow.state == "waiting")).all():
            try:
                missing = readiness(core, session, row).missing
            except GovernanceError as error:
                found[row.run_id] = str(error)
                continue
            if (utc_now() - row.created_at).total_seconds() > core.settings.waiting_seconds:
                found[row.run_id] = _waited(core.settings.waiting_seconds, missing)
    return found


def _waited(seconds: float, missing: Iterable[str]) -> str:
    sites = ", ".join(missing)
    what = (
        f"for uploads of {sites}; ask the data steward there"
        if sites
        else "for the other nodes; see that all run"
    )
    return f"it waited longer than {seconds:g} s {what}, then ask for a new run"


def finish_run(
    core: NodeCore,
    run_id: str,
    state: str,
    reason: str = "",
    who: str = "",
    *,
    of: Collection[str] = OPEN_STATES,
) -> bool:
    """Give a run its final state, once; its query goes, and unless it is done its result.

    False if it was in none of the states ``of`` before.
    """
    with core.database.write() as session:
        row = session.get(RunRow, run_id)
        if row is None or row.state not in of:
            return False
        row.state, row.reason, row.who = state, reason, who
        row.label, row.fraction = ("", 1.0) if state == "done" else (row.label, row.fraction)
        row.finished_at = utc_now()
        study = row.study
        if state != "done":
            session.execute(delete(ResultRow).where(ResultRow.run_id == run_id))
    if state != "done":
        (core.directory.results / run_id).unlink(missing_ok=True)
    (core.directory.queries / run_id).unlink(missing_ok=True)
    core.metrics.runs.labels(state).inc()
    core.record(f"run {state}", study=study, run=run_id, **({"who": who} if who else {}))
    return True


def end_interrupted(core: NodeCore) -> None:
    """At start: runs that were computing when the process ended are over, and half-written files are removed."""
    with core.database.read() as session:
        interrupted = list(session.scalars(select(RunRow.run_id).where(RunRow.state == "running")))
        kept = set(session.scalars(select(UploadRow.upload_id).where(UploadRow.destroyed.is_(False))))
        open_runs = set(session.scalars(select(RunRow.run_id).where(RunRow.state == "waiting")))
        done = set(session.scalars(select(RunRow.run_id).where(RunRow.state == "done")))
    for run_id in interrupted:
        finish_run(
            core, run_id, "aborted", "this node stopped while it computed; ask for a new run", core.entry.id
        )
    folders = (
        (core.directory.shares, kept),
        (core.directory.queries, open_runs),
        (core.directory.results, done),
    )
    for folder, wanted in ((core.directory.incoming, set()), *folders):
        for name in os.listdir(folder):
            if name not in wanted:
                (folder / name).unlink()
