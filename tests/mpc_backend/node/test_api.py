"""One node's control interface: what it accepts, what it refuses and how it says so. Peers are not needed
here.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from governance.canonical import canonical_json
from governance.envelope import Envelope, peek_document, sign_document
from governance.keys import SigningKey
from governance.manifest import UploadManifest
from governance.study import StudyProtocol
from mpc_backend.client.sharing import Upload
from mpc_backend.node.api import make_app
from mpc_backend.node.core import NodeCore, open_core
from mpc_backend.node.database import UploadRow, utc_now
from mpc_backend.node.problems import PROBLEMS, TYPE_PREFIX
from mpc_backend.node.service import NodeService
from mpc_backend.node.studies import close_expired
from mpc_backend.packages import SealContext, seal_chunks, unseal_chunks

from .conftest import SITES, Party, make_party
from .studying import (
    PEOPLE,
    approval,
    approvals,
    feasibility,
    now,
    ranking,
    request,
    shared,
    study,
    submission,
    withdrawal,
)


class Caller:
    """Calls an application without a network."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="https://node-b") as client:
                headers = {"Content-Type": "application/json"}
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, content: bytes) -> httpx.Response:
        return self.request("POST", path, content)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)


class Node:
    """node-b in this process, its interface called without a network."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.core: NodeCore = open_core(party.directory(1), party.federation)
        self.service = NodeService(self.core)
        self.client = Caller(make_app(self.service))

    def close(self) -> None:
        self.service.stop()

    def post_study(self, one: StudyProtocol, *envelopes: Envelope) -> None:
        assert self.client.post("/v1/studies", content=one.canonical()).status_code == 201
        for envelope in envelopes:
            assert self.say(one, envelope).status_code == 201

    def say(self, one: StudyProtocol, envelope: Envelope) -> Any:
        return self.client.post(f"/v1/studies/{one.digest}/envelopes", content=envelope.canonical())

    def upload(self, manifest: Envelope, sealed: bytes) -> Any:
        head = manifest.canonical()
        return self.client.post("/v1/uploads", content=len(head).to_bytes(4, "little") + head + sealed)

    def send(self, upload: Upload) -> Any:
        return self.upload(upload.manifest, upload.sealed["node-b"])

    def run(self, envelope: Envelope, query: bytes | None = None) -> Any:
        text = None if query is None else base64.b64encode(query).decode()
        body = {"request": envelope.model_dump(mode="json"), "query": text}
        return self.client.post("/v1/runs", content=canonical_json(body))

    def leftovers(self) -> list[str]:
        folder = self.core.directory
        return [path.name for path in (*folder.incoming.iterdir(), *folder.queries.iterdir())]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    one = Node(make_party(tmp_path_factory.mktemp("api")))
    yield one
    one.close()


@pytest.fixture
def approved(node: Node) -> StudyProtocol:
    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    return one


def refused(response: Any, slug: str, *words: str) -> None:
    """A problem document of this registered type whose detail says these words."""
    body = response.json()
    assert body["type"] == TYPE_PREFIX + slug, body
    assert response.status_code == PROBLEMS[slug].status == body["status"]
    assert response.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in body["detail"], body["detail"]


def resigned(party: Party, upload: Upload, site: str, **changes: Any) -> Envelope:
    manifest = peek_document(upload.manifest, UploadManifest).model_copy(update=changes)
    return sign_document(manifest, party.connectors[site])


# Studies and statements


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


# Uploads


def test_an_upload_is_kept_encrypted_and_listed(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    response = node.send(upload)
    assert response.status_code == 201, response.text
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    assert (line["site"], line["destroyed"]) == ("north", False)
    stored = (node.core.directory.shares / line["upload_id"]).read_bytes()
    assert b"TSP1" not in stored
    assert b"attrition" not in stored
    assert node.leftovers() == []


def test_a_second_upload_of_the_same_study_is_refused(node: Node, approved: StudyProtocol) -> None:
    assert node.send(shared(node.party, approved, "north")).status_code == 201
    second = node.send(shared(node.party, approved, "north"))
    refused(second, "duplicate-upload", "north has uploaded", "shares of a study never change")
    assert len(node.client.get(f"/v1/studies/{approved.digest}/uploads").json()) == 1
    assert node.leftovers() == []


def test_nothing_is_uploaded_before_all_have_signed(node: Node) -> None:
    one = study(node.party)
    node.post_study(one, submission(one), approval(node.party, one, "north"))
    response = node.send(shared(node.party, one, "north"))
    refused(response, "not-approved", "south, west")
    assert response.json()["missing"] == ["south", "west"]


def test_an_upload_signed_by_another_site_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    forged = sign_document(manifest, node.party.connectors["south"])
    refused(node.upload(forged, upload.sealed["node-b"]), "signature", "connector of north")


def test_a_flipped_byte_of_the_sealed_package_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    sealed = bytearray(upload.sealed["node-b"])
    sealed[len(sealed) // 2] ^= 1
    refused(node.upload(upload.manifest, bytes(sealed)), "shares-mismatch")
    assert node.client.get(f"/v1/studies/{approved.digest}/uploads").json() == []
    assert node.leftovers() == []


def test_a_package_sealed_anew_is_not_the_one_signed_for(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    context = SealContext(approved.digest, "north", "node-b", manifest.upload_id)
    plain = unseal_chunks(upload.sealed["node-b"], node.core.sealing, context)
    anew = seal_chunks(plain, node.core.sealing.public, context)
    refused(node.upload(upload.manifest, anew), "shares-mismatch", "not the one the manifest was signed for")


def test_shares_other_than_the_signed_ones_are_refused(node: Node, approved: StudyProtocol) -> None:
    upload, other = shared(node.party, approved, "north"), shared(node.party, approved, "north")
    mixed = resigned(node.party, upload, "north", shares=peek_document(other.manifest, UploadManifest).shares)
    refused(node.upload(mixed, upload.sealed["node-b"]), "shares-mismatch", "share")


def test_a_package_sealed_to_another_node_or_study_is_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    sealed = {**peek_document(upload.manifest, UploadManifest).sealed}
    sealed["node-b"] = sealed["node-c"]
    swapped = resigned(node.party, upload, "north", sealed=sealed)
    refused(node.upload(swapped, upload.sealed["node-c"]), "shares-mismatch", "does not open")


def test_foreign_tables_are_refused(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "north")
    manifest = peek_document(upload.manifest, UploadManifest)
    more = tuple(table.model_copy(update={"rows": table.rows + 1}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=more), upload.sealed["node-b"]),
        "tables-mismatch",
        "rows",
    )
    named = tuple(table.model_copy(update={"columns": ("names",)}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=named), upload.sealed["node-b"]),
        "tables-mismatch",
        "columns",
    )


def test_tables_of_persons_must_be_padded(node: Node) -> None:
    one = study(node.party, analyses=[ranking()])
    node.post_study(one, *approvals(node.party, one))
    upload = shared(node.party, one, "north", rows=900)
    manifest = peek_document(upload.manifest, UploadManifest)
    assert manifest.tables[0].rows == 1024
    bare = tuple(table.model_copy(update={"rows": 900}) for table in manifest.tables)
    refused(
        node.upload(resigned(node.party, upload, "north", tables=bare), upload.sealed["node-b"]),
        "tables-mismatch",
        "padded to 1024",
    )
    assert node.send(upload).status_code == 201


@pytest.mark.parametrize(
    "body", [b"", b"\x05", b"\x05\x00\x00\x00abc", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00{}x"]
)
def test_what_is_no_upload_is_refused(node: Node, body: bytes) -> None:
    refused(node.client.post("/v1/uploads", content=body), "malformed")
    assert node.leftovers() == []


def test_an_upload_larger_than_the_cap_is_refused_while_it_arrives(
    node: Node, approved: StudyProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc_backend.node.uploads.MIB", 1)
    upload = shared(node.party, approved, "north")
    refused(node.upload(upload.manifest, bytes(1000)), "too-large", "256 MiB")
    assert node.leftovers() == []


def test_other_bodies_have_a_cap_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(node.client.post("/v1/studies", content=bytes(33 * 1024 * 1024)), "too-large")


# Withdrawal and expiry


def test_withdrawal_destroys_the_shares_and_is_logged(node: Node, approved: StudyProtocol) -> None:
    upload = shared(node.party, approved, "west")
    assert node.send(upload).status_code == 201
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    path = node.core.directory.shares / line["upload_id"]
    assert path.exists()
    assert node.say(approved, withdrawal(node.party, approved, "west")).status_code == 201
    assert not path.exists()
    assert node.client.get(f"/v1/studies/{approved.digest}/uploads").json()[0]["destroyed"] is True
    entries = node.client.get("/v1/log/entries").json()["entries"]
    last = [entry for entry in entries if entry["event"] == "shares destroyed"][-1]
    assert (last["site"], last["why"], last["study"]) == ("west", "withdrawn", approved.digest)
    refused(node.send(shared(node.party, approved, "west")), "withdrawn")


def test_a_destroyed_key_cannot_be_unwrapped_even_with_the_file(node: Node, approved: StudyProtocol) -> None:
    from mpc_backend.node.errors import VaultError
    from mpc_backend.node.vault import read_encrypted

    assert node.send(shared(node.party, approved, "west")).status_code == 201
    (line,) = node.client.get(f"/v1/studies/{approved.digest}/uploads").json()
    path = node.core.directory.shares / line["upload_id"]
    copy = path.with_name("backup")
    copy.write_bytes(path.read_bytes())
    with node.core.database.read() as session:
        key = node.core.vault.existing_key(session, approved.digest, "west")
    assert read_encrypted(copy, key, line["upload_id"])[:4] == b"TSP1"
    node.say(approved, withdrawal(node.party, approved, "west"))
    with node.core.database.read() as session, pytest.raises(VaultError, match="were destroyed"):
        node.core.vault.existing_key(session, approved.digest, "west")
    copy.unlink()


def test_an_expired_study_takes_nothing_and_loses_its_shares(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    assert node.send(shared(node.party, one, "north")).status_code == 201
    later = utc_now() + timedelta(days=365)
    for module in ("studies", "uploads", "runs"):
        monkeypatch.setattr(f"mpc_backend.node.{module}.utc_now", lambda: later)
    refused(node.send(shared(node.party, one, "south")), "expired")
    refused(node.run(request(one, "persons")), "expired")
    close_expired(node.core)
    with node.core.database.read() as session:
        rows = list(session.query(UploadRow).where(UploadRow.study == one.digest))
    assert [row.destroyed for row in rows] == [True]


# Runs


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


MARKER_NAMES = [f"m{number}" for number in range(8)]


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


# The interface as such


def test_unknown_addresses_and_methods_are_problems_too(node: Node) -> None:
    refused(node.client.get("/v2/studies"), "not-found")
    refused(node.client.delete("/v1/studies"), "method")
    refused(node.client.get("/v1/runs/" + "0" * 64), "unknown-run")
    refused(node.client.get("/v1/runs?study=x"), "malformed", "study")


def test_status_and_metrics_tell_nothing_of_data(node: Node, approved: StudyProtocol) -> None:
    status = node.client.get("/v1/status").json()
    assert status["node"] == "node-b"
    assert status["federation"] == node.party.federation.digest
    text = node.client.get("/metrics").text
    assert 'tessera_http_requests_total{route="/v1/status",status="200"}' in text
    assert approved.digest[:12] not in text
    assert not any(site in text for site in SITES)


def test_the_interface_describes_itself(node: Node) -> None:
    paths = node.client.get("/openapi.json").json()["paths"]
    assert {"/v1/studies", "/v1/uploads", "/v1/runs", "/v1/runs/{run_id}/result", "/v1/log/entries"} <= set(
        paths
    )


def test_log_entries_are_provable(node: Node, approved: StudyProtocol) -> None:
    from governance.merkle import leaf_hash, verify_inclusion

    body = node.client.get("/v1/log/entries").json()
    size, entries = body["size"], body["entries"]
    proof = node.client.get(f"/v1/log/inclusion?position={size - 1}&size={size}").json()
    steps = [bytes.fromhex(step) for step in proof["proof"]]
    verify_inclusion(
        leaf_hash(canonical_json(entries[-1])), size - 1, size, steps, bytes.fromhex(proof["root"])
    )


# What nobody may fill up


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


def test_an_upload_not_permitted_is_refused_before_its_shares_arrive(
    node: Node, approved: StudyProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpc_backend.node.uploads import Incoming

    def written(self: Incoming, piece: bytes) -> None:
        raise AssertionError("shares were taken in")

    upload = shared(node.party, approved, "north")
    forged = sign_document(peek_document(upload.manifest, UploadManifest), node.party.connectors["south"])
    monkeypatch.setattr(Incoming, "take", written)
    refused(node.upload(forged, b"x" * 1000), "signature", "connector of north")
    assert list(node.core.directory.incoming.iterdir()) == []


def test_runs_that_wait_are_within_the_budget(node: Node) -> None:
    one = study(node.party, budget={"runs": 3, "runs_per_requester": 2})
    node.post_study(one, *approvals(node.party, one))
    for _ in range(2):
        assert node.run(request(one, "persons")).status_code == 202
    refused(node.run(request(one, "persons")), "over-budget", "2 runs waiting and 2 left")
    assert node.run(request(one, "persons", PEOPLE.physician)).status_code == 202


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
    from mpc_backend.node.jobs import Jobs, Never
    from mpc_backend.node.rendezvous import Gathering, RunTerms

    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    run_id = node.run(request(one, "persons")).json()["run_id"]
    zeros = "0" * 64
    terms = RunTerms(run=run_id, epoch="0" * 16, study=one.digest, federation=zeros, software="x", sites={})
    with pytest.raises(Never, match="node-a counts 20 runs") as caught:
        Jobs(node.core)._agree_charge(Gathering(terms, 1), 0, 20)
    assert caught.value.who == "node-a"


def test_a_start_that_fails_before_links_stand_is_not_charged(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpc_backend.errors import PeerLost
    from mpc_backend.node.database import RunRow
    from mpc_backend.node.jobs import Jobs
    from mpc_backend.node.rendezvous import Gathering, RunTerms

    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    run_id = node.run(request(one, "persons")).json()["run_id"]
    zeros = "0" * 64
    terms = RunTerms(run=run_id, epoch="0" * 16, study=one.digest, federation=zeros, software="x", sites={})

    def lost(self: Jobs, gathering: Gathering) -> None:
        raise PeerLost("node-a did not connect")

    monkeypatch.setattr(Jobs, "_connect", lost)
    Jobs(node.core)._compute(run_id, Gathering(terms, 1))
    with node.core.database.read() as session:
        row = session.get_one(RunRow, run_id)
    assert (row.state, row.charged) == ("aborted", None)
