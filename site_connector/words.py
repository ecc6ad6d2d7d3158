"""Variables of a study in plain English, for the steward's page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cohort_lang.variables import (
    Category,
    DayWindow,
    EventDefinition,
    Presence,
    TimeToEvent,
    Value,
    Variable,
)


def variable_words(variable: Variable) -> str:
    """One sentence: what is taken from each person's record, and from when."""
    return _WORDS[variable.kind](variable)


def _presence(variable: Presence) -> str:
    of, when = _concepts(variable.concepts), _window(variable.window)
    return f"whether there is a {variable.domain} record of {of} {when}"


def _value(variable: Value) -> str:
    unit = f" in {variable.unit}" if variable.unit is not None else ""
    low, high = variable.minimum, variable.maximum
    bounds = "" if low is None and high is None else f", plausible from {_open(low)} to {_open(high)}"
    of = _concepts(variable.concepts)
    return f"the {variable.pick} {variable.domain} value of {of}{unit} {_window(variable.window)}{bounds}"


def _category(variable: Category) -> str:
    levels = ", ".join(f"{label} ({_concepts(of)})" for label, of in variable.levels.items())
    source = f"{variable.domain} record"
    if variable.of == "value" and variable.concepts is not None:
        source = f"{variable.domain} of {_concepts(variable.concepts)}, by its result"
    return f"which of these the {variable.pick} {source} {_window(variable.window)} belongs to: {levels}"


def _time(variable: TimeToEvent) -> str:
    events = " or ".join(
        f"a {one.domain} record of {_concepts(one.concepts)}" if isinstance(one, EventDefinition) else one
        for one in variable.events
    )
    return (
        f"time in {variable.unit}s from the index date to the first of {events}, followed for at most "
        f"{variable.horizon_days} days, censored at the end of {variable.censor}"
    )


def _window(window: DayWindow) -> str:
    match window.start, window.end:
        case None, None:
            return "at any time"
        case None, 0:
            return "up to the index date"
        case None, end:
            return f"up to {_day(end)}"
        case start, None:
            return f"from {_day(start)} on"
        case start, end:
            return f"from {_day(start)} to {_day(end)}"


def _day(day: int | None) -> str:
    if not day:
        return "the index date"
    days = "1 day" if abs(day) == 1 else f"{abs(day)} days"
    return f"{days} {'before' if day < 0 else 'after'} the index date"


def _concepts(concepts: str | tuple[int, ...]) -> str:
    if isinstance(concepts, str):
        return f"“{concepts}”"
    return f"concept {', '.join(str(one) for one in concepts)}"


def _open(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:g}"


_WORDS: dict[str, Callable[[Any], str]] = {
    "age": lambda _: "age at the index date, in whole years",
    "sex": lambda _: "recorded sex",
    "index_year": lambda _: "calendar year of the index date",
    "presence": _presence,
    "value": _value,
    "category": _category,
    "time_to_event": _time,
}


def day(moment: datetime) -> str:
    """A date as documents write it, such as 3 March 2027; moments of documents are UTC."""
    return f"{moment.day} {moment:%B %Y}"
