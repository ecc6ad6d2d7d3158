"""The frame around every page: who is signed in, until when, and the way out."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import streamlit as st

from workbench.accounts import SignIn
from workbench.context import Workbench, workbench
from workbench.errors import PageDenied
from workbench.parts.moments import clock

ICON = Path(str(files("workbench").joinpath("assets/icon.png")))
STYLE = Path(str(files("workbench").joinpath("assets/style.css")))
LOGO = Path(str(files("workbench").joinpath("assets/logo.svg")))


def signed_in_person(bench: Workbench) -> SignIn | None:
    """The sign-in the gate vouched for, looked up anew on every run; None once it ended."""
    told = st.user.to_dict().get("sign_in")
    return bench.accounts.current(told if isinstance(told, str) else None)


def show_signed_out() -> None:
    """The page of a sign-in that ended while it was open."""
    st.title("Signed out")
    st.info("Your sign-in ended. Drafts and runs are kept.")
    st.html('<a class="way-out" href="/sign-out">Sign in again</a>')


def style() -> None:
    """Spacing, type sizes and the print view; from this origin alone."""
    st.html(STYLE)


def sidebar(bench: Workbench, person: SignIn) -> None:
    """Product, person, end of the sign-in, sign-out."""
    st.logo(str(LOGO), size="large")
    with st.sidebar:
        kind = "Hospital workbench" if bench.settings.kind == "hospital" else "Research workbench"
        st.caption(f"**{bench.settings.title}**  \n{kind}")
        st.caption(f"Signed in as {person.display_name}  \nuntil {clock(person.expires_at)}")
        # Streamlit's own links open another tab and leave this one signed in to look at.
        st.html('<a class="way-out" href="/sign-out">Sign out</a>')


def page_person(role: str) -> tuple[Workbench, SignIn]:
    """For the top of a page: the workbench and the person, who must have the role.

    Raises:
        PageDenied: no longer signed in, or without the role. The sitemap does not offer the page then; this is
            the second lock.
    """
    bench = workbench()
    person = signed_in_person(bench)
    if person is None or role not in person.roles:
        raise PageDenied(f"this page is for the role {role}")
    return bench, person
