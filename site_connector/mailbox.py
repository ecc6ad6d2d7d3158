"""The mailbox between a hospital's people and its connector: a SQLite file in the site's directory.

The connector puts in studies, statements of other parties, dry runs and the state of uploads. People (through
the workbench or the command line) put in signed statements, which the connector delivers. Every method is one
transaction and may be repeated; either side may be killed at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy import create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from governance.approval import Statements, Version, read_statements, replaced_by
from governance.envelope import Envelope
from governance.federation import Federation
from governance.run_request import RunRequest, Spent
from governance.study import StudyProtocol
from site_connector import mailbox_tables as tables
from site_connector.errors import AlreadyUploaded, MailboxError, UnknownStudy, UploadRefused
from site_connector.models import ConnectorStatus, DryRun, InboxItem, NodeContact, SiteStanding, Upload
from site_connector.standing import state_of

SHORTEST_PREFIX = 6


class Mailbox:
    """One site's mailbox. ``federation`` is the pinned one; ``site`` this hospital's id in it."""

    def __init__(self, path: Path, federation: Federation, site: str) -> None:
        self._path, self._federation, self._site = path, federation, site
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        event.listen(self._engine, "connect", tables.durable)
        try:
            tables.Base.metadata.create_all(self._engine)
            path.chmod(0o600)
        except SQLAlchemyError as error:
            raise MailboxError(f"{path}: {getattr(error, 'orig', error)}") from error

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what people read

    def inbox(self, now: datetime) -> list[InboxItem]:
        """Every study, newest first."""
        with self._session() as session:
            rows = session.scalars(select(tables.StudyRow).order_by(tables.StudyRow.received_at.desc()))
            return [self._item(session, row, now) for row in rows]

    def item(self, which: str, now: datetime) -> InboxItem:
        """The study with this digest, unique beginning of a digest, or short name.

        Raises:
            UnknownStudy: none, or several.
        """
        with self._session() as session:
            return self._item(session, self._find(session, which), now)

    def status(self) -> ConnectorStatus:
        """When the connector was last alive and what it still has to deliver."""
        with self._session() as session:
            last = session.get(tables.RoundRow, 0)
            nodes = session.scalars(select(tables.NodeRow).order_by(tables.NodeRow.node))
            contacts = tuple(
                NodeContact(node=row.node, last_answer=row.last_answer, problem=row.problem) for row in nodes
            )
            return ConnectorStatus(
                last_round=last.at if last else None, nodes=contacts, outgoing=len(self._pending(session))
            )

    # ---- studies and statements

    def put_study(self, study: StudyProtocol, now: datetime) -> bool:
        """Add a verified study; True if it is new."""
        with self._session() as session:
            if session.get(tables.StudyRow, study.digest) is not None:
                return False
            session.add(tables.StudyRow(digest=study.digest, document=study.canonical(), received_at=now))
            return True

    def put_amendment(self, study: StudyProtocol) -> None:
        """Keep a verified study that amends another, so that the other can be judged."""
        with self._session() as session:
            session.merge(
                tables.AmendmentRow(digest=study.digest, amends=study.amends, document=study.canonical())
            )

    def amendments(self, digest: str) -> list[Version]:
        """The amendments of one version, with everything verified that was said about them."""
        with self._session() as session:
            return self._amendments(session, digest)

    def all_amendments(self) -> list[StudyProtocol]:
        """Every amendment, also of those that leave this site out."""
        with self._session() as session:
            documents = session.scalars(select(tables.AmendmentRow.document))
            return [StudyProtocol.from_canonical(document) for document in documents]

    def put_statement(self, study_digest: str, envelope: Envelope, now: datetime) -> bool:
        """Add a verified statement; True if it is new."""
        with self._session() as session:
            if session.get(tables.StatementRow, envelope.digest) is not None:
                return False
            session.add(
                tables.StatementRow(
                    digest=envelope.digest, study=study_digest, envelope=envelope.canonical(), seen_at=now
                )
            )
            return True

    def statements(self, study_digest: str) -> list[Envelope]:
        """Everything verified that was said about a study."""
        with self._session() as session:
            return self._statements(session, study_digest)

    def put_note(self, study_digest: str, note: str) -> None:
        """Say beside a study why the connector cannot go on with it; empty when it can."""
        with self._session() as session:
            row = session.get(tables.StudyRow, study_digest)
            if row is not None:
                row.note = note

    def put_dry_run(self, study_digest: str, dry_run: DryRun) -> None:
        """Keep the latest dry run of a study."""
        with self._session() as session:
            row = session.get(tables.StudyRow, study_digest)
            if row is not None:
                row.dry_run, row.dry_run_snapshot = dry_run.model_dump_json(), dry_run.snapshot

    def studies(self) -> list[StudyProtocol]:
        """Every study, oldest first."""
        with self._session() as session:
            rows = session.scalars(select(tables.StudyRow).order_by(tables.StudyRow.received_at))
            return [StudyProtocol.from_canonical(row.document) for row in rows]

    def dry_run_snapshots(self) -> dict[str, str]:
        """The snapshot of each study's latest dry run, by digest; empty: none yet."""
        with self._session() as session:
            found = session.execute(select(tables.StudyRow.digest, tables.StudyRow.dry_run_snapshot))
            return {row.digest: row.dry_run_snapshot for row in found}

    # ---- what this site says

    def post(self, study_digest: str, envelope: Envelope, now: datetime) -> None:
        """Hand a signed statement of this site to the connector, which delivers it to every node."""
        with self._session() as session:
            if session.get(tables.OutgoingRow, envelope.digest) is not None:
                return
            body = envelope.canonical()
            session.add(
                tables.OutgoingRow(digest=envelope.digest, study=study_digest, envelope=body, written_at=now)
            )
            session.merge(
                tables.StatementRow(digest=envelope.digest, study=study_digest, envelope=body, seen_at=now)
            )

    def pending(self) -> list[tuple[str, Envelope, tuple[str, ...]]]:
        """Statements some node lacks: study digest, envelope, the nodes that lack it; oldest first."""
        with self._session() as session:
            return self._pending(session)

    def mark_delivered(self, what: str, node: str, now: datetime) -> None:
        """Note that a node has a statement (its digest) or an upload (its id)."""
        with self._session() as session:
            session.merge(tables.DeliveryRow(what=what, node=node, delivered_at=now))

    # ---- uploads

    def add_upload(
        self, upload_id: str, study_digest: str, run: str | None, manifest: Envelope, now: datetime
    ) -> None:
        """Note that an upload is sealed and may leave. This is the moment that decides that a study uploads once.

        Raises:
            AlreadyUploaded, UploadRefused: see `check_not_uploaded`.
        """
        self.check_not_uploaded(study_digest, run)
        with self._session() as session:
            session.add(
                tables.UploadRow(
                    upload_id=upload_id,
                    study=study_digest,
                    run=run or "",
                    state="prepared",
                    manifest=manifest.canonical(),
                    created_at=now,
                )
            )

    def check_not_uploaded(self, study_digest: str, run: str | None) -> None:
        """Refuse a second upload.

        Raises:
            AlreadyUploaded: with when the first one was made.
            UploadRefused: the first one was given up; with the reason.
        """
        for upload in self.uploads(study_digest):
            if upload.run == run:
                what = f"run {run[:12]} of study" if run else "study"
                if upload.state == "refused":
                    raise UploadRefused(
                        f"{what} {study_digest[:12]}: upload {upload.upload_id} was given up, since "
                        f"{upload.reason}; a study uploads once. Amend the study to upload anew"
                    )
                raise AlreadyUploaded(
                    f"{what} {study_digest[:12]} was uploaded on {upload.created_at:%Y-%m-%d %H:%M}Z (upload "
                    f"{upload.upload_id}, {upload.state}); a study uploads once. New data need an amended study"
                )

    def uploads(self, study_digest: str | None = None) -> list[Upload]:
        """Uploads, oldest first."""
        with self._session() as session:
            return self._uploads(session, study_digest)

    def manifest(self, upload_id: str) -> Envelope:
        """The signed manifest of an upload."""
        with self._session() as session:
            row = session.get(tables.UploadRow, upload_id)
            if row is None:
                raise MailboxError(f"{self._path}: no upload {upload_id}")
            return Envelope.from_canonical(row.manifest)

    def is_prepared(self, upload_id: str) -> bool:
        """Whether an upload is still to be sent."""
        with self._session() as session:
            row = session.get(tables.UploadRow, upload_id)
            return row is not None and row.state == "prepared"

    def finish_upload(self, upload_id: str) -> None:
        """Every node has it."""
        with self._session() as session:
            row = session.get(tables.UploadRow, upload_id)
            if row is not None:
                row.state = "delivered"

    def refuse_upload(self, upload_id: str, reason: str, now: datetime) -> None:
        """It was given up."""
        with self._session() as session:
            row = session.get(tables.UploadRow, upload_id)
            if row is not None:
                row.state = "refused"
                session.merge(tables.RefusalRow(upload_id=upload_id, reason=reason, refused_at=now))

    # ---- runs of feasibility studies

    def spent(self, study_digest: str) -> Spent:
        """This site's own account of a study."""
        with self._session() as session:
            query = select(tables.RunRow).where(
                tables.RunRow.study == study_digest, tables.RunRow.accepted.is_(True)
            )
            rows = list(session.scalars(query))
            by_requester: dict[str, int] = {}
            for row in rows:
                by_requester[row.requester_key] = by_requester.get(row.requester_key, 0) + 1
            return Spent(
                runs=len(rows), by_requester=by_requester, nonces=frozenset(row.nonce for row in rows)
            )

    def put_run(self, request: RunRequest, now: datetime, refused: str = "") -> None:
        """Note a run request: charged if accepted, with the reason if not."""
        with self._session() as session:
            session.merge(
                tables.RunRow(
                    run_id=request.run_id,
                    study=request.study_digest,
                    requester_key=request.requester_key,
                    nonce=request.nonce,
                    accepted=not refused,
                    reason=refused,
                    seen_at=now,
                )
            )

    def known_runs(self, study_digest: str) -> set[str]:
        """Run requests that were decided upon."""
        with self._session() as session:
            return set(
                session.scalars(select(tables.RunRow.run_id).where(tables.RunRow.study == study_digest))
            )

    # ---- signs of life

    def put_contact(self, node: str, now: datetime, problem: str = "") -> None:
        """Note that a node answered, or what was wrong."""
        with self._session() as session:
            row = session.get(tables.NodeRow, node) or tables.NodeRow(node=node)
            row.problem = problem
            if not problem:
                row.last_answer = now
            session.add(row)

    def put_round(self, now: datetime) -> None:
        """Note that the connector finished a round."""
        with self._session() as session:
            session.merge(tables.RoundRow(key=0, at=now))

    # ---- inside

    def _find(self, session: Session, which: str) -> tables.StudyRow:
        exact = session.get(tables.StudyRow, which)
        if exact is not None:
            return exact
        rows = list(session.scalars(select(tables.StudyRow)))
        found = [row for row in rows if len(which) >= SHORTEST_PREFIX and row.digest.startswith(which)]
        if not found:
            found = [row for row in rows if StudyProtocol.from_canonical(row.document).short_name == which]
        if len(found) == 1:
            return found[0]
        if not found:
            raise UnknownStudy(
                f"no study {which!r} in the mailbox; `tessera site inbox` lists them. A new study appears "
                "once the connector (`tessera site serve`) has seen it on the nodes"
            )
        raise UnknownStudy(f"{which!r} fits {len(found)} studies; give more of the digest")

    def _item(self, session: Session, row: tables.StudyRow, now: datetime) -> InboxItem:
        study = StudyProtocol.from_canonical(row.document)
        said = read_statements(self._federation, study, self._statements(session, row.digest))
        later = replaced_by(self._federation, study, partial(self._amendments, session), now)
        return InboxItem(
            study=study,
            digest=row.digest,
            received_at=row.received_at,
            state=state_of(study, said, self._site, now, replaced=later is not None),
            replaced_by=later.digest if later else None,
            standings=_standings(study, said),
            dry_run=DryRun.model_validate_json(row.dry_run) if row.dry_run else None,
            uploads=tuple(self._uploads(session, row.digest)),
            note=row.note or _refused_run(session, row.digest),
        )

    def _statements(self, session: Session, study_digest: str) -> list[Envelope]:
        query = select(tables.StatementRow.envelope).where(tables.StatementRow.study == study_digest)
        return [Envelope.from_canonical(body) for body in session.scalars(query)]

    def _amendments(self, session: Session, digest: str) -> list[Version]:
        query = select(tables.AmendmentRow).where(tables.AmendmentRow.amends == digest)
        rows = session.scalars(query.order_by(tables.AmendmentRow.digest))
        return [
            Version(StudyProtocol.from_canonical(row.document), self._statements(session, row.digest))
            for row in rows
        ]

    def _pending(self, session: Session) -> list[tuple[str, Envelope, tuple[str, ...]]]:
        found = []
        for row in session.scalars(select(tables.OutgoingRow).order_by(tables.OutgoingRow.written_at)):
            lacking = self._lacking(session, row.digest)
            if lacking:
                found.append((row.study, Envelope.from_canonical(row.envelope), lacking))
        return found

    def _lacking(self, session: Session, what: str) -> tuple[str, ...]:
        have = set(self._holders(session, what))
        return tuple(node.id for node in self._federation.nodes if node.id not in have)

    def _holders(self, session: Session, what: str) -> Iterable[str]:
        return session.scalars(select(tables.DeliveryRow.node).where(tables.DeliveryRow.what == what))

    def _uploads(self, session: Session, study_digest: str | None) -> list[Upload]:
        query = select(tables.UploadRow).order_by(tables.UploadRow.created_at)
        if study_digest is not None:
            query = query.where(tables.UploadRow.study == study_digest)
        return [self._upload(session, row) for row in session.scalars(query)]

    def _upload(self, session: Session, row: tables.UploadRow) -> Upload:
        refusal = session.get(tables.RefusalRow, row.upload_id)
        return Upload.model_validate(
            {
                "upload_id": row.upload_id,
                "study": row.study,
                "run": row.run or None,
                "state": row.state,
                "created_at": row.created_at,
                "delivered_to": tuple(sorted(self._holders(session, row.upload_id))),
                "reason": refusal.reason if refusal else "",
            }
        )

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            raise MailboxError(f"{self._path}: {getattr(error, 'orig', None) or error}") from error


def _refused_run(session: Session, study_digest: str) -> str:
    """Why this hospital left the latest run without its part; empty if it answered one since."""
    query = select(tables.RunRow).where(tables.RunRow.study == study_digest)
    latest = session.scalars(query.order_by(tables.RunRow.seen_at.desc(), tables.RunRow.accepted)).first()
    if latest is None or latest.accepted:
        return ""
    return f"run {latest.run_id[:12]} was refused here on {latest.seen_at:%Y-%m-%d %H:%M}Z: {latest.reason}"


def _standings(study: StudyProtocol, said: Statements) -> tuple[SiteStanding, ...]:
    found = []
    for site in study.sites:
        decision, withdrawal = said.decisions.get(site), said.withdrawals.get(site)
        since = withdrawal.withdrawn_at if withdrawal else decision.decided_at if decision else None
        reason = withdrawal.reason if withdrawal else decision.reason if decision else ""
        found.append(SiteStanding(site=site, state=said.state_of(site), reason=reason, since=since))
    return tuple(found)
