"""Telling of an unexpected error without repeating its message, which may quote a patient's data."""

from __future__ import annotations

import traceback
from pathlib import Path


def where_from(error: BaseException) -> str:
    """The error's type and where it was raised: ``KeyError at evaluation.py:42, called from tables.py:50``."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-3:])]
    return f"{type(error).__name__} at {', called from '.join(places) or 'an unknown place'}"
