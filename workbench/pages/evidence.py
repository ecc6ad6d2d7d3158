"""The answer for one patient: a sentence, the arms with their uncertainty, what is hidden, and how it was found."""

from __future__ import annotations

import streamlit as st

from mpc_backend.analyses.ranking_result import RankingResult
from site_connector.plain import literal
from workbench.context import Workbench
from workbench.pages.result import footnote
from workbench.parts import ranking
from workbench.parts.job_page import show_receipt, watch
from workbench.parts.plain import plain_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.store import JobRow


def render() -> None:
    """Draw the page."""
    bench, person = page_person("physician")
    st.warning(f"**{ranking.WARNING}**")
    st.title("Evidence")
    st.page_link(page("patient"), label="Ask about another patient")
    identifier = st.query_params.get("job")
    if identifier is None:
        st.info("Answers are shown after a question; ask one under “This patient”.")
        return
    watch(bench, person, identifier, lambda job: _draw(bench, job))


def _draw(bench: Workbench, job: JobRow) -> None:
    result = RankingResult.model_validate(job.result)
    st.markdown(f"#### {literal(ranking.headline(result))}")
    st.markdown(literal(ranking.basis(result)))
    if result.arms:
        st.altair_chart(
            ranking.arm_chart(result), alt="Estimate and 95% interval by treatment; see the table."
        )
        plain_table(ranking.arm_table(result))
    st.markdown(literal(ranking.hidden_sentence(result)))
    hidden, how, provenance = st.tabs(["What is hidden", "How this was found", "Provenance"])
    with hidden:
        for reason, names in ranking.hidden_by_reason(result).items():
            st.markdown(f"* **{literal(reason)}** ({len(names)}): {literal(', '.join(names))}")
    with how:
        st.markdown(f"Measure: {literal(result.measure)}.")
        for said in ranking.caveats(result):
            st.markdown(f"* {literal(said)}")
    with provenance:
        show_receipt(bench, job)
    footnote(result.release, ["This answer is kept in memory only and is gone when your sign-in ends."])
