"""Cohorts to start from on the count page: worked examples, and those of one's own studies and drafts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

import yaml

from workbench.consortium import StudyView
from workbench.store import DraftRow


def offered_cohorts(
    examples: Path | None, drafts: Iterable[DraftRow], studies: Iterable[StudyView]
) -> dict[str, str]:
    """Cohort texts by a label that says where each comes from. ``examples``: the folder of worked examples.

    A draft that reads as no study yet offers nothing.
    """
    found: dict[str, str] = {}
    for view in studies:
        for name, text in view.study.cohorts.items():
            found[_unique(f"Study {view.study.short_name}: {name.replace('_', ' ')}", view.digest, found)] = (
                text
            )
    for draft in drafts:
        for name, text in _cohorts_of(draft.text):
            found[_unique(f"Draft “{draft.title}”: {name.replace('_', ' ')}", draft.id, found)] = text
    for path in sorted((examples / "cohorts").glob("*.cohort")) if examples else ():
        found[f"Example: {path.stem.replace('-', ' ')}"] = path.read_text(encoding="utf-8")
    return found


def _unique(label: str, identifier: str, taken: Collection[str]) -> str:
    """The label, told apart by the beginning of an identifier where another cohort already has it."""
    return f"{label} ({identifier[:8]})" if label in taken else label


@lru_cache(maxsize=64)
def _cohorts_of(draft: str) -> tuple[tuple[str, str], ...]:
    try:
        content = yaml.safe_load(draft)
    except yaml.YAMLError:
        return ()
    cohorts = content.get("cohorts") if isinstance(content, dict) else None
    given = cohorts.items() if isinstance(cohorts, dict) else ()
    return tuple((str(name), text) for name, text in given if isinstance(text, str))
