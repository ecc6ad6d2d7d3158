"""The control interface: studies and statements, what is kept of them and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from governance.canonical import canonical_json
from governance.envelope import peek_document, sign_document
from governance.study import StudyProtocol
from mpc_backend.node.database import utc_now

from .calling import Node, refused
from .conftest import make_party
from .studying import (
    CONCEPT_SETS,
    approval,
    approvals,
    feasibility,
    now,
    ranking,
    request,
    study,
    submission,
)


def test_a_study_is_kept_once_and_handed_out_as_posted(node: Node) -> None:
    one = study(node.party)
    assert node.client.post("/v1/studies", content=one.canonical()).json() == {
        "digest": one.digest,
        "new": True,
    }
    assert node.client.post("/v1/studies", content=one.canonical()).json()["new"] is False
    body = node.client.get(f"/v1/studies/{one.digest}").json()
    assert StudyProtocol.from_canonical(canonical_json(body["study"])) == one
    assert body["state"]["may_run"] is False
    assert one.digest in [line["digest"] for line in node.client.get("/v1/studies").json()]


def test_a_study_of_another_federation_is_refused(node: Node) -> None:
    refused(
        node.client.post("/v1/studies", content=study(node.party, federation="0" * 64).canonical()),
        "federation-mismatch",
    )


def test_a_study_below_the_federations_floor_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    party = make_party(tmp_path_factory.mktemp("floor"))
    party.federation = party.federation.model_copy(update={"release_floor": 10})
    strict = Node(party)
    one = study(party, disclosure={"minimum_cell": 5, "rounding": 5})
    refused(
        strict.client.post("/v1/studies", content=one.canonical()),
        "policy",
        "below the federation's floor 10",
    )
    strict.close()


def test_a_study_with_an_unknown_analysis_or_parameter_is_refused(node: Node) -> None:
    other = study(node.party, analyses=[{"id": "x", "kind": "horoscope", "cohort": "diabetes"}])
    refused(node.client.post("/v1/studies", content=other.canonical()), "tables-mismatch", "horoscope")
    wrong = ranking()
    wrong["parameters"]["taus"] = 12
    one = study(node.party, analyses=[wrong])
    refused(node.client.post("/v1/studies", content=one.canonical()), "tables-mismatch", "taus")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"parameters": {"stepz": []}}, "stepz"),
        ({"parameters": {"steps": ["Entry event"]}}, "leave them out"),
        ({"cohort": "diabetes", "kind": "horoscope"}, "horoscope"),
        ({"cohort": "diabetes", "kind": "survival"}, "outcome"),
    ],
)
def test_a_feasibility_study_that_could_never_be_computed_is_refused(
    node: Node, entry: dict[str, Any], why: str
) -> None:
    one = study(
        node.party,
        kind="feasibility",
        variables={},
        analyses=[{"id": "count", "kind": "cohort_count", **entry}],
        feasibility={"concept_sets": CONCEPT_SETS, "max_counts": 5},
    )
    refused(node.client.post("/v1/studies", content=one.canonical()), "tables-mismatch", why)
    sound = feasibility(node.party)
    assert node.client.post("/v1/studies", content=sound.canonical()).status_code == 201


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"tessera": 1, "tessera": 2}'])
def test_what_is_no_study_is_refused(node: Node, body: bytes) -> None:
    refused(node.client.post("/v1/studies", content=body), "malformed")


def test_a_changed_byte_breaks_every_signature(node: Node, approved: StudyProtocol) -> None:
    changed = StudyProtocol.from_canonical(
        canonical_json({**approved.model_dump(mode="json"), "title": "Another title"})
    )
    node.post_study(changed)
    for envelope in approvals(node.party, approved):
        refused(node.say(changed, envelope), "signature", "signed anew")


def test_a_steward_cannot_sign_for_another_hospital(node: Node) -> None:
    one = study(node.party)
    node.post_study(one)
    said = approval(node.party, one, "south")
    forged = sign_document(
        peek_document(said, type(peek_document(said, _decision()))), node.party.stewards["north"]
    )
    refused(node.say(one, forged), "signature", "steward of south")


def _decision() -> Any:
    from governance.approval import SiteDecision

    return SiteDecision


def test_a_statement_about_an_unknown_study_is_refused(node: Node) -> None:
    one = study(node.party)
    refused(node.say(one, submission(one)), "unknown-study", "post it to every node")


def test_the_list_tells_when_something_new_was_said_about_a_study(node: Node) -> None:
    one = study(node.party)

    def revision() -> str:
        lines = {line["digest"]: line for line in node.client.get("/v1/studies").json()}
        return str(lines[one.digest]["revision"])

    node.client.post("/v1/studies", content=one.canonical())
    seen = [revision()]
    for envelope in approvals(node.party, one):
        for _ in range(2):
            node.say(one, envelope)
            seen.append(revision())
    assert seen[1::2] == seen[2::2], "a copy is nothing new"
    assert len(set(seen)) == 1 + len(seen) // 2


def test_the_list_tells_which_runs_wait_oldest_first(node: Node) -> None:
    one = study(node.party, budget={"runs": 8})
    node.post_study(one, *approvals(node.party, one))
    asked = [node.run(request(one, "persons")).json()["run_id"] for _ in range(8)]
    lines = {line["digest"]: line["waiting"] for line in node.client.get("/v1/studies").json()}
    assert lines[one.digest] == asked


def test_copies_of_a_statement_are_one_and_a_refusal_is_always_heard(
    node: Node, approved: StudyProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.approval import SiteDecision, Withdrawal
    from governance.envelope import Signature

    site, key = "north", node.party.stewards["north"]
    said = SiteDecision(study_digest=approved.digest, site=site, decision="approve", decided_at=now())
    genuine = sign_document(said.model_copy(update={"reason": "twice"}), key)
    junk = Signature(keyid="0" * 16, sig="YQ==")
    padded = genuine.model_copy(update={"signatures": (*genuine.signatures, junk)})
    refused(node.say(approved, padded), "malformed", "exactly one signature")
    assert node.say(approved, genuine).status_code == 201
    assert node.say(approved, genuine).json()["new"] is False
    monkeypatch.setattr("mpc_backend.node.studies.MOST_STATEMENTS", 2)
    more = sign_document(said.model_copy(update={"reason": "thrice"}), key)
    refused(node.say(approved, more), "too-many", "by key")
    decline = sign_document(said.model_copy(update={"decision": "decline"}), key)
    assert node.say(approved, decline).status_code == 201
    last = Withdrawal(study_digest=approved.digest, site=site, withdrawn_at=now())
    assert node.say(approved, sign_document(last, key)).status_code == 201


def test_a_statement_from_the_future_is_refused(node: Node) -> None:
    from governance.approval import SiteDecision

    one = study(node.party)
    node.post_study(one)
    ahead = now() + timedelta(minutes=6)
    said = SiteDecision(study_digest=one.digest, site="north", decision="approve", decided_at=ahead)
    refused(node.say(one, sign_document(said, node.party.stewards["north"])), "malformed", "set the clock")


def test_studies_nobody_submitted_are_few_and_forgotten_in_time(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(make_party(tmp_path_factory.mktemp("unsubmitted")))
    monkeypatch.setattr("mpc_backend.node.studies.MOST_UNSUBMITTED", 1)
    first, second, third = (study(node.party) for _ in range(3))
    node.post_study(first)
    refused(node.client.post("/v1/studies", second.canonical()), "too-many", "at most 1 studies")
    assert node.say(first, submission(first)).status_code == 201
    node.post_study(second)
    tomorrow = utc_now() + timedelta(days=1, minutes=1)
    monkeypatch.setattr("mpc_backend.node.studies.utc_now", lambda: tomorrow)
    node.post_study(third)
    kept = {line["digest"] for line in node.client.get("/v1/studies").json()}
    assert kept == {first.digest, third.digest}
    monkeypatch.setattr("mpc_backend.node.studies.MOST_UNSUBMITTED", 10)
    monkeypatch.setattr("mpc_backend.node.studies.LARGEST_UNSUBMITTED", 100)
    refused(node.client.post("/v1/studies", study(node.party).canonical()), "too-many", "100 bytes")
    node.close()
