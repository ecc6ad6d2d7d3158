"""Who agreed to a study. Every node and every site calls `check_approved` itself; nobody's word for it is taken.

investigator   InvestigatorSubmission   freezes the study's digest, with a declaration
steward        SiteDecision             approve or decline, one per hospital named in the study
steward        Withdrawal               ends a hospital's part from the next run on; final for this study

An amendment is a study of its own, signed anew, that names the version it replaces (``amends``). From its first day
on it closes that version and those before it, once the same investigator has submitted it and every hospital it names
has approved it. What becomes of it later (withdrawals, its last day) opens no earlier version again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from governance.bounds import check_texts
from governance.document import Digest, Document, Slug, UtcTime, Words, check_not_ahead
from governance.envelope import D, Envelope, open_document, peek_document
from governance.errors import (
    DocumentError,
    FederationMismatch,
    ForeignSignature,
    GovernanceError,
    NotApproved,
    PolicyRefused,
    SignatureError,
    Superseded,
    Withdrawn,
)
from governance.federation import Federation
from governance.study import StudyProtocol

DECLARATION = (
    "I will use the results for the stated purpose only, will not try to identify any person from them, and "
    "have declared my interests."
)


class InvestigatorSubmission(Document):
    """The investigator's signature under one exact study."""

    payload_type: ClassVar[str] = "application/vnd.tessera.submission+json"

    study_digest: Digest
    submitted_at: UtcTime
    declaration: Words = DECLARATION


class SiteDecision(Document):
    """A hospital's answer. ``columns`` are those the steward saw leaving, as ``analysis/table/column``, sorted."""

    payload_type: ClassVar[str] = "application/vnd.tessera.decision+json"

    study_digest: Digest
    site: Slug
    decision: Literal["approve", "decline"]
    reason: Annotated[str, Field(max_length=20_000)] = ""
    decided_at: UtcTime
    columns: tuple[str, ...] = ()


class Withdrawal(Document):
    """A hospital's part in a study ends. ``sequence`` counts a hospital's withdrawals of this study from 1."""

    payload_type: ClassVar[str] = "application/vnd.tessera.withdrawal+json"

    study_digest: Digest
    site: Slug
    sequence: Annotated[int, Field(ge=1)] = 1
    withdrawn_at: UtcTime
    reason: Annotated[str, Field(max_length=20_000)] = ""


Statement: TypeAlias = InvestigatorSubmission | SiteDecision | Withdrawal
STATEMENTS: Mapping[str, type[InvestigatorSubmission] | type[SiteDecision] | type[Withdrawal]] = {
    kind.payload_type: kind for kind in (InvestigatorSubmission, SiteDecision, Withdrawal)
}


@dataclass(frozen=True)
class Standing:
    """An approved study as of now: ``sites`` contribute to the next run, in the study's order; ``withdrawn``
    do not."""

    sites: tuple[str, ...]
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statements:
    """What was validly said about one study so far."""

    submission: InvestigatorSubmission | None
    decisions: Mapping[str, SiteDecision]
    withdrawals: Mapping[str, Withdrawal]

    def state_of(self, site: str) -> Literal["waiting", "approved", "declined", "withdrawn"]:
        """How far this hospital is."""
        if site in self.withdrawals:
            return "withdrawn"
        if site not in self.decisions:
            return "waiting"
        return "approved" if self.decisions[site].decision == "approve" else "declined"


@dataclass(frozen=True)
class Version:
    """One version of a study and everything said about it."""

    study: StudyProtocol
    envelopes: Sequence[Envelope]


Amendments: TypeAlias = Callable[[str], Iterable[Version]]
"""The amendments of the version with this digest, among all documents that the asking party holds."""


