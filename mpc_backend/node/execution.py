"""One run at one node, from connected links to a released result: agree keys, load shares, compute, attest, release.

Nothing is released unless every node attests the same run and confirms that it holds every node's attestation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from governance.canonical import canonical_json
from governance.envelope import Envelope, open_document, sign_document
from governance.errors import GovernanceError
from governance.files import write_new
from governance.receipt import SHARED_CLAIMS, LogPosition, RunAttestation
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Analysis, Inputs, Parameters, Released, rows_of
from mpc_backend.analyses.registry import resolve
from mpc_backend.errors import ProtocolAbort
from mpc_backend.keys import JobBinding, agree_keys
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import ResultRow, UploadRow, utc_now
from mpc_backend.node.earlier import EarlierAnswers
from mpc_backend.node.loading import facts_of, load_inputs, open_query
from mpc_backend.node.published import PublishedTable, with_table
from mpc_backend.node.rendezvous import RunTerms
from mpc_backend.node.runs import charge_run, uploads_for
from mpc_backend.node.studies import standing_of
from mpc_backend.packages import Package, SealContext, encode_outputs, seal_chunks
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import OutputForm, Session
from mpc_backend.shards import Shards
from mpc_backend.transport.tls import TlsTransport

Progress = Callable[[str, float], None]
ExportedShares = dict[str, tuple[OutputForm, dict[int, bytes]]]
COMPUTE_SHARE = 0.9
"""Fraction of the progress bar that the computation itself takes."""


@dataclass(frozen=True)
class Job:
    """What one run is, as this node checked it."""

    study: StudyProtocol
    request: RunRequest
    terms: RunTerms
    charged: int
    workers: int
    uploads: dict[str, UploadRow]


class Execution:
    """One run over connected links; `run` leaves the result ready to hand out."""

    def __init__(
        self, core: NodeCore, job: Job, transport: TlsTransport, shards: Shards | None, progress: Progress
    ) -> None:
        self._core = core
        self._job = job
        self._transport = transport
        self._shards = shards
        self._progress = progress
        self._recipient = job.study.recipient(job.request.recipient)

    def run(self) -> None:
        """Do it all.

        Raises:
            ProtocolAbort: a node was lost, deviated, or gave the job up.
            governance.errors.GovernanceError: the run is not permitted any more.
        """
        self._progress("agreeing on keys", 0.0)
        keys = agree_keys(self._core.index, self._binding(), self._transport, self._core.identity.sign)
        charge_run(self._core, self._job.study, self._job.request, self._job.charged)
        query = open_query(self._core, self._job.study, self._job.request)
        if query is not None:
            self._compare_query(query)
        session = Session.for_node(
            self._core.index, self._job.study.protocol, self._transport, keys, self._computing, self._shards
        )
        self._progress("loading shares", 0.02)
        self._release(self._compute(session, query))

    def _binding(self) -> JobBinding:
        terms, federation = self._job.terms, self._core.federation
        inputs = canonical_json(
            {"sites": dict(terms.sites), "charged": self._job.charged, "workers": self._job.workers}
        )
        return JobBinding(
            run=bytes.fromhex(terms.run),
            epoch=int(terms.epoch, 16),
            study=bytes.fromhex(terms.study),
            federation=bytes.fromhex(terms.federation),
            software=bytes.fromhex(terms.software),
            inputs=hashlib.sha256(inputs).digest(),
            certificates=self._core.trusted.fingerprints,
            identities=tuple(node.identity_key for node in federation.nodes),
        )

    def _compare_query(self, query: Package) -> None:
        """All holders of a share of the secret query must hold the same one."""
        held, digests = layout(self._job.study.protocol).held, query.digests()
        common = {
            peer: {str(share): digests[share] for share in sorted(digests) if share in held[peer]}
            for peer in self._transport.peers
        }
        for peer in self._transport.peers:
            self._transport.send(peer, canonical_json(common[peer]))
        for peer in self._transport.peers:
            if bytes(self._transport.receive(peer)) != canonical_json(common[peer]):
                name = self._core.names[peer]
                raise ProtocolAbort(f"{name} holds other shares of the query; the requester should ask anew")

    def _computing(self, label: str, fraction: float) -> None:
        self._progress(label, 0.05 + (COMPUTE_SHARE - 0.05) * min(1.0, max(0.0, fraction)))

    def _compute(self, session: Session, query: Package | None) -> bytes:
        """The analysis on shares; returns this node's output shares, sealed to the recipient."""
        study, request = self._job.study, self._job.request
        analysis, parameters = resolve(study, request.analysis, request.parameters)
        site = self._recipient.site
        released = Released(
            policy=study.disclosure,
            sites=tuple(self._job.terms.sites),
            receiving_sites=(site,) if site in self._job.terms.sites else (),
        )
        inputs = self._inputs(session, query, analysis, parameters, released)
        outputs = self._outputs(session, analysis, parameters, released, inputs)
        data = encode_outputs(outputs)
        context = SealContext(study.digest, self._core.entry.id, request.recipient, request.run_id)
        return seal_chunks(data, self._recipient.sealing_key, context)

    def _outputs(
        self,
        session: Session,
        analysis: Analysis[Any],
        parameters: Parameters,
        released: Released,
        inputs: Inputs,
    ) -> ExportedShares:
        """This node's output shares. Where the analysis holds answers against the requester's earlier ones, these are among
        its inputs, and the record of the new answer is on disk here before anything of it is attested."""
        spec = analysis.remembered(parameters, released, rows_of(inputs))
        if spec is None:
            self._computing("computing", 0.0)
            return session.export_shares(analysis.answer(session, parameters, released, inputs).outputs)
        assert spec.rows is not None  # by the validator of TableSpec
        core, job = self._core, self._job
        answers = EarlierAnswers(core, job.study, job.request, job.uploads)
        earlier = answers.agreed(self._transport)
        records = {run: session.input_shares(spec, spec.rows, columns) for run, columns in earlier.items()}
        self._computing("computing", 0.0)
        answer = analysis.answer(session, parameters, released, {**inputs, spec.name: records})
        record = answer.record or {}
        exported = session.export_shares(
            {**answer.outputs, **{f"{spec.name} {name}": value for name, value in record.items()}}
        )
        answers.keep(spec.name, {name: exported.pop(f"{spec.name} {name}") for name in record})
        return exported

    def _inputs(
        self,
        session: Session,
        query: Package | None,
        analysis: Analysis[Any],
        parameters: Parameters,
        released: Released,
    ) -> Inputs:
        """The sites' tables and the query; where the nodes keep a table made of those, that one in their place."""
        core, job, spec = self._core, self._job, analysis.published(parameters, released)
        if spec is None:
            return load_inputs(core, job.study, job.request, job.uploads, session, query)
        table = PublishedTable(core, job.study, job.request, job.uploads, released, spec)
        kept = table.kept(self._transport)
        uploads = job.uploads if kept is None else {}
        inputs = load_inputs(core, job.study, job.request, uploads, session, query)
        if kept is not None:
            assert spec.rows is not None  # by the validator of TableSpec
            return with_table(inputs, spec, session.input_shares(spec, spec.rows, kept))
        columns = analysis.publish(session, parameters, released, inputs)
        table.keep(session, columns)
        return with_table(inputs, spec, columns)

    # Release

    def _release(self, sealed: bytes) -> None:
        """Attest, gather every node's attestation, and make the result ready once all nodes hold all of them."""
        self._progress("attesting", COMPUTE_SHARE)
        self._check_permission()
        own = self._attestation(hashlib.sha256(sealed).hexdigest())
        envelopes = {self._core.index: sign_document(own, self._core.identity)}
        for peer in self._transport.peers:
            self._transport.send(peer, envelopes[self._core.index].canonical())
        for peer in self._transport.peers:
            envelopes[peer] = self._checked(peer, bytes(self._transport.receive(peer)), own)
        ordered = [envelopes[index] for index in sorted(envelopes)]
        self._store(sealed, own, ordered)
        self._confirm(ordered)

    def _check_permission(self) -> None:
        """Every signature, date and withdrawal once more, as at the start."""
        with self._core.database.read() as session:
            standing = standing_of(self._core, session, self._job.study)
            uploads = uploads_for(session, self._job.study, standing, self._job.request)
        now = {site: upload.manifest_digest for site, upload in uploads.items()}
        if now != dict(self._job.terms.sites):
            gone = sorted(set(self._job.terms.sites) - set(now))
            raise ProtocolAbort(
                f"the sites changed during the run ({', '.join(gone)} withdrew); ask for a new run"
            )

    def _attestation(self, sealed_output: str) -> RunAttestation:
        job, core = self._job, self._core
        size = core.ledger.size
        return RunAttestation(
            node=core.entry.id,
            federation=core.federation.digest,
            study_digest=job.study.digest,
            run_id=job.request.run_id,
            analysis=job.request.analysis,
            recipient=job.request.recipient,
            inputs=dict(job.terms.sites),
            software=core.software,
            sealed_output=sealed_output,
            budget_spent=job.charged,
            finished_at=utc_now(),
            log=LogPosition(size=size, root=core.ledger.root(size)),
            data=facts_of(job.uploads),
            left_out=tuple(site for site in job.study.sites if site not in job.terms.sites),
        )

    def _checked(self, peer: int, message: bytes, own: RunAttestation) -> Envelope:
        """A peer's attestation, if it says what this node says."""
        node = self._core.federation.nodes[peer]
        try:
            envelope = Envelope.from_canonical(message)
            theirs = open_document(envelope, RunAttestation, by=node.identity_key)
        except GovernanceError as error:
            raise ProtocolAbort(f"{node.id} sent no valid attestation: {error}") from error
        wrong = [name for name in SHARED_CLAIMS if getattr(theirs, name) != getattr(own, name)]
        if wrong or theirs.node != node.id:
            raise ProtocolAbort(f"{node.id} attests another {', '.join(wrong) or 'node'} than this node")
        return envelope

    def _store(self, sealed: bytes, own: RunAttestation, attestations: list[Envelope]) -> None:
        """Keep the result; it is handed out only once the run is done."""
        path = self._core.directory.results / own.run_id
        path.unlink(missing_ok=True)
        write_new(path, sealed)
        body = canonical_json([one.model_dump(mode="json") for one in attestations])
        with self._core.database.write() as session:
            session.merge(ResultRow(run_id=own.run_id, sealed_output=own.sealed_output, attestations=body))

    def _confirm(self, attestations: list[Envelope]) -> None:
        """Last round: all nodes hold the same attestations, stored."""
        digest = hashlib.sha256(b"".join(one.canonical() for one in attestations)).digest()
        for peer in self._transport.peers:
            self._transport.send(peer, b"release" + digest)
        for peer in self._transport.peers:
            if bytes(self._transport.receive(peer)) != b"release" + digest:
                raise ProtocolAbort(f"{self._core.names[peer]} holds other attestations than this node")
