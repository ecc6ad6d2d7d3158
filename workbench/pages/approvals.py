"""The steward's inbox: studies that wait for this hospital first, then the others."""

from __future__ import annotations

import streamlit as st

from site_connector.models import InboxItem, StudyState
from site_connector.plain import literal
from workbench.parts.moments import moment_text
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.states import show
from workbench.steward import connector_problem, hospital_of
from workbench.store import now

COLOURS = {
    StudyState.WAITING_FOR_US: "orange",
    StudyState.ACTIVE: "green",
    StudyState.DECLINED: "red",
    StudyState.WITHDRAWN: "red",
}


def render() -> None:
    """Draw the page."""
    bench, _ = page_person("steward")
    st.title("Approvals")
    st.button("Look again", key="look-again", type="tertiary", icon=":material/refresh:")
    items, status = hospital_of(bench.settings).inbox(now())
    problem = connector_problem(status, now())
    if problem is not None:
        show(problem)
    if not items:
        st.info(
            "No study has reached this hospital yet. When a researcher submits one that names this hospital, it "
            "appears here; nothing leaves before you sign."
        )
        return
    waiting = [item for item in items if item.state is StudyState.WAITING_FOR_US]
    st.caption(f"{len(waiting)} waiting for your decision, {len(items)} in all")
    for item in [*waiting, *(item for item in items if item not in waiting)]:
        _card(item)


def _card(item: InboxItem) -> None:
    with st.container(border=True):
        left, right = st.columns([5, 1], vertical_alignment="center")
        signed = sum(one.state == "approved" for one in item.standings)
        left.markdown(
            f"**{literal(item.study.title)}**  \n:{COLOURS.get(item.state, 'gray')}-badge[{item.state.value}] "
            f"{literal(item.study.investigator.organisation)} · received "
            f"{moment_text(item.received_at)} · {signed} of {len(item.standings)} hospitals signed"
        )
        waits = item.state is StudyState.WAITING_FOR_US
        if right.button("Review" if waits else "Open", key=f"review-{item.digest}", width="stretch"):
            st.switch_page(page("review"), query_params={"study": item.digest})
