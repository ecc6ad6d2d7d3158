"""How often Python looks for reference cycles."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000


def collect_seldom() -> None:
    """Look for cycles after 50,000 new objects instead of 700; call it before the large imports.

    Importing numba, SQLAlchemy and Ibis makes some hundred thousand objects that all stay: looking at them over and over
    took a sixth of the time in which a command starts.
    """
    gc.set_threshold(YOUNG_OBJECTS)
