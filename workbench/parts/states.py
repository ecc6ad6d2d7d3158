"""The six states every screen can be in, said the same way everywhere. The texts are functions, tested
without a browser; `show` and `guarded` put them on the page.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import streamlit as st

from governance.errors import NotApproved
from site_connector.plain import literal, paragraphs
from workbench.errors import exit_status, is_ours, message_of
from workbench.parts.moments import clock

LOG = logging.getLogger("tessera.workbench")

Tone = Literal["info", "warning", "error"]
PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class State:
    """One message on a page. ``details``: what only those need who run the machines; folded away below it."""

    tone: Tone
    text: str
    details: tuple[str, ...] = ()


def partial(
    missing: Sequence[str],
    of: int,
    since: datetime | None = None,
    problems: Sequence[str] = (),
    details: Sequence[str] = (),
) -> State:
    """Some of the parties gave no answer that can be used.

    ``problems``: what is wrong with those that did, in words of others. ``details``: why the others did not.
    """
    when = f" since {clock(since)}" if since else ""
    lines = (
        [f"{of - len(missing)} of {of} answered; no answer{when}: {', '.join(missing)}."] if missing else []
    )
    lines += ["Studies and runs show again once they answer; drafts are kept."] if len(missing) == of else []
    lines += problems[:PROBLEMS_SHOWN]
    more = len(problems) - PROBLEMS_SHOWN
    return State(
        "warning", "\n\n".join([*lines, *([f"… and {more} more."] if more > 0 else [])]), tuple(details)
    )


def not_approved(missing: Sequence[str], declined: Sequence[str]) -> State:
    """A study that may not run yet, and whom it waits for."""
    waits = [f"Waiting for the signature of {', '.join(missing)}."] if missing else []
    waits += [f"Declined by {', '.join(declined)}."] if declined else []
    next_step = ["Their data stewards review and sign it."] if missing and not declined else []
    return State("warning", " ".join(["This study may not run.", *waits, *next_step]))


def describe(error: BaseException) -> State:
    """An error we raise on purpose, in its own words, told apart from a failure and from a fault of ours."""
    if isinstance(error, NotApproved):
        return not_approved(error.missing, error.declined)
    if exit_status(error) is None:
        reference = secrets.token_hex(4)
        LOG.error("unexpected error %s on a page: %s", reference, trail(error))
        return State(
            "error",
            f"This page failed by a fault of the workbench. Tell its administrator reference {reference}.",
        )
    side = "Refused" if is_ours(error) and exit_status(error) == 2 else "Failed"
    return State("error", f"{side}: {message_of(error)}")


def trail(error: BaseException) -> str:
    """Type and place of an error, without its message or any local value: those could hold a patient's facts."""
    places = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 2)[-1]}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(places[-6:]))}"


def show(state: State) -> None:
    """Put a state on the page, its text as it stands: errors quote what others wrote."""
    {"info": st.info, "warning": st.warning, "error": st.error}[state.tone](paragraphs(state.text))
    if state.details:
        with st.expander("Details for administrators"):
            st.markdown("\n".join(f"* {literal(detail)}" for detail in state.details))


def guarded(render: Callable[[], None]) -> None:
    """Draw a page; an error becomes a message in words, never a stack trace."""
    try:
        render()
    except Exception as error:
        show(describe(error))
