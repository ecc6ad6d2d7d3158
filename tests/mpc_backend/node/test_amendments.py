"""A node and the versions of a study: an approved amendment ends uploads and runs under the version it amends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from governance.approval import InvestigatorSubmission
from governance.envelope import sign_document
from governance.keys import SigningKey
from governance.study import StudyProtocol

from .calling import Node, refused
from .conftest import SITES, make_party
from .studying import approval, approvals, now, request, shared, study, submission


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    one = Node(make_party(tmp_path_factory.mktemp("versions")))
    yield one
    one.close()


@pytest.fixture
def first(node: Node) -> StudyProtocol:
    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    return one


def test_an_approved_amendment_ends_uploads_and_runs_under_the_version_before(
    node: Node, first: StudyProtocol
) -> None:
    assert node.send(shared(node.party, first, "north")).status_code == 201
    waiting = node.run(request(first, "persons")).json()["run_id"]
    later = study(node.party, amends=first.digest, budget={"runs": 30})
    node.post_study(later, submission(later), *(approval(node.party, later, site) for site in SITES[:-1]))
    assert node.send(shared(node.party, first, "south")).status_code == 201, "one hospital has not signed yet"
    assert node.run(request(first, "persons")).status_code == 202
    assert node.say(later, approval(node.party, later, SITES[-1])).status_code == 201

    by = f"replaced by its amendment {later.digest[:12]}"
    refused(node.send(shared(node.party, first, "west")), "superseded", by)
    response = node.run(request(first, "persons"))
    refused(response, "superseded", by)
    assert response.json()["amendment"] == later.digest
    assert by in node.client.get(f"/v1/runs/{waiting}").json()["label"]
    state = node.client.get(f"/v1/studies/{first.digest}").json()["state"]
    assert not state["may_run"]
    assert by in state["why_not"]

    assert node.send(shared(node.party, later, "north")).status_code == 201
    assert node.run(request(later, "persons")).status_code == 202
    lines = {line["digest"]: line["amends"] for line in node.client.get("/v1/studies").json()}
    assert lines[later.digest] == first.digest
    assert lines[first.digest] is None


def test_an_amendment_by_another_investigator_ends_nothing(node: Node, first: StudyProtocol) -> None:
    other = SigningKey.generate()
    investigator = {**first.investigator.model_dump(mode="json"), "key": other.public}
    later = study(node.party, amends=first.digest, investigator=investigator)
    said = InvestigatorSubmission(study_digest=later.digest, submitted_at=now())
    decisions = [approval(node.party, later, site) for site in SITES]
    node.post_study(later, sign_document(said, other), *decisions)
    assert node.run(request(later, "persons")).status_code == 202
    assert node.send(shared(node.party, first, "north")).status_code == 201
    assert node.run(request(first, "persons")).status_code == 202
