"""One patient's facts, typed by the physician: kept in this session's memory, shared as noise, never written."""

from __future__ import annotations

import streamlit as st

from governance.study import StudyAnalysis
from mpc_backend.analyses.ranking_parameters import RankingParameters
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.consortium import StudyView
from workbench.context import Workbench
from workbench.pages.study import show_network
from workbench.parts.patient_form import (
    OLDEST,
    TESTED,
    UNKNOWN,
    UNTESTED,
    Question,
    facts,
    marker_facts,
    questions,
    readable,
)
from workbench.parts.ranking import WARNING
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.runs import can_run, start_run

PER_ROW = 4


def render() -> None:
    """Draw the page."""
    bench, person = page_person("physician")
    st.warning(f"**{WARNING}**")
    st.title("This patient")
    show_network(bench)
    offered = _offered(bench, person)
    if not offered:
        _nothing(bench)
        return
    view, entry = offered[0]
    if len(offered) > 1:
        view, entry = st.selectbox("Study", offered, format_func=lambda one: one[0].study.title)
    st.markdown(f"**{literal(view.study.title)}**")
    st.caption(literal(view.study.purpose.description))
    refusal = can_run(view, entry, bench.my_key(person), "physician")
    if refusal is not None:
        st.info(refusal)
        return
    _form(bench, person, view, entry)


def _offered(bench: Workbench, person: SignIn) -> list[tuple[StudyView, StudyAnalysis]]:
    """Rankings of studies that name this physician, approved ones first."""
    snapshot = bench.network.snapshot
    views = snapshot.concerning(bench.my_key(person)) if snapshot else []
    found = [(view, one) for view in views for one in view.study.analyses if one.kind == "treatment_ranking"]
    return sorted(found, key=lambda pair: pair[0].state != "approved")


def _nothing(bench: Workbench) -> None:
    snapshot = bench.network.snapshot
    if snapshot is None or len(snapshot.silent) == len(snapshot.nodes):
        return
    st.info(
        "No study names you as a physician who may ask. Your hospital's data steward knows which are planned."
    )


def _form(bench: Workbench, person: SignIn, view: StudyView, entry: StudyAnalysis) -> None:
    parameters = RankingParameters.model_validate(entry.parameters)
    asked = questions(parameters)
    left = view.runs_left(bench.my_key(person))
    with st.form("patient", border=True, enter_to_submit=False):
        answers = _answers(asked)
        tested, present, unknown = _markers(parameters.markers)
        set_aside = st.multiselect(
            "Treatments this patient cannot receive (choose before you see any result)", parameters.treatments
        )
        st.caption(
            "What you enter stays in the memory of this hospital's server until the answer is there; it is never "
            "stored. It leaves the hospital only in pieces each of which is noise to whoever receives it. Facts "
            "that are not known can stay empty; the answer says what it did without."
        )
        sent = st.form_submit_button("Find comparable patients", type="primary", disabled=left == 0)
    st.caption(f"{left} questions left under this study.")
    if sent:
        known = {**facts(asked, answers), **marker_facts(parameters.markers, tested, present, unknown)}
        job = start_run(bench, person, view, entry, facts=known, set_aside=set_aside)
        st.switch_page(page("evidence"), query_params={"job": job})


def _answers(asked: list[Question]) -> dict[str, object]:
    answers: dict[str, object] = {}
    for start in range(0, len(asked), PER_ROW):
        for column, question in zip(st.columns(PER_ROW), asked[start : start + PER_ROW], strict=False):
            with column:
                answers[question.name] = _ask(question)
    return answers


def _ask(question: Question) -> object:
    key = f"fact-{question.name}"
    if question.kind == "age":
        return st.number_input(
            question.label, min_value=0, max_value=OLDEST, value=None, step=1, placeholder=UNKNOWN, key=key
        )
    return st.selectbox(question.label, question.options, key=key)


def _markers(markers: tuple[str, ...]) -> tuple[bool, list[str], list[str]]:
    """Whether the genotype was tested, the markers present, and those whose result is not known."""
    if not markers:
        return False, [], []
    first, last = readable(markers[0]), readable(markers[-1])
    tested = st.radio(
        f"Genotype: {len(markers)} markers, {first} to {last}",
        (UNTESTED, TESTED),
        horizontal=True,
        key="tested",
        help="If tested, every marker you do not name below counts as absent.",
    )
    left, right = st.columns(2)
    present = left.multiselect("Markers present", markers, format_func=readable, key="present")
    unknown = right.multiselect("Markers not known", markers, format_func=readable, key="unknown")
    return tested == TESTED, present, unknown
