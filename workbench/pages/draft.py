"""A study draft: its text, what is wrong with it, the study in words, and the signature that submits it."""

from __future__ import annotations

import streamlit as st

from governance.approval import DECLARATION
from governance.study import StudyProtocol
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.states import describe, show
from workbench.store import DraftRow
from workbench.study_check import Finding, check, complete_study
from workbench.study_words import explain_study


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    identifier = st.query_params.get("id")
    if identifier is None:
        st.title("Study draft")
        st.info("Open a draft from the list of studies, or begin a new one there.")
        st.page_link(page("studies"), label="Go to Studies")
        return
    draft = bench.drafts.get(identifier, person.account)
    st.title(draft.title)
    if draft.submitted_digest is not None:
        st.success("This draft was submitted; the study cannot change any more.")
        st.page_link(page("study"), label="Open the study", query_params={"id": draft.submitted_digest})
        st.code(draft.text, language="yaml")
        return
    _editor(bench, person, draft)


def _editor(bench: Workbench, person: SignIn, draft: DraftRow) -> None:
    text = st.text_area("Study (YAML)", draft.text, height=420, key=f"text-{draft.id}")
    if text != draft.text:
        bench.drafts.save(draft.id, person.account, draft.title, text)
    try:
        study = complete_study(text, bench.federation, bench.identity(person))
    except Exception as error:
        show(describe(error))
        return
    if study.title != draft.title:
        bench.drafts.save(draft.id, person.account, study.title, text)
    found = check(study, bench.federation)
    _findings(found)
    words, plan, submit = st.tabs(["In words", "What leaves, what it costs", "Submit"])
    with words:
        st.markdown(explain_study(study, bench.federation))
    with plan:
        _plan(study)
    with submit:
        _submit(bench, person, draft, study, ready=all(one.level != "error" for one in found))


def _findings(found: list[Finding]) -> None:
    for one in found:
        (st.error if one.level == "error" else st.warning)(f"**{one.where}:** {one.text}")
    if not found:
        st.success("Nothing to complain about: the study can be submitted.")


def _plan(study: StudyProtocol) -> None:
    from workbench.plan_view import plan_table  # noqa: PLC0415  (the planner is slow to import)

    st.table(plan_table(study), hide_index=True)


def _submit(bench: Workbench, person: SignIn, draft: DraftRow, study: StudyProtocol, *, ready: bool) -> None:
    st.markdown(
        f"Submitting freezes the study as `{study.digest[:16]}…` and sends it to {len(study.sites)} "
        "hospitals, whose stewards review and sign it. A later change is a new study that all sign again."
    )
    agreed = st.checkbox(DECLARATION, key="declared")
    if st.button("Sign and submit", type="primary", disabled=not (agreed and ready)):
        bench.client(person).submit(study)
        bench.drafts.submitted(draft.id, person.account, study.digest)
        bench.network.refresh_soon()
        st.switch_page(page("study"), query_params={"id": study.digest})
