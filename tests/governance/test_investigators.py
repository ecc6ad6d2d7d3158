"""A federation file that lists its investigators: who may then propose, and that files without are as before."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from governance.approval import Version, check_approved, check_study
from governance.canonical import canonical_json, sha256_hex
from governance.document import CLOCK_SKEW
from governance.errors import DatedAhead, DocumentError, NotListed
from governance.federation import Federation
from governance.keys import SigningKey
from governance.run_request import Spent, check_run_request
from governance.undecided import undecided_by
from tests.governance.conftest import NOW, SITES, UNAMENDED, Parties


def entry(name: str, key: SigningKey) -> dict[str, str]:
    return {"id": name, "organisation": "University", "signing_key": key.public}


def listing(parties: Parties, *people: str) -> Federation:
    """The federation with these of its people listed."""
    return parties.federation(investigators=[entry(name, getattr(parties, name)) for name in people])


EVERYBODY = ("investigator", "physician", "researcher")


def test_a_file_without_the_list_has_the_digest_it_always_had(parties: Parties, tmp_path: Path) -> None:
    federation = parties.federation()
    fields = set(json.loads(federation.canonical()))
    assert fields == {"tessera", "name", "version", "protocol", "release_floor", "nodes", "sites"}
    assert federation.digest == sha256_hex(canonical_json(json.loads(federation.canonical())))
    assert Federation.from_value({**json.loads(federation.canonical()), "investigators": None}) == federation


def test_the_list_counts_in_the_digest_and_reads_back(parties: Parties, tmp_path: Path) -> None:
    some, everybody = listing(parties, "investigator"), listing(parties, *EVERYBODY)
    assert len({parties.federation().digest, some.digest, everybody.digest}) == 3
    everybody.save(tmp_path / "federation.json")
    assert Federation.load(tmp_path / "federation.json", everybody.digest) == everybody


def test_faults_of_the_list_are_named(parties: Parties) -> None:
    one, other = entry("a", parties.investigator), entry("b", parties.researcher)
    for people, message in (
        ([], "investigators: expected at least 1 entry, found 0"),
        ([one, {**other, "id": "a"}], "every investigator id must be distinct; repeated: a"),
        ([one, {**one, "id": "b"}], "every signing key must be distinct"),
        ([entry("a", parties.stewards["north"])], "every signing key must be distinct"),
        ([{**one, "signing_key": "?"}], "investigators.0.signing_key: not base64"),
        ([{"id": "a", "signing_key": one["signing_key"]}], "investigators.0.organisation: missing; give it"),
    ):
        with pytest.raises(DocumentError, match=message):
            parties.federation(investigators=people)


def test_only_listed_keys_propose_and_recipients_need_no_list(parties: Parties) -> None:
    federation = listing(parties, "investigator")
    study = parties.study(federation)
    standing = check_approved(federation, study, parties.approvals(study), NOW, UNAMENDED)
    assert standing.sites == SITES
    for person in ("researcher", "physician"):
        check_run_request(federation, study, parties.request(study, person), NOW, Spent())


def test_a_study_by_somebody_who_is_not_listed_is_refused(parties: Parties) -> None:
    federation = listing(parties, "researcher", "physician")
    study = parties.study(federation)
    with pytest.raises(
        NotListed, match=r"the study's investigator has key .* agree on a file that lists"
    ) as caught:
        check_study(federation, study)
    assert parties.investigator.public not in str(caught.value)
    with pytest.raises(NotListed):
        check_approved(federation, study, parties.approvals(study), NOW, UNAMENDED)


def test_a_run_request_dated_ahead_is_refused_with_both_times(parties: Parties) -> None:
    federation = parties.federation()
    study = parties.study(federation)
    soon = parties.request(study, created_at=NOW + CLOCK_SKEW)
    check_run_request(federation, study, soon, NOW, Spent())
    late = parties.request(study, created_at=NOW + CLOCK_SKEW + timedelta(seconds=1))
    said = r"the run request is dated 2026-06-01T12:05:01Z, more than 5 minutes ahead of 2026-06-01T12:00:00Z"
    with pytest.raises(DatedAhead, match=said):
        check_run_request(federation, study, late, NOW, Spent())


def test_whom_a_study_waits_for(parties: Parties) -> None:
    federation = parties.federation()
    study = parties.study(federation)

    def waits(*said: object, later: object = UNAMENDED) -> tuple[str, ...]:
        version = Version(study, [parties.submission(study), *said])  # type: ignore[list-item]
        return undecided_by(federation, version, later, NOW)  # type: ignore[arg-type]

    approvals = parties.approvals(study)[1:]
    assert waits() == SITES
    assert waits(*approvals[:2]) == ("west",)
    assert waits(*approvals) == ()
    assert waits(parties.decision(study, "west", decision="decline")) == ()
    amendment = parties.study(federation, amends=study.digest)
    for statements, waiting in (
        ([parties.submission(amendment)], SITES),
        (parties.approvals(amendment), ()),
    ):
        known = {study.digest: [Version(amendment, statements)]}
        assert waits(later=lambda digest, known=known: known.get(digest, [])) == waiting