def check_study(federation: Federation, study: StudyProtocol, trial: Collection[str] = ()) -> None:
    """Whether this study may be proposed in this federation at all, before anybody signs.

    ``trial``: keys in a draft that only stand for ones still to come, and are listed nowhere.

    Raises:
        FederationMismatch: written for another federation file or protocol.
        DocumentError: names a site the federation does not have, or holds a cohort that does not parse.
        PolicyRefused: releases smaller cells than the federation allows, or one key holds two duties.
        NotListed: the federation lists its investigators, and the one who proposes is not among them.
    """
    if study.federation != federation.digest:
        raise FederationMismatch(
            f"study {study.short_name} is written for federation {study.federation[:12]}; this is "
            f"{federation.digest[:12]} ({federation.name}, version {federation.version})"
        )
    if study.protocol != federation.protocol:
        raise FederationMismatch(
            f"the study asks for {study.protocol}, the federation runs {federation.protocol}"
        )
    for site in study.sites:
        federation.site(site)
    policy = study.disclosure
    if policy.release == "thresholded" and policy.minimum_cell < federation.release_floor:
        raise PolicyRefused(
            f"disclosure.minimum_cell {policy.minimum_cell} is below the federation's floor "
            f"{federation.release_floor}"
        )
    _check_duties(federation, study, trial)
    check_texts(study)


def _check_duties(federation: Federation, study: StudyProtocol, trial: Collection[str]) -> None:
    """Who asks must not be who approves or computes, and who proposes must be listed where there is a list. Recipients
    need no list: every hospital signs who they are.
    """
    held = set(federation.signing_keys())
    askers = {"investigator": study.investigator.key}
    askers |= {f"recipient {person.id}": person.signing_key for person in study.recipients}
    for who, key in askers.items():
        if key in held:
            raise PolicyRefused(
                f"the key of {who} also belongs to a node, connector or steward; use separate keys"
            )
    if study.investigator.key not in trial:
        federation.check_listed("the study's investigator", study.investigator.key)


def read_statement(
    federation: Federation, study: StudyProtocol, envelope: Envelope, now: datetime | None = None
) -> Statement:
    """One statement about this study, after checking that the one party entitled to it signed it, alone.

    ``now``: also refuse a statement dated ahead of it by more than `CLOCK_SKEW`. Parties that act on a
    statement give it.

    Raises:
        ForeignSignature: signed by another key, for another study, or for a site the study does not name.
        DocumentError: no such statement, or more signatures than one.
        DatedAhead: dated ahead of ``now``.
    """
    kind = STATEMENTS.get(envelope.payloadType)
    if kind is None:
        raise DocumentError(
            f"{envelope.payloadType!r} is no statement about a study; known: {sorted(STATEMENTS)}"
        )
    if len(envelope.signatures) != 1:
        raise DocumentError(
            f"a statement about a study has exactly one signature, found {len(envelope.signatures)}; any others "
            f"would be unverified and make copies of it look new"
        )
    claimed: Statement = peek_document(envelope, kind)
    if claimed.study_digest != study.digest:
        raise ForeignSignature(
            f"a signature for study {claimed.study_digest[:12]} was offered for study {study.digest[:12]}; a "
            "changed study is signed anew"
        )
    said: Statement = _open_by(envelope, kind, _entitled(federation, study, claimed))
    if now is not None:
        _check_date(said, now)
    return said


def _check_date(said: Statement, now: datetime) -> None:
    """A decision from the future would outweigh every later one. A withdrawal counts whatever its date: nothing
    outweighs it anyway, and a wrong clock must not keep a hospital in.
    """
    match said:
        case InvestigatorSubmission():
            check_not_ahead("the submission", said.submitted_at, now)
        case SiteDecision():
            check_not_ahead(f"the decision of {said.site}", said.decided_at, now)


def _entitled(federation: Federation, study: StudyProtocol, claimed: Statement) -> tuple[str, str]:
    """Role and key of the one who may say this."""
    if isinstance(claimed, InvestigatorSubmission):
        return "the investigator", study.investigator.key
    if claimed.site not in study.sites:
        raise ForeignSignature(f"site {claimed.site!r} is not named by study {study.short_name}")
    return f"the steward of {claimed.site}", federation.site(claimed.site).steward_key


