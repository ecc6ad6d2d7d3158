"""A study in plain clinical English: the page a steward, an ethics board and a physician can read and print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cohort_lang import CohortError, explain, parse
from governance.federation import Federation
from governance.protocols import trust_words
from governance.study import Recipient, StudyAnalysis, StudyProtocol
from mpc_backend.analyses.comparative_parameters import ComparativeParameters
from mpc_backend.analyses.grid import Stratum
from mpc_backend.analyses.registry import KINDS, parse_parameters
from mpc_backend.planned import planned_tables
from mpc_backend.tables import TableSpec
from site_connector.plain import literal, outline, paragraphs
from site_connector.review import PURPOSES
from site_connector.words import day, variable_words
from workbench.ranking_words import balance_words, ranking_words

LEVELS = {
    "aggregate": "sums over the hospital's patients",
    "rows": "one row per patient, without name, number or date",
    "query": "the facts of one patient, brought by the physician's own computer",
}
LINKED = (
    "one row for every person in the hospital's data, without name or number: a token that is the same at every hospital of "
    "this study, days of entry, death and other records, and what holds at the entry"
)
LINKED_RECORDS = (
    "one row for every span of days that fits records which a step looks for: whose it is, by the same token, and its first "
    "and last day"
)
LINKED_TIMES = (
    "one row for every day of an outcome, for every period of observation, and for every span of days that fits records which "
    "a step looks for: whose it is, by the same token, and its days"
)


def explain_study(study: StudyProtocol, federation: Federation | None = None, *, titled: bool = True) -> str:
    """The whole study as Markdown; what its author wrote shows as it stands. ``titled``: begin with its title."""
    parts = [
        f"# {literal(study.title)}" if titled else "",
        purpose_words(study, federation),
        *(
            f"## Who is studied: {_readable(name)}\n\n{cohort_words(text)}"
            for name, text in study.cohorts.items()
        ),
        "## What is taken from each patient\n\n" + variables_words(study) if study.variables else "",
        "## How persons are recognised\n\n" + linkage_words(study) if study.linkage else "",
        "## What is computed\n\n" + "\n".join(f"* {analysis_words(study, one)}" for one in study.analyses),
        "## What leaves each hospital\n\n" + leaving_words(study),
        "## What may be shown\n\n" + release_words(study),
        "## Who receives it\n\n" + "\n".join(f"* {recipient_words(one)}" for one in study.recipients),
        "## Who would have to collude\n\n" + collusion_words(study, federation),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def purpose_words(study: StudyProtocol, federation: Federation | None = None) -> str:
    """Purpose, basis, time and number of runs."""
    purpose, valid = study.purpose, study.validity
    lines = {
        "Use": PURPOSES[purpose.use],
        "Legal basis": literal(purpose.legal_basis),
        "Ethics": literal(purpose.ethics_reference),
        "Asked by": literal(f"{study.investigator.role}, {study.investigator.organisation}"),
        "Hospitals": literal(", ".join(site_name(site, federation) for site in study.sites)),
        "Valid": f"{day(valid.not_before)} to {day(valid.not_after)}, at most {runs_words(study)}",
    }
    listed = "\n".join(f"* **{name}:** {text}" for name, text in lines.items())
    synthetic = "\n\n**The study declares its data synthetic.**" if study.synthetic_data else ""
    return f"{paragraphs(purpose.description)}\n\n{listed}{synthetic}"


def site_name(site: str, federation: Federation | None) -> str:
    """A hospital by its name, where the federation is at hand and lists it."""
    listed = {one.id: one.name for one in federation.sites} if federation else {}
    return listed.get(site, site)


def runs_words(study: StudyProtocol) -> str:
    """The run budget in words."""
    runs, each = study.budget.runs, study.budget.runs_per_requester
    if study.feasibility is not None:
        runs = min(runs, study.feasibility.max_counts)
    return f"{runs} runs" + (f", {each} for each recipient" if each else "")


def cohort_words(text: str) -> str:
    """A cohort in clinical English, or why it cannot be read."""
    try:
        return outline(explain(parse(text)))
    except CohortError as error:
        return f"This definition cannot be read: {literal(str(error))}"


def variables_words(study: StudyProtocol) -> str:
    """One line a variable; a numbered series (markers) is told by its first one."""
    series: dict[str, list[str]] = {}
    for name in study.variables:
        series.setdefault(re.sub(r"_?\d+$", "", name), []).append(name)
    return "\n".join(f"* {_series_words(study, names)}" for names in series.values())


def _series_words(study: StudyProtocol, names: list[str]) -> str:
    words = literal(variable_words(study.variables[names[0]]))
    if len(names) == 1:
        return f"**{_readable(names[0])}**: {words}"
    return f"**{_readable(names[0])} to {_readable(names[-1])}** ({len(names)} variables), the first: {words}"


def _readable(name: str) -> str:
    return name.replace("_", " ")


def analysis_words(study: StudyProtocol, entry: StudyAnalysis) -> str:
    """One analysis: its kind, its cohort, and what it reports."""
    on = (
        f" in “{_readable(entry.cohort)}”"
        if entry.cohort
        else " of cohorts that a recipient writes within the bounds"
    )
    return f"**{entry.id}**: {_about(entry, on)}"


def _about(entry: StudyAnalysis, on: str) -> str:
    """What an analysis reports, ``on`` its cohort."""
    steps_follow = entry.kind == "cohort_count"  # from the cohort, not from the parameters
    known = entry.kind in KINDS and not steps_follow
    said: Any = parse_parameters(entry.kind, entry.parameters) if known else None
    match entry.kind:
        case "cohort_count":
            words = f"the number of patients{on}{_once(entry)}, and how many are left after each step."
        case "survival":
            words = (
                f"time to {said.outcome.replace('_', ' ')}{on} for {literal(_listed(said.arms))}, "
                f"over {said.horizon} {said.unit}s{_once(entry)}: Kaplan-Meier curves, at-risk table, log-rank test"
                f"{_adjusted(said.strata, said.adjust)}.{_hazards(said)}"
            )
        case "comparative_effectiveness":
            words = _comparison(said, on)
        case "competing_risks":
            causes = _listed(tuple(_readable(cause) for cause in said.causes))
            words = (
                f"time to the first of {causes}{on} for {literal(_listed(said.arms))}, over {said.horizon} "
                f"{said.unit}s: cumulative incidence of each in the presence of the others, risk at and time lost "
                f"up to {said.restricted_at} {said.unit}s, log-rank test of each; not adjusted for anything."
            )
        case "correlation":
            names = _listed(tuple(_readable(one.variable) for one in said.variables))
            words = f"means, variances and correlations of {names}{on}."
        case "table_one":
            names = _listed(tuple(_readable(name) for name in said.covariates[1:]))
            words = (
                f"{names} described{on} for {literal(_listed(said.groups))}: means, deviations, quartiles, shares, numbers of "
                "missing values and standardised differences."
            )
        case "linear" | "logistic":
            by = _listed(tuple(_readable(one.variable) for one in said.predictors))
            what = "its mean depends" if entry.kind == "linear" else "its odds depend"
            words = (
                f"{entry.kind} regression of {_readable(said.outcome)}{on}: how {what} on {by}, each with the others held "
                "equal; coefficients, intervals and tests."
            )
        case "treatment_ranking":
            words = f"{ranking_words(said, on)}{_adjusted(said.all_strata, True)}{balance_words(said)}."
        case _:
            words = f"{entry.kind.replace('_', ' ')}{on}."
    return words


def _once(entry: StudyAnalysis) -> str:
    return ", a patient of several hospitals counted once" if entry.parameters.get("linkage") is True else ""


def _comparison(said: ComparativeParameters, on: str) -> str:
    """Two treatments compared: arms, outcome, what is adjusted for and how, and what else is shown."""
    comparator, treatment = (literal(arm) for arm in said.arms)
    outcome = f"by mean time without {_readable(said.outcome)} and risk of it over {said.tau} {said.unit}s"
    names = [_readable(covariate.variable) for covariate in said.in_score] + ["hospital"] * said.hospital
    methods = {
        "iptw": "weighted by the inverse probability of the treatment received",
        "overlap": "weighted to the patients who might have had either treatment (overlap weights)",
        "strata": "weighted within fifths of the probability of treatment",
    }
    method = methods.get(said.weights)
    score = (
        f"{method}, which is estimated from {_listed(tuple(names))}"
        if method
        else "crude, not adjusted for anything"
    )
    control = f"; {_readable(said.negative_control)} as a negative control" if said.negative_control else ""
    others = tuple(_readable(covariate.variable) for covariate in said.balance)
    shown = f"; balance of {_listed(others)} is shown too" if others else ""
    return f"{treatment} against {comparator}{on}, {outcome}; {score}{control}{shown}."


def _hazards(said: Any) -> str:
    """The Cox regression of a survival analysis, in a sentence of its own."""
    if said.cox is None:
        return ""
    names = literal(_listed(tuple(_readable(one.variable) for one in said.cox.covariates)))
    within = "each hospital and stratum" if said.strata else "each hospital"
    robust = f"; errors are robust by {literal(_readable(said.cox.cluster))}" if said.cox.cluster else ""
    return f" Hazard ratios of {names} by Cox regression within {within}{robust}."


def _adjusted(strata: Sequence[Stratum], adjust: bool) -> str:
    """For what the numbers are adjusted, or by what the tests alone are stratified."""
    if not strata:
        return "; not adjusted for anything"
    by = literal(_listed(tuple(_stratum(one) for one in strata)))
    return f"; adjusted for {by}" if adjust else f"; curves not adjusted, tests also stratified by {by}"


def _stratum(one: Stratum) -> str:
    parts = one.levels if one.cuts is None else [f"{cut:g}" for cut in one.cuts]
    return f"{_readable(one.variable)} ({'cut at ' if one.cuts else ''}{', '.join(parts or ())})"


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def leaving_tables(study: StudyProtocol) -> list[tuple[str, TableSpec]]:
    """(analysis id, table) for every table a hospital shares; a query comes from the physician instead, and a
    feasibility study's tables follow from each cohort that is counted.
    """
    return [(one.analysis, one.spec) for one in planned_tables(study)]


def linkage_words(study: StudyProtocol) -> str:
    """By what hospitals recognise a person whom several of them know, and who can."""
    assert study.linkage is not None
    by = _listed(tuple(_readable(one) for one in study.linkage.identifiers))
    return (
        f"Who agrees in {by} at several hospitals is one person. Each hospital makes of it, under a key that hospitals alone "
        f"have ({study.linkage.key}) and for this study alone, a token that tells nothing else, and shares that as everything "
        "else. The nodes put a person's rows together without learning which belong together or how many do."
    )


def _shape(entry: str, spec: TableSpec, linked: set[str]) -> str:
    """What a row of a table is."""
    if entry not in linked:
        return LEVELS[spec.level]
    if spec.name == "persons":
        return LINKED
    return LINKED_TIMES if any(column.name == "day" for column in spec.columns) else LINKED_RECORDS


def leaving_words(study: StudyProtocol) -> str:
    """Which columns leave, as shares, and in which shape."""
    linked = {one.id for one in study.analyses if one.parameters.get("linkage") is True}
    if study.feasibility is not None:
        shape = LINKED if linked else "one number for each of its criteria"
        return f"For each cohort that is counted: {shape}, as secret shares."
    lines = [
        f"* for **{entry}**, table “{spec.name}”: {_shape(entry, spec, linked)}; columns {columns_words(spec)}"
        for entry, spec in leaving_tables(study)
    ]
    tail = (
        "\nEverything leaves as secret shares: each computing node receives numbers that are noise to it. "
        "The number of rows is padded, so that nodes learn only a range."
    )
    return "\n".join(lines) + "\n" + tail


def columns_words(spec: TableSpec) -> str:
    """The columns of a table by name, wide ones with their width."""
    widths = [(column.name, column.width) for column in spec.columns]
    return ", ".join(name if width == 1 else f"{name} ({width} places)" for name, width in widths)


def release_words(study: StudyProtocol) -> str:
    """The disclosure policy in words."""
    policy = study.disclosure
    if policy.release == "exact":
        return "Exact numbers: the study declares its data synthetic."
    return f"{policy.footnote()} Nothing is computed with fewer than {policy.minimum_sites} hospitals."


def recipient_words(recipient: Recipient) -> str:
    """A recipient in words."""
    at = f", at hospital {recipient.site}" if recipient.site else ""
    return f"**{recipient.id}**, {recipient.role} of {literal(recipient.organisation)}{at}"


def collusion_words(study: StudyProtocol, federation: Federation | None) -> str:
    """Who could break the promise, said plainly."""
    operators = [node.organisation for node in federation.nodes] if federation else []
    return literal(trust_words(study.protocol, operators))
