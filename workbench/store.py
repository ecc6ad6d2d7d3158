"""The workbench's own database: accounts, sign-ins, drafts and jobs. No patient fact is ever written here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Engine, Float, ForeignKey, String, Text, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from governance.storage import UtcDateTime


class Base(DeclarativeBase):
    """Tables of the workbench."""

    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class AccountRow(Base):
    """A person who may sign in; the person's keys lie in the identities folder under the same name."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(200))
    roles: Mapped[list[str]]
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    disabled: Mapped[bool] = mapped_column(default=False)


class SignInRow(Base):
    """One signed-in browser. Only the SHA-256 of the cookie is kept."""

    __tablename__ = "sign_ins"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended: Mapped[bool] = mapped_column(default=False)


class FailureRow(Base):
    """A failed sign-in, once for each `workbench.lockout` counts it by, whether or not the name exists."""

    __tablename__ = "sign_in_failures"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    at: Mapped[datetime]


class UsualSourceRow(Base):
    """Where an account has signed in from, and when last."""

    __tablename__ = "usual_sources"
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]


class DraftRow(Base):
    """A study someone is writing, as text; nothing is lost when a browser goes away."""

    __tablename__ = "drafts"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), index=True)
    kind: Mapped[str] = mapped_column(String(20), default="study")
    title: Mapped[str] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[datetime]
    submitted_digest: Mapped[str | None] = mapped_column(String(64), default=None)


class JobRow(Base):
    """One run asked for by one person. ``public``: parameters that may be shown; never the facts of a patient."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), index=True)
    role: Mapped[str] = mapped_column(String(20))
    study_digest: Mapped[str] = mapped_column(String(64), index=True)
    analysis: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(64))
    public: Mapped[dict[str, Any]]
    run_id: Mapped[str | None] = mapped_column(String(80), default=None)
    state: Mapped[str] = mapped_column(String(20))
    stage: Mapped[str] = mapped_column(String(200), default="")
    fraction: Mapped[float] = mapped_column(Float, default=0.0)
    parties: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)


def open_store(path: Path) -> Engine:
    """Open the database, making it and its tables (readable by the owner only) where absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
    event.listen(engine, "connect", _prepare)
    Base.metadata.create_all(engine)
    path.chmod(0o600)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