def _open_by(envelope: Envelope, kind: type[D], entitled: tuple[str, str]) -> D:
    role, key = entitled
    try:
        return open_document(envelope, kind, by=key)
    except SignatureError as error:
        raise ForeignSignature(f"not signed by {role}: {error}") from error


def read_statements(
    federation: Federation,
    study: StudyProtocol,
    envelopes: Iterable[Envelope],
    now: datetime | None = None,
) -> Statements:
    """Everything said about a study. A site's refusal holds until an approval that is dated later, and no
    approval may be dated ahead of ``now``; on equal times the refusal counts.

    Raises:
        ForeignSignature, DocumentError, DatedAhead: any envelope at fault, see `read_statement`.
    """
    submission: InvestigatorSubmission | None = None
    decisions: dict[str, SiteDecision] = {}
    withdrawals: dict[str, Withdrawal] = {}
    for envelope in envelopes:
        match read_statement(federation, study, envelope, now):
            case InvestigatorSubmission() as said:
                submission = said
            case SiteDecision(site=site) as said:
                decisions[site] = max(decisions.get(site, said), said, key=_weight)
            case Withdrawal(site=site) as said:
                withdrawals[site] = max(withdrawals.get(site, said), said, key=lambda one: one.sequence)
    return Statements(submission, decisions, withdrawals)


def _weight(decision: SiteDecision) -> tuple[datetime, bool]:
    return decision.decided_at, decision.decision == "decline"


def replaced_by(
    federation: Federation, study: StudyProtocol, amendments: Amendments, now: datetime
) -> StudyProtocol | None:
    """The latest amendment in force that closes this version of a study; see the module's docstring."""
    found: StudyProtocol | None = None
    versions = deque([study])
    while versions:
        for later in amendments(versions.popleft().digest):
            if later.study.investigator.key != study.investigator.key:
                continue
            versions.append(later.study)
            if _closes_others(federation, later, now):
                found = later.study
    return found


def _closes_others(federation: Federation, version: Version, now: datetime) -> bool:
    study = version.study
    try:
        check_study(federation, study)
        said = read_statements(federation, study, version.envelopes, now)
    except GovernanceError:
        return False  # it could not run at this party either, so it replaces nothing
    decided = [said.decisions.get(site) for site in study.sites]
    approved = all(one is not None and one.decision == "approve" for one in decided)
    return approved and said.submission is not None and now >= study.validity.not_before


def check_approved(
    federation: Federation,
    study: StudyProtocol,
    envelopes: Iterable[Envelope],
    now: datetime,
    amendments: Amendments,
) -> Standing:
    """Whether this study may run now, and with which sites.

    Raises:
        FederationMismatch, PolicyRefused, DocumentError: see `check_study` and `read_statement`.
        ForeignSignature: an envelope was not signed by the party it speaks for.
        NotYetValid, Expired: outside the study's time.
        Superseded: an approved amendment has replaced it.
        NotApproved: with ``missing`` and ``declined``.
        Withdrawn: fewer sites remain than the study's minimum.
    """
    check_study(federation, study)
    study.check_time(now)
    said = read_statements(federation, study, envelopes, now)
    replacement = replaced_by(federation, study, amendments, now)
    if replacement is not None:
        raise Superseded(study.short_name, study.digest, replacement.digest)
    states = {site: said.state_of(site) for site in study.sites}
    missing = [] if said.submission is not None else ["investigator"]
    missing += [site for site, state in states.items() if state == "waiting"]
    declined = [site for site, state in states.items() if state == "declined"]
    if missing or declined:
        raise NotApproved(study.digest, missing, declined)
    standing = Standing(
        sites=tuple(site for site, state in states.items() if state == "approved"),
        withdrawn=tuple(site for site, state in states.items() if state == "withdrawn"),
    )
    if len(standing.sites) < max(1, study.disclosure.minimum_sites):
        raise Withdrawn(
            f"study {study.short_name}: {', '.join(standing.withdrawn)} withdrew; {len(standing.sites)} "
            f"sites remain, {study.disclosure.minimum_sites} are needed"
        )
    return standing
