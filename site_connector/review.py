"""The page a steward reads before signing: one content for the printable text, the command line and the workbench."""

from __future__ import annotations

from datetime import datetime

from cohort_lang import explain, parse
from governance.bounds import check_texts
from governance.document import Part
from governance.errors import GovernanceError
from governance.federation import Federation
from governance.protocols import trust_words
from governance.run_request import Spent, runs_left
from governance.study import Purpose, StudyAnalysis, StudyProtocol
from site_connector.directory import SiteSettings
from site_connector.leaving import release_fault
from site_connector.models import CohortPreview, InboxItem, SiteStanding, TableOut, Upload
from site_connector.parameter_words import parameter_words
from site_connector.words import day, variable_words

PURPOSES = {
    Purpose.PUBLIC_HEALTH: "public health",
    Purpose.POLICY_AND_REGULATION: "policy and regulation of health care",
    Purpose.OFFICIAL_STATISTICS: "official statistics",
    Purpose.EDUCATION: "education and teaching",
    Purpose.SCIENTIFIC_RESEARCH: "scientific research",
    Purpose.CARE_IMPROVEMENT: "improvement of care",
}


LINKED_ROWS = (
    "one row for every person in the data, with a token by which hospitals' rows of one person are put together, days of "
    "entry, death and other records, and what holds at the entry; and rows of records under such tokens"
)


TOLD_OF_DATA = (
    "Beside them every result says, in the clear: the day up to which the data here reach, and the rules by which times of "
    "observation and deaths were taken from the extract"
)


class Verdict(Part):
    """One thing the connector checked by itself. ``holds`` False is a reason to decline."""

    what: str
    holds: bool
    detail: str = ""


class CohortOnPage(Part):
    """A cohort as the study writes it, in clinical English, and on this hospital's data."""

    name: str
    words: str
    text: str
    here: CohortPreview | None = None


class AnalysisOnPage(Part):
    """One analysis and its parameters, as signed. ``in_full``: the lists that ``parameters`` shortens."""

    id: str
    kind: str
    cohort: str | None
    parameters: dict[str, str]
    in_full: dict[str, str]

    @property
    def words(self) -> str:
        """Kind, cohort and every parameter, in one line; long lists by their ends."""
        on = f" of cohort {self.cohort}" if self.cohort else ""
        settings = "; ".join(f"{key} = {value}" for key, value in self.parameters.items())
        return f"{self.kind.replace('_', ' ')}{on}{f' ({settings})' if settings else ''}"


class RecipientOnPage(Part):
    """Who may read results."""

    id: str
    role: str
    organisation: str
    site: str | None
    runs_left: int


class ReviewPage(Part):
    """Everything the page shows; texts are ready to print."""

    title: str
    short_name: str
    digest: str
    kind: str
    amends: str | None
    site: str
    site_name: str
    state: str
    received_at: datetime
    verdicts: tuple[Verdict, ...]
    purpose: str
    description: str
    legal_basis: str
    ethics_reference: str
    investigator: str
    synthetic_data: bool
    cohorts: tuple[CohortOnPage, ...]
    concept_sets: str | None
    variables: dict[str, str]
    analyses: tuple[AnalysisOnPage, ...]
    tables: tuple[TableOut, ...]
    dry_run_at: datetime | None
    problems: tuple[str, ...]
    beside: tuple[str, ...]
    linkage: str
    recipients: tuple[RecipientOnPage, ...]
    release: str
    runs: str
    not_before: datetime
    not_after: datetime
    standings: tuple[SiteStanding, ...]
    operators: tuple[str, ...]
    collusion: str
    uploads: tuple[Upload, ...]
    note: str

    @property
    def may_approve(self) -> bool:
        """Whether nothing the connector checked speaks against it."""
        return all(verdict.holds for verdict in self.verdicts)


def review_page(
    federation: Federation, settings: SiteSettings, item: InboxItem, spent: Spent, now: datetime
) -> ReviewPage:
    """Build the page for one study in the mailbox; ``spent`` is the site's account of it."""
    study, dry = item.study, item.dry_run
    return ReviewPage(
        title=study.title,
        short_name=study.short_name,
        digest=item.digest,
        kind=_KINDS[study.kind],
        amends=study.amends,
        site=settings.id,
        site_name=federation.site(settings.id).name,
        state=item.state.value,
        received_at=item.received_at,
        verdicts=_verdicts(federation, settings, item, now),
        purpose=PURPOSES[study.purpose.use],
        description=study.purpose.description,
        legal_basis=study.purpose.legal_basis,
        ethics_reference=study.purpose.ethics_reference,
        investigator=_investigator(federation, study),
        synthetic_data=study.synthetic_data,
        cohorts=_cohorts(item),
        concept_sets=study.feasibility.concept_sets if study.feasibility else None,
        variables={name: variable_words(variable) for name, variable in study.variables.items()},
        analyses=tuple(_analysis(one) for one in study.analyses),
        tables=dry.tables if dry else (),
        dry_run_at=dry.made_at if dry else None,
        problems=dry.problems if dry else (),
        beside=dry.beside if dry else (),
        linkage=dry.linkage if dry else "",
        recipients=_recipients(study, spent),
        release=study.disclosure.footnote(),
        runs=_runs(study, spent),
        not_before=study.validity.not_before,
        not_after=study.validity.not_after,
        standings=item.standings,
        operators=tuple(f"{node.id}: {node.organisation}" for node in federation.nodes),
        collusion=trust_words(federation.protocol, [node.organisation for node in federation.nodes]),
        uploads=item.uploads,
        note=item.note,
    )


