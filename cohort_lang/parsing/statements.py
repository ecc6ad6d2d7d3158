"""From parsed statements to the cohort: each where it belongs, names resolved, comments kept beside their
statement.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from lark import Tree

from cohort_lang.errors import CohortSyntaxError
from cohort_lang.parsing.criteria import criterion, event
from cohort_lang.parsing.parts import (
    Node,
    anchor_edge,
    date_range,
    days_of,
    name_of,
    nodes,
    position,
    refuse,
    text_of,
    the_node,
    tokens,
    whole,
    word,
)
from cohort_lang.tree import (
    Cohort,
    Comment,
    ConceptItem,
    ConceptSet,
    DateRange,
    EndOfExposure,
    EndOfObservation,
    Entry,
    Exit,
    FixedDays,
    Limit,
    Rule,
)

_LIMITS: dict[str, Limit] = {
    "earliest": "first",
    "latest": "last",
    "first": "first",
    "last": "last",
    "every": "all",
}


def build_cohort(root: Node, text: str) -> Cohort:
    """The cohort of a parsed text. Raises CohortSyntaxError where words are grammatical but their meaning is not."""
    statements = [child for child in root.children if isinstance(child, Tree)]
    of_kind = _by_kind(statements)
    sets = tuple(_concept_set(node) for node in of_kind("concept_set"))
    _refuse_twins(sets)
    _refuse_undeclared(root, {declared.name for declared in sets})
    entry = _only(of_kind("entry"), "enter")
    if entry is None:
        last = text.rstrip()
        line, column = last.count("\n") + 1, len(last) - (last.rfind("\n") + 1) + 1
        raise CohortSyntaxError(
            "the definition does not say when a person enters",
            line=line,
            column=column,
            expected=["enter on ..."],
        )
    exits = [node for kind in ("exit_observation", "exit_days", "exit_exposure") for node in of_kind(kind)]
    leave = _only(exits, "exit")
    keep, combine = _only(of_kind("keep"), "keep"), _only(of_kind("combine"), "combine")
    period, description = (
        _only(of_kind("period"), "study period"),
        _only(of_kind("description"), "described as"),
    )
    return Cohort(
        name=text_of(tokens(root, "STRING")[0]),
        entry=_entry(entry),
        concept_sets=sets,
        rules=tuple(_rule(node) for node in of_kind("rule")),
        exit=_exit(leave) if leave else EndOfObservation(),
        censors=tuple(event(child) for node in of_kind("censor") for child in nodes(node, "event")),
        keep=_LIMITS[word(tokens(keep, "KEEP")[0])] if keep else "first",
        combine_days=days_of(combine) if combine else 0,
        period=_period(period) if period else None,
        description=text_of(tokens(description, "STRING")[0]) if description else None,
        comments=tuple(_comments(text, root, statements)),
    )


def build_concept_sets(root: Node, text: str) -> tuple[ConceptSet, ...]:
    """The concept sets of a parsed text that declares nothing else."""
    sets = tuple(_concept_set(node) for node in nodes(root, "concept_set"))
    _refuse_twins(sets)
    return sets


def _by_kind(statements: list[Node]) -> Any:
    return lambda kind: [node for node in statements if node.data == kind]


def _only(found: list[Node], said: str) -> Node | None:
    if len(found) > 1:
        first = min(position(node).line for node in found)
        latest = max(found, key=lambda node: (position(node).line, position(node).column))
        refuse(latest, f"a second {said!r}; the first is on line {first}")
    return found[0] if found else None


# ---- concept sets


def _concept_set(node: Node) -> ConceptSet:
    name = the_node(node, "name")
    assert name is not None
    items = tuple(_concept_item(child) for child in nodes(node, "concept_item"))
    return ConceptSet(name_of(name), items, at=position(node))


def _concept_item(node: Node) -> ConceptItem:
    extras = {word(token) for token in tokens(node, "EXTRA")}
    labels = tokens(node, "STRING")
    return ConceptItem(
        whole(tokens(node, "NUMBER")[0]),
        text_of(labels[0]) if labels else None,
        descendants="descendants" in extras,
        mapped="mapped" in extras,
        excluded=bool(tokens(node, "NOT")),
        at=position(node),
    )


def _refuse_twins(sets: Iterable[ConceptSet]) -> None:
    seen: dict[str, ConceptSet] = {}
    for declared in sets:
        if declared.name in seen and declared.at and (before := seen[declared.name].at):
            raise CohortSyntaxError(
                f"concept set {declared.name!r} is declared twice; the first is on line {before.line}",
                line=declared.at.line,
                column=declared.at.column,
            )
        seen[declared.name] = declared


def _refuse_undeclared(root: Node, declared: set[str]) -> None:
    for node in root.iter_subtrees_topdown():  # type: ignore[no-untyped-call]
        if node.data == "concept_set":
            continue
        for reference in nodes(node, "name"):
            if (name := name_of(reference)) not in declared:
                close = difflib.get_close_matches(name, declared, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                refuse(reference, f"concept set {name!r} is not declared{hint}")


# ---- statements


def _entry(node: Node) -> Entry:
    observed = the_node(node, "observation")
    days = {"prior": 0, "later": 0}
    for side in nodes(observed, "observed") if observed else ():
        days[word(tokens(side, "OBSERVED")[0])] = days_of(side)
    qualify = the_node(node, "qualify")
    return Entry(
        tuple(event(child) for child in nodes(node, "event")),
        prior_days=days["prior"],
        later_days=days["later"],
        limit=_limit(node),
        qualify=criterion(cast("Node", qualify.children[0])) if qualify else None,
        qualify_limit=_limit(qualify) if qualify else "all",
        at=position(node),
    )


def _limit(node: Node) -> Limit:
    limit = the_node(node, "limit")
    return _LIMITS[word(tokens(limit, "LIMIT")[0])] if limit else "all"


def _rule(node: Node) -> Rule:
    return Rule(
        text_of(tokens(node, "STRING")[0]),
        criterion(cast("Node", node.children[-1])),
        excludes=word(tokens(node, "RULE")[0]) == "exclude",
        at=position(node),
    )


def _exit(node: Node) -> Exit:
    match str(node.data):
        case "exit_observation":
            return EndOfObservation()
        case "exit_days":
            anchor = the_node(node, "anchor")
            assert anchor is not None
            return FixedDays(days_of(node), anchor_edge(anchor, nested=False))
        case _:
            name = the_node(node, "name")
            assert name is not None
            gaps, extra, supply = (the_node(node, kind) for kind in ("gaps", "extra", "supply"))
            return EndOfExposure(
                name_of(name),
                days_of(gaps) if gaps else 0,
                days_of(extra) if extra else 0,
                days_of(supply) if supply else None,
            )


def _period(node: Node) -> DateRange:
    stated = date_range(cast("Node", node.children[0]))
    if stated.op not in ("at least", "at most", "between"):
        refuse(node, "a study period is 'on or after', 'on or before' or 'between ... and ...'")
    return stated


# ---- comments


def _comments(text: str, root: Node, statements: list[Node]) -> Iterator[Comment]:
    keys = _statement_keys(statements)
    head = tokens(root, "STRING")[0].line
    for line, remark in _remarks(text):
        if line <= cast("int", head):
            yield Comment("head", remark)
            continue
        beside = [key for node, key in keys if node.meta.line <= line <= node.meta.end_line]
        after = [key for node, key in keys if node.meta.line > line]
        yield Comment(beside[-1] if beside else after[0] if after else "tail", remark)


def _statement_keys(statements: list[Node]) -> list[tuple[Node, str]]:
    numbered: dict[str, int] = {}
    keys = []
    for node in statements:
        kind = str(node.data).split("_")[0] if str(node.data).startswith("exit") else str(node.data)
        kind = kind.replace("_", " ")
        count = numbered.setdefault(kind, 0)
        numbered[kind] += 1
        keys.append((node, f"{kind} {count}" if kind in ("concept set", "rule", "censor") else kind))
    return keys


def _remarks(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for match in re.finditer(r'"(?:[^"\\\n]|\\.)*"|#([^\n]*)|\n', text):
        if match.group() == "\n":
            line += 1
        elif match.group(1) is not None:
            yield line, match.group(1).strip()
