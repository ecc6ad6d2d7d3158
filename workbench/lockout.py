"""When sign-ins are refused after failures, such that failures elsewhere lock nobody out where they usually sign in.

counted by          most           within      for
name and source     ``lock_after`` ``lock_for``  somebody who guesses one password
source              30             ``lock_for``  one machine that tries many names
name                50             a day         many machines that guess one password; does not hold at the sources
                                               from which that name signed in during the last 90 days

So whoever knows a name can, with 50 failures a day, keep its owner out at every source where the owner has not signed
in lately, and of a new account everywhere; a new password lifts that. Whoever shares a source with others can lock them
out there for ``lock_for``.

A source is the browser's IPv4 address, or the /64 network of its IPv6 address, since a machine has a whole one.
Names that do not exist are counted like others, so that neither the answer nor its timing tells which do.
An attempt is counted as a failure before its password is looked at, in the transaction that compares the counts;
many at the same time therefore do not get past. One that succeeds is taken back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from workbench.errors import SignInRefused
from workbench.store import FailureRow, UsualSourceRow

FAILURES_PER_SOURCE = 30
FAILURES_PER_NAME = 50
NAME_WINDOW = timedelta(days=1)
USUAL_FOR = timedelta(days=90)
LONGEST_NAME = 64
NETWORK_OF_A_MACHINE = 64


@dataclass(frozen=True)
class Attempt:
    """One attempt to sign in, counted as a failure until it is taken back. ``rows``: what counts it."""

    name: str
    source: str
    rows: tuple[int, ...]


class Lockout:
    """Counts failed sign-ins in the workbench's database; see the module docstring."""

    def __init__(
        self, engine: Engine, lock_after: int, lock_for: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._engine, self._lock_after, self._lock_for, self._clock = engine, lock_after, lock_for, clock

    def attempt(self, name: str, address: str) -> Attempt:
        """Count an attempt.

        Raises:
            SignInRefused: too many failed before it; it is not counted then.
        """
        name, source, moment = name[:LONGEST_NAME], source_of(address), self._clock()
        soon = f"Too many failed sign-ins. Try again in {round(self._lock_for.total_seconds() / 60)} minutes."
        elsewhere = (
            "Too many failed sign-ins under this name. Sign in from a place where you did before, or ask the "
            "administrator for a new password."
        )
        limits = (
            (_here(name, source), self._lock_after, self._lock_for, soon),
            (f"address:{source}", FAILURES_PER_SOURCE, self._lock_for, soon),
            (f"name:{name}", FAILURES_PER_NAME, NAME_WINDOW, elsewhere),
        )
        with Session(self._engine) as session, session.begin():
            # Writing comes first: it makes others who would count at the same time wait.
            session.execute(
                delete(FailureRow).where(FailureRow.at <= moment - max(NAME_WINDOW, self._lock_for))
            )
            rows = [FailureRow(subject=subject, at=moment) for subject, *_ in limits]
            session.add_all(rows)
            session.flush()
            usual = session.get(UsualSourceRow, (name, source))
            holding = limits[:2] if usual is not None and usual.at > moment - USUAL_FOR else limits
            for subject, most, window, refusal in holding:
                recent = select(func.count()).where(
                    FailureRow.subject == subject, FailureRow.at > moment - window
                )
                if (session.scalar(recent) or 0) > most:
                    raise SignInRefused(refusal)
            return Attempt(name, source, tuple(row.id for row in rows))

    def succeeded(self, attempt: Attempt) -> None:
        """Take an attempt back, and forget earlier failures of the same name at the same source, which is a usual
        one from now on.
        """
        moment = self._clock()
        here = FailureRow.subject == _here(attempt.name, attempt.source)
        with Session(self._engine) as session, session.begin():
            session.execute(delete(FailureRow).where(or_(here, FailureRow.id.in_(attempt.rows))))
            session.execute(delete(UsualSourceRow).where(UsualSourceRow.at <= moment - USUAL_FOR))
            session.merge(UsualSourceRow(account=attempt.name, source=attempt.source, at=moment))

    def forget(self, name: str) -> None:
        """Forget every failure under a name, wherever it was."""
        name = name[:LONGEST_NAME]
        anywhere = and_(
            FailureRow.subject.startswith("here:"), FailureRow.subject.endswith(f" {name}", autoescape=True)
        )
        with Session(self._engine) as session, session.begin():
            session.execute(delete(FailureRow).where(or_(FailureRow.subject == f"name:{name}", anywhere)))


def source_of(address: str) -> str:
    """What an address counts as; see the module docstring."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known.packed, NETWORK_OF_A_MACHINE), strict=False))


def _here(name: str, source: str) -> str:
    """No text that is typed as a name makes another's: a source has no blank."""
    return f"here:{source} {name}"
