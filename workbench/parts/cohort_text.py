"""What the count page says of a cohort someone writes: errors by line and column, lints, the cohort in words."""

from __future__ import annotations

from dataclasses import dataclass

from cohort_lang import CohortError, CohortSyntaxError, Lint, explain, lint, parse
from governance.bounds import check_cohort_within
from governance.errors import GovernanceError


@dataclass(frozen=True)
class CohortReading:
    """A cohort text, read. Without ``problem`` it can be counted; ``words`` is Markdown. ``excerpt``: the line of a
    mistake with a mark below its place, to show in letters of one width.
    """

    problem: str | None
    line: int | None = None
    column: int | None = None
    words: str = ""
    lints: tuple[str, ...] = ()
    excerpt: str = ""


def read_cohort(text: str, concept_sets: str | None = None) -> CohortReading:
    """Parse, lint and explain; with ``concept_sets``, also test that a feasibility study allows the cohort."""
    try:
        cohort = parse(text)
    except CohortSyntaxError as error:
        problem = str(error).removesuffix(error.excerpt).rstrip()
        return CohortReading(_sentence(problem), error.line, error.column, excerpt=error.excerpt)
    except CohortError as error:
        return CohortReading(str(error))
    words, lints = explain(cohort), tuple(_lint_words(one) for one in lint(cohort, None))
    if concept_sets is not None:
        try:
            check_cohort_within(text, concept_sets)
        except GovernanceError as error:
            return CohortReading(str(error), words=words, lints=lints)
    return CohortReading(None, words=words, lints=lints)


def _lint_words(one: Lint) -> str:
    return _sentence(f"line {one.line}: {one.message}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def starting_text(concept_sets: str) -> str:
    """A cohort to begin with: the first allowed concept set, in a definition that parses."""
    first = next((line for line in concept_sets.splitlines() if line.strip()), "")
    name = first.removeprefix("concept set").partition(":")[0].strip()
    return (
        f'cohort "My cohort"\n\n{first.strip()}\n\nenter on first condition of {name}\n'
        '  with 365 days of prior observation\n\nrequire "18 years or older": age 18 or more\n\n'
        "exit at end of observation\nkeep first entry per person\n"
    )
