"""The one printable page a steward reads before signing, and the signature itself."""

from __future__ import annotations

import streamlit as st

from site_connector.models import CohortPreview
from site_connector.plain import literal, outline
from site_connector.review import CohortOnPage, ReviewPage
from site_connector.review_text import review_markdown, upload_words
from workbench.parts.plain import plain_table
from workbench.parts.review_tables import attrition_here, leaving_table, standing_table, unmapped_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page as page_at
from workbench.parts.states import describe, show
from workbench.steward import Decision, Hospital, hospital_of
from workbench.store import now


def render() -> None:
    """Draw the page."""
    bench, _ = page_person("steward")
    digest = st.query_params.get("study")
    if digest is None:
        st.title("Review")
        st.info("Open a study from the inbox.")
        st.page_link(page_at("approvals"), label="Go to Approvals")
        return
    hospital = hospital_of(bench.settings)
    page = hospital.page(digest, now())
    st.title(literal(page.title))
    st.caption(
        f"{literal(page.site_name)} · {page.state} · {page.kind} · `{page.short_name}` · {page.digest[:16]}…"
    )
    paper, sign = st.columns([2, 1], gap="large")
    with paper:
        _paper(page)
    with sign:
        _checks(page)
        _signature(hospital, page)


def _paper(page: ReviewPage) -> None:
    """The sections of the printed text, in its order."""
    _head(page)
    st.subheader("Why")
    st.text(page.description)
    st.markdown(
        f"**Purpose:** {page.purpose}  \n**Legal basis:** {literal(page.legal_basis)}  \n"
        f"**Ethics:** {literal(page.ethics_reference)}  \n**Investigator:** {literal(page.investigator)}"
    )
    st.subheader("What is asked")
    for cohort in page.cohorts:
        st.markdown(f"**Cohort {cohort.name}**\n\n{outline(cohort.words)}")
    if page.concept_sets is not None:
        st.markdown("Cohorts that may be counted use only these concept sets:")
        st.code(page.concept_sets, language=None)
    _computed(page)
    _leaving(page)
    _dry_run(page)
    _readers(page)


def _head(page: ReviewPage) -> None:
    replaces = [f"Replaces `{page.amends}`."] if page.amends else []
    synthetic = ["The study declares its data synthetic."] if page.synthetic_data else []
    received = f"Received {page.received_at:%Y-%m-%d %H:%M} UTC · SHA-256 `{page.digest}`"
    st.markdown("  \n".join([received, *replaces, *synthetic]))


def _computed(page: ReviewPage) -> None:
    """What is taken from a record and what is computed of it; open, so that it is printed."""
    if page.variables:
        with st.expander(f"Taken from each person's record: {len(page.variables)} variables", expanded=True):
            for name, words in page.variables.items():
                st.markdown(f"* **{literal(name)}**: {literal(words)}")
    st.markdown("**Analyses**")
    for one in page.analyses:
        st.markdown(f"* **{literal(one.id)}**: {literal(one.words)}")


def _leaving(page: ReviewPage) -> None:
    st.subheader("What would leave this hospital, as secret shares")
    if not page.tables:
        st.markdown(
            "The tables follow from each cohort that is counted: one number for each of its criteria."
        )
        return
    plain_table(leaving_table(page.tables), hide_index=True)


def _dry_run(page: ReviewPage) -> None:
    st.subheader("Dry run on this hospital's own data")
    st.caption("These exact numbers stay at this hospital.")
    if page.dry_run_at is None:
        st.info("The connector has not run it yet.")
        return
    for problem in page.problems:
        st.error(f"Cannot be served: {literal(problem)}")
    for cohort in page.cohorts:
        if cohort.here is not None:
            _cohort_here(cohort, cohort.here)


def _cohort_here(cohort: CohortOnPage, here: CohortPreview) -> None:
    st.markdown(f"**{cohort.name}** · {here.population:,} persons in the data")
    plain_table(attrition_here(here), hide_index=True)
    if here.emptied_by is None:
        return
    st.warning(f"Nobody is left after: **{literal(here.emptied_by)}** ({literal(here.note)})")
    for sought in here.sought:
        st.markdown(f"* {literal(sought)}")
    if here.unmapped:
        st.markdown("Codes in the same domain that are mapped to no concept, most frequent first:")
        plain_table(unmapped_table(here), hide_index=True)
    else:
        st.markdown(
            "No unmapped codes lie behind it: the data hold no such persons, or the criterion is wrong."
        )


def _readers(page: ReviewPage) -> None:
    st.subheader("Who reads the results")
    for person in page.recipients:
        where = f" at {person.site}" if person.site else ""
        st.markdown(
            f"* {person.id}: {person.role}, {literal(person.organisation)}{where}; {person.runs_left} runs left"
        )
    st.markdown(
        f"* Shown: {page.release}\n* Runs: {page.runs}\n* Valid {page.not_before:%F} to {page.not_after:%F}"
    )
    st.subheader("Who would have to collude")
    st.markdown(literal(page.collusion))
    for operator in page.operators:
        st.markdown(f"* {literal(operator)}")
    st.subheader("Hospitals")
    plain_table(standing_table(page), hide_index=True)
    for upload in page.uploads:
        st.markdown(f"* {literal(upload_words(upload))}")


def _checks(page: ReviewPage) -> None:
    st.subheader("Checked by the connector")
    for verdict in page.verdicts:
        mark = ":green[✓]" if verdict.holds else ":red[✗]"
        detail = f"  \n:gray[{literal(verdict.detail)}]" if verdict.detail else ""
        st.markdown(f"{mark} {verdict.what}{detail}")
    if page.note:
        st.warning(literal(page.note))
    st.download_button(
        "Print version (Markdown)",
        review_markdown(page),
        file_name=f"review-{page.short_name}.md",
        mime="text/markdown",
        width="stretch",
    )


def _signature(hospital: Hospital, page: ReviewPage) -> None:
    st.subheader("Decide")
    if not page.may_approve:
        st.warning("Something the connector checked does not hold; see above.")
    with st.form("decision", clear_on_submit=False):
        typed = st.text_input("Study short name, typed again", help=f"Type {page.short_name}")
        passphrase = st.text_input("Passphrase of your signing key", type="password")
        reason = st.text_area("Reason (needed to decline or withdraw)", height=80)
        approve = st.form_submit_button("Approve and sign", type="primary", width="stretch")
        decline = st.form_submit_button("Decline", width="stretch")
        withdraw = st.form_submit_button(
            "Withdraw", width="stretch", help="Ends this hospital's part. Final."
        )
    pressed: dict[Decision, bool] = {"approve": approve, "decline": decline, "withdraw": withdraw}
    for decision, yes in pressed.items():
        if yes:
            _decide(hospital, page, decision, typed, passphrase, reason)


def _decide(
    hospital: Hospital, page: ReviewPage, decision: Decision, typed: str, passphrase: str, reason: str
) -> None:
    try:
        hospital.decide(page, decision, now(), typed=typed, passphrase=passphrase, reason=reason)
    except Exception as error:
        show(describe(error))
        return
    st.success(f"Signed: {decision}. The connector delivers it to every node.")
    st.page_link(page_at("approvals"), label="Back to Approvals")
