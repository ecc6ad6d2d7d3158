"""Count patients under a standing feasibility study: pick or write a cohort, read it in words, count, see
what is left, and make a study of it.
"""

from __future__ import annotations

import streamlit as st

from mpc_backend.analyses.cohort_count import CountResult
from site_connector.plain import literal, outline
from workbench.accounts import SignIn
from workbench.cohorts import offered_cohorts
from workbench.consortium import StudyView
from workbench.context import Workbench
from workbench.pages.result import show_count
from workbench.pages.study import show_network
from workbench.parts.cohort_text import CohortReading, read_cohort, starting_text
from workbench.parts.job_page import watch
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.runs import start_run
from workbench.store import JobRow, now
from workbench.study_check import template

VERSION, START = "cohort-version", "cohort-start"
"""The editor is made anew for a text that was not written in it: a browser then shows that text whenever it draws it."""
PICKED, WRITTEN = "picked-cohort", "written-cohort"
ANY_BOUNDS = 'concept set "type 2 diabetes": 201826 and descendants'


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    st.title("Count patients")
    show_network(bench)
    view = _chosen(bench, person)
    editor, words = st.columns([1, 1], gap="large")
    with editor:
        text, reading = _editor(bench, person, view)
    with words:
        st.markdown("**In words**")
        st.markdown(outline(reading.words) or "Nothing to read yet: the definition has an error.")
    if _actions(bench, person, view, text, reading) and view is not None:
        job = start_run(bench, person, view, view.study.analyses[0], parameters={"cohort": text})
        st.query_params["job"] = job
        st.rerun()
    if view is not None:
        _last_count(bench, person, view, text)


def _chosen(bench: Workbench, person: SignIn) -> StudyView | None:
    """The feasibility study to count under; the first approved one unless another is picked."""
    snapshot = bench.network.snapshot
    views = snapshot.concerning(bench.my_key(person)) if snapshot else []
    standing = [view for view in views if view.study.feasibility is not None]
    standing.sort(key=lambda view: view.state != "approved")
    if not standing:
        if snapshot is not None and len(snapshot.silent) < len(snapshot.nodes):
            st.info(
                "Counting needs a standing feasibility study that names you and that every hospital signed. Write "
                "one under Studies (there is a worked example); until then cohorts can be written and checked here."
            )
        return None
    if len(standing) == 1:
        return standing[0]
    return st.selectbox("Feasibility study", standing, format_func=lambda view: view.study.title)


def _editor(bench: Workbench, person: SignIn, view: StudyView | None) -> tuple[str, CohortReading]:
    bounds = view.study.feasibility.concept_sets if view and view.study.feasibility else None
    key = f"cohort-{st.session_state.setdefault(VERSION, 0)}"
    kept = bench.drafts.kept_cohort(person.account)
    if key not in st.session_state:
        st.session_state[START] = kept if kept is not None else starting_text(bounds or ANY_BOUNDS)
    _picker(bench, person, key)
    text = st.text_area("Cohort definition", st.session_state[START], height=380, key=key)
    if text != kept:
        bench.drafts.keep_cohort(person.account, text)
    reading = read_cohort(text, bounds)
    if reading.problem is not None:
        st.error(literal(reading.problem))
    if reading.excerpt:
        st.code(reading.excerpt, language=None)
    for found in reading.lints:
        st.warning(literal(found))
    if bounds:
        with st.expander("Concept sets this study allows"):
            st.code(bounds, language=None, wrap_lines=True)
    return text, reading


def _picker(bench: Workbench, person: SignIn, key: str) -> None:
    """A menu that puts a cohort into a new editor; what stood in the one with this key can be picked again."""
    snapshot = bench.network.snapshot
    mine = snapshot.concerning(bench.my_key(person)) if snapshot else []
    offered = offered_cohorts(bench.settings.examples_dir, bench.drafts.listing(person.account), mine)
    if WRITTEN in st.session_state:
        offered["What you wrote before"] = st.session_state[WRITTEN]

    def fill() -> None:
        before = st.session_state[key]
        bench.drafts.keep_cohort(person.account, offered[st.session_state[PICKED]])
        st.session_state[VERSION] += 1
        st.session_state[PICKED] = None
        if before not in offered.values():
            st.session_state[WRITTEN] = before

    st.selectbox(
        "Start from a cohort",
        list(offered),
        index=None,
        key=PICKED,
        on_change=fill,
        placeholder="an example, or one of your studies and drafts",
    )


def _actions(
    bench: Workbench, person: SignIn, view: StudyView | None, text: str, reading: CohortReading
) -> bool:
    """What can be done with the cohort, side by side. Returns whether it is to be counted."""
    left = 0 if view is None else view.runs_left(bench.my_key(person))
    blocked = view is None or reading.problem is not None or view.state != "approved" or left == 0
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Count patients", type="primary", disabled=blocked)
        if st.button("Make a study of this cohort", disabled=not reading.words):
            draft = bench.drafts.create(person.account, "New study", template(now(), bench.federation, text))
            st.switch_page(page("draft"), query_params={"id": draft})
        if view is None:
            st.caption("Counting needs an approved feasibility study; none is in sight.")
        elif view.state == "approved":
            st.caption(f"{left} counts left. Each count uses one of those that every hospital signed for.")
        else:
            st.caption(f"The feasibility study is {view.state}.")
    return pressed


def _last_count(bench: Workbench, person: SignIn, view: StudyView, text: str) -> None:
    identifier = st.query_params.get("job") or _last(bench, person, view)
    if identifier is None:
        return
    st.divider()
    if bench.jobs.get(identifier, person.account).public.get("cohort") != text:
        st.badge("edited since last count", color="orange", icon=":material/edit:")
    watch(bench, person, identifier, lambda job: _show(bench, job))


def _last(bench: Workbench, person: SignIn, view: StudyView) -> str | None:
    jobs = bench.jobs.listing(person.account, view.digest)
    return jobs[0].id if jobs else None


def _show(bench: Workbench, job: JobRow) -> None:
    show_count(bench, job, CountResult.model_validate(job.result))
