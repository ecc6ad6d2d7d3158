"""What results say of persons who were recognised at several hospitals."""

from __future__ import annotations

from collections.abc import Sequence

from mpc_backend.analyses.linked_steps import LinkedStep, has_entry

LINKED = "Persons seen at several hospitals are counted once, but for those who lack an identifier there."
REPEATED = "Nothing is shown: a hospital shared two rows of one person, which no connector does; have the uploads looked into."
UNLINKED = "History judged per hospital; persons may be counted at more than one."
ENTRY_WORDS = {
    False: "The entry is a person's earliest at any hospital, unless any of them recorded a death before.",
    True: "The entry is a person's earliest at any hospital, and counts only if no hospital has an earlier record of its "
    "kind or of a death.",
}


def linked_note(labels: Sequence[str], linked: Sequence[LinkedStep], *, first: bool) -> str:
    """How persons were counted, and whose records each step looked at."""
    said = [LINKED]
    if not has_entry(linked):
        return said[0]
    said.append(ENTRY_WORDS[first])
    steps = list(zip(labels, linked, strict=True))
    everywhere = ", ".join(f"“{label}”" for label, step in steps if step.how in ("since", "within"))
    there = ", ".join(f"“{label}”" for label, step in steps if step.how == "at_entry")
    if everywhere:
        said.append(f"Judged on the records of all hospitals: {everywhere}.")
    if there:
        said.append(f"Judged at the hospital of the entry alone: {there}.")
    return " ".join(said)
