"""Run requests, upload manifests and receipts: what each party refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from governance.cli import verify_app
from governance.envelope import Envelope, sign_document
from governance.errors import (
    DocumentError,
    Expired,
    FederationMismatch,
    ForeignParameters,
    ForeignSignature,
    GovernanceError,
    OverBudget,
    ReceiptError,
    Replayed,
    SignatureError,
    UnknownAnalysis,
    UnknownRequester,
)
from governance.federation import Federation
from governance.keys import SigningKey
from governance.manifest import UploadManifest, check_manifest
from governance.receipt import Receipt, RunAttestation, verify_receipt
from governance.run_request import RunRequest, Spent, check_run_request, runs_left
from governance.study import StudyProtocol
from tests.governance.conftest import COHORT, NODES, NOW, Parties
from workbench.parts.job_page import receipt_table

FRESH = Spent()


def test_a_recipient_may_run_what_the_study_names(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    envelope = parties.request(study)
    request = check_run_request(federation, study, envelope, NOW, FRESH)
    assert request.analysis == "persons"
    assert request.run_id == request.digest
    assert parties.request(study) != envelope


def test_refused_requests(parties: Parties, federation: Federation, study: StudyProtocol) -> None:
    def refused(error: type[GovernanceError], message: str, envelope: Envelope) -> None:
        with pytest.raises(error, match=message):
            check_run_request(federation, study, envelope, NOW, FRESH)

    refused(UnknownAnalysis, "names no analysis 'survival'", parties.request(study, analysis="survival"))
    refused(ForeignParameters, "may not bring cohort", parties.request(study, parameters={"cohort": "x"}))
    refused(ForeignParameters, "is for study 000000", parties.request(study, study_digest="0" * 64))
    refused(UnknownRequester, "sealed to 'physician'", parties.request(study, recipient="physician"))
    refused(UnknownRequester, "is no recipient", parties.request(study, by="investigator"))
    refused(
        ForeignParameters,
        "commits to one ciphertext",
        parties.request(study, by="physician", commitments={"node-a": "0" * 64}),
    )
    query = dict.fromkeys(NODES, "0" * 64)
    refused(UnknownRequester, "for physicians only", parties.request(study, commitments=query))
    refused(Expired, "until 2026-12-31", parties.request(study, created_at=NOW.replace(year=2028)))
    refused(DocumentError, "set the clock", parties.request(study, created_at=NOW + timedelta(minutes=6)))
    stranger = SigningKey.generate()
    claimed = RunRequest.from_canonical(parties.request(study).body)
    refused(SignatureError, "no signature by key", sign_document(claimed, stranger))
    own = claimed.model_copy(update={"requester_key": stranger.public})
    refused(UnknownRequester, "is no recipient", sign_document(own, stranger))


def test_commitments_to_every_node_are_accepted(
    parties: Parties, federation: Federation, study: StudyProtocol
) -> None:
    envelope = parties.request(study, by="physician", commitments=dict.fromkeys(NODES, "0" * 64))
    assert set(check_run_request(federation, study, envelope, NOW, FRESH).commitments) == set(NODES)


def charged(spent: Spent, request: RunRequest) -> Spent:
    """The account after one more run."""
    key = request.requester_key
    return Spent(
        runs=spent.runs + 1,
        by_requester={**spent.by_requester, key: spent.by_requester.get(key, 0) + 1},
        nonces=spent.nonces | {request.nonce},
    )


def test_budget_and_replay(parties: Parties, federation: Federation, study: StudyProtocol) -> None:
    first = parties.request(study)
    spent = charged(FRESH, check_run_request(federation, study, first, NOW, FRESH))
    with pytest.raises(Replayed):
        check_run_request(federation, study, first, NOW, spent)
    spent = charged(spent, check_run_request(federation, study, parties.request(study), NOW, spent))
    assert runs_left(study, spent) == 1
    assert runs_left(study, spent, parties.researcher.public) == 0
    with pytest.raises(OverBudget, match="researcher has used 2 of 2"):
        check_run_request(federation, study, parties.request(study), NOW, spent)
    spent = charged(
        spent, check_run_request(federation, study, parties.request(study, by="physician"), NOW, spent)
    )
    with pytest.raises(OverBudget, match="3 of 3 runs are used"):
        check_run_request(federation, study, parties.request(study, by="physician"), NOW, spent)
    assert runs_left(study, spent) == 0


SETS = """concept set Diabetes:
  201826 "Type 2 diabetes mellitus" and descendants
