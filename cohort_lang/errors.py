"""What can go wrong with a cohort definition.

    CohortError
    ├── CohortSyntaxError        the text is no cohort definition; carries line, column, expected
    └── CohortRefused            the definition or variable cannot be evaluated as written
        ├── UnknownConcept       a concept id is not in the site's vocabulary
        ├── UnknownConceptSet    a variable names a concept set the cohort does not declare
        └── MissingTable         the definition reads a table or column the database does not have

Messages name ids, tables and positions, never a patient's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class CohortError(Exception):
    """Base of everything this package raises on purpose."""


class CohortSyntaxError(CohortError):
    """The text is not a cohort definition.

    ``line`` and ``column`` count from 1; ``expected`` lists what could have stood there, possibly empty.
    """

    def __init__(
        self, problem: str, *, line: int, column: int, expected: Sequence[str] = (), excerpt: str = ""
    ):
        self.problem, self.line, self.column = problem, line, column
        self.expected, self.excerpt = tuple(expected), excerpt
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [f"line {self.line}, column {self.column}: {self.problem}"]
        if self.expected:
            parts[0] += f"; expected {_either(self.expected)}"
        return "\n".join([*parts, self.excerpt]) if self.excerpt else parts[0]


class CohortRefused(CohortError):
    """The definition, or a variable beside it, cannot be evaluated as written."""


class UnknownConcept(CohortRefused):
    """A concept id, or a unit's code, is not in the site's vocabulary."""

    def __init__(self, concepts: Iterable[int | str]):
        self.concepts = tuple(concepts)
        named = ", ".join(str(concept) for concept in self.concepts)
        super().__init__(
            f"not in this site's vocabulary: concept {named}; correct the definition or load a vocabulary "
            "export that contains it"
        )


class UnknownConceptSet(CohortRefused):
    """A variable names a concept set that the cohort's text does not declare."""

    def __init__(self, variable: str, name: str, declared: Iterable[str]):
        self.variable, self.name = variable, name
        known = ", ".join(declared) or "none"
        super().__init__(
            f"variable {variable!r} refers to concept set {name!r}, which the cohort does not declare; "
            f"declared: {known}"
        )


class MissingTable(CohortRefused):
    """The definition reads an OMOP table or column that the database does not have."""

    def __init__(self, what: str, needed_by: str):
        self.what = what
        super().__init__(f"the database has no {what}, which {needed_by} needs; load it, or leave that out")


def _either(options: Sequence[str], most: int = 9) -> str:
    shown = list(options[:most])
    if len(options) > most:
        return ", ".join(shown) + f" or {len(options) - most} other things"
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " or " + shown[-1]
