"""Running the grammar, and saying what is wrong with a text in its author's words."""

from __future__ import annotations

import difflib
import re
from functools import cache, lru_cache
from importlib.resources import files

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from cohort_lang.errors import CohortSyntaxError
from cohort_lang.parsing.statements import build_cohort, build_concept_sets
from cohort_lang.tree import Cohort, ConceptSet

LONGEST_TEXT = 1_000_000
"""Characters; a definition of a thousand concepts is a tenth of that."""

KEPT_TEXT = 50_000
"""Characters of a definition whose tree is kept, in case that it is asked for again."""

DEEPEST_NESTING = 40
"""Parentheses within parentheses. The most nested public definition has four levels."""

_SAID_AS = {
    "DOMAIN": "a kind of record (condition, drug exposure, procedure, measurement, observation, visit, ...)",
    "NAME": "a name",
    "STRING": "a text in double quotes",
    "NUMBER": "a number",
    "DATE": "a date (YYYY-MM-DD)",
    "DAYS": "days",
    "QUANTIFIER": "at least|at most|exactly",
    "COMPARE": "more than|less than|at least|at most|exactly",
    "RULE": "require|exclude",
    "OBSERVED": "prior|later",
    "LIMIT": "earliest|latest",
    "EXTRA": "descendants|mapped",
    "DISTINCT": "days|concepts|visits",
    "ALL_OR_ANY": "all|any",
    "FIRST": "first",
    "SEX": "female|male",
    "AMOUNT": "days supply|quantity|refills",
    "OR_MORE": "more|less",
    "EDGE": "starting|ending",
    "BEFORE_AFTER": "before|after",
    "INDEX": "index",
    "END_WORD": "end",
    "KEEP": "first|last|every",
    "NOT": "not",
    "$END": "the end of the text",
}


def parse(text: str) -> Cohort:
    """The tree of a cohort definition.

    Raises CohortSyntaxError with line, column and what could have stood there.
    """
    return _parsed(text) if len(text) <= KEPT_TEXT else _parsed.__wrapped__(text)


@lru_cache(maxsize=64)  # whoever holds a study asks for the trees of its cohorts each time that it is judged
def _parsed(text: str) -> Cohort:
    return build_cohort(_run(text, "cohort"), text)


def parse_concept_sets(text: str) -> tuple[ConceptSet, ...]:
    """The concept sets of a text that declares nothing else, in order. Raises CohortSyntaxError."""
    return build_concept_sets(_run(text, "concept_sets"), text)


def _run(text: str, start: str) -> Tree[Token]:
    _refuse_unreasonable(text)
    try:
        return _grammar().parse(text, start=start)
    except UnexpectedInput as error:
        raise _explained(error, text) from None


def _refuse_unreasonable(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        problem = f"the text has {len(text)} characters, more than the {LONGEST_TEXT} allowed"
        raise CohortSyntaxError(problem, line=1, column=1)
    depth = 0
    for match in re.finditer(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*|[()]', text):
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if depth > DEEPEST_NESTING:
            line, column = _line_column(text, match.start())
            problem = f"parentheses nested more than {DEEPEST_NESTING} deep"
            raise CohortSyntaxError(problem, line=line, column=column)


@cache
def _grammar() -> Lark:
    source = (files("cohort_lang.parsing") / "grammar.lark").read_text(encoding="utf-8")
    starts = ["cohort", "concept_sets"]
    return Lark(source, parser="lalr", start=starts, propagate_positions=True, maybe_placeholders=False)


def _explained(error: UnexpectedInput, text: str) -> CohortSyntaxError:
    if isinstance(error, UnexpectedEOF) or (
        isinstance(error, UnexpectedToken) and error.token.type == "$END"
    ):
        line, column = _line_column(text, len(text.rstrip()))
        problem = "the text ends too early"
    else:
        line, column = error.line, error.column
        problem = _problem_at(text, line, column)
    expected = _expected(error)
    guess = _nearest(text, line, column, expected)
    problem += f" (did you mean {guess!r}?)" if guess else ""
    return CohortSyntaxError(
        problem, line=line, column=column, expected=expected, excerpt=excerpt(text, line, column)
    )


def _problem_at(text: str, line: int, column: int) -> str:
    rest = text.split("\n")[line - 1][column - 1 :]
    if rest.startswith('"') and not re.match(r'"(?:[^"\\]|\\.)*"', rest):
        return "this quoted text is not closed on its line"
    word = re.match(r"[^\W]+|.", rest)
    return f"{word.group()!r} cannot stand here" if word else "nothing can stand here"


def _expected(error: UnexpectedInput) -> list[str]:
    if isinstance(error, UnexpectedToken):
        names = error.accepts or error.expected
    elif isinstance(error, UnexpectedCharacters):
        names = error.allowed or set()
    else:
        names = set()
    said = {phrase for name in names for phrase in _said(name).split("|")}
    return sorted(said, key=lambda phrase: (phrase.startswith(("a ", "the ")), phrase))


def _said(terminal: str) -> str:
    if terminal in _SAID_AS:
        return _SAID_AS[terminal]
    pattern = _patterns().get(terminal, terminal)
    return pattern if pattern[0].isalpha() else f"'{pattern}'"


@cache
def _patterns() -> dict[str, str]:
    return {terminal.name: terminal.pattern.value for terminal in _grammar().terminals}


def _nearest(text: str, line: int, column: int, expected: list[str]) -> str | None:
    word = re.match(r"[^\W\d_]{3,}", text.split("\n")[line - 1][column - 1 :])
    words = [entry for phrase in expected for entry in re.findall(r"[a-z]{3,}", _keywords_of(phrase))]
    close = difflib.get_close_matches(word.group().lower(), words, n=1, cutoff=0.7) if word else []
    return close[0] if close and word and close[0] != word.group().lower() else None


def _keywords_of(phrase: str) -> str:
    if phrase.startswith("a kind of record"):
        return phrase[phrase.index("(") :]
    return "" if phrase.startswith(("a ", "the ")) else phrase


def excerpt(text: str, line: int, column: int) -> str:
    """The line in question and a mark under the column."""
    shown = text.split("\n")[line - 1][:160].replace("\t", " ")
    return f"  {shown}\n  {' ' * min(column - 1, 160)}^"


def _line_column(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
