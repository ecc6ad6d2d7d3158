"""Shares that nodes make themselves and keep beside those of uploads, and how nodes compare what they keep.

Each is one file, encrypted under a key made of the keys of all sites' shares that it follows from, so that it cannot be read
once any of these is destroyed; then the file goes too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.canonical import canonical_json
from mpc_backend.errors import ProtocolAbort
from mpc_backend.node.core import NodeCore
from mpc_backend.node.errors import VaultError
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.node.vault import KEY_BYTES, read_encrypted, write_encrypted
from mpc_backend.packages import SALT_BYTES, Outputs, Package, Part, decode_package, encode_package
from mpc_backend.protocols.sharing import layout
from mpc_backend.transport.base import Transport

NO_SALT = bytes(SALT_BYTES)
"""Digests are shown only to nodes that hold the same share, so that nothing needs to be hidden in them."""
Columns = dict[str, dict[int, bytes]]
"""This node's encoded shares of a kept table by column."""


@dataclass(frozen=True)
class KeptShares:
    """One kind of kept shares, made of all ``sites``' shares in a study. Names begin with the study's digest and a dot."""

    core: NodeCore
    folder: Path
    study: str
    protocol: str
    sites: Collection[str]

    def write(self, name: str, table: str, exported: Outputs) -> None:
        """Keep this node's shares in place of any of that name.

        Raises:
            VaultError: a site's shares were destroyed meanwhile; nothing made of them is kept then.
        """
        parts = tuple(
            Part(table, column, share, data)
            for column, (_, shares) in exported.items()
            for share, data in shares.items()
        )
        salts = dict.fromkeys(layout(self.protocol).held[self.core.index], NO_SALT)
        token = secrets.token_hex(16)  # a file's key follows from it: no two files are encrypted under one
        written = self.core.directory.incoming / token
        write_encrypted(written, self.key(), token, [encode_package(Package(salts, parts))])
        old = self.files(name)
        os.replace(written, self.folder / f"{name}.{token}")
        for file in old:
            file.unlink(missing_ok=True)
        self._drop_if_destroyed()

    def _drop_if_destroyed(self) -> None:
        """A site's shares may have been destroyed while the file was being written: it may not outlive them."""
        try:
            self.key()
        except VaultError:
            forget_kept(self.core.directory, self.study)
            raise

    def read(self, file: Path) -> Package:
        """What a file holds.

        Raises:
            VaultError, ShareFormatError: it cannot be read.
        """
        return decode_package(read_encrypted(file, self.key(), file.name.rpartition(".")[2]))

    def files(self, name: str) -> list[Path]:
        """The files of that name, or whose names begin with it and a dot."""
        return sorted(self.folder.glob(f"{name}.*"))

    def key(self) -> bytes:
        """From the keys of all sites' shares.

        Raises:
            VaultError: one of them was destroyed.
        """
        with self.core.database.read() as session:
            keys = [self.core.vault.existing_key(session, self.study, site) for site in sorted(self.sites)]
        info = b"tessera/" + self.folder.name.encode() + b"/1"
        made = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info)
        return made.derive(b"".join(keys))


def forget_kept(directory: NodeDirectory, study: str) -> None:
    """Remove everything that was made of a study's shares."""
    for folder in (directory.published, directory.earlier):
        for file in folder.glob(f"{study}.*"):
            file.unlink(missing_ok=True)


def by_column(package: Package) -> Columns:
    """The shares of a kept table as a session takes them in."""
    found: Columns = {}
    for part in package.parts:
        found.setdefault(part.column, {})[part.share] = bytes(part.data)
    return found


def in_common(protocol: str, peer: int, digests: Mapping[int, str]) -> dict[str, str]:
    """Of this node's digests by share, those of shares that the peer holds too: what may be shown to it."""
    held = layout(protocol).held[peer]
    return {str(share): digests[share] for share in sorted(digests) if share in held}


def exchanged(transport: Transport, messages: Mapping[int, bytes]) -> dict[int, bytes]:
    """Send each peer its message, and hear one from each."""
    for peer in transport.peers:
        transport.send(peer, messages[peer])
    return {peer: bytes(transport.receive(peer)) for peer in transport.peers}


def told_alike(core: NodeCore, transport: Transport, said: Mapping[int, bytes], of: str) -> None:
    """Whether every node heard the same from every node; ``of``: what about, for people.

    Raises:
        ProtocolAbort: one of them says one thing here and another there, or another node lies about that.
    """
    heard = canonical_json([hashlib.sha256(said[index]).hexdigest() for index in sorted(said)])
    for peer, theirs in exchanged(transport, dict.fromkeys(transport.peers, heard)).items():
        if theirs != heard:
            raise ProtocolAbort(f"{core.names[peer]} was told otherwise of {of}; ask for a new run")
