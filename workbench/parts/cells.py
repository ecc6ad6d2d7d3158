"""Counts as they are shown: a rounded number, or the word "hidden" with its reason. Never 0, never blank."""

from __future__ import annotations

from mpc_backend.analyses.cells import HiddenCount, ReleasedCount

HIDDEN = "hidden"
MERGED = "as above (hidden)"


def cell_text(cell: ReleasedCount | HiddenCount) -> str:
    """One cell of a table."""
    if isinstance(cell, HiddenCount):
        return MERGED if cell.state == "merged" else HIDDEN
    if cell.band[0] != cell.band[1]:
        return f"~{cell.value:,}"
    return f"{cell.value:,}"


def band_text(cell: ReleasedCount | HiddenCount) -> str:
    """A cell with what is known about the true number."""
    if isinstance(cell, HiddenCount):
        return f"{HIDDEN}: {cell.why}"
    low, high = cell.band
    return f"{cell.value:,}" if low == high else f"{cell.value:,} (between {low:,} and {high:,})"


def share_text(cell: ReleasedCount | HiddenCount, of: ReleasedCount | HiddenCount) -> str:
    """What part of another count this is; only of shown numbers."""
    if isinstance(cell, HiddenCount) or isinstance(of, HiddenCount) or of.value == 0:
        return "–"
    return f"{100 * cell.value / of.value:.0f}%"
