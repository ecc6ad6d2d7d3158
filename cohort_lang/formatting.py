"""The one way a cohort is written: ``parse(format_cohort(c)) == c``, and formatting twice changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cohort_lang.tree import (
    FEMALE,
    MALE,
    AgeAt,
    Amount,
    Attribute,
    Cohort,
    ConceptItem,
    ConceptSet,
    Count,
    Criterion,
    Dated,
    DateRange,
    DuringVisit,
    Ended,
    EndOfExposure,
    EndOfObservation,
    Entry,
    Event,
    Exit,
    FixedDays,
    Group,
    Lasting,
    NumberRange,
    Occurrence,
    Rule,
    SexIs,
    TypeAmong,
    UnitIs,
    ValueAmong,
    ValueNumber,
    Window,
)

WIDTH = 100
"""Columns beyond which a statement is broken over lines."""

SHORT_GROUP = 72
"""Columns up to which a group stays on one line."""

_LIMIT_WORDS = {"first": "earliest", "last": "latest"}
_KEEP_WORDS = {"first": "first", "last": "last", "all": "every"}


def format_cohort(cohort: Cohort) -> str:
    """The canonical text of a cohort, comments included, ending in a newline."""
    blocks = [_header(cohort), _concept_sets(cohort), _entering(cohort), _rules(cohort), _leaving(cohort)]
    tail = list(_remarks(cohort, "tail"))
    return "\n\n".join("\n".join(lines) for lines in [*blocks, tail] if lines) + "\n"


def format_concept_sets(sets: Sequence[ConceptSet]) -> str:
    """The canonical text of concept sets alone, ending in a newline; empty for none."""
    return "".join(f"{_concept_set(declared)}\n" for declared in sets)


def _header(cohort: Cohort) -> list[str]:
    lines = [*_remarks(cohort, "head"), f"cohort {quoted(cohort.name)}"]
    lines += _remarks(cohort, "description")
    return lines + ([f"described as {quoted(cohort.description)}"] if cohort.description else [])


def _concept_sets(cohort: Cohort) -> list[str]:
    lines: list[str] = []
    for number, declared in enumerate(cohort.concept_sets):
        lines += [*_remarks(cohort, f"concept set {number}"), _concept_set(declared)]
    return lines


def _entering(cohort: Cohort) -> list[str]:
    return [*_remarks(cohort, "entry"), *_entry(cohort.entry)]


def _rules(cohort: Cohort) -> list[str]:
    lines: list[str] = []
    for number, rule in enumerate(cohort.rules):
        lines += [*_remarks(cohort, f"rule {number}"), _rule(rule)]
    return lines


def _leaving(cohort: Cohort) -> list[str]:
    lines = [*_remarks(cohort, "exit"), _exit(cohort.exit)]
    for number, event in enumerate(cohort.censors):
        lines += [*_remarks(cohort, f"censor {number}"), f"censor on {_event(event)}"]
    lines += _remarks(cohort, "keep")
    if cohort.keep != "first":
        lines.append(f"keep {_KEEP_WORDS[cohort.keep]} entry per person")
    lines += _remarks(cohort, "combine")
    if cohort.combine_days:
        lines.append(f"combine entries at most {days(cohort.combine_days)} apart")
    lines += _remarks(cohort, "period")
    return lines + ([f"study period {date_range(cohort.period)}"] if cohort.period else [])


def _remarks(cohort: Cohort, key: str) -> Iterator[str]:
    return (f"# {comment.text}".rstrip() for comment in cohort.comments if comment.before == key)


# ---- names, numbers, ranges


def quoted(text: str) -> str:
    """A text in double quotes, as the grammar reads it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def name(of: str) -> str:
    """A concept set's name: bare where it is a word, else quoted."""
    return of if re.fullmatch(r"[^\W\d][\w\-]*", of) else quoted(of)


def days(n: int) -> str:
    """A number of days with the noun in agreement."""
    return f"{n} day" if n == 1 else f"{n} days"


def number_range(of: NumberRange) -> str:
    """A range of numbers in words."""
    low = f"{of.low:f}"
    match of.op:
        case "at least" | "at most":
            return f"{low} or {'more' if of.op == 'at least' else 'less'}"
        case "between" | "not between":
            return f"{'not ' if of.op == 'not between' else ''}{low} to {of.high:f}"
        case op:
            return f"{op} {low}"


