"""At the recipient: nothing is opened unless every node vouches for the same run and copies of shares agree."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from governance.envelope import sign_document
from governance.errors import ReceiptError, SealError, SignatureError
from governance.keys import SealingKey, SigningKey
from governance.receipt import LogPosition, RunAttestation
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.client.answers import ResultAnswer
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.errors import BadAnswer, ResultRefused
from mpc_backend.client.results import open_results
from mpc_backend.errors import ShareMismatch
from mpc_backend.packages import SealContext, encode_outputs, seal_chunks
from mpc_backend.protocols.sharing import layout, split
from mpc_backend.session import OutputForm
from mpc_backend.tables import Column

from .conftest import SITES, Party
from .studying import PEOPLE, now, study

VALUES = np.array([12, 34, 56])


class Delivery:
    """What four honest nodes would deliver; tests change it before it is attested."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.study: StudyProtocol = study(party)
        self.request = RunRequest(
            study_digest=self.study.digest,
            analysis="persons",
            nonce="ab" * 16,
            created_at=now(),
            requester_key=PEOPLE.researcher.public,
            recipient="researcher",
        )
        encoded = split("rep4", Column(name="n", kind="int", bits=32), VALUES)
        held = layout("rep4").held
        form = OutputForm("int", (3,))
        self.outputs = [{"n": (form, {share: encoded[share] for share in held[i]})} for i in range(4)]
        self.claims: list[dict[str, Any]] = [{} for _ in range(4)]
        self.signers = [SigningKey.load(party.directory(i).identity_key) for i in range(4)]

    def bodies(self) -> dict[str, ResultAnswer]:
        sealed, attestations = {}, []
        for node in self.party.federation.nodes:
            context = SealContext(self.study.digest, node.id, "researcher", self.request.run_id)
            data = encode_outputs(self.outputs[node.index])
            sealed[node.id] = seal_chunks(data, PEOPLE.sealing.public, context)
            claims: dict[str, Any] = {
                "node": node.id,
                "federation": self.party.federation.digest,
                "study_digest": self.study.digest,
                "run_id": self.request.run_id,
                "analysis": "persons",
                "recipient": "researcher",
                "inputs": dict.fromkeys(SITES, "1" * 64),
                "software": "2" * 64,
                "sealed_output": hashlib.sha256(sealed[node.id]).hexdigest(),
                "budget_spent": 1,
                "finished_at": now(),
                "log": LogPosition(size=0, root="3" * 64),
            }
            said = RunAttestation(**{**claims, **self.claims[node.index]})
            attestations.append(sign_document(said, self.signers[node.index]))
        request = sign_document(self.request, PEOPLE.researcher)
        return {
            node: ResultAnswer(
                request=request, sealed=base64.b64encode(data).decode(), attestations=tuple(attestations)
            )
            for node, data in sealed.items()
        }

    def open(self, bodies: dict[str, ResultAnswer] | None = None, key: SealingKey = PEOPLE.sealing) -> Any:
        return open_results(
            self.party.federation, self.study, self.request, self.bodies() if bodies is None else bodies, key
        )


@pytest.fixture
def delivery(party: Party) -> Delivery:
    return Delivery(party)


def test_an_honest_delivery_opens(delivery: Delivery) -> None:
    opened = delivery.open()
    np.testing.assert_array_equal(opened.values["n"], VALUES)
    assert opened.verified.nodes == delivery.party.names


def test_a_missing_node_is_no_result(delivery: Delivery) -> None:
    bodies = delivery.bodies()
    del bodies["node-c"]
    with pytest.raises(ResultRefused, match="node-c"):
        delivery.open(bodies)


def test_a_missing_attestation_is_no_result(delivery: Delivery) -> None:
    bodies = delivery.bodies()
    bodies = {
        node: body.model_copy(update={"attestations": body.attestations[:3]}) for node, body in bodies.items()
    }
    with pytest.raises(ReceiptError, match="node-d"):
        delivery.open(bodies)


@pytest.mark.parametrize("claim", ["software", "inputs", "budget_spent", "run_id"])
def test_nodes_that_contradict_each_other_are_no_result(delivery: Delivery, claim: str) -> None:
    other = {"software": "9" * 64, "inputs": {"north": "9" * 64}, "budget_spent": 2, "run_id": "9" * 64}
    delivery.claims[2] = {claim: other[claim]}
    with pytest.raises(ReceiptError, match=claim):
        delivery.open()


def test_an_attestation_by_a_stranger_is_no_result(delivery: Delivery) -> None:
    delivery.signers[1] = SigningKey.generate()
    with pytest.raises(SignatureError):
        delivery.open()


def test_an_output_other_than_the_attested_one_is_refused(delivery: Delivery) -> None:
    bodies = delivery.bodies()
    bodies["node-b"] = delivery.bodies()["node-b"]  # sealed anew: other bytes, same content
    with pytest.raises(ResultRefused, match="node-b delivered another output"):
        delivery.open(bodies)


def test_an_output_sealed_to_somebody_else_does_not_open(delivery: Delivery) -> None:
    with pytest.raises(SealError):
        delivery.open(key=SealingKey.generate())


@pytest.mark.parametrize("node", range(4))
@pytest.mark.parametrize("place", range(3))
def test_a_node_that_changes_any_share_is_caught(delivery: Delivery, node: int, place: int) -> None:
    form, shares = delivery.outputs[node]["n"]
    share = sorted(shares)[place]
    changed = shares[share][:-1] + bytes([shares[share][-1] ^ 1])
    delivery.outputs[node] = {"n": (form, {**shares, share: changed})}
    with pytest.raises(ShareMismatch):
        delivery.open()


@pytest.mark.parametrize(
    "change",
    [
        lambda form, shares: {"n": (OutputForm("int", (3,), 32), shares)},
        lambda form, shares: {"m": (form, shares)},
        lambda form, shares: {},
    ],
)
def test_a_node_that_delivers_another_form_is_refused(delivery: Delivery, change: Callable[..., Any]) -> None:
    delivery.outputs[3] = change(*delivery.outputs[3]["n"])
    with pytest.raises(ResultRefused, match="node-d delivered outputs of another form"):
        delivery.open()


@pytest.mark.parametrize(
    "change",
    [
        {"request": {}},
        {"request": 1},
        {"attestations": []},
        {"attestations": [1]},
        {"sealed": 7},
        {"sealed": "*"},
        {"sealed": None},
    ],
)
def test_what_is_no_delivery_is_refused(delivery: Delivery, change: dict[str, object]) -> None:
    body = {**delivery.bodies()["node-a"].model_dump(mode="json"), **change}
    entry = delivery.party.federation.node("node-a")
    answering = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    with pytest.raises(BadAnswer, match="node-a: cannot read the result of run"):
        NodeClient(entry, answering).result(delivery.request.run_id)
