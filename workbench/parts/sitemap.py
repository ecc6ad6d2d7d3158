"""Which pages exist for whom: by kind of workbench first, then by role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from workbench.accounts import SignIn
from workbench.settings import Kind, WorkbenchSettings


@dataclass(frozen=True)
class Entry:
    """One page. ``menu``: False for pages reached only from another page."""

    path: str
    title: str
    role: str
    kinds: tuple[Kind, ...]
    module: str
    menu: bool = True


EVERYWHERE: tuple[Kind, ...] = ("research", "hospital")
HOSPITAL: tuple[Kind, ...] = ("hospital",)

SITEMAP = (
    Entry("studies", "Studies", "researcher", EVERYWHERE, "studies"),
    Entry("count", "Count patients", "researcher", EVERYWHERE, "count"),
    Entry("draft", "Study draft", "researcher", EVERYWHERE, "draft", menu=False),
    Entry("study", "Study", "researcher", EVERYWHERE, "study", menu=False),
    Entry("result", "Result", "researcher", EVERYWHERE, "result", menu=False),
    Entry("patient", "This patient", "physician", HOSPITAL, "patient"),
    Entry("evidence", "Evidence", "physician", HOSPITAL, "evidence"),
    Entry("approvals", "Approvals", "steward", HOSPITAL, "approvals"),
    Entry("review", "Review", "steward", HOSPITAL, "review", menu=False),
    Entry("ledger", "Ledger", "steward", HOSPITAL, "ledger"),
    Entry("accounts", "Accounts", "administrator", EVERYWHERE, "accounts"),
)
SECTIONS = {
    "researcher": "Research",
    "physician": "Care",
    "steward": "Data stewardship",
    "administrator": "Administration",
}


def refusal(entry: Entry, settings: WorkbenchSettings, person: SignIn) -> str | None:
    """Why a page is not for this person at this workbench, or None if it is."""
    if settings.kind not in entry.kinds:
        return (
            f"“{entry.title}” exists only at a hospital's own workbench: a shared one must not see "
            "what physicians type or stewards review. Open the workbench inside your hospital."
        )
    if entry.role not in person.roles:
        return (
            f"“{entry.title}” is for the role {entry.role}; you are signed in as "
            f"{', '.join(person.roles)}. Ask an administrator of this workbench for the role."
        )
    return None


def pages_for(settings: WorkbenchSettings, person: SignIn) -> dict[str, list[StreamlitPage]]:
    """Streamlit's pages by section. A page that is not for this person says why when it is opened."""
    sections: dict[str, list[StreamlitPage]] = {}
    allowed = [entry for entry in SITEMAP if entry.menu and refusal(entry, settings, person) is None]
    for entry in SITEMAP:
        reason = refusal(entry, settings, person)
        made = _page(entry, hidden=entry not in allowed, reason=reason)
        sections.setdefault(SECTIONS[entry.role], []).append(made)
    # Streamlit's default page loses its own address, so the default is one that only leads on.
    start = st.Page(
        partial(_start, allowed[0] if allowed else None), title="Start", default=True, visibility="hidden"
    )
    sections.setdefault("", []).append(start)
    return sections


def page(path: str) -> StreamlitPage:
    """The page with this address, to link or switch to."""
    return _page(next(entry for entry in SITEMAP if entry.path == path), hidden=True, reason=None)


def _page(entry: Entry, *, hidden: bool, reason: str | None) -> StreamlitPage:
    render = partial(_denied, entry.title, reason) if reason else _renderer(entry.module)
    return st.Page(
        render, title=entry.title, url_path=entry.path, visibility="hidden" if hidden else "visible"
    )


def _start(entry: Entry | None) -> None:
    if entry is None:
        st.title("No pages")
        st.info("Your roles have no page at this workbench. Ask its administrator.")
        return
    st.switch_page(page(entry.path))


def _renderer(module: str) -> Callable[[], None]:
    def render() -> None:
        import_module(f"workbench.pages.{module}").render()

    return render


def _denied(title: str, reason: str) -> None:
    st.title(title)
    st.error(reason, icon=":material/block:")
