"""The steward's page as Markdown, to read in a terminal, print or file. What others wrote stands in it as they wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from site_connector.models import CohortPreview, TableOut, Upload
from site_connector.plain import fenced, literal, outline, paragraphs
from site_connector.review import TOLD_OF_DATA, CohortOnPage, ReviewPage
from site_connector.words import day


def review_markdown(page: ReviewPage) -> str:
    """The whole page."""
    sections = (
        _head(page),
        _verdicts(page),
        _beside(page),
        _why(page),
        _what(page),
        _leaving(page),
        _dry_run(page),
        _who(page),
        _trust(page),
        _signatures(page),
    )
    return "\n".join(line for section in sections for line in (*section, "")).rstrip() + "\n"


def _head(page: ReviewPage) -> Iterator[str]:
    yield f"# {literal(page.title)}"
    yield ""
    yield f"{literal(page.site_name)} ({page.site}): **{page.state}**"
    yield ""
    yield from _bullets(
        f"Kind: {page.kind}",
        f"Study: {page.short_name}, SHA-256 {page.digest}",
        f"Received: {day(page.received_at)}, {page.received_at:%H:%M} UTC",
        f"Replaces: {page.amends}" if page.amends else "",
        "The study declares its data synthetic." if page.synthetic_data else "",
        f"Note: {literal(page.note)}" if page.note else "",
    )


def _verdicts(page: ReviewPage) -> Iterator[str]:
    yield "## Checked by the connector"
    yield ""
    for verdict in page.verdicts:
        detail = f" ({literal(verdict.detail)})" if verdict.detail else ""
        yield f"- {'yes' if verdict.holds else '**NO**'}: {verdict.what}{detail}"


def _beside(page: ReviewPage) -> Iterator[str]:
    if not page.beside:
        return
    yield "## Beside other studies here"
    yield ""
    yield "No node compares studies: weigh whether both are needed."
    yield ""
    yield from _bullets(*(literal(said) for said in page.beside))


def _why(page: ReviewPage) -> Iterator[str]:
    yield "## Why"
    yield ""
    yield paragraphs(page.description)
    yield ""
    yield from _bullets(
        f"Purpose: {page.purpose}",
        f"Legal basis: {literal(page.legal_basis)}",
        f"Ethics: {literal(page.ethics_reference)}",
        f"Investigator: {literal(page.investigator)}",
    )


def _what(page: ReviewPage) -> Iterator[str]:
    yield "## What is asked"
    for cohort in page.cohorts:
        yield from ("", f"### Cohort {cohort.name}", "", outline(cohort.words))
    if page.concept_sets is not None:
        yield from ("", "### Cohorts that may be counted use only these concept sets", "")
        yield fenced(page.concept_sets)
    if page.variables:
        yield from ("", "### Taken from each person's record", "")
        yield from _bullets(*(f"{name}: {literal(words)}" for name, words in page.variables.items()))
    yield from ("", "### Analyses", "")
    for one in page.analyses:
        yield f"- {one.id}: {literal(one.words)}"
        yield from (
            f"  - {literal(where)}, in full: {literal(every)}" for where, every in one.in_full.items()
        )


def _leaving(page: ReviewPage) -> Iterator[str]:
    yield "## What would leave this hospital, as secret shares"
    yield ""
    yield f"{TOLD_OF_DATA}."
    yield ""
    if not page.tables:
        yield "The tables follow from each cohort that is counted: one number for each of its criteria."
        return
    yield from _grid(
        ("analysis", "table", "rows here", "rows the nodes see", "columns"),
        [_table_row(table) for table in page.tables],
    )
    yield ""
    yield from _bullets(
        *(
            f"{table.analysis}/{table.table}: "
            + ", ".join(f"{c.name}{f' x {c.width}' if c.width > 1 else ''}" for c in table.columns)
            for table in page.tables
        )
    )


def _table_row(table: TableOut) -> tuple[str, ...]:
    meaning = "one row a person" if table.level == "rows" else "totals"
    return (
        table.analysis,
        f"{table.table} ({meaning})",
        "?" if table.rows is None else str(table.rows),
        "?" if table.shared_rows is None else str(table.shared_rows),
        str(len(table.columns)),
    )


def _dry_run(page: ReviewPage) -> Iterator[str]:
    yield "## Dry run on this hospital's data"
    yield ""
    yield "Stays at this hospital."
    if page.dry_run_at is None:
        yield from ("", "Not made yet.")
        return
    for problem in page.problems:
        yield from ("", f"**Cannot be served:** {literal(problem)}")
    if page.linkage:
        yield from ("", literal(page.linkage))
    for cohort in page.cohorts:
        yield from _attrition(cohort)


def _attrition(cohort: CohortOnPage) -> Iterator[str]:
    here = cohort.here
    if here is None:
        return
    yield from ("", f"Cohort {cohort.name}; {here.population} persons in the data", "")
    yield from _grid(("step", "persons left"), [(step.label, str(step.persons)) for step in here.attrition])
    if here.emptied_by is not None:
        yield from ("", f"**Nobody is left after: {literal(here.emptied_by)}** ({literal(here.note)})", "")
        yield from _bullets(*(literal(sought) for sought in here.sought))
        yield from _unmapped(here)


def _unmapped(here: CohortPreview) -> Iterator[str]:
    if not here.unmapped:
        yield "No unmapped codes lie behind it: the data hold no such persons, or the criterion is wrong."
        return
    yield from ("", "Codes in the same domain that are mapped to no concept, most frequent first:", "")
    yield from _grid(
        ("domain", "code", "records", "persons"),
        [(one.domain, one.code, str(one.records), str(one.persons)) for one in here.unmapped],
    )


def _who(page: ReviewPage) -> Iterator[str]:
    yield "## Who reads the results"
    yield ""
    for person in page.recipients:
        where = f" at {person.site}" if person.site else ""
        yield f"- {person.id}: {person.role}, {literal(person.organisation)}{where}; {person.runs_left} runs left"
    yield f"- Shown: {page.release}"
    yield f"- Runs: {page.runs}"
    yield f"- Valid from {day(page.not_before)} to {day(page.not_after)}"


def _trust(page: ReviewPage) -> Iterator[str]:
    yield "## Who would have to collude"
    yield ""
    yield literal(page.collusion)
    yield ""
    yield from _bullets(*(literal(operator) for operator in page.operators))


def _signatures(page: ReviewPage) -> Iterator[str]:
    yield "## Hospitals"
    yield ""
    for standing in page.standings:
        since = f" on {day(standing.since)}" if standing.since else ""
        reason = f": {literal(standing.reason)}" if standing.reason else ""
        yield f"- {standing.site}: {standing.state}{since}{reason}"
    yield from _bullets(*(literal(upload_words(upload)) for upload in page.uploads))


def upload_words(upload: Upload) -> str:
    """An upload of this hospital: its id, how far it is, when, and why it ended if it did."""
    why = f": {upload.reason}" if upload.reason else ""
    return f"upload {upload.upload_id}: {upload.state}, {day(upload.created_at)}, {upload.created_at:%H:%M} UTC{why}"


def _bullets(*lines: str) -> Iterator[str]:
    return (f"- {line}" for line in lines if line)


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(literal(cell) for cell in row) + " |"
