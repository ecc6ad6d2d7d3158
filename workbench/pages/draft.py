"""A study draft: its text, what is wrong with it, the study in words, and the signature that submits it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from governance.approval import DECLARATION
from governance.study import StudyProtocol
from mpc_backend.planner import plan
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.errors import DraftError
from workbench.parts.plain import plain_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.states import describe, show
from workbench.plan_view import plan_frame
from workbench.store import DraftRow, now
from workbench.study_check import Finding, check, complete_study, trial_keys
from workbench.study_words import explain_study

SEEN_SECONDS = 10.0
PARTS = ("In words", "What leaves, what it costs", "Submit")


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    identifier = st.query_params.get("id")
    if identifier is None:
        st.title("Study draft")
        st.info("Open a draft from the list of studies, or begin a new one there.")
        st.page_link(page("studies"), label="Go to Studies")
        return
    head = st.empty()
    head.title("Study draft")
    draft = bench.drafts.get(identifier, person.account)
    with head.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(literal(draft.title), width="stretch")
        _delete(bench, person, draft)
    if draft.submitted_digest is not None:
        st.success("This draft was submitted; the study cannot change any more.")
        st.page_link(page("study"), label="Open the study", query_params={"id": draft.submitted_digest})
        st.code(draft.text, language="yaml")
        return
    _editor(bench, person, draft)


def _delete(bench: Workbench, person: SignIn, draft: DraftRow) -> None:
    with st.popover("Delete draft"):
        st.markdown("The text is gone for good; no study that was submitted is touched.")
        if st.button("Delete it", key="delete"):
            bench.drafts.remove(draft.id, person.account)
            st.switch_page(page("studies"))


def _editor(bench: Workbench, person: SignIn, draft: DraftRow) -> None:
    text = st.text_area("Study (YAML)", draft.text, height=420, key=f"text-{draft.id}")
    st.caption("Saved when you leave the field or press Ctrl+Enter.")
    if text != draft.text:
        bench.drafts.save(draft.id, person.account, draft.title, text)
    identity = bench.identity(person)
    try:
        study = complete_study(text, bench.federation, identity, trial=True, nonce=draft.id)
    except Exception as error:
        show(describe(error))
        return
    if study.title != draft.title:
        bench.drafts.save(draft.id, person.account, study.title, text)
    found = check(study, now(), bench.federation, trial_keys(text, study, identity))
    try:
        study = complete_study(text, bench.federation, identity, nonce=draft.id)
    except DraftError as error:
        found.append(Finding("error", "recipients", str(error)))
    _findings(found)
    part = st.segmented_control("Part", PARTS, default=PARTS[0], label_visibility="collapsed", key="part")
    if part == PARTS[1]:
        _plan(study)
    elif part == PARTS[2]:
        _submit(bench, person, draft, study, ready=all(one.level != "error" for one in found))
    else:
        st.markdown(explain_study(study, bench.federation, titled=False))


def _findings(found: list[Finding]) -> None:
    for one in found:
        (st.error if one.level == "error" else st.warning)(f"**{literal(one.where)}:** {literal(one.text)}")
    if not found:
        st.success("No problems found: the study can be submitted.")


@st.cache_data(max_entries=50, show_spinner="Counting rounds and bytes …")
def _planned(document: bytes) -> tuple[pd.DataFrame, tuple[str, ...]]:
    made = plan(StudyProtocol.from_canonical(document))
    return plan_frame(made), made.notes


def _plan(study: StudyProtocol) -> None:
    if study.feasibility is not None:
        st.info(
            "Each counted cohort is planned by itself: one number for each of its criteria leaves a hospital."
        )
        return
    frame, notes = _planned(study.canonical())
    plain_table(frame, hide_index=True)
    for note in notes:
        st.caption(note)


def _submit(bench: Workbench, person: SignIn, draft: DraftRow, study: StudyProtocol, *, ready: bool) -> None:
    st.markdown(
        f"Submitting freezes the study and sends it to {len(study.sites)} hospitals, whose stewards review and "
        "sign it. A later change is a new study that all sign again."
    )
    agreed = st.checkbox(DECLARATION, key="declared")
    if st.button("Sign and submit", type="primary", disabled=not (agreed and ready)):
        with st.spinner("Sending the study to the nodes …"):
            bench.client(person).submit(study)
            bench.drafts.submitted(draft.id, person.account, study.digest)
            bench.network.refresh_soon()
            bench.network.wait(SEEN_SECONDS)
        st.switch_page(page("study"), query_params={"id": study.digest})