def _analysis(entry: StudyAnalysis) -> AnalysisOnPage:
    parameters, in_full = parameter_words(entry.parameters)
    return AnalysisOnPage(
        id=entry.id, kind=entry.kind, cohort=entry.cohort, parameters=parameters, in_full=in_full
    )


def _investigator(federation: Federation, study: StudyProtocol) -> str:
    """Who proposes the study, by its own words, and who that is by the federation's."""
    said, listed = study.investigator, federation.listed(study.investigator.key)
    known = (
        f"whose key the federation file lists as {listed.id} of {listed.organisation}"
        if listed is not None
        else "by the study's own word alone, since the federation file lists no investigators"
    )
    return f"{said.role}, {said.organisation}, {known}"


_KINDS = {
    "protocol": "study with fixed analyses",
    "feasibility": "standing feasibility study: its recipients count cohorts within the bounds below",
}


def _verdicts(
    federation: Federation, settings: SiteSettings, item: InboxItem, now: datetime
) -> tuple[Verdict, ...]:
    study, dry = item.study, item.dry_run
    problems = "; ".join(dry.problems) if dry else "the connector has not run it yet"
    return (
        Verdict(
            what="Signed by the investigator, unchanged since",
            holds=True,
            detail=f"SHA-256 {item.digest[:16]}…",
        ),
        Verdict(
            what="Written for the federation this hospital pinned",
            holds=study.federation == federation.digest,
            detail=f"{federation.name}, version {federation.version}",
        ),
        Verdict(what="Purpose is one that is permitted", holds=True, detail=PURPOSES[study.purpose.use]),
        Verdict(
            what="Cohorts and variables can be read", holds=not _text_fault(study), detail=_text_fault(study)
        ),
        _release(federation, settings, study),
        Verdict(
            what="Not replaced by an amendment",
            holds=item.replaced_by is None,
            detail=f"replaced by {item.replaced_by}" if item.replaced_by else "",
        ),
        Verdict(
            what="Still valid",
            holds=now <= study.validity.not_after,
            detail=f"until {day(study.validity.not_after)}",
        ),
        Verdict(
            what="Dry run on this hospital's data succeeded",
            holds=dry is not None and not dry.problems,
            detail=problems,
        ),
    )


def _release(federation: Federation, settings: SiteSettings, study: StudyProtocol) -> Verdict:
    policy, floor = study.disclosure, federation.release_floor
    if policy.release == "exact":
        fault = release_fault(study, synthetic=settings.synthetic_data)
        said = fault or "this hospital's settings say so; exact numbers are released"
        return Verdict(what="The data loaded here are synthetic or public", holds=not fault, detail=said)
    return Verdict(
        what="Small numbers are withheld",
        holds=policy.minimum_cell >= floor,
        detail=f"below {policy.minimum_cell}; the federation's floor is {floor}",
    )


def _text_fault(study: StudyProtocol) -> str:
    try:
        check_texts(study)
    except GovernanceError as error:
        return str(error)
    return ""


def _cohorts(item: InboxItem) -> tuple[CohortOnPage, ...]:
    here = {one.name: one for one in item.dry_run.cohorts} if item.dry_run else {}
    return tuple(
        CohortOnPage(name=name, words=explain(parse(text)), text=text, here=here.get(name))
        for name, text in item.study.cohorts.items()
    )


def _recipients(study: StudyProtocol, spent: Spent) -> tuple[RecipientOnPage, ...]:
    return tuple(
        RecipientOnPage(
            id=person.id,
            role=person.role,
            organisation=person.organisation,
            site=person.site,
            runs_left=runs_left(study, spent, person.signing_key),
        )
        for person in study.recipients
    )


def _runs(study: StudyProtocol, spent: Spent) -> str:
    each = study.budget.runs_per_requester
    limit = f", at most {each} for each recipient" if each else ""
    counted = " counted by this hospital" if study.feasibility else ""
    return f"{study.budget.runs} runs in all{limit}; {runs_left(study, spent)} left{counted}"
