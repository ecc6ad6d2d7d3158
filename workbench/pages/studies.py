"""Studies: one's drafts, the studies one takes part in, and worked examples to start from."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.consortium import StudyView
from workbench.context import Workbench
from workbench.examples import Example, examples
from workbench.pages.study import show_network
from workbench.parts.moments import moment_text
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.study_list import badge, newest_first, summary
from workbench.store import DraftRow, now
from workbench.study_check import template

CARD = (5, 1)


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    heading, button = st.columns([4, 1], vertical_alignment="bottom")
    heading.title("Studies")
    if button.button("New study", type="primary", width="stretch"):
        _begin(bench, person, "New study", template(now(), bench.federation))
    show_network(bench)
    snapshot = bench.network.snapshot
    drafts = bench.drafts.listing(person.account)
    views = newest_first(snapshot.concerning(bench.my_key(person))) if snapshot else []
    offered = _filters(drafts, views)
    chosen = None
    if len(offered) > 1:
        chosen = st.pills("Show", offered, label_visibility="collapsed", key="filter")
    for draft in drafts:
        if draft.submitted_digest is None and chosen in (None, "draft"):
            _draft_card(draft)
    for view in views:
        if chosen in (None, view.state):
            _study_card(view)
    _examples(bench, person, empty=snapshot is not None and not drafts and not views)


def _filters(drafts: list[DraftRow], views: list[StudyView]) -> list[str]:
    states = ["draft"] if any(draft.submitted_digest is None for draft in drafts) else []
    return [*states, *dict.fromkeys(view.state for view in views)]


def _draft_card(draft: DraftRow) -> None:
    with st.container(border=True):
        left, right = st.columns(CARD, vertical_alignment="center")
        left.markdown(
            f"**{literal(draft.title)}**  \n{badge('draft')} last changed {moment_text(draft.updated_at)}"
        )
        if right.button("Open", key=f"draft-{draft.id}", width="stretch"):
            st.switch_page(page("draft"), query_params={"id": draft.id})


def _study_card(view: StudyView) -> None:
    with st.container(border=True):
        left, right = st.columns(CARD, vertical_alignment="center")
        left.markdown(f"**{literal(view.study.title)}**  \n{badge(view.state)} {literal(summary(view))}")
        if right.button("Open", key=f"study-{view.digest}", width="stretch"):
            st.switch_page(page("study"), query_params={"id": view.digest})


def _examples(bench: Workbench, person: SignIn, *, empty: bool) -> None:
    found = examples(bench.settings.examples_dir)
    if not found:
        return
    if empty:
        st.info(
            "A study fixes a question, the patients it is about and what may be released, before anyone "
            "sees a number. Every hospital signs it. Start from one of these worked examples."
        )
    with st.expander("Worked examples", expanded=empty):
        for start in range(0, len(found), 2):
            for column, example in zip(st.columns(2), found[start : start + 2], strict=False):
                with column:
                    _example(bench, person, example)


def _example(bench: Workbench, person: SignIn, example: Example) -> None:
    with st.container(border=True):
        st.markdown(f"**{literal(example.title)}**")
        st.caption(literal(example.description))
        if st.button("Copy as draft", key=f"example-{example.path.stem}"):
            _begin(bench, person, example.title, Path(example.path).read_text(encoding="utf-8"))


def _begin(bench: Workbench, person: SignIn, title: str, text: str) -> None:
    identifier = bench.drafts.create(person.account, title, text)
    st.switch_page(page("draft"), query_params={"id": identifier})
