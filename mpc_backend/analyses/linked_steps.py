"""How the steps of a count combine what several hospitals say of one person, and the rows that a hospital shares for it.

Days count from 1970-01-01. Of a person's rows, one a hospital, the earliest entry is the person's entry. A step then asks

    entry      is there an entry, not after a recorded death, and (``first``) not after an earlier record of its kind?
    since      does something hold by then that holds from some day on, at whichever hospital that day comes first?
    within     is one of the records, of any hospital, within the step's window around it?
    at_entry   does something hold at the hospital of that entry? (any of them, where several have one on that day)
    anywhere   does something hold at any hospital, whatever the days?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mpc_backend.tables import Arrays, Column, TableSpec

How = Literal["entry", "since", "within", "at_entry", "anywhere"]
TOKEN_WORDS, TOKEN_WORD_BITS = 4, 32
DAY_BITS = 17
NEVER = (1 << (DAY_BITS - 1)) - 1
"""No entry; not since any day."""
EARLIEST, LATEST = -(NEVER + 1), NEVER - 1
"""Days that can be told apart, in the years 1790 to 2149; what lies beyond is taken to their ends."""

Days = NDArray[np.int64]
Truth = NDArray[np.bool_]


class LinkedStep(BaseModel):
    """One step; ``unless``: who passes is for whom it does *not* hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: How
    unless: bool = False


@dataclass(frozen=True)
class LinkedRecords:
    """Records that steps ``within`` look for, a row each (m,): whose (``tokens`` (m, 4)), for which step (its place), and the
    first and last day of entry that each would fit.
    """

    tokens: Days
    places: Days
    earliest: Days
    latest: Days


@dataclass(frozen=True)
class LinkedRows:
    """Persons of one hospital, a row each.

    ``tokens`` (n, 4): 128 bits, equal for one person at all hospitals and telling nothing else. ``steps``: for each step
    the day (n,) of ``entry`` or ``since``, `NEVER` where there is none, or a truth value (n,); of ``within`` nothing (0,), but
    ``records``. With an entry among them:
    ``died`` (n,), the last day on which one may enter, `LATEST` for who lives; ``first`` (n,), the day of the earliest record
    of the kind that lets people in, if the entry must be it.
    """

    tokens: Days
    steps: tuple[Days | Truth, ...]
    died: Days | None = None
    first: Days | None = None
    records: LinkedRecords | None = None


def token_words(tokens: Sequence[bytes]) -> Days:
    """Tokens of 16 bytes as they are shared, (n, 4)."""
    words = np.frombuffer(b"".join(tokens), "<i4").reshape(len(tokens), TOKEN_WORDS)
    return words.astype(np.int64)


def has_entry(steps: Sequence[LinkedStep]) -> bool:
    """Whether days are compared at all."""
    return bool(steps) and steps[0].how == "entry"


def day_places(steps: Sequence[LinkedStep]) -> list[int]:
    """Steps that bring a day, the entry first."""
    return [place for place, step in enumerate(steps) if step.how in ("entry", "since")]


def flag_places(steps: Sequence[LinkedStep]) -> list[int]:
    """Steps that bring a truth value: those of any hospital, then those of the hospital of the entry."""
    anywhere = [place for place, step in enumerate(steps) if step.how == "anywhere"]
    return [*anywhere, *(place for place, step in enumerate(steps) if step.how == "at_entry")]


def record_places(steps: Sequence[LinkedStep]) -> list[int]:
    """Steps that bring records."""
    return [place for place, step in enumerate(steps) if step.how == "within"]


def linked_tables(steps: Sequence[LinkedStep], *, first: bool) -> tuple[TableSpec, ...]:
    """Persons; and where some step needs them, records."""
    persons, places = _persons_table(steps, first=first), record_places(steps)
    if not places:
        return (persons,)
    columns = (
        *persons.columns[:2],
        Column(name="span", kind="int", bits=DAY_BITS, ring=32, width=2),
        Column(name="step", kind="bit", width=len(places)),
    )
    return persons, TableSpec(name="records", level="rows", columns=columns)


def linked_columns(steps: Sequence[LinkedStep], rows: LinkedRows) -> dict[str, Arrays]:
    """The columns of `linked_tables`."""
    tables = {"persons": _person_columns(steps, rows)}
    if places := record_places(steps):
        assert rows.records is not None
        found = rows.records
        span = np.clip(np.stack([found.earliest, found.latest], axis=1), EARLIEST, NEVER)
        step = (found.places[:, None] == np.array(places)).astype(np.int64)
        valid = np.ones(len(found.tokens), np.int64)
        tables["records"] = _narrow({"valid": valid, "token": found.tokens, "span": span, "step": step})
    return tables


def _narrow(columns: Arrays) -> Arrays:
    """Columns of width 1 as (rows,)."""
    found: Arrays = {
        name: part[:, 0] if part.ndim == 2 and part.shape[1] == 1 else part for name, part in columns.items()
    }
    return found


def _persons_table(steps: Sequence[LinkedStep], *, first: bool) -> TableSpec:
    """One row a person: ``days`` are those of `day_places`, the last day of life, then that of the first record."""
    columns = [
        Column(name="valid", kind="bit"),
        Column(name="token", kind="int", bits=TOKEN_WORD_BITS, ring=32, width=TOKEN_WORDS),
    ]
    if has_entry(steps):
        width = len(day_places(steps)) + 1 + first
        columns.append(Column(name="days", kind="int", bits=DAY_BITS, ring=32, width=width))
    if flags := flag_places(steps):
        columns.append(Column(name="flags", kind="bit", width=len(flags)))
    return TableSpec(name="persons", level="rows", columns=tuple(columns))


def _person_columns(steps: Sequence[LinkedStep], rows: LinkedRows) -> Arrays:
    """The columns of `_persons_table`, with rows of one token put together: a hospital may hold a person twice."""
    days = [np.clip(rows.steps[place].astype(np.int64), EARLIEST, NEVER) for place in day_places(steps)]
    if has_entry(steps):
        assert rows.died is not None
        days += [np.clip(part, EARLIEST, LATEST) for part in (rows.died, rows.first) if part is not None]
    flags = [rows.steps[place].astype(np.int64) for place in flag_places(steps)]
    tokens, person = np.unique(rows.tokens, axis=0, return_inverse=True)
    person = person.reshape(-1)
    n = len(tokens)
    columns: Arrays = {"valid": np.ones(n, np.int64), "token": tokens.reshape(n, TOKEN_WORDS)}
    if days:
        columns["days"] = np.stack([_least(day, person, n) for day in days], axis=1)
        earliest = days[0] == columns["days"][person, 0]
        count = sum(step.how == "anywhere" for step in steps)
        flags = [*flags[:count], *(flag * earliest for flag in flags[count:])]
    if flags:
        columns["flags"] = np.stack([-_least(-flag, person, n) for flag in flags], axis=1)
    return _narrow(columns)


def _least(values: Days, person: Days, persons: int) -> Days:
    """The smallest value of each person (persons,) of values (n,)."""
    found = np.full(persons, NEVER, np.int64)
    np.minimum.at(found, person, values)
    return found
