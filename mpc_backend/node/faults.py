"""Telling of an unexpected error without repeating its message, which may quote a value."""

from __future__ import annotations

import traceback


def where_of(error: BaseException) -> list[str]:
    """Functions and lines of a failure."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-6:]
