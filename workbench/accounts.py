"""Local accounts: who may sign in, as what, and for how long.

Passwords are kept as Argon2id hashes (RFC 9106, the library's second recommended profile). A sign-in is a
random 256-bit cookie of which only the SHA-256 is kept. How many failures are too many, and where, is the matter of
`workbench.lockout`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from workbench.errors import AccountError, SignInRefused
from workbench.lockout import Lockout
from workbench.settings import ROLES, WorkbenchSettings
from workbench.store import AccountRow, SignInRow, now

SHORTEST_PASSWORD = 12
NAME = re.compile(r"[a-z][a-z0-9._-]{1,62}")


@dataclass(frozen=True)
class SignIn:
    """A signed-in person: what the pages know about who is looking."""

    id: str
    account: str
    display_name: str
    roles: tuple[str, ...]
    expires_at: datetime


class Accounts:
    """Accounts and sign-ins in the workbench's database.

    Args:
        engine: from `workbench.store.open_store`.
        lifetime: a sign-in ends after this long, however active.
        lock_after: failures of one name at one address within ``lock_for`` that lock it there.
        roles: those that have pages here.
        clock: the present, injected by tests.
        hasher: other costs than the library's; for tests.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        lifetime: timedelta = timedelta(hours=8),
        lock_after: int = 5,
        lock_for: timedelta = timedelta(minutes=15),
        roles: Collection[str] = ROLES,
        clock: Callable[[], datetime] = now,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._engine = engine
        self._lifetime = lifetime
        self._roles = roles
        self._clock = clock
        self._lockout = Lockout(engine, lock_after, lock_for, clock)
        self._hasher = hasher or PasswordHasher()

    def add(self, name: str, password: str, roles: Iterable[str], display_name: str = "") -> None:
        """Make an account.

        Raises:
            AccountError: the name is taken or malformed, a role is unknown or has no pages here, or the password is too short.
        """
        wanted = tuple(dict.fromkeys(roles))
        if not NAME.fullmatch(name):
            raise AccountError(
                f"account name {name!r}: use 2 to 63 of a-z, 0-9, '.', '_', '-', starting with a letter"
            )
        unknown = [role for role in wanted if role not in ROLES]
        if unknown or not wanted:
            raise AccountError(
                f"roles of {name}: {', '.join(unknown) or 'none'} given; choose from {', '.join(ROLES)}"
            )
        elsewhere = [role for role in wanted if role not in self._roles]
        if elsewhere:
            raise AccountError(
                f"roles of {name}: {', '.join(elsewhere)} have pages only at a hospital's own workbench; add the account "
                f"there, or choose from {', '.join(self._roles)}"
            )
        row = AccountRow(
            name=name,
            display_name=display_name or name,
            roles=list(wanted),
            password_hash=self._hash(name, password),
            created_at=self._clock(),
        )
        with Session(self._engine) as session, session.begin():
            if session.get(AccountRow, name) is not None:
                raise AccountError(
                    f"account {name} exists; change its password with `tessera workbench users password`"
                )
            session.add(row)

    def set_password(self, name: str, password: str) -> None:
        """Replace a password, end the account's sign-ins, and forget how often others failed at it.

        Raises:
            AccountError: no such account, or the password is too short.
        """
        hashed = self._hash(name, password)
        with Session(self._engine) as session, session.begin():
            self._existing(session, name).password_hash = hashed
            self._end_all(session, name)
        self._lockout.forget(name)

    def disable(self, name: str) -> None:
        """Refuse later sign-ins of an account and end the present ones."""
        with Session(self._engine) as session, session.begin():
            self._existing(session, name).disabled = True
            self._end_all(session, name)

    def listing(self) -> list[AccountRow]:
        """All accounts by name."""
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(select(AccountRow).order_by(AccountRow.name)))

    def sign_in(self, name: str, password: str, address: str) -> tuple[str, SignIn]:
        """Check a password.

        Returns: the cookie's value, shown once, and the sign-in.

        Raises:
            SignInRefused: wrong name or password (the same words for both), or too many failures.
        """
        name = name.strip().lower()
        attempt = self._lockout.attempt(name, address)
        with Session(self._engine, expire_on_commit=False) as session:
            row = session.get(AccountRow, name)
        verified = self._verify(row.password_hash if row else self._decoy, password)
        if row is None or not verified or row.disabled:
            raise SignInRefused("Wrong name or password.")
        self._lockout.succeeded(attempt)
        return self._start(row)

    def current(self, sign_in: str | None) -> SignIn | None:
        """The sign-in with this id, or None once it ended, expired, or its account was disabled."""
        if not sign_in:
            return None
        return self._find(SignInRow.id == sign_in)

    def by_cookie(self, cookie: str | None) -> SignIn | None:
        """The sign-in a cookie stands for, or None."""
        if not cookie:
            return None
        return self._find(SignInRow.token_hash == _digest(cookie))

    def sign_out(self, sign_in: str) -> None:
        """End one sign-in; its cookie is worthless from now on."""
        with Session(self._engine) as session, session.begin():
            session.execute(update(SignInRow).where(SignInRow.id == sign_in).values(ended=True))

    @cached_property
    def _decoy(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))

    def _hash(self, name: str, password: str) -> str:
        if len(password) < SHORTEST_PASSWORD:
            raise AccountError(f"password of {name}: at least {SHORTEST_PASSWORD} characters")
        return self._hasher.hash(password)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _existing(self, session: Session, name: str) -> AccountRow:
        row = session.get(AccountRow, name)
        if row is None:
            raise AccountError(f"no account {name}; `tessera workbench users list` shows them")
        return row

    def _end_all(self, session: Session, name: str) -> None:
        session.execute(update(SignInRow).where(SignInRow.account == name).values(ended=True))

    def _start(self, row: AccountRow) -> tuple[str, SignIn]:
        cookie, identifier, moment = secrets.token_urlsafe(32), secrets.token_hex(16), self._clock()
        expires = moment + self._lifetime
        with Session(self._engine) as session, session.begin():
            session.add(
                SignInRow(
                    id=identifier,
                    token_hash=_digest(cookie),
                    account=row.name,
                    created_at=moment,
                    expires_at=expires,
                )
            )
        return cookie, SignIn(identifier, row.name, row.display_name, tuple(row.roles), expires)

    def _find(self, condition: object) -> SignIn | None:
        query = select(SignInRow, AccountRow).join(AccountRow, AccountRow.name == SignInRow.account)
        with Session(self._engine) as session:
            found = session.execute(query.where(condition)).one_or_none()  # type: ignore[arg-type]
            if found is None:
                return None
            row, account = found
            if row.ended or account.disabled or row.expires_at <= self._clock():
                return None
            return SignIn(row.id, account.name, account.display_name, tuple(account.roles), row.expires_at)


def accounts_of(engine: Engine, settings: WorkbenchSettings) -> Accounts:
    """The accounts in a workbench's database, under its settings."""
    return Accounts(
        engine,
        lifetime=timedelta(hours=settings.session_hours),
        lock_after=settings.lock_after,
        lock_for=timedelta(minutes=settings.lock_minutes),
        roles=settings.roles,
    )


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
