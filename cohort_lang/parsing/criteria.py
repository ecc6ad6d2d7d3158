"""From parsed events, occurrences and groups to their nodes."""

from __future__ import annotations

from typing import cast

from lark import Token, Tree

from cohort_lang.parsing.parts import (
    Node,
    date_range,
    name_of,
    nodes,
    number_range,
    position,
    refuse,
    text_of,
    the_node,
    tokens,
    whole,
    window,
    word,
)
from cohort_lang.tree import (
    FEMALE,
    MALE,
    AgeAt,
    Amount,
    AmountColumn,
    Attribute,
    Count,
    CountOp,
    Criterion,
    Dated,
    Distinct,
    Domain,
    DuringVisit,
    Ended,
    Event,
    Group,
    Lasting,
    Occurrence,
    SexIs,
    TypeAmong,
    UnitIs,
    ValueAmong,
    ValueNumber,
)

_DOMAIN_SPELLINGS = {"drug": "drug exposure", "device": "device exposure"}

_ONLY_FOR: dict[type, tuple[str, ...]] = {
    ValueNumber: ("measurement", "observation"),
    UnitIs: ("measurement", "observation"),
    ValueAmong: ("measurement", "observation"),
    Amount: ("drug exposure",),
    Lasting: ("visit", "visit detail", "condition era", "drug era", "observation period"),
    DuringVisit: (
        "condition",
        "drug exposure",
        "procedure",
        "measurement",
        "observation",
        "device exposure",
    ),
    TypeAmong: (
        "condition",
        "drug exposure",
        "procedure",
        "measurement",
        "observation",
        "device exposure",
        "visit",
        "visit detail",
        "death",
        "observation period",
    ),
}

_WITHOUT_CONCEPT = ("observation period",)
_WITHOUT_SOURCE = ("condition era", "drug era", "observation period")


def criterion(node: Node, nested: bool = False) -> Criterion:
    """A criterion of a rule, or, ``nested``, of a "having"."""
    match str(node.data):
        case "occurrence":
            return _occurrence(node, nested)
        case "group":
            return _group(node, nested)
        case _:
            return cast("Criterion", _attributes(node)[0])


def _group(node: Node, nested: bool) -> Group:
    members = the_node(node, "members")
    assert members is not None
    items = tuple(criterion(cast("Node", child), nested) for child in members.children)
    if words := tokens(node, "ALL_OR_ANY"):
        return Group("all" if word(words[0]) == "all" else "any", items, at=position(node))
    quantifier = word(tokens(node, "QUANTIFIER")[0])
    if quantifier == "exactly":
        refuse(node, "a group takes 'at least' or 'at most', not 'exactly'")
    return Group(
        "at least" if quantifier == "at least" else "at most",
        items,
        whole(tokens(node, "NUMBER")[0]),
        at=position(node),
    )


def _occurrence(node: Node, nested: bool) -> Occurrence:
    found = the_node(node, "event")
    assert found is not None
    return Occurrence(
        event(found),
        _count(node),
        tuple(window(child, nested) for child in nodes(node, "window")),
        same_visit=the_node(node, "same_visit") is not None,
        ignore_observation=the_node(node, "ignoring") is not None,
        at=position(node),
    )


def _count(node: Node) -> Count:
    if the_node(node, "no"):
        return Count("exactly", 0)
    stated = the_node(node, "count")
    if stated is None:
        return Count()
    op = word(tokens(stated, "QUANTIFIER")[0])
    distinct = tokens(stated, "DISTINCT")
    return Count(
        cast("CountOp", op),
        whole(tokens(stated, "NUMBER")[0]),
        cast("Distinct", word(distinct[0])) if distinct else None,
    )


def event(node: Node) -> Event:
    """An event, refusing what its kind of record does not carry."""
    domain = _domain(tokens(node, "DOMAIN")[0])
    concepts, recorded = the_node(node, "name"), the_node(node, "recorded")
    if concepts and domain in _WITHOUT_CONCEPT:
        refuse(concepts, f"an {domain} has no concept: leave 'of' out")
    if recorded and domain in _WITHOUT_SOURCE:
        refuse(recorded, f"an {domain} has no source code: leave 'recorded as' out")
    having = the_node(node, "having")
    return Event(
        domain,
        name_of(concepts) if concepts else None,
        name_of(cast("Node", recorded.children[0])) if recorded else None,
        bool(tokens(node, "FIRST")),
        _where(node, domain),
        criterion(cast("Node", having.children[0]), nested=True) if having else None,
        at=position(node),
    )


def _domain(token: Token) -> Domain:
    said = word(token)
    singular = said[:-1] if said.endswith("s") else said
    return cast("Domain", _DOMAIN_SPELLINGS.get(singular, singular))


def _where(node: Node, domain: Domain) -> tuple[Attribute, ...]:
    where = the_node(node, "where")
    found: list[Attribute] = []
    for child in where.children if where else ():
        for attribute in _attributes(cast("Node", child)):
            domains = _ONLY_FOR.get(type(attribute), (domain,))
            if domain not in domains:
                refuse(cast("Node", child), f"this applies to {', '.join(domains)}, not to {domain}")
            found.append(attribute)
    return tuple(found)


def _attributes(node: Node) -> list[Attribute]:
    kind = str(node.data)
    if kind == "sex":
        return [SexIs(tuple(_sex(token) for token in cast("list[Token]", node.children)))]
    inner = next(child for child in node.children if isinstance(child, Tree))
    if kind == "value" and (units := the_node(node, "units")):
        return [ValueNumber(number_range(inner)), _units(units)]
    return [_attribute(kind, node, inner)]


def _attribute(kind: str, node: Node, inner: Node) -> Attribute:
    if kind == "unit":
        return _units(inner)
    if kind == "amount":
        return Amount(cast("AmountColumn", word(tokens(node, "AMOUNT")[0])), number_range(inner))
    if kind in _OF_DATES:
        return _OF_DATES[kind](date_range(inner))
    if kind in _OF_SETS:
        return _OF_SETS[kind](name_of(inner))
    return _OF_NUMBERS[kind](number_range(inner))


_OF_DATES: dict[str, type[Dated] | type[Ended]] = {"dated": Dated, "ended": Ended}
_OF_SETS: dict[str, type[ValueAmong] | type[TypeAmong] | type[DuringVisit]] = {
    "value_among": ValueAmong,
    "type_among": TypeAmong,
    "during": DuringVisit,
}
_OF_NUMBERS: dict[str, type[AgeAt] | type[Lasting] | type[ValueNumber]] = {
    "age": AgeAt,
    "lasting": Lasting,
    "value": ValueNumber,
}


def _sex(token: Token) -> int:
    if token.type == "NUMBER":
        return whole(token)
    return FEMALE if word(token) == "female" else MALE


def _units(node: Node) -> UnitIs:
    found = [cast("Token", child.children[0]) for child in nodes(node, "a_unit")]
    return UnitIs(tuple(whole(token) if token.type == "NUMBER" else text_of(token) for token in found))
