"""What a lint is, and what it may ask about concepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from cohort_lang.tree import Cohort, Position

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Lint:
    """A remark on a definition: an error makes it useless, a warning deserves a reason.

    ``line`` and ``column`` are None for trees that were not read from text.
    """

    code: str
    severity: Severity
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return f"{place}{self.severity}: {self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class ConceptFacts:
    """What a vocabulary says of a concept. ``standard``: it is what records are mapped to."""

    name: str
    domain: str
    standard: bool
    valid: bool


class ConceptLookup(Protocol):
    """A vocabulary that can be asked about concepts."""

    def find(self, concept_ids: Iterable[int]) -> Mapping[int, ConceptFacts]:
        """Facts of those concepts that the vocabulary knows."""


Check = Callable[[Cohort], Iterator[Lint]]
VocabularyCheck = Callable[[Cohort, ConceptLookup], Iterator[Lint]]


def error(code: str, message: str, at: Position | None) -> Lint:
    """A lint that makes the definition useless."""
    return Lint(code, "error", message, at.line if at else None, at.column if at else None)


def warning(code: str, message: str, at: Position | None) -> Lint:
    """A lint that deserves a reason."""
    return Lint(code, "warning", message, at.line if at else None, at.column if at else None)
