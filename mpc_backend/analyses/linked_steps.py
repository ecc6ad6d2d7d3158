"""How the steps of a count combine what several hospitals say of one person, and the rows that a hospital shares for it.

Days count from 1970-01-01. Of a person's rows, one a hospital, the earliest entry is the person's entry. A step then asks

    entry      is there an entry, not after a recorded death, and (``first``) not after an earlier record of its kind?
    since      does something hold by then that holds from some day on, at whichever hospital that day comes first?
    within     is one of the records, of any hospital, within the step's window around it?
    at_entry   does something hold at the hospital of that entry? (any of them, where several have one on that day)
    anywhere   does something hold at any hospital, whatever the days?

An analysis of times (``followed``) needs more of a person: the cell at an entry there (arm and stratum), and records of what
ends time: days of outcomes, and the last days of periods of observation, each with the days of entry that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.tables import Arrays, Column, TableSpec

if TYPE_CHECKING:
    import pandas as pd

    from mpc_backend.analyses.base import SiteData

Label = Annotated[str, Field(min_length=1, max_length=500)]
How = Literal["entry", "since", "within", "at_entry", "anywhere"]
TOKEN_WORDS, TOKEN_WORD_BITS = 4, 32
DAY_BITS = 17
CELL_BITS = 16
ENDS = 2
"""Kinds of record that end time: an outcome, then a period of observation."""
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
class LinkedEnds:
    """What ends the time of persons, a row each (m,): whose (``tokens`` (m, 4)), the first and last day of entry that it is
    for, its ``days``, and whether it is the last day of a period of observation; else it is one of the outcome.
    """

    tokens: Days
    earliest: Days
    latest: Days
    days: Days
    observed: Truth


@dataclass(frozen=True)
class Followed:
    """For an analysis of times: the cell (n,) of each person at an entry here, and what ends times."""

    cells: Days
    ends: LinkedEnds


@dataclass(frozen=True)
class LinkedRows:
    """Persons of one hospital, a row each.

    ``tokens`` (n, 4): 128 bits, equal for one person at all hospitals and telling nothing else. ``steps``: for each step
    the day (n,) of ``entry`` or ``since``, `NEVER` where there is none, or a truth value (n,); of ``within`` nothing (0,), but
    ``records``. With an entry among them:
    ``died`` (n,), the last day on which one may enter, `LATEST` for who lives; ``first`` (n,), the day of the earliest record
    of the kind that lets people in, if the entry must be it. ``facts``: variables at the entry here, a row for each person,
    missing without one; ``ends``: for each outcome by name, what ends times.
    """

    tokens: Days
    steps: tuple[Days | Truth, ...]
    died: Days | None = None
    first: Days | None = None
    records: LinkedRecords | None = None
    facts: pd.DataFrame | None = None
    ends: Mapping[str, LinkedEnds] = field(default_factory=dict)


def token_words(tokens: Sequence[bytes]) -> Days:
    """Tokens of 16 bytes as they are shared, (n, 4)."""
    words = np.frombuffer(b"".join(tokens), "<i4").reshape(len(tokens), TOKEN_WORDS)
    return words.astype(np.int64)


def has_entry(steps: Sequence[LinkedStep]) -> bool:
    """Whether days are compared at all."""
    return bool(steps) and steps[0].how == "entry"


def check_steps(steps: Sequence[LinkedStep], *, first: bool) -> None:
    """Raises ValueError where steps look at days and the first is no entry, or another is one."""
    dated = [step.how != "anywhere" for step in steps]
    entries = [step.how == "entry" for step in steps]
    if any(entries[1:]) or (any(dated) and not entries[0]) or (first and not any(entries)):
        raise ValueError("steps that look at days come after one entry, which is the first step")


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


def linked_tables(
    steps: Sequence[LinkedStep], *, first: bool, followed: bool = False
) -> tuple[TableSpec, ...]:
    """Persons; and where some step needs them, or times are followed, records."""
    persons, kinds = _persons_table(steps, first=first, followed=followed), len(record_places(steps))
    if not kinds and not followed:
        return (persons,)
    columns = [
        *persons.columns[:2],
        Column(name="span", kind="int", bits=DAY_BITS, ring=32, width=2),
        Column(name="step", kind="bit", width=kinds + ENDS * followed),
    ]
    if followed:
        columns.append(Column(name="day", kind="int", bits=DAY_BITS, ring=32))
    return persons, TableSpec(name="records", level="rows", columns=tuple(columns))


def linked_columns(
    steps: Sequence[LinkedStep], rows: LinkedRows, followed: Followed | None = None
) -> dict[str, Arrays]:
    """The columns of `linked_tables`."""
    tables = {"persons": _person_columns(steps, rows, None if followed is None else followed.cells)}
    if record_places(steps) or followed is not None:
        tables["records"] = _record_columns(steps, rows, None if followed is None else followed.ends)
    return tables


def linked_rows_of(site: SiteData, steps: Sequence[LinkedStep]) -> LinkedRows:
    """The persons of a hospital, judged in these steps.

    Raises:
        LocalDataError: no tokens were made, or persons were judged in other steps.
    """
    found = site.linked
    if found is None:
        raise LocalDataError(
            "the study counts persons of several hospitals once, and no tokens of persons were made here"
        )
    if len(found.steps) != len(steps):
        raise LocalDataError(
            f"persons were judged in {len(found.steps)} steps, the study announces {len(steps)}"
        )
    return found


def _record_columns(steps: Sequence[LinkedStep], rows: LinkedRows, ends: LinkedEnds | None) -> Arrays:
    """Records of steps, then what ends times; among these, one row for those that say the same."""
    places = record_places(steps)
    parts: list[Days] = []
    if places:
        assert rows.records is not None
        found = rows.records
        kind = np.searchsorted(places, found.places)
        parts.append(_rows(found.tokens, found.earliest, found.latest, found.latest * 0, kind))
    if ends is not None:
        kind = len(places) + ends.observed.astype(np.int64)
        days = np.clip(ends.days, EARLIEST, LATEST)
        parts.append(np.unique(_rows(ends.tokens, ends.earliest, ends.latest, days, kind), axis=0))
    table = np.concatenate(parts)
    width = len(places) + ENDS * (ends is not None)
    columns: Arrays = {
        "valid": np.ones(len(table), np.int64),
        "token": table[:, :TOKEN_WORDS],
        "span": np.clip(table[:, TOKEN_WORDS : TOKEN_WORDS + 2], EARLIEST, NEVER),
        "step": (table[:, -1:] == np.arange(width)).astype(np.int64),
    }
    return _narrow(columns if ends is None else {**columns, "day": table[:, -2]})


def _rows(tokens: Days, earliest: Days, latest: Days, days: Days, kind: Days) -> Days:
    return np.concatenate([tokens, np.stack([earliest, latest, days, kind], axis=1)], axis=1)


def _narrow(columns: Arrays) -> Arrays:
    """Columns of width 1 as (rows,)."""
    found: Arrays = {
        name: part[:, 0] if part.ndim == 2 and part.shape[1] == 1 else part for name, part in columns.items()
    }
    return found


def _persons_table(steps: Sequence[LinkedStep], *, first: bool, followed: bool) -> TableSpec:
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
    if followed:
        columns.append(Column(name="cell", kind="int", bits=CELL_BITS, ring=32))
    return TableSpec(name="persons", level="rows", columns=tuple(columns))


def _person_columns(steps: Sequence[LinkedStep], rows: LinkedRows, cells: Days | None) -> Arrays:
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
    if cells is not None:
        columns["cell"] = _least(np.where(earliest, cells, NEVER), person, n)
    return _narrow(columns)


def _least(values: Days, person: Days, persons: int) -> Days:
    """The smallest value of each person (persons,) of values (n,)."""
    found = np.full(persons, NEVER, np.int64)
    np.minimum.at(found, person, values)
    return found