def date_range(of: DateRange) -> str:
    """A range of dates in words."""
    low = of.low.isoformat()
    words = {
        "at least": "on or after",
        "at most": "on or before",
        "more than": "after",
        "less than": "before",
        "exactly": "on",
        "not exactly": "not on",
    }
    if of.op in words:
        return f"{words[of.op]} {low}"
    assert of.high is not None
    return f"{of.op} {low} and {of.high.isoformat()}"


# ---- concept sets


def _concept_set(declared: ConceptSet) -> str:
    head = f"concept set {name(declared.name)}:"
    items = [_concept_item(item) for item in declared.items]
    line = f"{head} {', '.join(items)}"
    return line if len(line) <= WIDTH else head + "\n  " + ",\n  ".join(items)


def _concept_item(item: ConceptItem) -> str:
    parts = ["not" if item.excluded else "", str(item.concept_id), quoted(item.label) if item.label else ""]
    parts += ["and descendants" if item.descendants else "", "and mapped" if item.mapped else ""]
    return " ".join(part for part in parts if part)


# ---- entry and events


def _entry(entry: Entry) -> list[str]:
    lines = [f"enter on {_event(entry.events[0])}"]
    lines += [f"  or {_event(event)}" for event in entry.events[1:]]
    sides = [(entry.prior_days, "prior"), (entry.later_days, "later")]
    observed = " and ".join(f"{days(n)} of {side} observation" for n, side in sides if n)
    lines += [f"  with {observed}"] if observed else []
    lines += _limit(entry.limit)
    if entry.qualify is not None:
        lines += [f"  qualifying when {_criterion(entry.qualify, 2)}", *_limit(entry.qualify_limit)]
    return lines


def _limit(limit: str) -> list[str]:
    return [f"  taking {_LIMIT_WORDS[limit]} event per person"] if limit in _LIMIT_WORDS else []


def _event(event: Event, indent: int = 0, *, plural: bool = False) -> str:
    parts = ["first" if event.first else "", event.domain + ("s" if plural else "")]
    parts += [f"of {name(event.concepts)}" if event.concepts is not None else ""]
    parts += [f"recorded as {name(event.source)}" if event.source is not None else ""]
    parts += [f"where {_attributes(event.attributes)}" if event.attributes else ""]
    parts += [f"having ({_criterion(event.having, indent, nested=True)})" if event.having is not None else ""]
    return " ".join(part for part in parts if part)


def _attributes(attributes: Sequence[Attribute]) -> str:
    said: list[str] = []
    for before, attribute in zip([None, *attributes], attributes, strict=False):
        if isinstance(attribute, UnitIs) and isinstance(before, ValueNumber):
            said[-1] += f" in {_units(attribute)}"
        else:
            said.append(_attribute(attribute))
    return " and ".join(said)


def _attribute(attribute: Attribute) -> str:
    match attribute:
        case ValueNumber(range=of):
            return f"value {number_range(of)}"
        case UnitIs():
            return f"unit {_units(attribute)}"
        case ValueAmong() | TypeAmong() | DuringVisit():
            return f"{_AMONG[type(attribute)]} {name(attribute.concepts)}"
        case Lasting(range=of):
            return f"lasting {number_range(of)} days"
        case Amount(column=column, range=of):
            return f"{column} {number_range(of)}"
        case _:
            return _demographic(attribute)


_AMONG: dict[type, str] = {
    ValueAmong: "value among",
    TypeAmong: "type among",
    DuringVisit: "during visit of",
}


def _demographic(attribute: AgeAt | SexIs | Dated | Ended) -> str:
    match attribute:
        case AgeAt(range=of):
            return f"age {number_range(of)}"
        case SexIs(concepts=concepts):
            words = [{FEMALE: "female", MALE: "male"}.get(concept, str(concept)) for concept in concepts]
            return f"sex {words[0]}" if len(words) == 1 else f"sex in ({', '.join(words)})"
        case Dated(range=dates):
            return f"dated {date_range(dates)}"
        case Ended(range=dates):
            return f"ended {date_range(dates)}"


