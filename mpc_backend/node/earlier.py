"""What a requester was told before: nodes keep the records of answers as shares, and agree on them before the next run.

A record is kept before its run is attested, so that an answer that any node has no record of was never released. A run of
which any node holds all attestations must have left the same record with every node, else the next one is refused: no node can
make the others forget an answer. Records of runs that were never released are left out and removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select

from governance.canonical import canonical_json, parse_json
from governance.envelope import Envelope, peek_document
from governance.errors import DocumentError
from governance.receipt import RunAttestation
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.errors import ProtocolAbort, ShareFormatError
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import ResultRow, RunRow, UploadRow
from mpc_backend.node.errors import VaultError
from mpc_backend.node.kept import Columns, KeptShares, by_column, exchanged, in_common, told_alike
from mpc_backend.packages import Outputs, Package
from mpc_backend.transport.base import Transport

log = structlog.get_logger()
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Known(BaseModel):
    """What one node says it knows of earlier runs: of which it has a record, and which were released."""

    model_config = ConfigDict(extra="forbid")

    held: list[RunId]
    released: list[RunId]

    def message(self) -> bytes:
        """As it is sent."""
        return canonical_json(self.model_dump())

    @classmethod
    def read(cls, node: str, message: bytes) -> Known:
        """What another node sent.

        Raises:
            ProtocolAbort: nothing of the kind.
        """
        try:
            return cls.model_validate(parse_json(message))
        except (ValidationError, DocumentError) as error:
            raise ProtocolAbort(f"{node} sent no list of earlier answers") from error


class EarlierAnswers:
    """One requester's earlier answers by one analysis over one set of uploads, at one node.

    Other uploads have other rows, and their records say nothing of these; so nothing else is in the name. Neither the node's
    software nor the hospital that receives: an answer stays told.
    """

    def __init__(
        self, core: NodeCore, study: StudyProtocol, request: RunRequest, uploads: Mapping[str, UploadRow]
    ) -> None:
        self._core, self._study, self._request = core, study, request
        self._sites = {site: upload.manifest_digest for site, upload in uploads.items()}
        self._shares = KeptShares(
            core, core.directory.earlier, study.digest, study.protocol, tuple(self._sites)
        )
        named = {
            "analysis": request.analysis,
            "sites": [list(pair) for pair in self._sites.items()],  # in the order of their rows
            "requester": request.requester_key,
        }
        self._name = f"{study.digest}.{hashlib.sha256(canonical_json(named)).hexdigest()}"

    def keep(self, table: str, exported: Outputs) -> None:
        """Keep this node's shares of the record of the run that is computed; on disk when this returns.

        Raises:
            VaultError: a site's shares were destroyed meanwhile.
        """
        self._shares.write(f"{self._name}.{self._request.run_id}", table, exported)
        self._core.record("answer remembered", study=self._study.digest, run=self._request.run_id)

    def agreed(self, transport: Transport) -> dict[str, Columns]:
        """This node's encoded shares of every earlier answer that was released, by run, in an order all nodes share.

        Raises:
            ProtocolAbort: a node lacks a record of an answer, holds other shares of it, or says different things.
            VaultError: a site's shares were destroyed meanwhile.
        """
        self._shares.key()
        packages = self._read()
        own = self._known(packages)
        said = exchanged(transport, dict.fromkeys(transport.peers, own.message()))
        told_alike(self._core, transport, {self._core.index: own.message(), **said}, "earlier answers")
        names = self._core.names
        known = {
            self._core.entry.id: own,
            **{names[peer]: Known.read(names[peer], message) for peer, message in said.items()},
        }
        released = sorted({run for one in known.values() for run in one.released})
        _check_held(known, released)
        self._compare(transport, {run: packages[run].digests() for run in released})
        self._remove(set(packages) - set(released))
        return {run: by_column(packages[run]) for run in released}

    def _known(self, packages: Mapping[str, Package]) -> Known:
        return Known(held=sorted(packages), released=sorted(self._released()))

    def _compare(self, transport: Transport, digests: Mapping[str, Mapping[int, str]]) -> None:
        """All holders of a share of a record must hold the same one."""
        common = {
            peer: canonical_json(
                {run: in_common(self._study.protocol, peer, of) for run, of in digests.items()}
            )
            for peer in transport.peers
        }
        for peer, theirs in exchanged(transport, common).items():
            if theirs != common[peer]:
                raise ProtocolAbort(
                    f"{self._core.names[peer]} holds other shares of what this requester was told before than "
                    f"{self._core.entry.id}; {ADVICE}"
                )

    def _read(self) -> dict[str, Package]:
        """Every record here that can be read, by run."""
        found = {}
        for file in self._shares.files(self._name):
            try:
                found[file.name.split(".")[2]] = self._shares.read(file)
            except (VaultError, ShareFormatError) as error:
                log.error("record of an earlier answer not readable", file=file.name, why=str(error))
        return found

    def _released(self) -> list[str]:
        """Runs of which this node holds every node's attestation, over the same uploads."""
        where = (
            RunRow.study == self._study.digest,
            RunRow.analysis == self._request.analysis,
            RunRow.requester_key == self._request.requester_key,
        )
        with self._core.database.read() as session:
            rows = session.execute(
                select(ResultRow.run_id, ResultRow.attestations)
                .join(RunRow, RunRow.run_id == ResultRow.run_id)
                .where(*where)
            ).all()
        return [run for run, attestations in rows if _inputs(attestations) == self._sites]

    def _remove(self, runs: set[str]) -> None:
        for run in runs:
            for file in self._shares.files(f"{self._name}.{run}"):
                file.unlink(missing_ok=True)


ADVICE = (
    "nothing new is told until all nodes have it: its operator can restore the folder 'earlier' from a backup, or the "
    "study can be amended"
)


def _inputs(attestations: bytes) -> dict[str, str]:
    """The uploads of a run, as this node and all others attested them."""
    first = Envelope.model_validate(parse_json(attestations)[0])
    return dict(peek_document(first, RunAttestation).inputs)


def _check_held(known: Mapping[str, Known], released: list[str]) -> None:
    """Whether every node has a record of every answer that was released."""
    for node, one in known.items():
        lacking = sorted(set(released) - set(one.held))
        if lacking:
            raise ProtocolAbort(
                f"{node} has no record of run {lacking[0][:12]}, which this requester was answered; {ADVICE}"
            )