concept set Metformin: 1503297 and descendants
"""


@pytest.fixture(scope="module")
def feasibility(parties: Parties, federation: Federation) -> StudyProtocol:
    return parties.study(
        federation,
        kind="feasibility",
        cohorts={},
        variables={},
        analyses=[{"id": "count", "kind": "cohort_count"}],
        feasibility={"concept_sets": SETS, "max_counts": 1},
    )


def test_a_feasibility_count_within_its_bounds(
    parties: Parties, federation: Federation, feasibility: StudyProtocol
) -> None:
    asked = parties.request(feasibility, parameters={"cohort": COHORT})
    request = check_run_request(federation, feasibility, asked, NOW, FRESH)
    assert runs_left(feasibility, FRESH) == 1
    spent = charged(FRESH, request)
    assert runs_left(feasibility, spent) == 0
    with pytest.raises(OverBudget, match="1 of 1"):
        check_run_request(
            federation, feasibility, parties.request(feasibility, parameters={"cohort": COHORT}), NOW, spent
        )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "brings `cohort`"),
        ({"cohort": 3}, "brings `cohort`"),
        ({"cohort": COHORT, "k": 1}, "may not bring k"),
        ({"cohort": "enter"}, "does not parse: line 1"),
        ({"cohort": COHORT.replace("Diabetes", "Stroke")}, r"concept sets \['Stroke'\]"),
        (
            {"cohort": COHORT.replace("201826", "201820")},
            r"names otherwise; it names \['Diabetes', 'Metformin'\]",
        ),
        ({"cohort": COHORT.replace(" and descendants", "")}, "names otherwise"),
    ],
)
def test_a_feasibility_count_outside_its_bounds(
    parties: Parties, federation: Federation, feasibility: StudyProtocol, parameters: dict, message: str
) -> None:
    with pytest.raises(ForeignParameters, match=message):
        check_run_request(
            federation, feasibility, parties.request(feasibility, parameters=parameters), NOW, FRESH
        )


def manifest(parties: Parties, study: StudyProtocol, **changes: object) -> Envelope:
    said = {
        "study_digest": study.digest,
        "federation": study.federation,
        "site": "north",
        "upload_id": "0" * 32,
        "created_at": NOW,
        "not_after": NOW + timedelta(days=1),
        "snapshot": "1" * 64,
        "tables": [{"analysis": "persons", "name": "steps", "rows": 3, "columns": ["persons"]}],
        "shares": {str(index): "2" * 64 for index in range(4)},
        "sealed": dict.fromkeys(NODES, "3" * 64),
        "software": "tessera",
    }
    return sign_document(UploadManifest.from_value({**said, **changes}), parties.connectors["north"])


def test_manifests(parties: Parties, federation: Federation, study: StudyProtocol) -> None:
    good = manifest(parties, study)
    assert check_manifest(federation, study, good, NOW).tables[0].rows == 3

    def refused(error: type[GovernanceError], message: str, envelope: Envelope) -> None:
        with pytest.raises(error, match=message):
            check_manifest(federation, study, envelope, NOW)

    refused(ForeignSignature, "not signed by the connector of south", manifest(parties, study, site="south"))
    refused(ForeignSignature, "not named by study", manifest(parties, study, site="east"))
    refused(ForeignSignature, "an upload for study", manifest(parties, study, study_digest="0" * 64))
    refused(FederationMismatch, "for federation", manifest(parties, study, federation="0" * 64))
    refused(Expired, "was valid until", manifest(parties, study, not_after=NOW - timedelta(seconds=1)))
    refused(DocumentError, "sealed to", manifest(parties, study, sealed={"node-a": "3" * 64}))
    refused(DocumentError, "commits to shares", manifest(parties, study, shares={"0": "3" * 64}))
    refused(DocumentError, "names a run", manifest(parties, study, run="4" * 64))
    steward = sign_document(UploadManifest.from_canonical(good.body), parties.stewards["north"])
    refused(ForeignSignature, "connector of north", steward)


def attestation(
    parties: Parties, study: StudyProtocol, request: Envelope, node: str, **changes: object
) -> Envelope:
    asked = RunRequest.from_canonical(request.body)
    said = {
        "node": node,
        "federation": study.federation,
        "study_digest": study.digest,
        "run_id": asked.run_id,
        "analysis": asked.analysis,
        "recipient": asked.recipient,
        "inputs": dict.fromkeys(study.sites, "5" * 64),
        "software": "tessera 1",
        "sealed_output": f"{NODES.index(node)}" * 64,
        "budget_spent": 1,
        "finished_at": NOW,
        "log": {"size": 7, "root": "6" * 64},
    }
    return sign_document(RunAttestation.from_value({**said, **changes}), parties.nodes[node])


def receipt(parties: Parties, study: StudyProtocol) -> Receipt:
    request = parties.request(study)
    return Receipt(
        request=request, attestations=tuple(attestation(parties, study, request, n) for n in NODES)
    )


def test_a_whole_receipt_holds(parties: Parties, federation: Federation, study: StudyProtocol) -> None:
    whole = receipt(parties, study)
    verified = verify_receipt(federation, Receipt.from_canonical(whole.canonical()), study)
    assert verified.nodes == NODES
    assert verified.sealed_outputs["node-d"] == "3" * 64


def test_receipts_that_do_not_hold(parties: Parties, federation: Federation, study: StudyProtocol) -> None:
    whole = receipt(parties, study)

    def refused(error: type[GovernanceError], message: str, **changes: object) -> None:
        with pytest.raises(error, match=message):
            verify_receipt(federation, whole.model_copy(update=changes), study)

    good = whole.attestations

    def last(**changes: object) -> tuple[Envelope, ...]:
        signed = attestation(parties, study, whole.request, "node-d")
        said = RunAttestation.from_canonical(signed.body).model_copy(update=changes)
        return (*good[:3], sign_document(said, parties.nodes["node-d"]))

    refused(ReceiptError, "no attestation by node-d", attestations=good[:3])
    refused(ReceiptError, "node-a attests twice", attestations=(*good, good[0]))
    refused(ReceiptError, "contradict each other about inputs", attestations=last(inputs={"north": "5" * 64}))
    refused(ReceiptError, "contradict each other about software", attestations=last(software="other"))
    refused(ReceiptError, "contradict each other about budget_spent", attestations=last(budget_spent=2))
    refused(SignatureError, "no signature by key", attestations=last(node="node-c")[3:])
    refused(ReceiptError, "no node of this federation", attestations=last(node="node-x"))
    refused(ReceiptError, "the request is", request=parties.request(study))
    other = parties.study(federation, title="Other")
    with pytest.raises(ReceiptError, match="the receipt is of study"):
        verify_receipt(federation, whole, other)
    with pytest.raises(SignatureError, match="no signature by key"):
        verify_receipt(Parties().federation(), whole, study)
    renamed = federation.model_copy(update={"name": "Other"})
    with pytest.raises(FederationMismatch):
        verify_receipt(renamed, whole)


def test_a_receipt_says_what_the_data_are_and_who_is_left_out(
    parties: Parties, federation: Federation, study: StudyProtocol, tmp_path: Path
) -> None:
    first, *others = study.sites
    data = {
        first: {
            "extract_date": "2026-01-31",
            "observation_period": "from the first event",
            "death": "as told",
        }
    }
    said: dict[str, Any] = {"inputs": {first: "5" * 64}, "data": data, "left_out": others}
    request = parties.request(study)

    def of(*claims: dict[str, Any]) -> Receipt:
        nodes = zip(NODES, claims, strict=True)
        return Receipt(
            request=request,
            attestations=tuple(attestation(parties, study, request, n, **c) for n, c in nodes),
        )

    whole = of(*[said] * 4)
    verified = verify_receipt(federation, Receipt.from_canonical(whole.canonical()), study)
    assert verified.data[first].death == "as told" and verified.left_out == tuple(others)
    for name, other in (("data", {}), ("left_out", [])):
        with pytest.raises(ReceiptError, match=f"contradict each other about {name}"):
            verify_receipt(federation, of(*[said] * 3, {**said, name: other}), study)
    for name, document in {"federation": federation, "receipt": whole}.items():
        (tmp_path / f"{name}.json").write_bytes(document.canonical())
    told = CliRunner().invoke(
        verify_app, [str(tmp_path / "receipt.json"), "--federation", str(tmp_path / "federation.json")]
    )
    assert (
        f"data of {first}: up to 2026-01-31; observation: from the first event; deaths: as told"
        in told.output
    )
    assert all(f"not included: {site}" in told.output for site in others)
    table = receipt_table(verified, federation)["Value"]
    assert table["Not included"] == ", ".join(federation.site(site).name for site in others)
    assert "Up to 2026-01-31" in table[f"Observation and deaths at {federation.site(first).name}"]


def test_verify_command(
    parties: Parties, federation: Federation, study: StudyProtocol, tmp_path: Path
) -> None:
    files = {"federation": federation, "study": study, "receipt": receipt(parties, study)}
    for name, document in files.items():
        (tmp_path / f"{name}.json").write_bytes(document.canonical())
    arguments = [str(tmp_path / "receipt.json"), "--federation", str(tmp_path / "federation.json")]
    arguments += ["--study", str(tmp_path / "study.json")]
    held = CliRunner().invoke(verify_app, arguments)
    assert held.exit_code == 0, held.output
    assert "attested by node-a, node-b, node-c, node-d" in held.output
    value = json.loads((tmp_path / "receipt.json").read_bytes())
    value["attestations"].pop()
    (tmp_path / "receipt.json").write_text(json.dumps(value))
    refused = CliRunner().invoke(verify_app, arguments)
    assert refused.exit_code == 2
    assert "no attestation by node-d" in refused.output
    (tmp_path / "receipt.json").unlink()
    assert CliRunner().invoke(verify_app, arguments).exit_code == 2


def test_verify_takes_the_study_as_the_yaml_it_was_written_as(
    parties: Parties, federation: Federation, study: StudyProtocol, tmp_path: Path
) -> None:
    for name, document in {"federation": federation, "receipt": receipt(parties, study)}.items():
        (tmp_path / f"{name}.json").write_bytes(document.canonical())
    written = tmp_path / "study.yaml"
    written.write_text(study.to_yaml(), encoding="utf-8")
    arguments = [str(tmp_path / "receipt.json"), "--federation", str(tmp_path / "federation.json")]
    arguments += ["--study", str(written)]
    held = CliRunner().invoke(verify_app, arguments)
    assert held.exit_code == 0, held.output
    lines = study.to_yaml().splitlines(keepends=True)
    written.write_text("".join(line for line in lines if not line.startswith("nonce:")), encoding="utf-8")
    draft = CliRunner().invoke(verify_app, arguments)
    assert draft.exit_code == 2
    assert f"{written}: not a whole study: " in draft.output
    assert "nonce" in draft.output
