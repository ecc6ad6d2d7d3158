"""The one printable page a steward reads before signing, and the signature itself."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from site_connector.models import CohortPreview
from site_connector.plain import literal, outline
from site_connector.review import TOLD_OF_DATA, CohortOnPage, RecipientOnPage, ReviewPage, Verdict
from site_connector.review_text import review_markdown, upload_words
from site_connector.words import day
from workbench.parts.moments import moment_text
from workbench.parts.plain import plain_table
from workbench.parts.review_tables import attrition_here, leaving_table, standing_table, unmapped_table
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page as page_at
from workbench.parts.states import describe, show
from workbench.steward import Decision, Hospital, hospital_of, open_decisions, own_standing
from workbench.store import now

SIGNED: dict[Decision, str] = {"approve": "approved", "decline": "declined", "withdraw": "withdrawn"}
BUTTONS: dict[Decision, str] = {
    "approve": "Approve and sign",
    "decline": "Decline",
    "withdraw": "Withdraw",
}


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
        f"{literal(page.site_name)} · {page.state} · {page.kind} · {literal(page.short_name)} · "
        f"received {moment_text(page.received_at)}"
    )
    paper, sign = st.columns([2, 1], gap="large")
    with paper:
        _paper(page, hospital.site_names)
    with sign:
        _checks(page)
        with st.container(key="decide"):
            _signature(hospital, page)


def _paper(page: ReviewPage, names: Mapping[str, str]) -> None:
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
    _readers(page, names)


def _head(page: ReviewPage) -> None:
    replaces = [f"Replaces `{page.amends}`."] if page.amends else []
    synthetic = ["The study declares its data synthetic."] if page.synthetic_data else []
    st.markdown("  \n".join([*synthetic, f"SHA-256 `{page.digest}`", *replaces]))


def _computed(page: ReviewPage) -> None:
    """What is taken from a record and what is computed of it; open, so that it is printed."""
    if page.variables:
        with st.expander(f"Taken from each person's record: {len(page.variables)} variables", expanded=True):
            taken = page.variables.items()
            st.markdown("\n".join(f"* **{literal(name)}**: {literal(words)}" for name, words in taken))
    st.markdown("**Analyses**")
    for one in page.analyses:
        every = [f"    * {literal(where)}, in full: {literal(words)}" for where, words in one.in_full.items()]
        st.markdown("\n".join([f"* **{literal(one.id)}**: {literal(one.words)}", *every]))


def _leaving(page: ReviewPage) -> None:
    st.subheader("What would leave this hospital, as secret shares")
    if not page.tables:
        st.markdown(
            "The tables follow from each cohort that is counted: one number for each of its criteria."
        )
        return
    plain_table(leaving_table(page.tables), hide_index=True)
    st.caption(f"{TOLD_OF_DATA}.")


def _dry_run(page: ReviewPage) -> None:
    st.subheader("Dry run on this hospital's own data")
    st.caption("These exact numbers stay at this hospital.")
    if page.dry_run_at is None:
        st.info("The connector has not run it yet.")
        return
    for problem in page.problems:
        st.error(f"Cannot be served: {literal(problem)}")
    if page.linkage:
        st.markdown(literal(page.linkage))
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


def _readers(page: ReviewPage, names: Mapping[str, str]) -> None:
    st.subheader("Who reads the results")
    st.markdown("\n".join(f"* {_reader(person, names)}" for person in page.recipients))
    st.markdown(
        f"**Shown:** {page.release}  \n**Runs:** {page.runs}  \n"
        f"**Valid:** {day(page.not_before)} to {day(page.not_after)}"
    )
    st.subheader("Who would have to collude")
    st.markdown(literal(page.collusion))
    st.markdown("\n".join(f"* {literal(operator)}" for operator in page.operators))
    st.subheader("Hospitals")
    plain_table(standing_table(page, names), hide_index=True)
    for upload in page.uploads:
        st.markdown(f"* {literal(upload_words(upload))}")


def _reader(person: RecipientOnPage, names: Mapping[str, str]) -> str:
    where = f", at {literal(names.get(person.site, person.site))}" if person.site else ""
    return f"**{person.id}**, {person.role} of {literal(person.organisation)}{where}; {person.runs_left} runs left"


def _checks(page: ReviewPage) -> None:
    st.subheader("Checked by the connector")
    st.markdown("  \n".join(_verdict(verdict) for verdict in page.verdicts))
    for said in page.beside:
        st.warning(f"Beside another study here: {literal(said)}. No node compares studies.")
    if page.note:
        st.warning(literal(page.note))
    st.download_button(
        "Download as text",
        review_markdown(page),
        file_name=f"review-{page.short_name}.md",
        mime="text/markdown",
        width="stretch",
    )
    with st.container(key="how-to-print"):
        st.caption("The browser's print command (Ctrl+P) prints this page without the form.")


def _verdict(verdict: Verdict) -> str:
    mark = ":green[✓]" if verdict.holds else ":red[✗]"
    return f"{mark} {verdict.what}" + (f": :gray[{literal(verdict.detail)}]" if verdict.detail else "")


def _signature(hospital: Hospital, page: ReviewPage) -> None:
    st.subheader("Decide")
    ours, offered = own_standing(page), open_decisions(page)
    if ours.state != "waiting" and ours.since is not None:
        st.info(f"{literal(page.site_name)} {ours.state} this study on {moment_text(ours.since)}.")
    if not offered:
        st.caption("Nothing can be decided about this study any more.")
        return
    if "approve" in offered and not page.may_approve:
        st.warning("Something the connector checked does not hold; see above.")
    with st.form("decision", clear_on_submit=False, enter_to_submit=False):
        typed = st.text_input(f"To sign, type the study's short name: {literal(page.short_name)}")
        passphrase = st.text_input("Passphrase of your signing key", type="password")
        needed = " or ".join(one for one in offered if one != "approve")
        reason = st.text_area(f"Reason (needed to {needed})", height=80)
        pressed = [
            one
            for one in offered
            if st.form_submit_button(
                BUTTONS[one], type="primary" if one == "approve" else "secondary", width="stretch"
            )
        ]
        if "withdraw" in offered:
            st.caption("Withdrawing ends this hospital's part and is final.")
    for decision in pressed:
        _decide(hospital, page, decision, typed, passphrase, reason)


def _decide(
    hospital: Hospital, page: ReviewPage, decision: Decision, typed: str, passphrase: str, reason: str
) -> None:
    try:
        hospital.decide(page, decision, now(), typed=typed, passphrase=passphrase, reason=reason)
    except Exception as error:
        show(describe(error))
        return
    st.success(f"Signed: {SIGNED[decision]}. The connector delivers it to every node within seconds.")
    st.page_link(page_at("approvals"), label="Back to Approvals")
