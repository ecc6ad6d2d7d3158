"""What one investigator may put before hospitals at a node, and that only listed ones may, if there is a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from governance.approval import InvestigatorSubmission, SiteDecision
from governance.canonical import canonical_json, parse_json
from governance.envelope import Envelope, sign_document
from governance.federation import InvestigatorEntry
from governance.keys import SigningKey
from governance.study import StudyProtocol
from mpc_backend.node.database import EnvelopeRow, utc_now
from mpc_backend.node.studies import close_expired

from .calling import Node, refused
from .conftest import SITES, in_parallel, make_party
from .studying import PEOPLE, approval, approvals, now, request, study, submission, withdrawal

MOST = 2


@pytest.fixture
def strict(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that lets an investigator have two undecided studies."""
    monkeypatch.setenv("TESSERA_NODE_UNDECIDED_PER_INVESTIGATOR", str(MOST))
    node = Node(make_party(tmp_path_factory.mktemp("strict")))
    yield node
    node.close()


def posted(one: StudyProtocol, envelope: Envelope) -> bytes:
    return canonical_json(
        {"study": one.model_dump(mode="json"), "submission": envelope.model_dump(mode="json")}
    )


def submit(node: Node, one: StudyProtocol, envelope: Envelope | None = None) -> Any:
    return node.client.post("/v1/submissions", posted(one, envelope or submission(one)))


def held(node: Node) -> set[str]:
    return {line["digest"] for line in node.client.get("/v1/studies").json()}


def test_a_study_enters_with_its_submission_or_not_at_all(strict: Node) -> None:
    one, other = study(strict.party), study(strict.party)
    foreign = sign_document(
        InvestigatorSubmission(study_digest=one.digest, submitted_at=now()), SigningKey.generate()
    )
    refused(submit(strict, one, foreign), "signature", "not signed by the investigator")
    refused(submit(strict, one, submission(other)), "signature", "signed anew")
    refused(submit(strict, one, approval(strict.party, one, "north")), "malformed", "is not the submission")
    refused(
        strict.client.post("/v1/submissions", b'{"study": {}}'), "malformed", "submission: missing; give it"
    )
    assert held(strict) == set()
    assert submit(strict, one).json() == {"digest": one.digest, "new": True}
    body = strict.client.get(f"/v1/studies/{one.digest}").json()
    assert body["state"]["submitted"] is True
    again = submission(one)
    assert submit(strict, one, again).status_code in (200, 201)
    assert submit(strict, one, again).json() == {"digest": one.digest, "new": False}


def test_more_undecided_studies_than_allowed_are_refused_until_one_is_decided(strict: Node) -> None:
    first, second, third, fourth = (study(strict.party) for _ in range(4))
    assert submit(strict, first).status_code == submit(strict, second).status_code == 201
    waits = f"({first.digest[:12]}), which waits for north, south, west, then submit again"
    refused(submit(strict, third), "too-many", "2 studies of this investigator", "at most 2", waits)
    assert held(strict) == {first.digest, second.digest}, "nothing half-kept"
    earlier = InvestigatorSubmission(study_digest=first.digest, submitted_at=now() - timedelta(hours=1))
    again = strict.say(first, sign_document(earlier, PEOPLE.investigator))
    assert again.status_code == 201, "what is counted already may be said again"
    for site in SITES[:2]:
        strict.say(first, approval(strict.party, first, site))
    refused(submit(strict, third), "too-many", "which waits for west, then")
    strict.say(first, approval(strict.party, first, "west"))
    assert submit(strict, third).status_code == 201
    said = SiteDecision(study_digest=second.digest, site="south", decision="decline", decided_at=now())
    strict.say(second, sign_document(said, strict.party.stewards["south"]))
    assert submit(strict, fourth).status_code == 201


def test_a_study_that_was_posted_alone_is_counted_once_it_is_signed(strict: Node) -> None:
    ours = [study(strict.party) for _ in range(MOST + 1)]
    for one in ours:
        strict.post_study(one)
    for one in ours[:MOST]:
        assert strict.say(one, submission(one)).status_code == 201
    refused(strict.say(ours[MOST], submission(ours[MOST])), "too-many", "at most 2")


