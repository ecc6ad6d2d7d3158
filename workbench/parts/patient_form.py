"""The physician's form, derived from the signed study: what is asked, and what becomes of the answers.

Answers stay in memory; they are shared with the nodes as noise and never written anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpc_backend.analyses.ranking_parameters import RankingParameters
from workbench.errors import DraftError

UNKNOWN: Final = "not known"
UNTESTED: Final = "not tested"
TESTED: Final = "tested"
OLDEST: Final = 127


@dataclass(frozen=True)
class Question:
    """One fact asked for by itself; every one may stay unanswered."""

    name: str
    label: str
    kind: Literal["level", "age"]
    options: tuple[str, ...] = ()


def questions(parameters: RankingParameters) -> list[Question]:
    """The facts asked one by one: age, then categories. Markers are asked together, see `marker_facts`."""
    asked = [] if parameters.age is None else [Question(parameters.age, readable(parameters.age), "age")]
    return asked + [
        Question(one.variable, readable(one.variable), "level", (UNKNOWN, *one.levels))
        for one in parameters.equal
    ]


def readable(name: str) -> str:
    """A column's name as a label."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def facts(asked: Sequence[Question], answers: Mapping[str, object]) -> dict[str, object]:
    """Answers as the analysis takes them; what is not known is left out."""
    given = {question.name: answers.get(question.name) for question in asked}
    return {name: answer for name, answer in given.items() if answer is not None and answer != UNKNOWN}


def marker_facts(
    markers: Sequence[str], tested: bool, present: Collection[str], unknown: Collection[str]
) -> dict[str, object]:
    """Markers as facts: present 1, not known left out, every other tested one 0.

    Raises:
        DraftError: a marker is named as present and as not known, or as present though none was tested.
    """
    both = sorted(set(present) & set(unknown))
    if both:
        raise DraftError(f"{', '.join(map(readable, both))}: named as present and as not known; choose one.")
    if not tested:
        if present:
            raise DraftError(
                "Markers are named as present, yet the genotype is said not to be tested; choose one."
            )
        return {}
    return {name: int(name in present) for name in markers if name not in unknown}
