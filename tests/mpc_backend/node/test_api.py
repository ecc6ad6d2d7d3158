"""The control interface as such: addresses, bodies, status, its description, its log."""

from __future__ import annotations

import pytest

from governance.canonical import canonical_json
from governance.study import StudyProtocol

from .calling import Node, refused
from .conftest import SITES


def test_unknown_addresses_and_methods_are_problems_too(node: Node) -> None:
    refused(node.client.get("/v2/studies"), "not-found")
    refused(node.client.delete("/v1/studies"), "method")
    refused(node.client.get("/v1/runs/" + "0" * 64), "unknown-run")
    refused(node.client.get("/v1/runs?study=x"), "malformed", "study")


def test_other_bodies_have_a_cap_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(node.client.post("/v1/studies", content=bytes(33 * 1024 * 1024)), "too-large")


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