def test_the_room_for_unsigned_studies_is_not_needed_by_signed_ones(
    strict: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc_backend.node.studies.MOST_UNSUBMITTED", 1)
    strict.post_study(study(strict.party))
    refused(strict.client.post("/v1/studies", study(strict.party).canonical()), "too-many", "try again later")
    assert submit(strict, study(strict.party)).status_code == 201


def test_others_are_not_held_up_and_what_expired_or_was_replaced_does_not_count(
    strict: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = (now() + timedelta(days=2)).isoformat()
    begun = (now() - timedelta(days=1)).isoformat()
    short = study(strict.party, validity={"not_before": begun, "not_after": ends})
    first = study(strict.party)
    for one in (first, short):
        submit(strict, one)
    refused(submit(strict, study(strict.party)), "too-many")
    other = SigningKey.generate()
    theirs = study(
        strict.party,
        investigator={"role": "PI", "organisation": "Institute", "key": other.public},
    )
    said = sign_document(InvestigatorSubmission(study_digest=theirs.digest, submitted_at=now()), other)
    assert submit(strict, theirs, said).status_code == 201
    later = utc_now() + timedelta(days=3)
    monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda: later)
    amendment = study(strict.party, amends=first.digest)
    assert submit(strict, amendment).status_code == 201, "the other one has expired"
    third = study(strict.party)
    refused(submit(strict, third), "too-many")
    for envelope in approvals(strict.party, amendment)[1:]:
        strict.say(amendment, envelope)
    assert submit(strict, third).status_code == 201, "decided, and the version before is replaced"


def test_short_validity_makes_no_room_and_what_is_over_is_not_taken_in(
    strict: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, soon = now() - timedelta(days=1), now() + timedelta(minutes=1)
    validity = {"not_before": begun.isoformat(), "not_after": soon.isoformat()}
    for _ in range(MOST):
        assert submit(strict, study(strict.party, validity=validity)).status_code == 201
    for hours, room in ((1, False), (25, True)):
        later = utc_now() + timedelta(hours=hours)
        monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda later=later: later)
        close_expired(strict.core)
        late = submit(strict, study(strict.party, validity=validity))
        refused(late, "expired", f"was valid until {soon:%Y-%m-%d %H:%M}Z")
        if room:
            assert submit(strict, study(strict.party)).status_code == 201
        else:
            refused(submit(strict, study(strict.party)), "too-many", "2 studies of this investigator")
        monkeypatch.undo()
        monkeypatch.setenv("TESSERA_NODE_UNDECIDED_PER_INVESTIGATOR", str(MOST))


def test_studies_posted_long_before_they_are_signed_make_no_room(
    strict: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = now() - timedelta(days=1)

    def posted_until(hours: int) -> StudyProtocol:
        validity = {
            "not_before": begun.isoformat(),
            "not_after": (now() + timedelta(hours=hours)).isoformat(),
        }
        one = study(strict.party, validity=validity)
        strict.post_study(one)
        return one

    over = [posted_until(25) for _ in range(MOST + 1)]
    ending = [posted_until(27) for _ in range(MOST)]
    after = utc_now() + timedelta(hours=26)
    monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda: after)
    close_expired(strict.core)
    for one in over:
        refused(strict.say(one, submission(one)), "expired", "was valid until")
    for one in ending:
        assert strict.say(one, submission(one)).status_code == 201
    with strict.core.database.write() as session:
        session.execute(update(EnvelopeRow).values(received_at=after))
    soon = after + timedelta(hours=2)
    monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda: soon)
    close_expired(strict.core)
    refused(submit(strict, study(strict.party)), "too-many", "2 studies of this investigator")
    late = after + timedelta(hours=25)
    monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda: late)
    assert submit(strict, study(strict.party)).status_code == 201


def test_documents_are_not_parsed_on_the_thread_that_serves_everybody(
    strict: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(body: bytes) -> object:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return parse_json(body)

    monkeypatch.setattr("mpc_backend.node.api.parse_json", parse)
    one = study(strict.party)
    assert submit(strict, one).status_code == 201
    assert strict.say(one, approval(strict.party, one, "north")).status_code == 201


def test_of_many_at_the_same_time_no_more_than_allowed_pass(strict: Node) -> None:
    ours = [study(strict.party) for _ in range(6)]
    bodies = [posted(one, submission(one)) for one in ours]
    answers = in_parallel([lambda body=body: strict.client.post("/v1/submissions", body) for body in bodies])
    assert sorted(answer.status_code for answer in answers) == [201] * MOST + [429] * (6 - MOST)
    assert len(held(strict)) == MOST


@pytest.mark.parametrize("minutes", [4, 6])
def test_what_is_dated_ahead_of_the_clock_is_refused_with_both_times(strict: Node, minutes: int) -> None:
    one, ahead = study(strict.party), now() + timedelta(minutes=minutes)
    early = sign_document(
        InvestigatorSubmission(study_digest=one.digest, submitted_at=ahead), PEOPLE.investigator
    )
    answer = submit(strict, one, early)
    if minutes == 4:
        assert answer.status_code == 201
    else:
        dated = f"the submission is dated {ahead:%Y-%m-%dT%H:%M:%SZ}, more than 5 minutes ahead of {now():%Y-%m-%dT%H}"
        refused(answer, "malformed", dated, "which is what the clock here says; set the clock")
        assert held(strict) == set()
        submit(strict, one)
    leaving = withdrawal(strict.party, one, "north")
    assert strict.say(one, leaving).status_code == 201


@pytest.fixture
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of a federation that lists the investigator alone."""
    party = make_party(tmp_path_factory.mktemp("listing"))
    listed = (
        InvestigatorEntry(
            id="investigator", organisation="University", signing_key=PEOPLE.investigator.public
        ),
    )
    party.federation = party.federation.model_copy(update={"investigators": listed})
    node = Node(party)
    yield node
    node.close()


def test_a_node_takes_in_only_what_listed_investigators_propose(listing: Node) -> None:
    stranger = SigningKey.generate()
    theirs = study(
        listing.party, investigator={"role": "PI", "organisation": "Nobody", "key": stranger.public}
    )
    said = sign_document(InvestigatorSubmission(study_digest=theirs.digest, submitted_at=now()), stranger)
    refused(submit(listing, theirs, said), "not-listed", "the study's investigator has key", "(investigator)")
    refused(listing.client.post("/v1/studies", theirs.canonical()), "not-listed")
    assert held(listing) == set()
    ours = study(listing.party)
    listing.post_study(ours, *approvals(listing.party, ours))
    assert listing.run(request(ours, "persons")).status_code == 202
