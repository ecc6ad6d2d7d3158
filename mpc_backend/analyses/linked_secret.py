"""Putting together what several hospitals say of a person, on shares; counting each person once.

All hospitals' rows are sorted by token, so that rows of one person lie together, those of persons before those of records.
Neighbours are then combined over 1, 2, 4, ... rows (Hillis and Steele, CACM 29, 1986), as far as there are hospitals, and the
first row of each person stands for the person. Where steps look for records, the entry is copied down a person's rows and
what the records say is brought up; of what ends times, the first outcome and the last day of observation. Nothing is opened
on the way but the order of shuffled rows (see `mpc_backend.operations.sort`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Inputs
from mpc_backend.analyses.linked_steps import (
    DAY_BITS,
    LATEST,
    NEVER,
    LinkedStep,
    day_places,
    flag_places,
    has_entry,
    record_places,
)
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations import concatenate, minimum, segmented_copy, select, stack
from mpc_backend.operations.arrays import public_column
from mpc_backend.operations.sort import sorted_rows
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretInt, SecretValue

BySite = Mapping[str, Mapping[str, SecretValue]]


@dataclass(frozen=True)
class _Rows:
    """Rows in the order of their persons. ``anywhere`` (n, a): true where any of the rows is, the first of them whether it is
    a row of a person at all; ``at_entry`` (n, e): true where a row of the earliest entry is; ``days`` (n, d). ``span`` (n, 2)
    and ``step`` (n, r): days of entry that a record fits, and what kind it is; ``whose`` (n, hospitals) shared it.
    Of times: ``rank`` (n,), the least of entry, cell and hospital in this order, and ``day`` (n,) of a record.
    """

    anywhere: SecretBits
    at_entry: SecretBits | None = None
    days: SecretInt | None = None
    span: SecretInt | None = None
    step: SecretBits | None = None
    whose: SecretBits | None = None
    rank: SecretInt | None = None
    day: SecretInt | None = None


@dataclass(frozen=True)
class LinkedTimes:
    """Of each person, at the first of their rows (n,): the day of ``entry``; ``code``, hospital of the entry + hospitals x
    cell there, the least cell and then the first hospital where several have it; the day of the first outcome that is for this
    entry, `NEVER` without one; and the last day of observation, the earliest death at most, before the entry without one.
    """

    entry: SecretInt
    code: SecretInt
    outcome: SecretInt
    last: SecretInt


@dataclass(frozen=True)
class LinkedPeople:
    """All rows in the order of their persons. ``persons`` (n,): whether it is the first row of one, at which the rest is said:
    ``steps``, whether the person passes each by itself, and ``known`` (n, hospitals), which of them shared a row of the
    person, or a record: a hospital may share records of persons it asks about.

    ``sound`` (): false where a hospital has two rows of one token, which could push out the row of another hospital.
    """

    persons: SecretBits
    steps: list[SecretBits]
    known: SecretBits
    sound: SecretBits
    times: LinkedTimes | None


def linked_counts(
    steps: Sequence[LinkedStep], inputs: Inputs, *, first: bool
) -> tuple[SecretInt, SecretBits]:
    """Counts, and whether they can be relied on, ().

    Counts (1 + hospitals, 1, 1 + steps): distinct persons in all and after each step, then the same among those whom each
    hospital does not know itself.

    Every contributing hospital is such a view, not only those that receive the result: a hospital can bring rows of its own
    making, among them one of a person it asks about, and would tell from a total what others know of that person.
    """
    people = linked_people(steps, inputs, first=first)
    left = [people.persons]
    for step in people.steps:
        left.append(left[-1] & step)
    nested, sites = stack(left, axis=1), people.known.shape[1]
    parts = [nested, *(nested & ~people.known[:, view : 1 + view] for view in range(sites))]
    counts = concatenate(parts, axis=1).sum(axis=0).reshape(1 + sites, 1, 1 + len(steps))
    return counts, people.sound


def linked_people(
    steps: Sequence[LinkedStep], inputs: Inputs, *, first: bool, cells: int | None = None
) -> LinkedPeople:
    """What all hospitals say of each person; ``cells``: how many there are, where times are followed."""
    sites = len(inputs["persons"])
    same, rows = _by_person(steps, inputs, first=first, cells=cells)
    of_site = rows.anywhere[:, 1 : 1 + sites]
    repeated = (of_site & concatenate([of_site[1:], of_site[:1]])).any(axis=1) & concatenate(
        [same[1:], same[:1]]
    )
    rows = _combined(rows, same, sites)
    known, found = rows.anywhere[:, 1 : 1 + sites], None
    if rows.step is not None:
        found = _recorded(rows, same, len(record_places(steps)))
        known = known | found.whose
    recorded, ends = (None, None) if found is None else (found.steps, found.ends)
    return LinkedPeople(
        persons=~same & rows.anywhere[:, 0],
        steps=_passed(steps, rows, recorded, first=first),
        known=known,
        sound=(~repeated).all(),
        times=None if cells is None else _times(rows, ends, len(day_places(steps)), sites * (cells + 1)),
    )


def _times(rows: _Rows, ends: SecretInt | None, died: int, codes: int) -> LinkedTimes:
    """``died``: the place of the last day of life among the days."""
    assert rows.days is not None and rows.rank is not None and ends is not None
    entry = rows.days[:, 0]
    code = rows.rank - entry.widened(rows.rank.ring) * codes
    last = minimum(-ends[:, 1], rows.days[:, died]).with_bits(DAY_BITS + 1)
    return LinkedTimes(entry, code.with_bits(codes.bit_length() + 1), ends[:, 0], last)


def _by_person(
    steps: Sequence[LinkedStep], inputs: Inputs, *, first: bool, cells: int | None
) -> tuple[SecretBits, _Rows]:
    """All rows sorted by token, and whether each is of the same person as the one before."""
    persons, records = inputs["persons"], inputs.get("records", {})
    rows_of_all = [*persons.values(), *records.values()]
    # What is no row is nobody's, whatever its token: it would take the place of another hospital's row beside a person's.
    there = cast("SecretBits", _table(rows_of_all, "valid"))
    given_tokens = cast("SecretInt", _table(rows_of_all, "token"))
    token = select(there, given_tokens, given_tokens * 0)
    valid = cast("SecretBits", concatenate([columns["valid"] for columns in persons.values()]))
    bits = _person_bits(persons, valid, len(flag_places(steps)))
    days = None
    if has_entry(steps):
        given = cast("SecretInt", _table(list(persons.values()), "days"))
        days = _days_of_rows(given, valid, len(day_places(steps)), first=first)
    rows = _Rows(bits, days=days, rank=None if cells is None else _rank(persons, days, cells))
    if records:
        rows = _with_records(rows, records, len(day_places(steps)), first=first)
    keys = [token[:, word] for word in range(token.shape[1])]
    parts = {field.name: getattr(rows, field.name) for field in fields(rows)}
    parts = {name: part for name, part in parts.items() if part is not None}
    order, columns = sorted_rows(keys, list(parts.values()), [False] * len(keys))
    moved: dict[str, Any] = dict(zip(parts, columns, strict=True))
    found = cast("SecretBits", moved.pop("anywhere"))
    cut = found.shape[1] - sum(step.how == "at_entry" for step in steps)
    at_entry = found[:, cut:] if found.shape[1] > cut else None
    return order.same_as_previous(), _Rows(found[:, :cut], at_entry, **moved)


def _rank(persons: BySite, days: SecretInt | None, cells: int) -> SecretInt:
    """Of each row (n,): day of entry, cell, hospital, as one number."""
    assert days is not None
    codes = len(persons) * (cells + 1)
    number = np.repeat(np.arange(len(persons)), [len(columns["valid"]) for columns in persons.values()])
    cell = cast("SecretInt", _table(list(persons.values()), "cell"))[:, 0]
    bits = DAY_BITS + codes.bit_length()
    ring = 32 if bits < 32 else 64
    entry = days[:, 0].widened(ring) * codes
    return (entry + cell.widened(ring) * len(persons) + number).with_bits(bits)


def _person_bits(persons: BySite, valid: SecretBits, flags: int) -> SecretBits:
    """(n, 1 + hospitals + flags): of which hospital a row is, and what it says; what is no row says nothing."""
    whose = np.repeat(list(persons), [len(columns["valid"]) for columns in persons.values()])
    of_site = [(valid & (whose == site)).reshape(-1, 1) for site in persons]
    said = []
    if flags:
        said = [cast("SecretBits", _table(list(persons.values()), "flags")) & valid.reshape(-1, 1)]
    bits: SecretBits = concatenate([valid.reshape(-1, 1), *of_site, *said], axis=1)
    return bits


def _days_of_rows(days: SecretInt, valid: SecretBits, width: int, *, first: bool) -> SecretInt:
    """Days (n, d); those of a row that is none change no minimum, whatever its token."""
    neutral = public_column(days.protocol, _neutral(len(days), width, first=first).astype(np.uint32), 32)
    return select(valid.reshape(-1, 1), days, neutral)


def _neutral(rows: int, width: int, *, first: bool) -> NDArray[np.int64]:
    return np.repeat([[NEVER] * width + [LATEST] * (1 + first)], rows, axis=0)


def _table(sites: Sequence[Mapping[str, SecretValue]], name: str) -> SecretValue:
    """A column of several tables as (n, width)."""
    parts = [site[name] for site in sites]
    return concatenate([part.reshape(len(part), 1) if part.ndim == 1 else part for part in parts])


def _with_records(rows: _Rows, by_site: BySite, days: int, *, first: bool) -> _Rows:
    """Rows of records below those of persons; of a person they say nothing that changes a minimum or an alternative."""
    assert rows.days is not None
    protocol, persons, records = rows.anywhere.protocol, len(rows.anywhere), list(by_site.values())
    valid = cast("SecretBits", concatenate([site["valid"] for site in records])).reshape(-1, 1)
    whose = valid & np.repeat(
        np.eye(len(records), dtype=bool), [len(site["valid"]) for site in records], axis=0
    )
    span, step = cast("SecretInt", _table(records, "span")), cast("SecretBits", _table(records, "step"))
    count = len(span)
    neutral = _neutral(count, days, first=first)
    found = _Rows(
        concatenate([rows.anywhere, _none(protocol, (count, rows.anywhere.shape[1]))]),
        days=concatenate([rows.days, public_column(protocol, neutral.astype(np.uint32), 32)]),
        span=concatenate([public_column(protocol, np.zeros((persons, 2), np.uint32), 32), span]),
        step=concatenate([_none(protocol, (persons, step.shape[1])), step & valid]),
        whose=concatenate([_none(protocol, (persons, len(records))), whose]),
    )
    if rows.rank is None:
        return found
    never = np.full(count, (1 << (rows.rank.bits - 1)) - 1, np.uint64)
    day = cast("SecretInt", _table(records, "day"))[:, 0]
    return replace(
        found,
        rank=concatenate([rows.rank, public_column(protocol, never, rows.rank.ring)]).with_bits(
            rows.rank.bits
        ),
        day=concatenate([public_column(protocol, np.zeros(persons, np.uint32), 32), day]),
    )


def _none(protocol: Protocol, shape: tuple[int, int]) -> SecretBits:
    """Truth values that are all false."""
    return SecretBits(
        protocol, protocol.constant(np.zeros(word_count(shape[0] * shape[1]), np.uint64)), shape
    )


def _combined(rows: _Rows, same: SecretBits, sites: int) -> _Rows:
    """Every row with those after it of the same person, as many as there are hospitals."""
    reach, linked = 1, same[1:]
    while reach < sites and reach < len(same):
        rows = _with_after(rows, linked, reach)
        linked, reach = _further(linked, reach), 2 * reach
    return rows


def _further(linked: SecretBits, reach: int) -> SecretBits:
    """Whether rows are of the person of those twice as far after them, from whether they are of those ``reach`` after."""
    return linked[:-reach] & linked[reach:] if len(linked) > reach else linked[:0]


def _with_after(rows: _Rows, linked: SecretBits, reach: int) -> _Rows:
    """Each row combined with the one ``reach`` after it where both are of one person."""
    both = linked.reshape(-1, 1)
    joined = rows.anywhere[:-reach] | (rows.anywhere[reach:] & both)
    changed = replace(rows, anywhere=concatenate([joined, rows.anywhere[-reach:]]))
    if rows.days is None:
        return changed
    here, after = rows.days[:-reach], rows.days[reach:]
    lower = concatenate([after, here[:, :1]], axis=1) < concatenate([here, after[:, :1]], axis=1)
    width = here.shape[1]
    days = concatenate([select(lower[:, :width] & both, after, here), rows.days[-reach:]])
    changed = replace(changed, days=days)
    if rows.rank is not None:
        least = select(
            (rows.rank[reach:] < rows.rank[:-reach]) & linked, rows.rank[reach:], rows.rank[:-reach]
        )
        changed = replace(changed, rank=concatenate([least, rows.rank[-reach:]]))
    if rows.at_entry is None:
        return changed
    kept = rows.at_entry[:-reach] & ~(lower[:, :1] & both)
    brought = rows.at_entry[reach:] & (~lower[:, width:] & both)
    return replace(changed, at_entry=concatenate([kept | brought, rows.at_entry[-reach:]]))


def _passed(
    steps: Sequence[LinkedStep], rows: _Rows, recorded: SecretBits | None, *, first: bool
) -> list[SecretBits]:
    """Whether the person whose first row it is passes each step, by itself."""
    flags = flag_places(steps)
    anywhere = [place for place in flags if steps[place].how == "anywhere"]
    base = rows.anywhere.shape[1] - len(anywhere)
    held = {place: rows.anywhere[:, base + number] for number, place in enumerate(anywhere)}
    for number, place in enumerate(flags[len(anywhere) :]):
        assert rows.at_entry is not None
        held[place] = rows.at_entry[:, number]
    if rows.days is not None:
        held |= _by_day(day_places(steps), rows.days, first=first)
    for number, place in enumerate(record_places(steps)):
        assert recorded is not None
        held[place] = recorded[:, number]
    return [~held[place] if step.unless else held[place] for place, step in enumerate(steps)]


def _by_day(places: Sequence[int], days: SecretInt, *, first: bool) -> dict[int, SecretBits]:
    """The steps that compare days, in one comparison: neither bound lies before the entry, nor the entry before a `since`.

    Who has no entry fails at the bounds, which no one shares as late as `linked_steps.NEVER`.
    """
    entry, width = days[:, :1], len(places)
    bounds = days[:, width : width + 1 + first]
    since = days[:, 1:width]
    left = concatenate([bounds, *[entry] * (width - 1)], axis=1)
    right = concatenate([*[entry] * bounds.shape[1], since], axis=1)
    fits = ~(left < right)
    entered = fits[:, : bounds.shape[1]].all(axis=1)
    held = {places[0]: entered}
    for number, place in enumerate(places[1:]):
        held[place] = fits[:, bounds.shape[1] + number]
    return held


@dataclass(frozen=True)
class _Recorded:
    """What the records say of the person, from this row on: ``steps`` (n, kinds), whether some fits the entry; ``whose``
    (n, hospitals), who shared some. With times ``ends`` (n, 2): the day of the first outcome that fits, `NEVER` without one,
    and minus the last day of observation.
    """

    steps: SecretBits
    whose: SecretBits
    ends: SecretInt | None


def _recorded(rows: _Rows, same: SecretBits, kinds: int) -> _Recorded:
    assert (
        rows.days is not None and rows.span is not None and rows.step is not None and rows.whose is not None
    )
    entry = segmented_copy(rows.days[:, 0], same).reshape(-1, 1)
    left, right = (
        concatenate([entry, rows.span[:, 1:]], axis=1),
        concatenate([rows.span[:, :1], entry], axis=1),
    )
    fits = (~(left < right)).all(axis=1).reshape(-1, 1)
    fitting = rows.step & fits
    ends = None if rows.day is None else _least_ends(fitting[:, kinds:], rows.day)
    found, reach, linked = concatenate([fitting[:, :kinds], rows.whose], axis=1), 1, same[1:]
    while reach < len(same):
        both = linked.reshape(-1, 1)
        found = concatenate([found[:-reach] | (found[reach:] & both), found[-reach:]])
        if ends is not None:
            here, after = ends[:-reach], ends[reach:]
            ends = concatenate([select((after < here) & both, after, here), ends[-reach:]])
        linked, reach = _further(linked, reach), 2 * reach
    return _Recorded(found[:, :kinds], found[:, kinds:], ends)


def _least_ends(found: SecretBits, day: SecretInt) -> SecretInt:
    """(n, 2): the day where it is one of an outcome, minus the day where it is one of observation, else `NEVER`."""
    signed = stack([day, -day], axis=1).with_bits(DAY_BITS + 1)
    return select(found, signed, signed * 0 + NEVER).with_bits(DAY_BITS + 1)
