"""Tables that nodes make of all hospitals' shares once, and keep as shares for the runs that follow.

A kept table is of one analysis, one set of uploads and one hospital that receives answers. It is used only if every node holds
the same shares of it as every other holder; else all make it anew. Its file is encrypted under a key made of the keys of all
sites' shares, so that it cannot be read once any of these is destroyed; then the file goes too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.canonical import canonical_json
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Released
from mpc_backend.errors import ProtocolAbort, ShareFormatError
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import UploadRow
from mpc_backend.node.errors import VaultError
from mpc_backend.node.vault import KEY_BYTES, read_encrypted, write_encrypted
from mpc_backend.packages import SALT_BYTES, Package, Part, decode_package, encode_package
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import Session
from mpc_backend.tables import TableSpec
from mpc_backend.transport.base import Transport
from mpc_backend.values import SecretValue

KEPT, MAKE = b"kept", b"make"
NODES = "nodes"
"""The pseudo-site of a table that the nodes made."""
NO_SALT = bytes(SALT_BYTES)
"""Digests are shown only to nodes that hold the same share, so that nothing needs to be hidden in them."""

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
        self._sites = sorted(uploads)
        named = {
            "analysis": request.analysis,
            "parameters": request.parameters,
            "sites": {site: upload.manifest_digest for site, upload in uploads.items()},
            "receiving": list(released.receiving_sites),
            "software": core.software,
        }
        self._name = f"{study.digest}.{hashlib.sha256(canonical_json(named)).hexdigest()}"

    def kept(self, transport: Transport) -> dict[str, dict[int, bytes]] | None:
        """This node's encoded shares by column, if all nodes hold the same table; None: it is to be made.

        Raises:
            ProtocolAbort: nodes were told different things.
        """
        package = self._read()
        alike = self._compare(transport, {} if package is None else package.digests())
        verdicts = {self._core.index: KEPT if package is not None and alike else MAKE}
        for peer in transport.peers:
            transport.send(peer, verdicts[self._core.index])
        for peer in transport.peers:
            verdicts[peer] = bytes(transport.receive(peer))
        self._agree(transport, verdicts)
        if package is None or any(verdict != KEPT for verdict in verdicts.values()):
            return None
        found: dict[str, dict[int, bytes]] = {}
        for part in package.parts:
            found.setdefault(part.column, {})[part.share] = bytes(part.data)
        return found

    def _compare(self, transport: Transport, digests: Mapping[int, str]) -> bool:
        """Whether every other holder of a share has the same one."""
        held = layout(self._study.protocol).held
        common = {
            peer: canonical_json(
                {str(share): digests[share] for share in sorted(digests) if share in held[peer]}
            )
            for peer in transport.peers
        }
        for peer in transport.peers:
            transport.send(peer, common[peer])
        theirs = {peer: bytes(transport.receive(peer)) for peer in transport.peers}
        return theirs == common

    def _agree(self, transport: Transport, verdicts: Mapping[int, bytes]) -> None:
        """A node that says one thing here and another there would have some load and others compute."""
        digest = hashlib.sha256(b"|".join(verdicts[index] for index in sorted(verdicts))).digest()
        for peer in transport.peers:
            transport.send(peer, digest)
        for peer in transport.peers:
            if bytes(transport.receive(peer)) != digest:
                raise ProtocolAbort(
                    f"{self._core.names[peer]} was told otherwise of the kept table; ask for a new run"
                )

    def keep(self, session: Session, columns: Mapping[str, SecretValue]) -> None:
        """Write this node's shares, masked anew, in place of any that were there. Runs the verification barrier first."""
        exported = session.export_shares(columns)
        parts = tuple(
            Part(self._spec.name, column, share, data)
            for column, (_, shares) in exported.items()
            for share, data in shares.items()
        )
        salts = dict.fromkeys(layout(self._study.protocol).held[self._core.index], NO_SALT)
        token = secrets.token_hex(16)  # a file's key follows from it: no two files are encrypted under one
        written = self._core.directory.incoming / token
        write_encrypted(written, self._key(), token, [encode_package(Package(salts, parts))])
        old = self._files()
        os.replace(written, self._core.directory.published / f"{self._name}.{token}")
        for file in old:
            file.unlink(missing_ok=True)
        self._drop_if_destroyed()
        self._core.record("table kept", study=self._study.digest, table=self._name.partition(".")[2])

    def _drop_if_destroyed(self) -> None:
        """A site's shares may have been destroyed while its table was being written: the file may not outlive them.

        Raises:
            VaultError: they were.
        """
        try:
            self._key()
        except VaultError:
            forget_tables(self._core.directory.published, self._study.digest)
            raise

    def _read(self) -> Package | None:
        for file in self._files():
            token = file.name.rpartition(".")[2]
            try:
                return decode_package(read_encrypted(file, self._key(), token))
            except (VaultError, ShareFormatError) as error:
                log.warning("kept table not readable, made anew", file=file.name, why=str(error))
        return None

    def _files(self) -> list[Path]:
        return sorted(self._core.directory.published.glob(f"{self._name}.*"))

    def _key(self) -> bytes:
        """From the keys of all sites' shares.

        Raises:
            VaultError: one of them was destroyed.
        """
        with self._core.database.read() as session:
            keys = [self._core.vault.existing_key(session, self._study.digest, site) for site in self._sites]
        made = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"tessera/published/1")
        return made.derive(b"".join(keys))


def forget_tables(folder: Path, study: str) -> None:
    """Remove every kept table of a study."""
    for file in folder.glob(f"{study}.*"):
        file.unlink(missing_ok=True)


def with_table(
    inputs: Mapping[str, Any], spec: TableSpec, columns: Mapping[str, SecretValue]
) -> dict[str, Any]:
    """The inputs of a computation with the table among them."""
    return {**inputs, spec.name: {NODES: columns}}