def _units(unit: UnitIs) -> str:
    said = [quoted(each) if isinstance(each, str) else str(each) for each in unit.units]
    return said[0] if len(said) == 1 else f"({', '.join(said)})"


# ---- criteria


def _rule(rule: Rule) -> str:
    head = f"{'exclude' if rule.excludes else 'require'} {quoted(rule.label)}:"
    bare = rule.excludes and isinstance(rule.criterion, Occurrence) and rule.criterion.count == Count()
    said = _occurrence(rule.criterion, 0, counted=not bare) if isinstance(rule.criterion, Occurrence) else ""
    said = said or _criterion(rule.criterion, 0)
    apart = "\n  " if len(head) + 1 + len(said.split("\n")[0]) > WIDTH and "\n" not in said else " "
    return head + apart + said


def _criterion(criterion: Criterion, indent: int, *, nested: bool = False) -> str:
    match criterion:
        case Group():
            return _group(criterion, indent, nested)
        case Occurrence():
            return _occurrence(criterion, indent, nested=nested)
        case _:
            return _demographic(criterion)


def _group(group: Group, indent: int, nested: bool) -> str:
    head = f"{group.kind} of" if group.n is None else f"{group.kind} {group.n} of"
    items = [_criterion(item, indent + 2, nested=nested) for item in group.items]
    inline = f"{head} ({', '.join(items)})"
    if nested or (len(inline) + indent <= SHORT_GROUP and "\n" not in inline):
        return inline
    pad = "\n" + " " * (indent + 2)
    return f"{head} ({pad}{f',{pad}'.join(items)}\n{' ' * indent})"


def _occurrence(of: Occurrence, indent: int, *, counted: bool = True, nested: bool = False) -> str:
    plural = counted and of.count.n > 1 and of.count.distinct is None
    parts = [_count(of.count) if counted else "", _event(of.event, indent, plural=plural)]
    parts += [" and ".join(_window(window, "that event" if nested else "index") for window in of.windows)]
    parts += ["during the same visit" if of.same_visit else ""]
    parts += ["ignoring observation periods" if of.ignore_observation else ""]
    return " ".join(part for part in parts if part)


def _count(count: Count) -> str:
    if count == Count("exactly", 0):
        return "no"
    distinct = f" distinct {count.distinct} with" if count.distinct else ""
    return f"{count.op} {count.n}{distinct}"


def _window(window: Window, index: str) -> str:
    anchor = f"{index} end" if window.index == "end" else index
    edge = "ending " if window.event == "end" else ""
    return edge + span(window.start, window.end, anchor)


def span(start: int | None, end: int | None, anchor: str) -> str:
    """Days around an anchor as the language writes them: "365 days before to 1 day before index"."""
    fixed = {
        (None, None): "at any time",
        (None, -1): f"any time before {anchor}",
        (None, 0): f"any time before or on {anchor}",
        (1, None): f"any time after {anchor}",
        (0, None): f"any time on or after {anchor}",
        (0, 0): f"on {anchor}",
    }
    if (start, end) in fixed:
        return fixed[start, end]
    first = "any time before" if start is None else f"from {anchor}" if start == 0 else _away(start)
    last = "any time after" if end is None else anchor if end == 0 else _away(end)
    return (
        f"{first} to {last}"
        if anchor in (last, first.removeprefix("from "))
        else f"{first} to {last} {anchor}"
    )


def _away(n: int) -> str:
    return f"{days(abs(n))} {'before' if n < 0 else 'after'}"


# ---- exit


def _exit(leave: Exit) -> str:
    match leave:
        case EndOfObservation():
            return "exit at end of observation"
        case FixedDays(days=n, after=edge):
            return f"exit {days(n)} after index{' end' if edge == 'end' else ''}"
        case EndOfExposure():
            return _end_of_exposure(leave)


def _end_of_exposure(leave: EndOfExposure) -> str:
    parts = [f"exit at end of exposure to {name(leave.concepts)}"]
    parts += [f"allowing gaps of {days(leave.gap_days)}"] if leave.gap_days else []
    parts += [f"plus {days(leave.extra_days)}"] if leave.extra_days else []
    parts += [f"assuming {days(leave.supply_days)} of supply"] if leave.supply_days is not None else []
    return " ".join(parts)
