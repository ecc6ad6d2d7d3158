"""A whole definition in words, for a clinician or a data steward to judge."""

from __future__ import annotations

from collections.abc import Iterator

from cohort_lang.formatting import days
from cohort_lang.prose.phrases import (
    attributes,
    date_range,
    demographic_of_record,
    joined,
    number_range,
    record,
    sexes,
    windows,
)
from cohort_lang.tree import (
    AgeAt,
    Cohort,
    ConceptItem,
    ConceptSet,
    Count,
    Criterion,
    Dated,
    Ended,
    EndOfObservation,
    Entry,
    Event,
    Exit,
    FixedDays,
    Group,
    Limit,
    Occurrence,
    Rule,
    SexIs,
)

_INDEX = "the index date"


def explain(cohort: Cohort) -> str:
    """The definition in plain clinical English, ending in a newline."""
    parts = [cohort.name, *([cohort.description] if cohort.description else [])]
    parts += [
        " ".join(_entering(cohort.entry)).replace(" \n", "\n"),
        _rules(cohort),
        " ".join(_leaving(cohort)),
    ]
    parts += [_concept_sets(cohort)] if cohort.concept_sets else []
    return "\n\n".join(part for part in parts if part) + "\n"


# ---- entering


def _entering(entry: Entry) -> Iterator[str]:
    events = joined([_entry_event(event) for event in entry.events], "or")
    yield f"A person may enter on the date of {events}; that date is {_INDEX}."
    if entry.prior_days or entry.later_days:
        sides = [(entry.prior_days, "before"), (entry.later_days, "after")]
        around = joined([f"{days(n)} {side}" for n, side in sides if n])
        yield f"The person must have been under continuous observation for at least {around} {_INDEX}."
    else:
        yield "The date must lie within a period of observation."
    if entry.limit != "all":
        yield f"Only the {_place(entry.limit)} such event of each person counts."
    if entry.qualify is not None:
        yield "The event qualifies if " + _sentence(_must(entry.qualify, 1))
        if entry.qualify_limit != "all":
            yield f"\nOnly the {_place(entry.qualify_limit)} qualifying event of each person counts."


def _entry_event(event: Event) -> str:
    if not event.first:
        return f"any {record(event)}{_demands(event)}".replace(
            "any exposure to any drug", "exposure to any drug"
        )
    demands = _demands(event)
    return f"the first {record(event)} in the person's history" + (f" (if it is{demands})" if demands else "")


def _place(limit: Limit) -> str:
    return {"first": "earliest", "last": "latest"}[limit]


# ---- criteria


def _rules(cohort: Cohort) -> str:
    if not cohort.rules:
        return "No further criteria apply."
    lines = ["Persons stay in if, in this order:"]
    lines += [f"{number}. {_rule(rule)}" for number, rule in enumerate(cohort.rules, start=1)]
    return "\n".join(lines)


def _rule(rule: Rule) -> str:
    left_out = "persons are left out if " if rule.excludes else ""
    return f"{rule.label}: {left_out}{_sentence(_must(rule.criterion, 1))}"


def _sentence(said: str) -> str:
    """A full stop after a sentence, none after a list."""
    return said if "\n" in said else f"{said}."


def _must(criterion: Criterion, depth: int) -> str:
    match criterion:
        case AgeAt() | SexIs() | Dated() | Ended():
            return _demographic(criterion)
        case Group():
            return _outline(criterion, depth)
        case Occurrence():
            return f"they have {_phrase(criterion, _INDEX)}"


def _outline(group: Group, depth: int) -> str:
    """A group as an indented list."""
    indent = "\n" + "   " * depth + "- "
    return _heading(group) + "".join(indent + _must(item, depth + 1) for item in group.items)


def _heading(group: Group) -> str:
    heads = {"all": "all of these hold:", "any": "any of these holds:"}
    return heads.get(group.kind, f"{group.kind} {group.n} of these hold:")


def _demographic(criterion: AgeAt | SexIs | Dated | Ended) -> str:
    match criterion:
        case AgeAt(range=of):
            return (
                f"their age at {_INDEX} is {number_range(of, ' years')} (year of index minus year of birth)"
            )
        case SexIs():
            return f"they are {sexes(criterion)} by recorded sex"
        case Dated(range=dates):
            return f"{_INDEX} is {date_range(dates)}"
        case Ended(range=dates):
            return f"the entry event ended {date_range(dates)}"


