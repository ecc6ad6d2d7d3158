"""Study drafts: text someone is writing, kept on the server, and what it takes to turn it into a study."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from workbench.errors import DraftError
from workbench.store import DraftRow, now

LONGEST_DRAFT = 400_000


class Drafts:
    """The drafts of one workbench; everybody sees only their own."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = now) -> None:
        self._engine = engine
        self._clock = clock

    def create(self, account: str, title: str, text: str) -> str:
        """Keep a new draft and return its id."""
        row = DraftRow(
            id=secrets.token_hex(16),
            account=account,
            title=title[:200],
            text=_checked(text),
            updated_at=self._clock(),
        )
        with Session(self._engine) as session, session.begin():
            session.add(row)
            return row.id

    def get(self, identifier: str, account: str) -> DraftRow:
        """One's own draft.

        Raises:
            DraftError: no such draft, or another person's.
        """
        with Session(self._engine, expire_on_commit=False) as session:
            row = session.get(DraftRow, identifier)
        if row is None or row.account != account:
            raise DraftError("No draft with this address is yours. Your drafts are listed under Studies.")
        return row

    def save(self, identifier: str, account: str, title: str, text: str) -> None:
        """Replace a draft's text."""
        self.get(identifier, account)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(DraftRow, identifier)
            row.title, row.text, row.updated_at = title[:200], _checked(text), self._clock()

    def submitted(self, identifier: str, account: str, digest: str) -> None:
        """Note the digest of the study a draft became."""
        self.get(identifier, account)
        with Session(self._engine) as session, session.begin():
            session.get_one(DraftRow, identifier).submitted_digest = digest

    def keep_cohort(self, account: str, text: str) -> None:
        """Keep the cohort someone is writing on the count page, so that a reload loses nothing."""
        row = DraftRow(
            id=_cohort_id(account),
            account=account,
            kind="cohort",
            title="cohort",
            text=_checked(text),
            updated_at=self._clock(),
        )
        with Session(self._engine) as session, session.begin():
            session.merge(row)

    def kept_cohort(self, account: str) -> str | None:
        """The cohort someone was writing on the count page, or None."""
        with Session(self._engine) as session:
            row = session.get(DraftRow, _cohort_id(account))
            return None if row is None else row.text

    def remove(self, identifier: str, account: str) -> None:
        """Throw a draft away."""
        self.get(identifier, account)
        with Session(self._engine) as session, session.begin():
            session.execute(delete(DraftRow).where(DraftRow.id == identifier))

    def listing(self, account: str) -> list[DraftRow]:
        """One's own drafts, newest first."""
        mine = select(DraftRow).where(DraftRow.account == account, DraftRow.kind == "study")
        query = mine.order_by(DraftRow.updated_at.desc())
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(query))


def _checked(text: str) -> str:
    if len(text) > LONGEST_DRAFT:
        raise DraftError(f"a draft holds at most {LONGEST_DRAFT:,} characters; this one has {len(text):,}")
    return text


def _cohort_id(account: str) -> str:
    return hashlib.sha256(f"cohort of {account}".encode()).hexdigest()[:32]


def default_validity(moment: datetime) -> dict[str, str]:
    """A year from now, as a draft writes it."""
    end = moment + timedelta(days=365)
    return {"not_before": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "not_after": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
