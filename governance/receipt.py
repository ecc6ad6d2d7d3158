"""Proof of a run: every node attests the same study, request, inputs and software, and can be checked offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from governance.document import Digest, Document, Part, Slug, UtcTime, Words
from governance.envelope import Envelope, open_document, peek_document
from governance.errors import DocumentError, FederationMismatch, ReceiptError, SignatureError
from governance.federation import Federation
from governance.manifest import DataFacts
from governance.run_request import RunRequest
from governance.study import StudyProtocol


def _nothing(value: object) -> bool:
    """For ``exclude_if``: attestations without it keep the canonical bytes that they always had."""
    return not value


class LogPosition(Part):
    """Where a node's log stood when it attested: ``size`` entries under ``root`` (RFC 6962)."""

    size: Annotated[int, Field(ge=0)]
    root: Digest


class RunAttestation(Document):
    """One node's word about one run.

    ``inputs``: digest of each contributing site's upload manifest. ``sealed_output``: SHA-256 of the
    ciphertext this node sealed to the recipient (each node's own). ``budget_spent``: runs charged to the
    study, this one included. ``data``: what results say of each hospital's data, as it signed it. ``left_out``: hospitals
    that the study names and that did not contribute.
    """

    payload_type: ClassVar[str] = "application/vnd.tessera.attestation+json"

    node: Slug
    federation: Digest
    study_digest: Digest
    run_id: Digest
    analysis: Slug
    recipient: Slug
    inputs: dict[Slug, Digest]
    software: Words
    sealed_output: Digest
    budget_spent: Annotated[int, Field(ge=1)]
    finished_at: UtcTime
    log: LogPosition
    data: Annotated[dict[Slug, DataFacts], Field(default_factory=dict, exclude_if=_nothing)]
    left_out: Annotated[tuple[Slug, ...], Field(exclude_if=_nothing)] = ()


class Receipt(Document):
    """One attestation per node, and the signed request they answer."""

    payload_type: ClassVar[str] = "application/vnd.tessera.receipt+json"

    tessera: Literal["receipt/1"] = "receipt/1"
    request: Envelope
    attestations: Annotated[tuple[Envelope, ...], Field(min_length=1)]


class VerifiedReceipt(Part):
    """What a receipt that holds says."""

    federation: str
    study_digest: Digest
    run_id: Digest
    analysis: str
    recipient: str
    inputs: dict[str, Digest]
    software: str
    budget_spent: int
    nodes: tuple[str, ...]
    sealed_outputs: dict[str, Digest]
    data: dict[str, DataFacts]
    left_out: tuple[str, ...]


SHARED_CLAIMS = (
    "federation",
    "study_digest",
    "run_id",
    "analysis",
    "recipient",
    "inputs",
    "software",
    "budget_spent",
    "data",
    "left_out",
)
"""Fields on which all nodes must agree."""


def verify_receipt(
    federation: Federation, receipt: Receipt, study: StudyProtocol | None = None
) -> VerifiedReceipt:
    """Check a receipt with nothing but the federation file, and the study if at hand. No network.

    Raises:
        ReceiptError: a node is missing or attests twice, nodes contradict each other, or the request is another.
        SignatureError: an attestation or the request is not signed by the key it needs.
        FederationMismatch: a run of another federation.
    """
    attestations = _attestations(federation, receipt.attestations)
    first = attestations[0]
    if first.federation != federation.digest:
        raise FederationMismatch(
            f"the receipt is of federation {first.federation[:12]}, not of {federation.digest[:12]}"
        )
    _check_agreement(attestations)
    _check_request(receipt.request, first, study)
    return VerifiedReceipt(
        nodes=tuple(one.node for one in attestations),
        sealed_outputs={one.node: one.sealed_output for one in attestations},
        **{name: getattr(first, name) for name in SHARED_CLAIMS},
    )


def _attestations(federation: Federation, envelopes: Sequence[Envelope]) -> list[RunAttestation]:
    """The attestations in the order of the federation's nodes, each signed by its node."""
    found: dict[str, RunAttestation] = {}
    for envelope in envelopes:
        claimed = peek_document(envelope, RunAttestation)
        try:
            key = federation.node(claimed.node).identity_key
        except DocumentError as error:
            raise ReceiptError(
                f"attested by {claimed.node!r}, which is no node of this federation"
            ) from error
        if claimed.node in found:
            raise ReceiptError(f"node {claimed.node} attests twice")
        found[claimed.node] = open_document(envelope, RunAttestation, by=key)
    missing = [node.id for node in federation.nodes if node.id not in found]
    if missing:
        raise ReceiptError(
            f"no attestation by {', '.join(missing)}; a result without every node's is not valid"
        )
    return [found[node.id] for node in federation.nodes]


def _check_agreement(attestations: Sequence[RunAttestation]) -> None:
    first = attestations[0]
    for other in attestations[1:]:
        for name in SHARED_CLAIMS:
            if getattr(other, name) != getattr(first, name):
                raise ReceiptError(f"nodes {first.node} and {other.node} contradict each other about {name}")


def _check_request(envelope: Envelope, attested: RunAttestation, study: StudyProtocol | None) -> None:
    claimed = peek_document(envelope, RunRequest)
    request = open_document(envelope, RunRequest, by=claimed.requester_key)
    said = (request.run_id, request.study_digest, request.analysis, request.recipient)
    if said != (attested.run_id, attested.study_digest, attested.analysis, attested.recipient):
        raise ReceiptError(
            f"the nodes attest run {attested.run_id[:12]}, the request is {request.run_id[:12]}"
        )
    if study is None:
        return
    if study.digest != attested.study_digest:
        raise ReceiptError(
            f"the receipt is of study {attested.study_digest[:12]}, not of {study.digest[:12]}"
        )
    if study.recipient(request.recipient).signing_key != request.requester_key:
        raise SignatureError(f"the request is not signed by recipient {request.recipient} of the study")
