"""The answer of a run: counts with attrition, survival curves with their table, or tables; provenance; downloads."""

from __future__ import annotations

import streamlit as st

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.survival_result import SurvivalResult
from site_connector.plain import literal
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.parts import attrition, cox, survival
from workbench.parts.job_page import show_receipt, watch
from workbench.parts.plain import plain_table
from workbench.parts.result_tables import as_text, headline, named_tables, result_of
from workbench.parts.shell import page_person
from workbench.parts.sitemap import page
from workbench.store import JobRow


def render() -> None:
    """Draw the page."""
    bench, person = page_person("researcher")
    identifier = st.query_params.get("job")
    if identifier is None:
        st.title("Result")
        st.info("Results are listed with their study.")
        st.page_link(page("studies"), label="Go to Studies")
        return
    head = st.empty()
    head.title("Result")
    job = bench.jobs.get(identifier, person.account)
    head.title(literal(title_of(bench, job)))
    st.page_link(page("study"), label="Back to the study", query_params={"id": job.study_digest})
    watch(bench, person, identifier, lambda done: _draw(bench, person, done))


def title_of(bench: Workbench, job: JobRow) -> str:
    """The study's title, or the analysis' id while the study is not seen."""
    view = bench.network.snapshot.study(job.study_digest) if bench.network.snapshot else None
    return view.study.title if view else job.analysis


def _draw(bench: Workbench, person: SignIn, job: JobRow) -> None:
    if job.kind == "cohort_count":
        show_count(bench, job, CountResult.model_validate(job.result))
    elif job.kind == "survival":
        _survival(bench, job, SurvivalResult.model_validate(job.result))
    else:
        found = result_of(job.result or {})
        if found is None:
            st.json(job.result)
        else:
            _tables(bench, job, found)


def show_count(bench: Workbench, job: JobRow, result: CountResult) -> None:
    """A count: the sentence, the attrition as a chart and as a table, provenance."""
    st.markdown(f"#### {literal(attrition.headline(result))}")
    chart, table, provenance = st.tabs(["Attrition", "Table", "Provenance"])
    with chart:
        if result.steps:
            st.altair_chart(
                attrition.attrition_chart(result), alt="Patients left after each step; see the table."
            )
    with table:
        plain_table(attrition.attrition_table(result))
        st.download_button(
            "Download CSV",
            attrition.csv_table(result).to_csv(index=False),
            file_name="attrition.csv",
            mime="text/csv",
        )
    with provenance:
        show_receipt(bench, job)
    footnote(result.release, result.notes)


def _tables(bench: Workbench, job: JobRow, result: Result) -> None:
    """Any other result: what was asked, how it is to be read, a tab for every table, provenance."""
    st.markdown(f"#### {literal(headline(result))}")
    label = getattr(result, "label", None)
    if label:
        st.caption(literal(f"{label[:1].upper()}{label[1:]}."))
    tables = named_tables(result)
    *tabs, provenance = st.tabs([*tables, "Provenance"])
    for tab, (heading, table) in zip(tabs, tables.items(), strict=True):
        with tab:
            plain_table(as_text(table), hide_index=True)
            name = f"{heading.lower().replace(' ', '_')}.csv"
            st.download_button(f"{heading} (CSV)", table.to_csv(index=False), file_name=name, mime="text/csv")
    with provenance:
        show_receipt(bench, job)
    for withheld in result.suppressed:
        st.caption(literal(f"Withheld: {withheld.what}: {withheld.why}"))
    footnote(str(getattr(result, "release", "")), result.notes)


def _survival(bench: Workbench, job: JobRow, result: SurvivalResult) -> None:
    st.markdown(f"#### {literal(survival.headline(result))}")
    estimand = result.estimand.replace("_", " ")
    st.caption(literal(f"{estimand[:1].upper()}{estimand[1:]}."))
    curve, numbers, table, provenance = st.tabs(
        ["Curves", "Numbers and tests", "At-risk table", "Provenance"]
    )
    with curve:
        _curves(result)
    with numbers:
        _numbers(result)
    with table:
        plain_table(survival.at_risk_table(result), hide_index=True)
        _hidden(result)
    with provenance:
        show_receipt(bench, job)
    footnote(result.release, result.notes)


def _curves(result: SurvivalResult) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        crude = survival.has_crude(result) and st.toggle(
            "Crude curves (not adjusted; for comparison only)", key="crude"
        )
        band = st.toggle("95% band", value=True, key="band")
        failures = st.toggle("Cumulative incidence", key="failures")
    if crude:
        st.warning("Crude curves: differences may come from who got which treatment.")
    chart = survival.km_chart(result, crude=bool(crude), band=band, failures=failures)
    st.altair_chart(chart, width="stretch", alt="Kaplan-Meier curves by group; the tables hold the numbers.")
    for said in [line for arm in result.arms for line in survival.notes(arm, result.horizon, result.unit)]:
        st.caption(literal(said))
    _hidden(result)
    frame = survival.curve_frame(result, crude=bool(crude))
    with st.container(horizontal=True):
        st.download_button("Curve (CSV)", frame.to_csv(index=False), file_name="curve.csv", mime="text/csv")
        at_risk = survival.at_risk_frame(result).to_csv(index=False)
        st.download_button("At-risk table (CSV)", at_risk, file_name="at_risk.csv", mime="text/csv")
        whole = result.model_dump_json(indent=1)
        st.download_button("Everything (JSON)", whole, file_name="survival.json", mime="application/json")


def _hidden(result: SurvivalResult) -> None:
    said = survival.hidden_note(result)
    if said is not None:
        st.caption(literal(said))


def _numbers(result: SurvivalResult) -> None:
    if survival.has_crude(result):
        st.markdown("**Adjusted**")
    plain_table(survival.summary_table(result))
    if survival.has_crude(result):
        st.markdown("**Crude: not adjusted, for comparison only**")
        plain_table(survival.summary_table(result, crude=True))
    tests = survival.tests_table(result)
    if len(tests):
        st.markdown("**Tests of no difference**")
        plain_table(tests)
    if result.cox is not None:
        st.markdown("**Hazard ratios**")
        plain_table(cox.hazard_table(result.cox))
        st.caption(literal(cox.made_how(result.cox)))


def footnote(release: str, notes: list[str]) -> None:
    """The line under every result."""
    st.caption(f"{literal(release)} Computed by independent nodes; none saw a patient.")
    for note in notes:
        st.caption(literal(note))
