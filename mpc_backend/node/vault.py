"""Shares at rest: one data encryption key per study and site, wrapped by the node's own key; destroying it is
deletion.

A file's key is HKDF-SHA256(site key, upload id), so no two files share one; it is encrypted in chunks with
AES-256-GCM whose nonce is the chunk's number and whose associated data name the upload, the chunk and whether
it is the last.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.orm import Session

from mpc_backend.node.database import SiteKeyRow
from mpc_backend.node.errors import NodeSetupError, VaultError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
CHUNK_BYTES = 4 * 1024 * 1024


class Vault:
    """Encrypts and decrypts the files of the share store; see the module docstring."""

    def __init__(self, key_file: Path) -> None:
        """Raises:
        NodeSetupError: the key encryption key is absent or not 32 bytes.
        """
        try:
            kek = key_file.read_bytes()
        except OSError as error:
            raise NodeSetupError(
                f"{key_file}: cannot read the key encryption key: {error.strerror}"
            ) from error
        if len(kek) != KEY_BYTES:
            raise NodeSetupError(f"{key_file}: expected a key of {KEY_BYTES} bytes, found {len(kek)}")
        self._kek = AESGCM(kek)

    def site_key(self, session: Session, study: str, site: str) -> bytes:
        """The data encryption key of a site's shares in a study; made when first asked for."""
        row = session.get(SiteKeyRow, (study, site))
        if row is not None:
            return self._unwrap(row)
        key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        wrapped = nonce + self._kek.encrypt(nonce, key, _owner(study, site))
        session.add(SiteKeyRow(study=study, site=site, wrapped=wrapped))
        return key

    def existing_key(self, session: Session, study: str, site: str) -> bytes:
        """The data encryption key of shares that should be there.

        Raises:
            VaultError: it was destroyed.
        """
        row = session.get(SiteKeyRow, (study, site))
        if row is None:
            raise VaultError(f"the shares of {site} in study {study[:12]} were destroyed")
        return self._unwrap(row)

    def _unwrap(self, row: SiteKeyRow) -> bytes:
        try:
            nonce, wrapped = row.wrapped[:NONCE_BYTES], row.wrapped[NONCE_BYTES:]
            return self._kek.decrypt(nonce, wrapped, _owner(row.study, row.site))
        except InvalidTag as error:
            raise VaultError(
                f"the key of {row.site}'s shares in study {row.study[:12]} does not open with this node's "
                "key encryption key"
            ) from error

    @staticmethod
    def destroy(session: Session, study: str, site: str) -> bool:
        """Destroy the key of a site's shares in a study; False if there was none."""
        row = session.get(SiteKeyRow, (study, site))
        if row is None:
            return False
        session.delete(row)
        return True


def write_encrypted(path: Path, key: bytes, upload_id: str, parts: Iterable[bytes | memoryview]) -> None:
    """Encrypt ``parts``, joined, into a new file that is on disk when this returns."""
    cipher = _file_cipher(key, upload_id)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        chunks = rechunk(parts, CHUNK_BYTES)
        number, chunk = 0, next(chunks, b"")
        for following in chunks:
            stream.write(cipher.encrypt(_nonce(number), chunk, _place(upload_id, number, last=False)))
            number, chunk = number + 1, following
        stream.write(cipher.encrypt(_nonce(number), chunk, _place(upload_id, number, last=True)))
        stream.flush()
        os.fsync(stream.fileno())


def read_encrypted(path: Path, key: bytes, upload_id: str) -> bytearray:
    """The whole plaintext of a file written by `write_encrypted`.

    Raises:
        VaultError: absent, cut short, changed, or encrypted under another key.
    """
    cipher = _file_cipher(key, upload_id)
    plain = bytearray()
    try:
        with path.open("rb") as stream:
            for number, (chunk, last) in enumerate(_stored_chunks(stream)):
                plain += cipher.decrypt(_nonce(number), chunk, _place(upload_id, number, last=last))
    except OSError as error:
        raise VaultError(f"{path.name}: the share file cannot be read: {error.strerror}") from error
    except InvalidTag as error:
        raise VaultError(
            f"{path.name}: the share file was changed, cut short or belongs to another key"
        ) from error
    return plain


def rechunk(parts: Iterable[bytes | memoryview], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of ``size``; the last may be shorter."""
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def _stored_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    chunk = stream.read(CHUNK_BYTES + TAG_BYTES)
    while True:
        following = stream.read(CHUNK_BYTES + TAG_BYTES)
        yield chunk, not following
        if not following:
            return
        chunk = following


def _file_cipher(key: bytes, upload_id: str) -> AESGCM:
    info = b"tessera/vault/1 " + upload_id.encode()
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key))


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _place(upload_id: str, number: int, *, last: bool) -> bytes:
    return f"{upload_id}/{number}/{'last' if last else 'more'}".encode()


def _owner(study: str, site: str) -> bytes:
    return f"{study}/{site}".encode()
