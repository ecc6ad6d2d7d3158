"""Tables that nodes make of all hospitals' shares once, and keep as shares for the runs that follow.

A kept table is of one analysis, one set of uploads and one hospital that receives answers. It is used only if every node holds
the same shares of it as every other holder; else all make it anew. Its file is encrypted under a key made of the keys of all
sites' shares, so that it cannot be read once any of these is destroyed; then the file goes too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from governance.canonical import canonical_json
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Released
from mpc_backend.errors import ShareFormatError
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import UploadRow
from mpc_backend.node.errors import VaultError
from mpc_backend.node.kept import Columns, KeptShares, by_column, exchanged, in_common, told_alike
from mpc_backend.packages import Package
from mpc_backend.session import Session
from mpc_backend.tables import TableSpec
from mpc_backend.transport.base import Transport
from mpc_backend.values import SecretValue

KEPT, MAKE = b"kept", b"make"
NODES = "nodes"
"""The pseudo-site of a table that the nodes made."""

log = structlog.get_logger()


class PublishedTable:
    """The table of one run, at one node."""

    def __init__(
        self,
        core: NodeCore,
        study: StudyProtocol,
        request: RunRequest,
        uploads: Mapping[str, UploadRow],
        released: Released,
        spec: TableSpec,
    ) -> None:
        self._core, self._study, self._spec = core, study, spec
        folder = core.directory.published
        self._shares = KeptShares(core, folder, study.digest, study.protocol, tuple(uploads))
        named = {
            "analysis": request.analysis,
            "parameters": request.parameters,
            "sites": {site: upload.manifest_digest for site, upload in uploads.items()},
            "receiving": list(released.receiving_sites),
            "software": core.software,
        }
        self._name = f"{study.digest}.{hashlib.sha256(canonical_json(named)).hexdigest()}"

    def kept(self, transport: Transport) -> Columns | None:
        """This node's encoded shares by column, if all nodes hold the same table; None: it is to be made.

        Raises:
            ProtocolAbort: nodes were told different things.
        """
        package = self._read()
        digests = {} if package is None else package.digests()
        common = {
            peer: canonical_json(in_common(self._study.protocol, peer, digests)) for peer in transport.peers
        }
        alike = exchanged(transport, common) == common
        own = KEPT if package is not None and alike else MAKE
        verdicts = {
            self._core.index: own,
            **exchanged(transport, dict.fromkeys(transport.peers, own)),
        }
        # A node that says one thing here and another there would have some load and others compute.
        told_alike(self._core, transport, verdicts, "the kept table")
        if package is None or any(verdict != KEPT for verdict in verdicts.values()):
            return None
        return by_column(package)

    def keep(self, session: Session, columns: Mapping[str, SecretValue]) -> None:
        """Write this node's shares, masked anew, in place of any that were there. Runs the verification barrier first.

        Raises:
            VaultError: a site's shares were destroyed meanwhile.
        """
        self._shares.write(self._name, self._spec.name, session.export_shares(columns))
        self._core.record("table kept", study=self._study.digest, table=self._name.partition(".")[2])

    def _read(self) -> Package | None:
        for file in self._files():
            try:
                return self._shares.read(file)
            except (VaultError, ShareFormatError) as error:
                log.warning("kept table not readable, made anew", file=file.name, why=str(error))
        return None

    def _files(self) -> list[Path]:
        return self._shares.files(self._name)


def with_table(
    inputs: Mapping[str, Any], spec: TableSpec, columns: Mapping[str, SecretValue]
) -> dict[str, Any]:
    """The inputs of a computation with the table among them."""
    return {**inputs, spec.name: {NODES: columns}}
