"""The mailbox's tables in SQLite, through SQLAlchemy."""

from __future__ import annotations

from datetime import datetime
from sqlite3 import Connection as FileConnection

from sqlalchemy import LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from governance.storage import UtcDateTime


class Base(DeclarativeBase):
    """Base of the tables."""


class StudyRow(Base):
    """A study that names this site and whose submission is signed; put here by the connector."""

    __tablename__ = "studies"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    dry_run: Mapped[str | None] = mapped_column(Text, default=None)
    dry_run_snapshot: Mapped[str] = mapped_column(String(64), default="")
    note: Mapped[str] = mapped_column(Text, default="")


class AmendmentRow(Base):
    """A study that amends another one, whether it names this site or leaves it out."""

    __tablename__ = "amendments"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    amends: Mapped[str] = mapped_column(String(64), index=True)
    document: Mapped[bytes] = mapped_column(LargeBinary)


class StatementRow(Base):
    """A verified statement about a study: submission, decision or withdrawal, of any party."""

    __tablename__ = "statements"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OutgoingRow(Base):
    """A statement of this site that every node is to have."""

    __tablename__ = "outgoing"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(String(64))
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DeliveryRow(Base):
    """That one node has one thing: a statement (by digest) or an upload (by upload id)."""

    __tablename__ = "deliveries"

    what: Mapped[str] = mapped_column(String(64), primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    delivered_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UploadRow(Base):
    """An upload; one per study, or per run of a feasibility study (``run``, else empty)."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("study", "run"),)

    upload_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    run: Mapped[str] = mapped_column(String(64), default="")
    state: Mapped[str]
    manifest: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RefusalRow(Base):
    """Why an upload was given up."""

    __tablename__ = "refusals"

    upload_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunRow(Base):
    """A run request of a feasibility study that this site decided upon; its account of what was spent."""

    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    requester_key: Mapped[str]
    nonce: Mapped[str] = mapped_column(String(32))
    accepted: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text, default="")
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class NodeRow(Base):
    """When a node last answered."""

    __tablename__ = "nodes"

    node: Mapped[str] = mapped_column(primary_key=True)
    last_answer: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    problem: Mapped[str] = mapped_column(Text, default="")


class RoundRow(Base):
    """When the connector last finished a round; one row."""

    __tablename__ = "rounds"

    key: Mapped[int] = mapped_column(primary_key=True, default=0)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


def durable(connection: FileConnection, _record: object) -> None:
    """Write-ahead log, every commit on disk."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
