"""Who may agree, and every way in which a study is not approved."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from governance.approval import (
    SiteDecision,
    Standing,
    Withdrawal,
    check_approved,
    read_statement,
    read_statements,
)
from governance.envelope import Envelope, Signature, sign_document, sign_envelope
from governance.errors import DocumentError, Expired, ForeignSignature, NotApproved, NotYetValid, Withdrawn
from governance.federation import Federation
from governance.keys import SigningKey
from governance.study import StudyProtocol
from tests.governance.conftest import NOW, SITES, UNAMENDED, Parties


def withdrawal(parties: Parties, study: StudyProtocol, site: str, by: SigningKey | None = None) -> Envelope:
    said = Withdrawal(study_digest=study.digest, site=site, withdrawn_at=NOW)
    return sign_document(said, by or parties.stewards[site])


def test_approved_when_everybody_signed(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    envelopes = parties.approvals(study)
    assert check_approved(federation, study, envelopes, NOW, UNAMENDED) == Standing(SITES)
    assert check_approved(federation, study, envelopes[::-1] + envelopes, NOW, UNAMENDED) == Standing(SITES)


def test_every_missing_signature_is_named(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    envelopes = parties.approvals(study)
    for position, who in enumerate(("investigator", *SITES)):
        with pytest.raises(NotApproved) as caught:
            check_approved(
                federation, study, envelopes[:position] + envelopes[position + 1 :], NOW, UNAMENDED
            )
        assert caught.value.missing == (who,)
    with pytest.raises(NotApproved, match="no signature yet from investigator, north, south, west"):
        check_approved(federation, study, [], NOW, UNAMENDED)


def test_a_decline_blocks_until_the_steward_decides_anew(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    envelopes = parties.approvals(study)
    declined = parties.decision(study, "south", decision="decline", decided_at=NOW + timedelta(hours=1))
    with pytest.raises(NotApproved, match="declined by south") as caught:
        check_approved(federation, study, [*envelopes, declined], NOW + timedelta(hours=1), UNAMENDED)
    assert caught.value.declined == ("south",)
    again = parties.decision(study, "south", decided_at=NOW + timedelta(hours=2))
    later = NOW + timedelta(hours=2)
    assert check_approved(federation, study, [again, declined, *envelopes], later, UNAMENDED).sites == SITES


def test_an_approval_from_the_future_does_not_outlive_a_decline(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    ahead = parties.decision(study, "south", decided_at=NOW + timedelta(days=3000))
    declined = parties.decision(study, "south", decision="decline", decided_at=NOW)
    with pytest.raises(DocumentError, match=r"ahead of .* sign anew"):
        check_approved(federation, study, [*parties.approvals(study), declined, ahead], NOW, UNAMENDED)
    with pytest.raises(DocumentError, match="sign anew"):
        read_statement(federation, study, ahead, NOW)
    within = parties.decision(study, "south", decided_at=NOW + timedelta(minutes=5))
    read_statement(federation, study, within, NOW)
    said = Withdrawal(study_digest=study.digest, site="south", withdrawn_at=NOW + timedelta(days=3000))
    read_statement(federation, study, sign_document(said, parties.stewards["south"]), NOW)


def test_a_statement_has_one_signature(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    one = parties.decision(study, "south")
    for position in (0, 1):
        signatures = list(one.signatures)
        signatures.insert(position, Signature(keyid="0" * 16, sig="YQ=="))
        padded = one.model_copy(update={"signatures": tuple(signatures)})
        with pytest.raises(DocumentError, match="exactly one signature, found 2"):
            read_statement(federation, study, padded)


def test_of_two_decisions_at_one_time_the_refusal_counts(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    both = [parties.decision(study, "south"), parties.decision(study, "south", decision="decline")]
    for order in (both, both[::-1]):
        assert read_statements(federation, study, order).state_of("south") == "declined"


def test_foreign_signatures_are_refused(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    decision = SiteDecision(study_digest=study.digest, site="north", decision="approve", decided_at=NOW)
    foreign = [
        sign_document(decision, SigningKey.generate()),
        sign_document(decision, parties.stewards["south"]),
        sign_document(decision, parties.connectors["north"]),
        sign_document(decision, parties.investigator),
        sign_document(decision.model_copy(update={"site": "east"}), parties.stewards["north"]),
        withdrawal(parties, study, "north", by=parties.connectors["north"]),
    ]
    for envelope in foreign:
        with pytest.raises(ForeignSignature):
            check_approved(federation, study, [*parties.approvals(study), envelope], NOW, UNAMENDED)


def test_a_signature_for_a_changed_study_does_not_carry_over(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    changed = parties.study(federation, budget={"runs": 1000})
    with pytest.raises(ForeignSignature, match="a changed study is signed anew"):
        check_approved(federation, changed, parties.approvals(study), NOW, UNAMENDED)


def test_a_changed_byte_in_a_decision_is_refused(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    declined = parties.decision(study, "north", decision="decline", reason="no")
    body = declined.body.replace(b'"decline"', b'"approve"')
    forged = declined.model_copy(update={"payload": base64.b64encode(body).decode()})
    with pytest.raises(ForeignSignature, match="steward of north"):
        check_approved(federation, study, [*parties.approvals(study), forged], NOW, UNAMENDED)


def test_a_statement_signed_as_another_kind_is_refused(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    approval = parties.decision(study, "north")
    relabelled = approval.model_copy(update={"payloadType": Withdrawal.payload_type})
    with pytest.raises(DocumentError):
        check_approved(federation, study, [relabelled], NOW, UNAMENDED)
    unknown = sign_envelope("text/plain", approval.body, parties.stewards["north"])
    with pytest.raises(DocumentError, match="no statement about a study"):
        check_approved(federation, study, [unknown], NOW, UNAMENDED)


def test_outside_its_time_an_approved_study_is_refused(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    for when, error in ((NOW.replace(year=2027), Expired), (NOW.replace(year=2025), NotYetValid)):
        with pytest.raises(error):
            check_approved(federation, study, parties.approvals(study), when, UNAMENDED)


def test_a_withdrawn_site_no_longer_contributes(parties: Parties, federation: Federation) -> None:
    study = parties.study(federation, disclosure={"minimum_sites": 2})
    envelopes = [*parties.approvals(study), withdrawal(parties, study, "south")]
    assert check_approved(federation, study, envelopes, NOW, UNAMENDED) == Standing(
        ("north", "west"), ("south",)
    )
    later = parties.decision(study, "south", decided_at=NOW + timedelta(days=1))
    tomorrow = NOW + timedelta(days=1)
    assert check_approved(federation, study, [*envelopes, later], tomorrow, UNAMENDED).withdrawn == ("south",)
    with pytest.raises(Withdrawn, match="south, west withdrew; 1 sites remain, 2 are needed"):
        check_approved(federation, study, [*envelopes, withdrawal(parties, study, "west")], NOW, UNAMENDED)
