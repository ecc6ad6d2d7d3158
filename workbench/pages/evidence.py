"""The answer for one patient: a sentence, the arms with their uncertainty, what is hidden, and how it was found."""

from __future__ import annotations

import streamlit as st

from mpc_backend.analyses.ranking_result import RankingResult
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.jobs import FAILED
from workbench.pages.result import footnote
from workbench.parts import ranking
from workbench.parts.job_page import show_receipt, watch
from workbench.parts.moments import moment_text
from workbench.parts.plain import plain_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.parts.study_list import COLOURS
from workbench.store import JobRow

SHOWN = 20


def render() -> None:
    """Draw the page."""
    bench, person = page_person("physician")
    st.warning(f"**{ranking.WARNING}**")
    st.title("Evidence")
    identifier = st.query_params.get("job")
    with st.container(horizontal=True):
        st.page_link(page("patient"), label="Ask about another patient")
        if identifier:
            # The same page without a run: an empty one, since a link without any keeps what the address has.
            st.page_link(page("evidence"), label="All answers", query_params={"job": ""})
    if not identifier:
        _kept(bench, person)
        return
    watch(bench, person, identifier, lambda job: _draw(bench, job))


def _kept(bench: Workbench, person: SignIn) -> None:
    """The questions whose answers are still in memory, newest first; what was asked is not kept."""
    asked = [job for job in bench.jobs.listing(person.account) if job.role == "physician"]
    kept = [
        job
        for job in (bench.jobs.get(job.id, person.account) for job in asked[:SHOWN])
        if job.state != FAILED
    ]
    if not kept:
        st.info("Answers are shown after a question; ask one under “This patient”.")
        return
    st.markdown("Your questions of which the answer is still in this server's memory:")
    for job in kept:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(job.state, color=COLOURS[job.state])
            asked_at = f"asked {moment_text(job.created_at)}"
            st.page_link(page("evidence"), label=asked_at, query_params={"job": job.id})


def _draw(bench: Workbench, job: JobRow) -> None:
    result = RankingResult.model_validate(job.result)
    st.markdown(f"#### {literal(ranking.headline(result))}")
    st.markdown(literal(ranking.basis(result)))
    if result.arms:
        st.altair_chart(
            ranking.arm_chart(result), alt="Estimate and 95% interval by treatment; see the table."
        )
        plain_table(ranking.arm_table(result))
        st.caption(ranking.COLUMNS_EXPLAINED)
    for line in ranking.balance_lines(result):
        st.markdown(literal(line))
    if result.negative_control is not None:
        shown = st.warning if result.negative_control.distinguishable else st.markdown
        shown(literal(ranking.control_line(result)))
    st.markdown(literal(ranking.hidden_sentence(result)))
    for said in ranking.held_back(result):
        st.info(literal(said))
    hidden, how, provenance = st.tabs(["What is hidden", "How this was found", "Provenance"])
    with hidden:
        for reason, names in ranking.hidden_by_reason(result).items():
            st.markdown(f"* **{literal(reason)}** ({len(names)}): {literal(', '.join(names))}")
    with how:
        st.markdown(f"Measure: {literal(result.measure)}.")
        st.markdown("\n".join(f"* {literal(said)}" for said in ranking.caveats(result)))
    with provenance:
        show_receipt(bench, job)
    kept = f"{bench.settings.session_hours:g} hours after it came, or earlier if you sign out"
    footnote(result.release, [f"This answer is kept in memory only and is gone {kept}."])
