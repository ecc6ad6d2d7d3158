"""The control interface: run requests, their bounds, and what a run is charged."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.envelope import peek_document, sign_document
from governance.keys import SigningKey
from governance.study import StudyProtocol
from mpc_backend.client.sharing import Upload

from .calling import Node, refused, resigned
from .conftest import make_party
from .studying import (
    PEOPLE,
    approvals,
    feasibility,
    now,
    ranking,
    request,
    shared,
    study,
    withdrawal,
)

MARKER_NAMES = [f"m{number}" for number in range(8)]


def test_a_run_waits_and_names_the_sites_it_waits_for(node: Node, approved: StudyProtocol) -> None:
    assert node.send(shared(node.party, approved, "south")).status_code == 201
    envelope = request(approved, "persons")
    first = node.run(envelope).json()
    assert first["state"] == "waiting"
    assert first["waiting_for"] == ["north", "west"]
    assert first["label"] == "waiting for uploads of north, west"
    assert node.run(envelope).json()["run_id"] == first["run_id"], (
        "posting the same request again is no new run"
    )
    listed = {line["digest"]: line["waiting"] for line in node.client.get("/v1/studies").json()}
    assert listed[approved.digest] == [first["run_id"]]
    refused(node.client.get(f"/v1/runs/{first['run_id']}/result"), "no-result", "waiting")


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"analysis": "survival"}, "not-permitted"),
        ({"recipient": "physician"}, "not-permitted"),
        ({"parameters": {"k": 1}}, "not-permitted"),
        ({"study_digest": "0" * 64}, "unknown-study"),
    ],
)
def test_a_run_the_study_does_not_allow_is_refused(
    node: Node, approved: StudyProtocol, changes: dict[str, Any], slug: str
) -> None:
    refused(node.run(request(approved, "persons", **changes)), slug)


def test_a_run_by_a_stranger_is_refused(node: Node, approved: StudyProtocol) -> None:
    stranger = SigningKey.generate()
    envelope = request(approved, "persons", requester_key=stranger.public)
    refused(node.run(envelope), "signature")
    body = peek_document(envelope, type(peek_document(request(approved, "persons"), _run())))
    refused(node.run(sign_document(body, stranger)), "not-permitted")


def _run() -> Any:
    from governance.run_request import RunRequest

    return RunRequest


def test_a_nonce_is_used_once(node: Node, approved: StudyProtocol) -> None:
    first = request(approved, "persons", nonce="ab" * 16)
    assert node.run(first).status_code == 202
    later = request(approved, "persons", nonce="ab" * 16, created_at=now() - timedelta(minutes=1))
    refused(node.run(later), "replayed")


def test_a_query_goes_with_its_commitment_and_its_analysis(node: Node) -> None:
    from mpc_backend.client.runs import prepare_run

    one = study(
        node.party, analyses=[ranking(), {"id": "persons", "kind": "cohort_count", "cohort": "diabetes"}]
    )
    node.post_study(one, *approvals(node.party, one))
    facts = {**dict.fromkeys(MARKER_NAMES, 1), "age": 50}
    prepared = prepare_run(node.party.federation, one, "rank", PEOPLE.physician, facts=facts)
    assert prepared.queries is not None
    refused(node.run(prepared.envelope), "not-permitted", "takes a secret query")
    refused(node.run(prepared.envelope, prepared.queries["node-a"]), "shares-mismatch")
    refused(node.run(request(one, "persons"), b"query"), "not-permitted", "takes no query")
    assert node.run(prepared.envelope, prepared.queries["node-b"]).status_code == 202


def test_a_feasibility_count_stays_within_its_concept_sets(node: Node) -> None:
    one = feasibility(node.party)
    node.post_study(one, *approvals(node.party, one))
    refused(node.run(request(one, "count")), "not-permitted", "cohort")
    other = 'cohort "x"\nconcept set other: 1 and descendants\nenter on first condition of other\n'
    refused(node.run(request(one, "count", parameters={"cohort": other})), "not-permitted")
    refused(node.send(_study_upload(node, one)), "malformed", "names a run")


def _study_upload(node: Node, one: StudyProtocol) -> Upload:
    full = study(node.party)
    upload = shared(node.party, full, "north")
    changed = resigned(node.party, upload, "north", study_digest=one.digest)
    return Upload(changed, upload.sealed)


def test_the_budget_is_a_budget(node: Node) -> None:
    from mpc_backend.node.database import RunRow

    one = study(node.party, budget={"runs": 1})
    node.post_study(one, *approvals(node.party, one))
    first = node.run(request(one, "persons")).json()["run_id"]
    with node.core.database.write() as session:
        row = session.get(RunRow, first)
        assert row is not None
        row.charged, row.state = 1, "aborted"
    refused(node.run(request(one, "persons")), "over-budget", "1 of 1")


def test_runs_that_wait_are_within_the_budget(node: Node) -> None:
    one = study(node.party, budget={"runs": 3, "runs_per_requester": 2})
    node.post_study(one, *approvals(node.party, one))
    for _ in range(2):
        assert node.run(request(one, "persons")).status_code == 202
    refused(node.run(request(one, "persons")), "over-budget", "2 runs waiting and 2 left")
    assert node.run(request(one, "persons", PEOPLE.physician)).status_code == 202


def _view(node: Node, run_id: str) -> Any:
    return node.client.get(f"/v1/runs/{run_id}").json()


def test_a_run_that_waits_too_long_is_refused_and_makes_room(node: Node) -> None:
    from mpc_backend.client.runs import prepare_run
    from mpc_backend.node.database import RunRow

    one = study(node.party, analyses=[ranking()], budget={"runs": 1})
    node.post_study(one, *approvals(node.party, one))
    assert node.send(shared(node.party, one, "south")).status_code == 201
    facts = {**dict.fromkeys(MARKER_NAMES, 1), "age": 50}
    federation = node.party.federation
    prepared, later = (prepare_run(federation, one, "rank", PEOPLE.physician, facts=facts) for _ in range(2))
    assert prepared.queries is not None
    assert later.queries is not None
    run_id = node.run(prepared.envelope, prepared.queries["node-b"]).json()["run_id"]
    node.service.jobs.refuse_stale()
    assert _view(node, run_id)["state"] == "waiting"
    refused(node.run(later.envelope, later.queries["node-b"]), "over-budget")
    with node.core.database.write() as session:
        session.get_one(RunRow, run_id).created_at -= timedelta(hours=25)
    node.service.jobs.refuse_stale()
    seen = _view(node, run_id)
    assert (seen["state"], seen["who"]) == ("refused", "node-b")
    assert "waited longer than 86400 s for uploads of north, west; ask the data steward" in seen["reason"]
    assert not (node.core.directory.queries / run_id).exists()
    assert node.run(later.envelope, later.queries["node-b"]).status_code == 202


def test_a_run_that_is_not_permitted_any_more_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from mpc_backend.node import runs

    left, ended = (study(node.party, disclosure={"minimum_sites": 3}) for _ in range(2))
    asked = {}
    for one in (left, ended):
        node.post_study(one, *approvals(node.party, one))
        asked[one.digest] = node.run(request(one, "persons")).json()["run_id"]
    node.say(left, withdrawal(node.party, left, "west"))
    node.service.jobs.refuse_stale()
    seen = _view(node, asked[left.digest])
    assert (seen["state"], seen["who"]) == ("refused", "node-b")
    assert "sites remain" in seen["reason"]
    assert _view(node, asked[ended.digest])["state"] == "waiting"
    monkeypatch.setattr(runs, "utc_now", lambda: now() + timedelta(days=40))
    node.service.jobs.refuse_stale()
    seen = _view(node, asked[ended.digest])
    assert seen["state"] == "refused"
    assert "was valid until" in seen["reason"]


def test_the_housekeeper_ends_what_waits_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOUSEKEEPING_SECONDS", "WAITING_SECONDS"):
        monkeypatch.setenv(f"TESSERA_NODE_{name}", "0.05")
    one = Node(make_party(tmp_path))
    one.service.start()
    try:
        asked = study(one.party)
        one.post_study(asked, *approvals(one.party, asked))
        run_id = one.run(request(asked, "persons")).json()["run_id"]
        until = time.monotonic() + 20
        while _view(one, run_id)["state"] == "waiting":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert _view(one, run_id)["state"] == "refused"
    finally:
        one.close()


def test_another_nodes_count_of_runs_is_bounded_and_not_kept(node: Node) -> None:
    from governance.errors import OverBudget
    from mpc_backend.node.database import RunRow
    from mpc_backend.node.runs import charge_run, check_charge, spent_on

    one = study(node.party, budget={"runs": 20})
    node.post_study(one, *approvals(node.party, one))
    envelopes = [request(one, "persons") for _ in range(2)]
    for envelope in envelopes:
        assert node.run(envelope).status_code == 202
    asked = peek_document(envelopes[0], _run())
    with node.core.database.read() as session:
        check_charge(session, one, asked, 2)
        with pytest.raises(OverBudget, match="counts 20 runs, but only 2 were requested"):
            check_charge(session, one, asked, 20)
    charge_run(node.core, one, asked, 2)
    with node.core.database.read() as session:
        assert session.get_one(RunRow, asked.run_id).charged == 2
        assert spent_on(session, one.digest).runs == 1


def test_a_leader_that_overstates_the_charge_is_refused(node: Node) -> None:
    from mpc_backend.node.agreement import Never, agree_charge
    from mpc_backend.node.rendezvous import Gathering, RunTerms

    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    run_id = node.run(request(one, "persons")).json()["run_id"]
    zeros = "0" * 64
    terms = RunTerms(run=run_id, epoch="0" * 16, study=one.digest, federation=zeros, software="x", sites={})
    with pytest.raises(Never, match="node-a counts 20 runs") as caught:
        agree_charge(node.core, Gathering(terms, 1), 0, 20)
    assert caught.value.who == "node-a"


def test_a_start_that_fails_before_links_stand_is_not_charged(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpc_backend.errors import PeerLost
    from mpc_backend.node.computing import Computation
    from mpc_backend.node.database import RunRow
    from mpc_backend.node.jobs import Jobs
    from mpc_backend.node.rendezvous import Gathering, RunTerms

    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    run_id = node.run(request(one, "persons")).json()["run_id"]
    zeros = "0" * 64
    terms = RunTerms(run=run_id, epoch="0" * 16, study=one.digest, federation=zeros, software="x", sites={})

    def lost(self: Computation, gathering: Gathering) -> None:
        raise PeerLost("node-a did not connect")

    monkeypatch.setattr(Computation, "_connect", lost)
    Jobs(node.core)._computation.compute(run_id, Gathering(terms, 1))
    with node.core.database.read() as session:
        row = session.get_one(RunRow, run_id)
    assert (row.state, row.charged) == ("aborted", None)
