"""At the recipient: check that every node vouches for the same run, that copies of shares agree, then open."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.canonical import sha256_hex
from governance.federation import Federation
from governance.keys import SealingKey
from governance.receipt import Receipt, VerifiedReceipt, verify_receipt
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Opened, Released, Result
from mpc_backend.analyses.registry import resolve
from mpc_backend.client.answers import ResultAnswer
from mpc_backend.client.errors import ResultRefused
from mpc_backend.packages import SealContext, decode_outputs, unseal_chunks
from mpc_backend.session import assemble_output


@dataclass(frozen=True)
class OpenedRun:
    """Opened outputs by name (int64, float64 or bool arrays), and the receipt that every node signed."""

    values: Opened
    receipt: Receipt
    verified: VerifiedReceipt


def open_results(
    federation: Federation,
    study: StudyProtocol,
    request: RunRequest,
    delivered: Mapping[str, ResultAnswer],
    key: SealingKey,
) -> OpenedRun:
    """Open a run from what every node delivered (`NodeSet.results`).

    Raises:
        ResultRefused: a node's delivery is missing, or not the one it attested.
        governance.errors.ReceiptError, SignatureError, FederationMismatch: the attestations do not hold.
        governance.errors.SealError: an output was not sealed to this key.
        mpc_backend.errors.ShareMismatch: nodes hold different copies of a share.
    """
    missing = [node.id for node in federation.nodes if node.id not in delivered]
    if missing:
        raise ResultRefused(f"no output of {', '.join(missing)}; a result needs every node's")
    first = next(iter(delivered.values()))
    receipt = Receipt(request=first.request, attestations=first.attestations)
    verified = verify_receipt(federation, receipt, study)
    if verified.run_id != request.run_id:
        raise ResultRefused(
            f"the nodes attest run {verified.run_id[:12]}, asked for was {request.run_id[:12]}"
        )
    by_node = {}
    for node in federation.nodes:
        sealed = base64.b64decode(delivered[node.id].sealed)
        if sha256_hex(sealed) != verified.sealed_outputs[node.id]:
            raise ResultRefused(f"{node.id} delivered another output than it attested")
        context = SealContext(study.digest, node.id, request.recipient, request.run_id)
        by_node[node.index] = decode_outputs(unseal_chunks(sealed, key, context))
    return OpenedRun(_assemble(federation, by_node), receipt, verified)


def _assemble(federation: Federation, by_node: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    forms = {index: {name: form for name, (form, _) in outputs.items()} for index, outputs in by_node.items()}
    first = forms[min(forms)]
    for index, other in forms.items():
        if other != first:
            node = federation.node(index).id
            raise ResultRefused(f"{node} delivered outputs of another form than the other nodes")
    return {
        name: assemble_output(
            federation.protocol, form, {index: outputs[name][1] for index, outputs in by_node.items()}
        )
        for name, form in first.items()
    }


def finish_result(study: StudyProtocol, request: RunRequest, opened: OpenedRun) -> Result:
    """What the recipient reads: everything that follows from the released numbers alone."""
    analysis, parameters = resolve(study, request.analysis, request.parameters)
    sites = tuple(site for site in study.sites if site in opened.verified.inputs)
    at = study.recipient(request.recipient).site
    receiving = (at,) if at in sites else ()
    released = Released(policy=study.disclosure, sites=sites, receiving_sites=tuple(filter(None, receiving)))
    return analysis.finish(parameters, released, opened.values)
