"""Studies and what is said about them: anyone may post, nothing posted is trusted beyond its signatures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from pydantic import JsonValue
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql import ColumnElement

from governance.approval import (
    InvestigatorSubmission,
    SiteDecision,
    Standing,
    Statement,
    Version,
    Withdrawal,
    check_approved,
    check_study,
    read_statement,
    read_statements,
)
from governance.canonical import canonical_json, sha256_hex
from governance.document import Document
from governance.envelope import Envelope
from governance.errors import NotPermitted, NotYetValid
from governance.study import StudyProtocol
from governance.undecided import undecided_by
from mpc_backend.node.core import NodeCore, parse_study
from mpc_backend.node.database import EnvelopeRow, StudyRow, UploadRow, VersionRow, utc_now
from mpc_backend.node.errors import Refusal
from mpc_backend.node.faults import where_of
from mpc_backend.node.kept import forget_kept
from mpc_backend.planned import planned_tables

log = structlog.get_logger()
LARGEST_STUDY = 4 * 1024 * 1024
MOST_STATEMENTS = 1_000
"""Statements one party may make about one study; a withdrawal or a refusal is heard beyond it."""
MOST_UNSUBMITTED = 1_000
LARGEST_UNSUBMITTED = 64 * 1024 * 1024
"""Studies kept without their investigator's signature, and their bytes in all."""
UNSUBMITTED_KEPT = timedelta(days=1)
"""Once there is no more room, studies unsigned for this long are forgotten."""
COUNTED_FOR = timedelta(days=1)
"""However soon a study expires, it counts as undecided for this long after it was signed: room for others is not made
by short validity."""
SUBMITTED = select(EnvelopeRow.study).where(EnvelopeRow.kind == InvestigatorSubmission.payload_type)
"""Digests of the studies that their investigators signed."""


class PostedSubmission(Document):
    """A study as posted with the signature of its investigator; neither is checked yet."""

    study: dict[str, JsonValue]
    submission: Envelope


def post_study(core: NodeCore, document: bytes) -> tuple[StudyProtocol, bool]:
    """Keep a study that its investigator signs later; False if it is known already.

    Raises:
        governance.errors.GovernanceError: malformed, for another federation, or asking for too much.
        mpc_backend.analyses.errors.AnalysisError: an analysis does not exist or its parameters are wrong.
        Refusal: too many studies wait for their investigator's signature.
    """
    study = _proposed(core, document)
    with core.database.write() as session:
        if session.get(StudyRow, study.digest) is not None:
            return study, False
        forgotten = _make_room(session, len(document))
        _keep_study(session, study, document)
    for digest in forgotten:
        core.record("study forgotten", study=digest, why="not submitted")
    core.record("study received", study=study.digest)
    return study, True


def post_submission(core: NodeCore, document: bytes, envelope: Envelope) -> tuple[StudyProtocol, bool]:
    """Keep a study together with its investigator's signature, or neither; False if both are known already.

    Raises:
        governance.errors.GovernanceError, mpc_backend.analyses.errors.AnalysisError: see `post_study`; or not
            signed by the investigator whom the study names.
        Refusal: no submission, or too many studies of this investigator are undecided.
    """
    study = _proposed(core, document)
    statement = read_statement(core.federation, study, envelope, utc_now())
    if not isinstance(statement, InvestigatorSubmission):
        raise Refusal("malformed", "the envelope is not the submission of the study by its investigator")
    with core.database.write() as session:
        new = session.get(StudyRow, study.digest) is None
        if new:
            _keep_study(session, study, document)
        said = _keep_statement(core, session, study, statement, envelope)
    if new:
        core.record("study received", study=study.digest)
    if said:
        _record_statement(core, study.digest, envelope)
    return study, said


def _proposed(core: NodeCore, document: bytes) -> StudyProtocol:
    """A study that may be proposed in this federation, can be computed, and has not expired."""
    study = parse_study(document)
    _check_not_over(study)
    check_study(core.federation, study)
    planned_tables(study)
    return study


def _check_not_over(study: StudyProtocol) -> None:
    with suppress(NotYetValid):
        study.check_time(utc_now())


def _keep_study(session: Session, study: StudyProtocol, document: bytes) -> None:
    session.add(StudyRow(digest=study.digest, document=document))
    session.flush()
    session.add(VersionRow(study=study.digest, investigator=study.investigator.key, amends=study.amends))
    session.flush()


