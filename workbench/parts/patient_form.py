"""The physician's form, derived from the signed study: what is asked, and what becomes of the answers.

Answers stay in memory; they are shared with the nodes as noise and never written anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpc_backend.analyses.ranking_parameters import RankingParameters

UNKNOWN: Final = "not known"
ABSENT: Final = "absent"
PRESENT: Final = "present"
MARKER_ANSWERS: Final = (UNKNOWN, ABSENT, PRESENT)
OLDEST: Final = 127


@dataclass(frozen=True)
class Question:
    """One fact asked for; every one may stay unanswered."""

    name: str
    label: str
    kind: Literal["marker", "level", "age"]
    options: tuple[str, ...] = ()


def questions(parameters: RankingParameters) -> list[Question]:
    """The facts the study matches on: age first, then categories, then markers."""
    asked = [] if parameters.age is None else [Question(parameters.age, readable(parameters.age), "age")]
    asked += [
        Question(one.variable, readable(one.variable), "level", (UNKNOWN, *one.levels))
        for one in parameters.equal
    ]
    asked += [Question(name, readable(name), "marker", MARKER_ANSWERS) for name in parameters.markers]
    return asked


def readable(name: str) -> str:
    """A column's name as a label."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def facts(asked: Sequence[Question], answers: Mapping[str, object]) -> dict[str, object]:
    """Answers as the analysis takes them; what is not known is left out."""
    known: dict[str, object] = {}
    for question in asked:
        answer = answers.get(question.name)
        if answer is None or answer == UNKNOWN:
            continue
        known[question.name] = int(answer == PRESENT) if question.kind == "marker" else answer
    return known


def completeness(asked: Sequence[Question], known: Mapping[str, object]) -> str | None:
    """A warning that names what the match will do without, or None when everything is known."""
    missing = [question.label for question in asked if question.name not in known]
    if not missing:
        return None
    named = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    return f"Comparable patients will be found without: {named}."
