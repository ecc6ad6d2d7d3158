"""An amendment that everybody it names has approved closes the version it amends; nothing less does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from governance.approval import (
    Amendments,
    InvestigatorSubmission,
    Version,
    Withdrawal,
    check_approved,
)
from governance.envelope import Envelope, sign_document
from governance.errors import Superseded
from governance.federation import Federation
from governance.keys import SigningKey
from governance.study import StudyProtocol
from tests.governance.conftest import NOW, SITES, Parties

EARLY = {"not_before": "2025-12-01T00:00:00Z", "not_after": "2026-05-31T00:00:00Z"}
LATER = {"not_before": "2026-06-02T00:00:00Z", "not_after": "2026-12-31T00:00:00Z"}


def known(*versions: Version) -> Amendments:
    """What a party holds."""
    return lambda digest: [one for one in versions if one.study.amends == digest]


class Case:
    """An approved study, and amendments of it as a test likes them."""

    def __init__(self, parties: Parties, federation: Federation) -> None:
        self.parties, self.federation = parties, federation
        self.study = parties.study(federation)

    def amendment(self, of: StudyProtocol | None = None, **changes: object) -> StudyProtocol:
        fields = {"amends": (of or self.study).digest, "budget": {"runs": 9}, **changes}
        return self.parties.study(self.federation, **fields)

    def approved(self, study: StudyProtocol, *more: Envelope) -> Version:
        decisions = [self.parties.decision(study, site) for site in study.sites]
        return Version(study, [self.parties.submission(study), *decisions, *more])

    def check(self, *versions: Version, of: StudyProtocol | None = None, now: datetime = NOW) -> None:
        study = of or self.study
        envelopes = self.parties.approvals(study)
        check_approved(self.federation, study, envelopes, now, known(*versions))


@pytest.fixture
def case(parties: Parties, federation: Federation) -> Case:
    return Case(parties, federation)


def test_an_approved_amendment_closes_the_version_it_amends(case: Case) -> None:
    later = case.amendment()
    case.check()
    with pytest.raises(Superseded, match=f"was replaced by its amendment {later.digest[:12]}") as caught:
        case.check(case.approved(later))
    assert caught.value.by == later.digest
    case.check(case.approved(later), of=later)


def test_leaving_a_hospital_out_needs_the_others_alone(case: Case) -> None:
    fewer = case.amendment(
        sites=["south", "west"], disclosure={"minimum_sites": 2}, recipients=[recipient(case)]
    )
    with pytest.raises(Superseded):
        case.check(case.approved(fewer))


def recipient(case: Case) -> object:
    return case.study.recipients[0].model_dump(mode="json")


def test_an_amendment_of_an_amendment_closes_both_and_is_the_one_named(case: Case) -> None:
    second = case.amendment()
    third = case.amendment(of=second, budget={"runs": 10})
    unapproved = Version(second, [case.parties.submission(second)])
    for middle in (case.approved(second), unapproved):
        for of in (case.study, second):
            with pytest.raises(Superseded) as caught:
                case.check(middle, case.approved(third), of=of)
            assert caught.value.by == third.digest
        case.check(middle, case.approved(third), of=third)


def test_what_becomes_of_an_amendment_later_opens_nothing_again(case: Case) -> None:
    later = case.amendment()
    gone = [
        sign_document(
            Withdrawal(study_digest=later.digest, site=site, withdrawn_at=NOW), case.parties.stewards[site]
        )
        for site in SITES
    ]
    ended = case.amendment(validity=EARLY)
    for version in (case.approved(later, *gone), case.approved(ended)):
        with pytest.raises(Superseded):
            case.check(version)


def missing(case: Case) -> Version:
    whole = case.approved(case.amendment())
    return Version(whole.study, whole.envelopes[:-1])


def unsubmitted(case: Case) -> Version:
    whole = case.approved(case.amendment())
    return Version(whole.study, whole.envelopes[1:])


def declined(case: Case) -> Version:
    later = case.amendment()
    no = case.parties.decision(later, "west", decision="decline", decided_at=NOW + timedelta(minutes=1))
    return case.approved(later, no)


def withdrawn_unapproved(case: Case) -> Version:
    """West never said yes; that it took part no longer is no yes either."""
    later = case.amendment()
    gone = Withdrawal(study_digest=later.digest, site="west", withdrawn_at=NOW)
    said = case.approved(later).envelopes[:-1]
    return Version(later, [*said, sign_document(gone, case.parties.stewards["west"])])


def before_its_day(case: Case) -> Version:
    return case.approved(case.amendment(validity=LATER))


def by_another_investigator(case: Case) -> Version:
    other = SigningKey.generate()
    later = case.amendment(investigator={**_investigator(case), "key": other.public})
    said = sign_document(InvestigatorSubmission(study_digest=later.digest, submitted_at=NOW), other)
    return Version(later, [said, *case.approved(later).envelopes[1:]])


def _investigator(case: Case) -> dict[str, object]:
    return case.study.investigator.model_dump(mode="json")


def of_another_study(case: Case) -> Version:
    return case.approved(case.amendment(of=case.amendment(nonce="ff" * 16)))


def of_another_federation(case: Case) -> Version:
    return case.approved(case.amendment(federation="0" * 64))


def with_a_foreign_signature(case: Case) -> Version:
    whole = case.approved(case.amendment())
    return Version(whole.study, [*whole.envelopes, case.parties.decision(case.study, "north")])


@pytest.mark.parametrize(
    "make",
    [
        missing,
        unsubmitted,
        declined,
        withdrawn_unapproved,
        before_its_day,
        by_another_investigator,
        of_another_study,
        of_another_federation,
        with_a_foreign_signature,
    ],
    ids=lambda make: make.__name__,
)
def test_nothing_less_closes_a_version(case: Case, make: Callable[[Case], Version]) -> None:
    case.check(make(case))


def test_an_amendment_closes_from_its_first_day_on(case: Case) -> None:
    version = before_its_day(case)
    case.check(version, now=NOW)
    with pytest.raises(Superseded):
        case.check(version, now=NOW + timedelta(days=1))
