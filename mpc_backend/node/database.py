"""What a node remembers, in SQLite through SQLAlchemy: documents, who uploaded what, runs and where results lie.

Shares, queries and results are files beside the database; a row is written in the same step that gives its
file the final name, so a row without a file, or half a file, is never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import LargeBinary, String, UniqueConstraint, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import ForeignKey

from governance.storage import UtcDateTime

OPEN_STATES = ("waiting", "running")
"""States of a run that may still change; the others are final."""


def utc_now() -> datetime:
    """Now, in UTC; the one clock of the node."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""


class StudyRow(Base):
    """A study that was posted; posting it approves nothing."""

    __tablename__ = "studies"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    closed: Mapped[bool] = mapped_column(default=False)
    """Expired, and its shares are destroyed."""


class VersionRow(Base):
    """What a study's document says of its author and of the version it amends, to find it by."""

    __tablename__ = "versions"

    study: Mapped[str] = mapped_column(ForeignKey("studies.digest", ondelete="CASCADE"), primary_key=True)
    investigator: Mapped[str] = mapped_column(index=True)
    amends: Mapped[str | None] = mapped_column(String(64), index=True)


class EnvelopeRow(Base):
    """A signed statement about a study: submission, decision, withdrawal."""

    __tablename__ = "envelopes"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class SiteKeyRow(Base):
    """The data encryption key of one site's shares in one study, wrapped; without it they cannot be read again."""

    __tablename__ = "site_keys"

    study: Mapped[str] = mapped_column(String(64), primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class UploadRow(Base):
    """One site's shares for a study, or for one run of a feasibility study (``run``, else empty)."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("study", "site", "run"),)

    upload_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    site: Mapped[str]
    run: Mapped[str] = mapped_column(String(64), default="")
    manifest_digest: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    destroyed: Mapped[bool] = mapped_column(default=False)


class RunRow(Base):
    """One run: its signed request, how far it is, and what it was charged."""

    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(String(64), index=True)
    analysis: Mapped[str]
    recipient: Mapped[str]
    requester_key: Mapped[str]
    nonce: Mapped[str] = mapped_column(String(32))
    request: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(index=True, default="waiting")
    label: Mapped[str] = mapped_column(default="")
    fraction: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(default="")
    who: Mapped[str] = mapped_column(default="")
    charged: Mapped[int | None] = mapped_column(default=None)
    """Runs charged to the study with this one, as all nodes agreed with their keys; None before that."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class ResultRow(Base):
    """What this node may hand out for a finished run: its own sealed output is a file, the attestations are here."""

    __tablename__ = "results"

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed_output: Mapped[str] = mapped_column(String(64))
    attestations: Mapped[bytes] = mapped_column(LargeBinary)


class WitnessedRow(Base):
    """The last checkpoint of another node's log that this node cosigned."""

    __tablename__ = "witnessed"

    node: Mapped[str] = mapped_column(primary_key=True)
    checkpoint: Mapped[bytes] = mapped_column(LargeBinary)


class CosignedRow(Base):
    """The latest checkpoint of this node's log, with the signatures of those who witnessed it."""

    __tablename__ = "cosigned"

    size: Mapped[int] = mapped_column(primary_key=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class Database:
    """The node's database; one writer at a time, any number of readers."""

    def __init__(self, path: Path) -> None:
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        event.listen(self._engine, "connect", _prepare)
        self._writing = RLock()
        Base.metadata.create_all(self._engine)
        path.chmod(0o600)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction of its own: everything is kept, or on any error nothing."""
        with self._writing, Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()


def _prepare(connection: Any, _record: object) -> None:
    """Write-ahead log; deleted keys are overwritten in the file, so that a destroyed key is gone."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
