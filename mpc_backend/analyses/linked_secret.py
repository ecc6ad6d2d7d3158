"""Counting persons of several hospitals once, on shares.

All hospitals' rows are sorted by token, so that rows of one person lie together. Neighbours are then combined over 1, 2, 4,
... rows (Hillis and Steele, CACM 29, 1986), as far as there are hospitals, and the last row of each person stands for the
person. Nothing is opened on the way but the order of shuffled rows (see `mpc_backend.operations.sort`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.linked_steps import LinkedStep, day_places, flag_places, has_entry
from mpc_backend.operations import concatenate, select, stack
from mpc_backend.operations.sort import sorted_rows
from mpc_backend.values import SecretBits, SecretInt, SecretValue


@dataclass(frozen=True)
class _Rows:
    """Rows in the order of their persons. ``days`` (n, d) or None; ``anywhere`` (n, a): true where any of the rows
    is, the first of them whether it is a row at all; ``at_entry`` (n, e): true where a row of the earliest entry is.
    """

    days: SecretInt | None
    anywhere: SecretBits
    at_entry: SecretBits | None


def linked_counts(
    steps: Sequence[LinkedStep],
    released: Released,
    by_site: Mapping[str, Mapping[str, SecretValue]],
    *,
    first: bool,
) -> SecretInt:
    """(1 + receiving hospitals, 1, 1 + steps): distinct persons in all and after each step, then the same among those whom
    each receiving hospital does not know itself.
    """
    same, rows = _by_person(steps, released, by_site)
    rows = _combined(rows, same, len(by_site))
    last = ~concatenate([same[1:], same[:1]])
    person = last & rows.anywhere[:, 0]
    passed = _passed(steps, rows, first=first)
    left = [person]
    for step in passed:
        left.append(left[-1] & step)
    nested = stack(left, axis=1)
    known = len(released.receiving_sites)
    parts = [nested, *(nested & ~rows.anywhere[:, 1 + view : 2 + view] for view in range(known))]
    return concatenate(parts, axis=1).sum(axis=0).reshape(1 + known, 1, 1 + len(steps))


def _by_person(
    steps: Sequence[LinkedStep], released: Released, by_site: Mapping[str, Mapping[str, SecretValue]]
) -> tuple[SecretBits, _Rows]:
    """All rows sorted by token, and whether each is of the same person as the one before."""
    token = cast("SecretInt", concatenate([columns["token"] for columns in by_site.values()]))
    valid = cast("SecretBits", concatenate([columns["valid"] for columns in by_site.values()]))
    anywhere = sum(step.how == "anywhere" for step in steps)
    flags = _table(by_site, "flags", len(flag_places(steps)))
    whose = np.repeat(list(by_site), [len(columns["valid"]) for columns in by_site.values()])
    bits = [
        valid.reshape(-1, 1),
        *((valid & (whose == site)).reshape(-1, 1) for site in released.receiving_sites),
    ]
    bits += [cast("SecretBits", flags)] if flags is not None else []
    columns: list[SecretValue] = [concatenate(bits, axis=1)]
    if has_entry(steps):
        days = [cast("SecretInt", site["days"]).reshape(len(site["valid"]), -1) for site in by_site.values()]
        columns.append(concatenate(days))
    keys = [token[:, word] for word in range(token.shape[1])]
    order, moved = sorted_rows(keys, columns, [False] * len(keys))
    found = cast("SecretBits", moved[0])
    cut = 1 + len(released.receiving_sites) + anywhere
    rows = _Rows(
        cast("SecretInt", moved[1]) if len(moved) > 1 else None,
        found[:, :cut],
        found[:, cut:] if found.shape[1] > cut else None,
    )
    return order.same_as_previous(), rows


def _table(by_site: Mapping[str, Mapping[str, SecretValue]], name: str, width: int) -> SecretValue | None:
    """A column of all hospitals as (n, width)."""
    if not width:
        return None
    return concatenate([site[name].reshape(len(site["valid"]), width) for site in by_site.values()])


def _combined(rows: _Rows, same: SecretBits, sites: int) -> _Rows:
    """Every row with those before it of the same person, up to as many as there are hospitals."""
    reach, linked = 1, same
    while reach < sites and reach < len(same):
        rows = _with_before(rows, linked[reach:], reach)
        reach, linked = 2 * reach, _further(linked, reach)
    return rows


def _further(linked: SecretBits, reach: int) -> SecretBits:
    """Whether a row is of the person of the one twice as far before; the first rows are of nobody's."""
    return concatenate([linked[:reach] & np.zeros(reach, dtype=bool), linked[reach:] & linked[:-reach]])


def _with_before(rows: _Rows, linked: SecretBits, reach: int) -> _Rows:
    """Each row combined with the one ``reach`` before where both are of one person."""
    both = linked.reshape(-1, 1)
    anywhere = rows.anywhere[reach:] | (rows.anywhere[:-reach] & both)
    anywhere = concatenate([rows.anywhere[:reach], anywhere])
    if rows.days is None:
        return _Rows(None, anywhere, None)
    here, before = rows.days[reach:], rows.days[:-reach]
    lower = concatenate([before, here[:, :1]], axis=1) < concatenate([here, before[:, :1]], axis=1)
    width = here.shape[1]
    days = concatenate([rows.days[:reach], select(lower[:, :width] & both, before, here)])
    if rows.at_entry is None:
        return _Rows(days, anywhere, None)
    kept = rows.at_entry[reach:] & ~(lower[:, :1] & both)
    brought = rows.at_entry[:-reach] & (~lower[:, width:] & both)
    return _Rows(days, anywhere, concatenate([rows.at_entry[:reach], kept | brought]))


def _passed(steps: Sequence[LinkedStep], rows: _Rows, *, first: bool) -> list[SecretBits]:
    """Whether each row passes each step, by itself."""
    flags, base = flag_places(steps), rows.anywhere.shape[1]
    anywhere = [place for place in flags if steps[place].how == "anywhere"]
    base -= len(anywhere)
    held = {place: rows.anywhere[:, base + number] for number, place in enumerate(anywhere)}
    for number, place in enumerate(flags[len(anywhere) :]):
        assert rows.at_entry is not None
        held[place] = rows.at_entry[:, number]
    if rows.days is not None:
        held |= _by_day(day_places(steps), rows.days, first=first)
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