def _phrase(criterion: Criterion, index: str) -> str:
    """A criterion within a sentence, relative to an event called ``index``."""
    match criterion:
        case Occurrence():
            return f"{_count(criterion)}{_when(criterion, index)}"
        case Group():
            items = [f"({letter}) {_phrase(item, index)}" for letter, item in _lettered(criterion)]
            return f"{_heading(criterion)} {'; '.join(items)}"
        case _:
            return demographic_of_record(criterion)


def _lettered(group: Group) -> Iterator[tuple[str, Criterion]]:
    return ((chr(97 + n % 26), item) for n, item in enumerate(group.items))


def _count(of: Occurrence) -> str:
    count = of.count
    if count == Count("exactly", 0):
        return f"no {_what(of, plural=False)}"
    if count.distinct:
        return f"{count.op} {count.n} different {count.distinct} with {_what(of, plural=True)}"
    return f"{count.op} {count.n} {_what(of, plural=count.n != 1)}"


def _what(of: Occurrence, *, plural: bool) -> str:
    first = "first-ever " if of.event.first else ""
    return first + record(of.event, plural=plural) + _demands(of.event)


def _demands(event: Event) -> str:
    said = f" {attributes(event.attributes)}" if event.attributes else ""
    if event.having is not None:
        said += f" (itself with {_phrase(event.having, 'that event')})"
    return said


def _when(of: Occurrence, index: str) -> str:
    said = "" if of.same_visit else " at any time"
    said = f" {windows(of.windows, index)}" if of.windows else said
    said += " during the same visit" if of.same_visit else ""
    return said + (", whether observed then or not" if of.ignore_observation else "")


# ---- leaving


def _leaving(cohort: Cohort) -> Iterator[str]:
    yield _exit(cohort.exit)
    if cohort.censors:
        events = joined([_entry_event(event) for event in cohort.censors], "or")
        yield f"They leave sooner on the date of {events}."
    yield _kept(cohort.keep)
    if cohort.combine_days:
        yield f"Times in the cohort at most {days(cohort.combine_days)} apart are joined into one."
    if cohort.period is not None:
        yield f"Only time {date_range(cohort.period)} counts."


def _exit(leave: Exit) -> str:
    match leave:
        case EndOfObservation():
            return "Persons leave at the end of the observation period that contains the index date."
        case FixedDays(days=n, after=edge):
            anchor = _INDEX if edge == "start" else "the end of the entry event"
            return f"Persons leave {days(n)} after {anchor}, or at the end of observation if that is sooner."
        case exposure:
            gap = f", gaps of up to {days(exposure.gap_days)} bridged" if exposure.gap_days else ""
            extra = f", plus {days(exposure.extra_days)}" if exposure.extra_days else ""
            supply = exposure.supply_days
            taken = "" if supply is None else f", taking every exposure to last {days(supply)}"
            return (
                f"Persons leave when their continuous exposure to {exposure.concepts} ends{gap}{extra}{taken}, or at "
                "the end of observation if that is sooner."
            )


def _kept(limit: Limit) -> str:
    if limit == "all":
        return "Every entry that meets all criteria counts, so a person may enter more than once."
    return f"Each person enters once, with the {_place(limit)} entry that meets all criteria."


# ---- concept sets


def _concept_sets(cohort: Cohort) -> str:
    return "\n".join(["Concept sets:", *(f"- {_concept_set(declared)}" for declared in cohort.concept_sets)])


def _concept_set(declared: ConceptSet) -> str:
    wanted = [_item(item) for item in declared.items if not item.excluded]
    barred = [_item(item) for item in declared.items if item.excluded]
    said = joined(wanted) if wanted else "no concept"
    return f"{declared.name}: {said}" + (f"; except {joined(barred)}" if barred else "")


def _item(item: ConceptItem) -> str:
    said = f"{item.label} ({item.concept_id})" if item.label else f"concept {item.concept_id}"
    said += " with its descendants" if item.descendants else ""
    return said + (" and the source codes mapped to it" if item.mapped else "")
