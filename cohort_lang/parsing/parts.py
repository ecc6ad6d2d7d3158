"""From parsed pieces to leaves of the tree: numbers, ranges, dates, strings and windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn, cast

from lark import Token, Tree

from cohort_lang.errors import CohortSyntaxError
from cohort_lang.tree import DateRange, Edge, NumberRange, Position, Range, RangeOp, Window

Node = Tree[Token]

_COMPARE: dict[str, RangeOp] = {
    "more than": "more than",
    "over": "more than",
    ">": "more than",
    "less than": "less than",
    "under": "less than",
    "<": "less than",
    "at least": "at least",
    ">=": "at least",
    "at most": "at most",
    "<=": "at most",
    "exactly": "exactly",
    "=": "exactly",
}


def refuse(where: Node | Token, problem: str) -> NoReturn:
    """Raise a CohortSyntaxError at the node: its words are grammatical but their meaning is not."""
    at = position(where)
    raise CohortSyntaxError(problem, line=at.line, column=at.column)


def position(where: Node | Token) -> Position:
    """Where a node or token begins."""
    place = where if isinstance(where, Token) else where.meta
    return Position(cast("int", place.line), cast("int", place.column))


def word(token: Token) -> str:
    """A keyword in lower case with single spaces."""
    return re.sub(r"\s+", " ", str(token).lower())


def text_of(token: Token) -> str:
    """What a quoted text says, without quotes and escapes."""
    said = re.sub(r"\\(.)", r"\1", str(token)[1:-1])
    if not said.strip():
        refuse(token, "this text is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in said):
        refuse(token, "this text contains control characters")
    return said


def name_of(node: Node) -> str:
    """The name of a concept set, quoted or not."""
    token = cast("Token", node.children[0])
    return text_of(token) if token.type == "STRING" else str(token)


def tokens(node: Node, kind: str) -> list[Token]:
    """The direct child tokens of one terminal, in order."""
    return [child for child in node.children if isinstance(child, Token) and child.type == kind]


def nodes(node: Node, kind: str) -> list[Node]:
    """The direct child nodes of one rule, in order."""
    return [child for child in node.children if isinstance(child, Tree) and child.data == kind]


def the_node(node: Node, kind: str) -> Node | None:
    """The direct child node of that rule, if there is one."""
    found = nodes(node, kind)
    return found[0] if found else None


def whole(token: Token, *, most: int = 2**31 - 1) -> int:
    """A count or number of days: a whole number from 0 to ``most``."""
    number = Decimal(str(token))
    if number != number.to_integral_value() or number < 0 or number > most:
        refuse(token, f"{token} should be a whole number from 0 to {most}")
    return int(number)


def days_of(node: Node) -> int:
    """The number of days a node states, at most a century."""
    return whole(tokens(node, "NUMBER")[0], most=36525)


def calendar_date(token: Token) -> date:
    """A date of the calendar."""
    try:
        return date.fromisoformat(str(token))
    except ValueError:
        refuse(token, f"{token} is not a date of the calendar")


# ---- ranges


def number_range(node: Node) -> NumberRange:
    """A range of numbers from any of its spellings."""
    numbers = [Decimal(str(token)) for token in tokens(node, "NUMBER")]
    match str(node.data):
        case "number_or":
            more = word(tokens(node, "OR_MORE")[0]) == "more"
            return Range("at least" if more else "at most", numbers[0])
        case "number_compare":
            return Range(_COMPARE[word(tokens(node, "COMPARE")[0])], numbers[0])
        case "number_not_exactly":
            return Range("not exactly", numbers[0])
        case _:
            return Range(_negated(node, "between"), numbers[0], numbers[1])


def date_range(node: Node) -> DateRange:
    """A range of dates from any of its spellings."""
    dates = [calendar_date(token) for token in tokens(node, "DATE")]
    side = word(tokens(node, "BEFORE_AFTER")[0]) if tokens(node, "BEFORE_AFTER") else ""
    match str(node.data):
        case "date_on_or":
            return Range("at least" if side == "after" else "at most", dates[0])
        case "date_compare":
            return Range("more than" if side == "after" else "less than", dates[0])
        case "date_on":
            return Range(_negated(node, "exactly"), dates[0])
        case _:
            return Range(_negated(node, "between"), dates[0], dates[1])


def _negated(node: Node, op: RangeOp) -> RangeOp:
    return cast("RangeOp", f"not {op}") if tokens(node, "NOT") else op


# ---- windows

Span = tuple[int | None, int | None]


def window(node: Node, nested: bool) -> Window:
    """A window; ``nested`` says that it is relative to "that event" instead of the index."""
    edge = the_node(node, "edge")
    ends = edge is not None and word(tokens(edge, "EDGE")[0]) == "ending"
    span = cast("Node", node.children[-1])
    start, end = _SPANS[str(span.data)](span)
    return Window(start, end, "end" if ends else "start", _index_edge(span, nested))


def _index_edge(span: Node, nested: bool) -> Edge:
    anchors = list(span.find_data("anchor"))
    if not anchors and span.data != "span_always":
        refuse(span, f"say relative to what: add {'that event' if nested else 'index'!r}")
    edges: set[Edge] = {anchor_edge(anchor, nested) for anchor in anchors}
    if len(edges) > 1:
        refuse(span, "both sides of a window must be relative to the same date, either the start or the end")
    return edges.pop() if edges else "start"


def anchor_edge(node: Node, nested: bool) -> Edge:
    """Which date of the index event is meant, refusing "index" inside "having" and "that event" outside it."""
    if bool(tokens(node, "INDEX")) == nested:
        meant = "'that event': inside 'having', days count from it" if nested else "'index'"
        refuse(node, f"say {meant}")
    return "end" if tokens(node, "END_WORD") else "start"


def _signed(node: Node) -> int:
    after = word(tokens(node, "BEFORE_AFTER")[0]) == "after"
    return days_of(node) if after else -days_of(node)


def _span_open(span: Node) -> Span:
    return (1, None) if word(tokens(span, "BEFORE_AFTER")[0]) == "after" else (None, -1)


def _span_or_on(span: Node) -> Span:
    return (0, None) if word(tokens(span, "BEFORE_AFTER")[0]) == "after" else (None, 0)


def _span_within(span: Node) -> Span:
    days = _signed(span)
    return (1, days) if days > 0 else (days, -1)


def _span_within_of(span: Node) -> Span:
    return -days_of(span), days_of(span)


def _span_between(span: Node) -> Span:
    first, last = (child for child in span.children if isinstance(child, Tree))
    return _side(first, "before"), _side(last, "after")


def _side(point: Node, open_side: str) -> int | None:
    match str(point.data):
        case "point_days":
            return _signed(point)
        case "point_anchor":
            return 0
        case _:
            if word(tokens(point, "BEFORE_AFTER")[0]) != open_side:
                refuse(point, f"this side of a window can only be open towards 'any time {open_side}'")
            return None


_SPANS: dict[str, Callable[[Any], Span]] = {
    "span_always": lambda span: (None, None),
    "span_open": _span_open,
    "span_or_on": _span_or_on,
    "span_on_or_after": lambda span: (0, None),
    "span_on": lambda span: (0, 0),
    "span_within": _span_within,
    "span_within_of": _span_within_of,
    "span_between": _span_between,
}