def _make_room(session: Session, size: int) -> list[str]:
    """See that one more study without a signature may be kept; returns the old ones forgotten for it.

    Raises:
        Refusal: those that wait are too many or too large, and too young to be forgotten.
    """
    unsigned = StudyRow.digest.not_in(SUBMITTED)
    if _fits(session, unsigned, size):
        return []
    unheard = StudyRow.digest.not_in(select(EnvelopeRow.study))
    old = select(StudyRow.digest).where(unheard, StudyRow.received_at < utc_now() - UNSUBMITTED_KEPT)
    gone = list(session.scalars(old))
    session.execute(delete(StudyRow).where(StudyRow.digest.in_(gone)))
    if not _fits(session, unsigned, size):
        raise Refusal(
            "too-many",
            f"at most {MOST_UNSUBMITTED} studies of {LARGEST_UNSUBMITTED} bytes in all wait here for their "
            f"investigator's signature; try again later",
        )
    return gone


def _fits(session: Session, unsigned: ColumnElement[bool], size: int) -> bool:
    counted = select(func.count(), func.coalesce(func.sum(func.length(StudyRow.document)), 0))
    number, taken = session.execute(counted.where(unsigned)).one()
    return bool(number < MOST_UNSUBMITTED and taken + size <= LARGEST_UNSUBMITTED)


def find_study(session: Session, digest: str) -> StudyProtocol:
    """A study that was posted.

    Raises:
        Refusal: unknown here.
    """
    row = session.get(StudyRow, digest)
    if row is None:
        raise Refusal("unknown-study", f"this node has no study {digest[:12]}; post it to every node first")
    return parse_study(row.document)


def envelopes_of(session: Session, digest: str) -> list[Envelope]:
    """Every statement about a study, in order of arrival."""
    rows = session.scalars(
        select(EnvelopeRow)
        .where(EnvelopeRow.study == digest)
        .order_by(EnvelopeRow.received_at, EnvelopeRow.digest)
    )
    return [Envelope.from_canonical(row.body) for row in rows]


def post_envelope(core: NodeCore, digest: str, envelope: Envelope) -> bool:
    """Keep a signed statement; False if it is known already. A withdrawal destroys the site's shares at once.

    Raises:
        Refusal: no such study, too many statements by this party that are no refusal, or too many undecided
            studies of this investigator.
        governance.errors.GovernanceError: not signed by the party it speaks for, dated ahead of the clock, or the
            submission of a study that has expired.
    """
    with core.database.write() as session:
        study = find_study(session, digest)
        statement = read_statement(core.federation, study, envelope, utc_now())
        if not _keep_statement(core, session, study, statement, envelope):
            return False
    _record_statement(core, digest, envelope)
    if isinstance(statement, Withdrawal):
        destroy_shares(core, digest, statement.site, "withdrawn")
    return True


def _keep_statement(
    core: NodeCore, session: Session, study: StudyProtocol, statement: Statement, envelope: Envelope
) -> bool:
    if session.get(EnvelopeRow, statement_id(envelope)) is not None:
        return False
    if isinstance(statement, InvestigatorSubmission):
        _check_not_over(study)
        _check_undecided(core, session, study)
    if not _ends_a_part(statement):
        _check_room(session, study.digest, envelope.key_ids[0])
    row = EnvelopeRow(
        digest=statement_id(envelope),
        study=study.digest,
        kind=envelope.payloadType,
        body=envelope.canonical(),
    )
    session.add(row)
    return True


def _record_statement(core: NodeCore, study: str, envelope: Envelope) -> None:
    kind = envelope.payloadType.rpartition(".")[2].removesuffix("+json")
    core.record("statement received", study=study, kind=kind, envelope=envelope.digest)


def _check_undecided(core: NodeCore, session: Session, study: StudyProtocol) -> None:
    """Refuse one more study by an investigator of whom hospitals have as many to decide as this node allows.

    Part of the transaction that keeps the submission, so that of two at the same time the second sees the first.
    """
    now, most = utc_now(), core.settings.undecided_per_investigator
    submitted = _submitted_by(session, study.investigator.key, now)
    if len(submitted) < most or study.digest in {row.digest for row, _ in submitted}:
        return
    following = partial(amendments, session)
    undecided = []
    for row, signed_at in submitted:
        version = Version(parse_study(row.document), envelopes_of(session, row.digest))
        ends = max(version.study.validity.not_after, signed_at + COUNTED_FOR)
        if now <= ends and (sites := undecided_by(core.federation, version, following, now)):
            undecided.append((version.study, sites))
    if len(undecided) >= most:
        raise Refusal("too-many", _too_many_undecided(undecided, most))


def _submitted_by(session: Session, investigator: str, now: datetime) -> list[tuple[StudyRow, datetime]]:
    """Signed studies of one investigator that may count, with the time their first submission was received."""
    signed = (
        select(EnvelopeRow.study, func.min(EnvelopeRow.received_at).label("at"))
        .where(EnvelopeRow.kind == InvestigatorSubmission.payload_type)
        .group_by(EnvelopeRow.study)
        .subquery()
    )
    rows = (
        select(StudyRow, signed.c.at)
        .join(VersionRow, VersionRow.study == StudyRow.digest)
        .join(signed, signed.c.study == StudyRow.digest)
        .where(VersionRow.investigator == investigator)
        .where(or_(StudyRow.closed.is_(False), signed.c.at > now - COUNTED_FOR))
        .order_by(signed.c.at, StudyRow.digest)
    )
    return [(row, signed_at) for row, signed_at in session.execute(rows)]


