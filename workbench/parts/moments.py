"""Moments as people read them: on the clock of whoever looks, with the zone said."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def day(moment: datetime) -> str:
    """A date, such as 3 March 2027; in UTC, since it stands in documents."""
    return f"{moment.day} {moment:%B %Y}"


def moment_text(moment: datetime) -> str:
    """Date and time, such as 3 Mar 2027, 14:05 CET."""
    there = moment.astimezone(zone())
    return f"{there.day} {there:%b %Y, %H:%M %Z}"


def clock(moment: datetime) -> str:
    """The time of day, such as 14:05 CET."""
    return f"{moment.astimezone(zone()):%H:%M %Z}"


def zone() -> tzinfo:
    """The browser's time zone; UTC where it names none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
