"""Counting persons of several hospitals once, on shares.

All hospitals' rows are sorted by token, so that rows of one person lie together, those of persons before those of records.
Neighbours are then combined over 1, 2, 4, ... rows (Hillis and Steele, CACM 29, 1986), as far as there are hospitals, and the
first row of each person stands for the person. Where steps look for records, the entry is copied down a person's rows and
what the records say is brought up. Nothing is opened on the way but the order of shuffled rows (see
`mpc_backend.operations.sort`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Inputs
from mpc_backend.analyses.linked_steps import (
    LATEST,
    NEVER,
    LinkedStep,
    day_places,
    flag_places,
    has_entry,
    record_places,
)
from mpc_backend.kernels.planes import word_count
from mpc_backend.operations import concatenate, segmented_copy, select, stack
from mpc_backend.operations.arrays import public_column
from mpc_backend.operations.sort import sorted_rows
from mpc_backend.protocols.base import Protocol
from mpc_backend.values import SecretBits, SecretInt, SecretValue

BySite = Mapping[str, Mapping[str, SecretValue]]


@dataclass(frozen=True)
class _Rows:
    """Rows in the order of their persons. ``anywhere`` (n, a): true where any of the rows is, the first of them whether it is
    a row of a person at all; ``at_entry`` (n, e): true where a row of the earliest entry is; ``days`` (n, d). ``span`` (n, 2)
    and ``step`` (n, r): days of entry that a record fits, and whose step it is.
    """

    anywhere: SecretBits
    at_entry: SecretBits | None = None
    days: SecretInt | None = None
    span: SecretInt | None = None
    step: SecretBits | None = None


def linked_counts(
    steps: Sequence[LinkedStep], inputs: Inputs, *, first: bool
) -> tuple[SecretInt, SecretBits]:
    """Counts, and whether they can be relied on: (), false where a hospital has two rows of one token, which could push out
    the row of another hospital.

    Counts (1 + hospitals, 1, 1 + steps): distinct persons in all and after each step, then the same among those whom each
    hospital does not know itself.

    Every contributing hospital is such a view, not only those that receive the result: a hospital can bring rows of its own
    making, among them one of a person it asks about, and would tell from a total what others know of that person.
    """
    sites = len(inputs["persons"])
    same, rows = _by_person(steps, inputs, first=first)
    of_site = rows.anywhere[:, 1 : 1 + sites]
    repeated = (of_site & concatenate([of_site[1:], of_site[:1]])).any(axis=1) & concatenate(
        [same[1:], same[:1]]
    )
    rows = _combined(rows, same, sites)
    person = ~same & rows.anywhere[:, 0]
    left = [person]
    for step in _passed(steps, rows, same, first=first):
        left.append(left[-1] & step)
    nested = stack(left, axis=1)
    parts = [nested, *(nested & ~rows.anywhere[:, 1 + view : 2 + view] for view in range(sites))]
    counts = concatenate(parts, axis=1).sum(axis=0).reshape(1 + sites, 1, 1 + len(steps))
    return counts, (~repeated).all()


def _by_person(steps: Sequence[LinkedStep], inputs: Inputs, *, first: bool) -> tuple[SecretBits, _Rows]:
    """All rows sorted by token, and whether each is of the same person as the one before."""
    persons, records = inputs["persons"], inputs.get("records", {}) if record_places(steps) else {}
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
    rows = _Rows(bits, days=days)
    if records:
        rows = _with_records(rows, list(records.values()), len(day_places(steps)), first=first)
    parts: list[SecretValue] = [
        part for part in (rows.anywhere, rows.days, rows.span, rows.step) if part is not None
    ]
    keys = [token[:, word] for word in range(token.shape[1])]
    order, moved = sorted_rows(keys, parts, [False] * len(keys))
    cut = rows.anywhere.shape[1] - sum(step.how == "at_entry" for step in steps)
    found = cast("SecretBits", moved[0])
    return order.same_as_previous(), _Rows(
        found[:, :cut],
        found[:, cut:] if found.shape[1] > cut else None,
        cast("SecretInt", moved[1]) if rows.days is not None else None,
        cast("SecretInt", moved[2]) if records else None,
        cast("SecretBits", moved[3]) if records else None,
    )


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


def _with_records(
    rows: _Rows, records: Sequence[Mapping[str, SecretValue]], days: int, *, first: bool
) -> _Rows:
    """Rows of records below those of persons; of a person they say nothing that changes a minimum or an alternative."""
    assert rows.days is not None
    protocol, persons = rows.anywhere.protocol, len(rows.anywhere)
    valid = cast("SecretBits", concatenate([site["valid"] for site in records])).reshape(-1, 1)
    span, step = cast("SecretInt", _table(records, "span")), cast("SecretBits", _table(records, "step"))
    count = len(span)
    neutral = _neutral(count, days, first=first)
    return _Rows(
        concatenate([rows.anywhere, _none(protocol, (count, rows.anywhere.shape[1]))]),
        days=concatenate([rows.days, public_column(protocol, neutral.astype(np.uint32), 32)]),
        span=concatenate([public_column(protocol, np.zeros((persons, 2), np.uint32), 32), span]),
        step=concatenate([_none(protocol, (persons, step.shape[1])), step & valid]),
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
    if rows.at_entry is None:
        return changed
    kept = rows.at_entry[:-reach] & ~(lower[:, :1] & both)
    brought = rows.at_entry[reach:] & (~lower[:, width:] & both)
    return replace(changed, at_entry=concatenate([kept | brought, rows.at_entry[-reach:]]))


def _passed(steps: Sequence[LinkedStep], rows: _Rows, same: SecretBits, *, first: bool) -> list[SecretBits]:
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
    if places := record_places(steps):
        found = _recorded(rows, same)
        held |= {place: found[:, number] for number, place in enumerate(places)}
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


def _recorded(rows: _Rows, same: SecretBits) -> SecretBits:
    """(n, r): whether some record of the person, from this row on, fits the entry."""
    assert rows.days is not None and rows.span is not None and rows.step is not None
    entry = segmented_copy(rows.days[:, 0], same).reshape(-1, 1)
    left, right = (
        concatenate([entry, rows.span[:, 1:]], axis=1),
        concatenate([rows.span[:, :1], entry], axis=1),
    )
    fits = (~(left < right)).all(axis=1).reshape(-1, 1)
    found, reach, linked = rows.step & fits, 1, same[1:]
    while reach < len(same):
        found = concatenate([found[:-reach] | (found[reach:] & linked.reshape(-1, 1)), found[-reach:]])
        linked, reach = _further(linked, reach), 2 * reach
    return found