def _too_many_undecided(undecided: Sequence[tuple[StudyProtocol, Sequence[str]]], most: int) -> str:
    oldest, sites = undecided[0]
    return (
        f"{len(undecided)} studies of this investigator wait here for hospitals to decide, and at most {most} may; "
        f"ask the data stewards to approve or decline them, first {oldest.short_name} ({oldest.digest[:12]}), which "
        f"waits for {', '.join(sites)}, then submit again. A node's operator can allow more with the setting "
        f"undecided_per_investigator"
    )


def statement_id(envelope: Envelope) -> str:
    """What makes a checked statement the same as another: its kind, its content and its signer, not the bytes
    of the signature, of which a signer can make any number."""
    return sha256_hex(canonical_json([envelope.payloadType, sha256_hex(envelope.body), *envelope.key_ids]))


def _ends_a_part(statement: Statement) -> bool:
    """Whether a hospital says no; that is heard whatever was said before."""
    refused = isinstance(statement, SiteDecision) and statement.decision == "decline"
    return refused or isinstance(statement, Withdrawal)


def _check_room(session: Session, digest: str, signer: str) -> None:
    if sum(one.key_ids[0] == signer for one in envelopes_of(session, digest)) >= MOST_STATEMENTS:
        raise Refusal(
            "too-many",
            f"study {digest[:12]} has {MOST_STATEMENTS} statements by key {signer} already; withdraw, or amend "
            f"the study",
        )


def standing_of(core: NodeCore, session: Session, study: StudyProtocol) -> Standing:
    """Which sites a run of this study has now, after checking every signature again.

    Raises:
        governance.errors.GovernanceError: not approved, out of date, replaced by an amendment, or too few sites
            remain.
    """
    envelopes = envelopes_of(session, study.digest)
    return check_approved(core.federation, study, envelopes, utc_now(), partial(amendments, session))


def amendments(session: Session, digest: str) -> list[Version]:
    """Every submitted study that amends this version."""
    rows = select(VersionRow.study).where(VersionRow.amends == digest, VersionRow.study.in_(SUBMITTED))
    found = session.scalars(rows.order_by(VersionRow.study))
    return [Version(find_study(session, one), envelopes_of(session, one)) for one in found]


def study_state(core: NodeCore, session: Session, study: StudyProtocol) -> dict[str, Any]:
    """How far a study is, for people: who signed, and whether it may run."""
    said = read_statements(core.federation, study, envelopes_of(session, study.digest))
    state: dict[str, Any] = {
        "submitted": said.submission is not None,
        "sites": {site: said.state_of(site) for site in study.sites},
        "may_run": True,
        "why_not": "",
    }
    try:
        standing_of(core, session, study)
    except NotPermitted as error:
        state |= {"may_run": False, "why_not": str(error)}
    return state


def destroy_shares(core: NodeCore, study: str, site: str, why: str) -> None:
    """Destroy the key of a site's shares in a study, then the files and every table made of them; log the deletion."""
    with core.database.write() as session:
        destroyed = core.vault.destroy(session, study, site)
        uploads = select(UploadRow.upload_id).where(
            UploadRow.study == study, UploadRow.site == site, UploadRow.destroyed.is_(False)
        )
        gone = list(session.scalars(uploads))
        session.execute(update(UploadRow).where(UploadRow.upload_id.in_(gone)).values(destroyed=True))
    for upload_id in gone:
        (core.directory.shares / upload_id).unlink(missing_ok=True)
    forget_kept(core.directory, study)
    if destroyed:
        core.metrics.deletions.inc()
        core.record("shares destroyed", study=study, site=site, why=why, uploads=sorted(gone))


def close_expired(core: NodeCore) -> None:
    """Destroy the shares of every study whose last day has passed."""
    with core.database.read() as session:
        rows = list(session.scalars(select(StudyRow).where(StudyRow.closed.is_(False))))
    for row in rows:
        try:
            _close_if_expired(core, parse_study(row.document))
        except Exception as error:  # the shares of the others have to go all the same
            log.error("study not closed", study=row.digest, error=type(error).__name__, where=where_of(error))


def _close_if_expired(core: NodeCore, study: StudyProtocol) -> None:
    if utc_now() <= study.validity.not_after:
        return
    for site in study.sites:
        destroy_shares(core, study.digest, site, "expired")
    with core.database.write() as session:
        session.execute(update(StudyRow).where(StudyRow.digest == study.digest).values(closed=True))
    core.record("study closed", study=study.digest, why="expired")
