"""One study: how far the signatures are, its analyses with their runs, the study in words and as a document."""

from __future__ import annotations

import streamlit as st

from governance.study import StudyAnalysis
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.consortium import StudyView
from workbench.context import Workbench
from workbench.parts.moments import moment_text
from workbench.parts.plain import plain_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.states import show
from workbench.parts.study_list import COLOURS, approval_table, network_state, summary, why_not
from workbench.runs import can_run, start_run
from workbench.store import JobRow, now
from workbench.study_words import analysis_words, explain_study

PATIENCE_SECONDS = 1.5


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    head = st.container()
    show_network(bench)
    snapshot = bench.network.snapshot
    identifier = _named(bench, person)
    view = snapshot.study(identifier) if snapshot and identifier else None
    if view is None:
        head.title("Study")
        show_missing(bench, identifier)
        return
    head.title(literal(view.study.title))
    with head.container(horizontal=True, vertical_alignment="center"):
        st.badge(view.state, color=COLOURS[view.state])
        st.caption(literal(summary(view)))
    state = why_not(view, bench.federation)
    if state is not None:
        show(state)
    runs, signatures, words, document = st.tabs(["Analyses and runs", "Signatures", "In words", "Document"])
    with runs:
        _runs(bench, person, view)
    with signatures:
        plain_table(approval_table(view, bench.federation))
    with words:
        st.markdown(explain_study(view.study, bench.federation, titled=False))
    with document:
        st.caption(f"SHA-256 {view.digest}")
        st.download_button(
            "Download as YAML",
            view.study.to_yaml(),
            file_name=f"{view.study.short_name}.yaml",
            mime="text/yaml",
        )
        st.code(view.study.to_yaml(), language="yaml", height=480)


def _named(bench: Workbench, person: SignIn) -> str | None:
    """The study of the address. Going back from a result that was reloaded keeps the run's address: it names one too."""
    run = st.query_params.get("job")
    if "id" not in st.query_params and run is not None:
        return bench.jobs.get(run, person.account).study_digest
    return st.query_params.get("id")


def show_network(bench: Workbench) -> None:
    """Say which nodes do not answer, and offer another look.

    There is no timer here: a timed redraw that meets a change of page can leave the new page empty.
    """
    if st.button("Look again", key="look-again", type="tertiary", icon=":material/refresh:"):
        bench.network.refresh_soon()
    bench.network.wait(PATIENCE_SECONDS)
    state = network_state(bench.network.snapshot, now())
    if state is not None:
        show(state)


def show_missing(bench: Workbench, identifier: str | None) -> None:
    """What to say when a study is not among those seen: none was named, still loading, or not there."""
    if identifier is None:
        st.info("Open a study from the list of studies.")
        st.page_link(page("studies"), label="Go to Studies")
        return
    if bench.network.snapshot is None:
        st.skeleton(height=120)
        st.caption("Asking the nodes …")
        return
    st.info(
        "No node offers a study with this address. A study just submitted appears within a few seconds: "
        "press “Look again”."
    )
    st.page_link(page("studies"), label="Go to Studies")


def _runs(bench: Workbench, person: SignIn, view: StudyView) -> None:
    jobs = bench.jobs.listing(person.account, view.digest)
    for entry in view.study.analyses:
        with st.container(border=True):
            _analysis(bench, person, view, entry, [job for job in jobs if job.analysis == entry.id])


def _analysis(
    bench: Workbench, person: SignIn, view: StudyView, entry: StudyAnalysis, jobs: list[JobRow]
) -> None:
    words, action = st.columns([5, 1], vertical_alignment="center")
    words.markdown(analysis_words(view.study, entry))
    refusal = can_run(view, entry, bench.my_key(person), "researcher")
    if refusal is None:
        left = view.runs_left(bench.my_key(person))
        if action.button("Run", key=f"run-{entry.id}", type="primary", width="stretch", disabled=left == 0):
            job = start_run(bench, person, view, entry)
            st.switch_page(page("result"), query_params={"job": job})
        action.caption(f"{left} runs left")
    else:
        words.caption(refusal)
    for asked in jobs[:5]:
        _run_row(asked)


def _run_row(job: JobRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(job.state, color=COLOURS[job.state])
        st.page_link(
            page("result"), label=f"asked {moment_text(job.created_at)}", query_params={"job": job.id}
        )
