"""Numbers, dates, windows and records as a clinician would say them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from cohort_lang.formatting import days
from cohort_lang.tree import (
    FEMALE,
    MALE,
    AgeAt,
    Attribute,
    Dated,
    DateRange,
    Domain,
    DuringVisit,
    Ended,
    Event,
    Lasting,
    NumberRange,
    SexIs,
    TypeAmong,
    UnitIs,
    ValueAmong,
    ValueNumber,
    Window,
)

_RECORD: dict[Domain, tuple[str, str, str]] = {
    "condition": ("diagnosis", "diagnoses", "of"),
    "condition era": ("run of diagnoses", "runs of diagnoses", "of"),
    "drug exposure": ("exposure", "exposures", "to"),
    "drug era": ("run of exposure", "runs of exposure", "to"),
    "procedure": ("procedure", "procedures", "of"),
    "measurement": ("measurement", "measurements", "of"),
    "observation": ("observation", "observations", "of"),
    "device exposure": ("use of a device", "uses of a device", "of"),
    "visit": ("visit", "visits", "of type"),
    "visit detail": ("part of a visit", "parts of visits", "of type"),
    "death": ("death", "deaths", "from"),
    "observation period": ("observation period", "observation periods", ""),
}
_BARE = {"drug exposure": ("exposure to any drug", "exposures to any drug")}


def joined(items: Sequence[str], word: str = "and") -> str:
    """Items in a sentence: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


def record(event: Event, *, plural: bool = False) -> str:
    """The kind of record and its concept set, without further demands: "diagnosis of diabetes"."""
    one, many, preposition = _RECORD[event.domain]
    noun = many if plural else one
    if event.concepts is None and event.domain in _BARE:
        noun = _BARE[event.domain][plural]
    said = noun if event.concepts is None else f"{noun} {preposition} {event.concepts}"
    return said if event.source is None else f"{said} recorded with a source code of {event.source}"


def number_range(of: NumberRange, unit: str = "") -> str:
    """A range of numbers, with its unit: "18 years or more"."""
    low = f"{_number(of.low)}{unit}"
    if of.high is not None:
        negation = "not " if of.op == "not between" else ""
        return f"{negation}between {_number(of.low)} and {_number(of.high)}{unit}"
    if of.op in ("at least", "at most"):
        return f"{low} or {'more' if of.op == 'at least' else 'less'}"
    return f"{of.op.replace('not exactly', 'anything but')} {low}"


def date_range(of: DateRange) -> str:
    """A range of dates: "on or after 1 January 2015"."""
    if of.high is not None:
        negation = "not " if of.op == "not between" else ""
        return f"{negation}between {day(of.low)} and {day(of.high)}"
    words = {
        "at least": "on or after",
        "at most": "on or before",
        "more than": "after",
        "less than": "before",
        "exactly": "on",
        "not exactly": "on any day but",
    }
    return f"{words[of.op]} {day(of.low)}"


def day(of: date) -> str:
    """A date in words, the same in every locale."""
    months = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ]
    return f"{of.day} {months[of.month - 1]} {of.year}"


def _number(of: Decimal | date) -> str:
    return f"{of:f}" if isinstance(of, Decimal) else of.isoformat()


# ---- attributes


def attributes(found: Sequence[Attribute]) -> str:
    """What a record must fit: "with a value of 6.5 or more in %"."""
    said: list[str] = []
    for before, attribute in zip([None, *found], found, strict=False):
        if isinstance(attribute, UnitIs) and isinstance(before, ValueNumber):
            said[-1] += f" in {_units(attribute)}"
        else:
            said.append(_attribute(attribute))
    return joined(said)


def _units(of: UnitIs) -> str:
    return joined([unit if isinstance(unit, str) else f"unit concept {unit}" for unit in of.units], "or")


def _attribute(attribute: Attribute) -> str:
    match attribute:
        case ValueNumber(range=of):
            return f"with a value of {number_range(of)}"
        case UnitIs():
            return f"measured in {_units(attribute)}"
        case ValueAmong() | TypeAmong() | DuringVisit():
            return f"{_AMONG[type(attribute)]} {attribute.concepts}"
        case Lasting(range=of):
            return f"lasting {number_range(of, ' days')}"
        case AgeAt() | SexIs() | Dated() | Ended():
            return demographic_of_record(attribute)
        case amount:
            return f"with {amount.column} of {number_range(amount.range)}"


_AMONG: dict[type, str] = {
    ValueAmong: "with a result among",
    TypeAmong: "of record type",
    DuringVisit: "during a visit of type",
}


def demographic_of_record(attribute: AgeAt | SexIs | Dated | Ended) -> str:
    """A person's age or sex, or a date, said of a record."""
    match attribute:
        case AgeAt(range=of):
            between = of.op in ("between", "not between")
            return f"at an age {'' if between else 'of '}{number_range(of, ' years')}"
        case SexIs():
            return f"in {sexes(attribute)}"
        case Dated(range=dates):
            return f"dated {date_range(dates)}"
        case Ended(range=dates):
            return f"ended {date_range(dates)}"


def sexes(of: SexIs) -> str:
    """Recorded sex as plural nouns."""
    named = {FEMALE: "women", MALE: "men"}
    return joined([named.get(concept, f"persons of sex concept {concept}") for concept in of.concepts], "or")


# ---- windows


def windows(found: Sequence[Window], index: str) -> str:
    """When a record must lie: "from 365 days to 1 day before the index date"."""
    return joined([_window(window, index) for window in found])


def _window(window: Window, index: str) -> str:
    ended = {"the index date": "the end of the entry event"}.get(index, f"the end of {index}")
    anchor = ended if window.index == "end" else index
    edge = "ending " if window.event == "end" else ""
    return edge + span(window.start, window.end, anchor)


def span(start: int | None, end: int | None, anchor: str) -> str:
    """Days around an anchor in words."""
    fixed = {
        (None, None): "at any time",
        (None, -1): f"at any time before {anchor}",
        (None, 0): f"at any time before or on {anchor}",
        (1, None): f"at any time after {anchor}",
        (0, None): f"at any time on or after {anchor}",
        (0, 0): f"on {anchor}",
    }
    if (start, end) in fixed:
        return fixed[start, end]
    first = "at any time" if start is None else f"from {_point(start, anchor, end)}"
    last = "at any time after" if end is None else _point(end, anchor, None)
    return f"{first} up to {last}" if start is None else f"{first} to {last}"


def _point(n: int, anchor: str, other: int | None) -> str:
    if n == 0:
        return anchor
    side = "before" if n < 0 else "after"
    same_side = other is not None and (other < 0) == (n < 0) and other != 0
    return f"{days(abs(n))}" if same_side else f"{days(abs(n))} {side} {anchor}"
