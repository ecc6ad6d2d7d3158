"""What a site or a requester sends to one node: its shares of every column, sealed to that node alone.

This is the wire format, without input or output. A package is

    ``TSP1`` | length of the header (4 bytes, little-endian) | header, canonical JSON | parts, one after another

The header gives the salt of every share this node holds and, for each part, the table (``analysis/name``),
column, share index and length. A part is a share as `mpc_backend.protocols.sharing` encodes it. Nodes that
hold the same share get the same parts of it in the planned order, and all of them must find the same digest of
it: SHA-256(``TSD2`` || salt || for each part: table, column, share, part), each item after its length in bytes
(8 bytes, little-endian) and the share's index as 8 bytes. Names are covered, so that no two nodes can be
made to take one share for different columns.

Sealed, a package is cut into chunks; each is ``length (4 bytes, little-endian) | HPKE ciphertext``, whose
context names the study, the sender, the node, the upload and the chunk's place.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from governance.canonical import canonical_json, parse_json
from governance.errors import DocumentError
from governance.keys import SealingKey, seal
from mpc_backend.errors import ShareFormatError
from mpc_backend.session import OutputForm

MAGIC = b"TSP1"
DIGEST_MAGIC = b"TSD2"
OUTPUT_MAGIC = b"TSO1"
SALT_BYTES = 32
CHUNK_BYTES = 8 * 1024 * 1024
LARGEST_CHUNK = CHUNK_BYTES + 4096
_LENGTH_BYTES = 4


@dataclass(frozen=True)
class Part:
    """One encoded share of one column."""

    table: str
    column: str
    share: int
    data: bytes | memoryview


@dataclass(frozen=True)
class Package:
    """All parts one node gets, table by table and column by column, and the salt of each share it holds."""

    salts: Mapping[int, bytes]
    parts: tuple[Part, ...]

    def digests(self) -> dict[int, str]:
        """SHA-256 (hex) of each share's salt and parts; see the module docstring."""
        hashes = {share: hashlib.sha256(DIGEST_MAGIC + salt) for share, salt in self.salts.items()}
        for part in self.parts:
            number = part.share.to_bytes(8, "little")
            for item in (part.table.encode(), part.column.encode(), number, part.data):
                hashes[part.share].update(len(item).to_bytes(8, "little"))
                hashes[part.share].update(item)
        return {share: one.hexdigest() for share, one in hashes.items()}


@dataclass(frozen=True)
class SealContext:
    """What a sealed message is bound to.

    Shares: ``sender`` is the site's id, or ``query`` for a requester; ``receiver`` the node's id; ``upload``
    the upload's id or the request's nonce. Outputs: ``sender`` is the node's id, ``receiver`` the
    recipient's, ``upload`` the run's id.
    """

    study: str
    sender: str
    receiver: str
    upload: str

    def info(self, chunk: int, chunks: int) -> bytes:
        """The HPKE context of one chunk."""
        return canonical_json(
            {
                "tessera": "sealed/1",
                "study": self.study,
                "sender": self.sender,
                "receiver": self.receiver,
                "upload": self.upload,
                "chunk": chunk,
                "chunks": chunks,
            }
        )


def new_salt() -> bytes:
    """A fresh salt for one share of one upload."""
    return secrets.token_bytes(SALT_BYTES)


def encode_package(package: Package) -> bytes:
    """The bytes of a package; see the module docstring."""
    header = canonical_json(
        {
            "salts": {str(share): salt.hex() for share, salt in package.salts.items()},
            "parts": [[p.table, p.column, p.share, len(p.data)] for p in package.parts],
        }
    )
    lead = MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header
    return b"".join([lead, *(bytes(part.data) for part in package.parts)])


def decode_package(data: bytes | bytearray | memoryview) -> Package:
    """Read what `encode_package` wrote; parts are views of ``data``.

    Raises:
        ShareFormatError: not of this form, or lengths that do not add up.
    """
    view = memoryview(data)
    start = len(MAGIC) + _LENGTH_BYTES
    if len(view) < start or view[: len(MAGIC)] != MAGIC:
        raise ShareFormatError("the bytes are no package of shares (TSP1)")
    end = start + int.from_bytes(view[len(MAGIC) : start], "little")
    try:
        header = parse_json(bytes(view[start:end]))
        salts = {int(share): _salt(text) for share, text in header["salts"].items()}
        entries = [_entry(entry, salts) for entry in header["parts"]]
    except (DocumentError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShareFormatError("the header of a package of shares is malformed") from error
    if end + sum(length for *_, length in entries) != len(view):
        raise ShareFormatError("the parts of a package are not as long as its header says")
    return Package(salts, tuple(_cut(view, end, entries)))


def _salt(text: str) -> bytes:
    salt = bytes.fromhex(text)
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 32 bytes")
    return salt


def _entry(entry: Any, salts: Mapping[int, bytes]) -> tuple[str, str, int, int]:
    table, column, share, length = entry
    types = (str, str, int, int)
    if tuple(map(type, entry)) != types or length < 0 or share < 0:
        raise ValueError("a part is described by table, column, share, length")
    if share not in salts:
        raise ValueError("a part of a share without a salt")
    return table, column, share, length


def _cut(view: memoryview, place: int, entries: Iterable[tuple[str, str, int, int]]) -> Iterator[Part]:
    for table, column, share, length in entries:
        yield Part(table, column, share, view[place : place + length])
        place += length


def seal_chunks(data: bytes | bytearray, sealing_key: str, context: SealContext) -> bytes:
    """Seal a message of any length to one public key, in chunks; see the module docstring."""
    view = memoryview(data)
    chunks = max(1, -(-len(view) // CHUNK_BYTES))
    sealed = []
    for chunk in range(chunks):
        piece = bytes(view[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES])
        ciphertext = seal(sealing_key, piece, context.info(chunk, chunks))
        sealed += [len(ciphertext).to_bytes(_LENGTH_BYTES, "little"), ciphertext]
    return b"".join(sealed)


def unseal_chunks(sealed: bytes | memoryview, key: SealingKey, context: SealContext) -> bytearray:
    """What `seal_chunks` sealed.

    Raises:
        ShareFormatError: not a sequence of chunks.
        governance.errors.SealError: changed, or sealed to another key or for another purpose.
    """
    pieces = list(_chunks(memoryview(sealed)))
    plain = bytearray()
    for chunk, piece in enumerate(pieces):
        plain += key.unseal(bytes(piece), context.info(chunk, len(pieces)))
    return plain


def _chunks(sealed: memoryview) -> Iterator[memoryview]:
    place = 0
    while place < len(sealed):
        start = place + _LENGTH_BYTES
        length = int.from_bytes(sealed[place:start], "little")
        if length > LARGEST_CHUNK or start + length > len(sealed):
            raise ShareFormatError("a sealed package is cut short or its chunks are malformed")
        yield sealed[start : start + length]
        place = start + length


Outputs = Mapping[str, tuple[OutputForm, Mapping[int, bytes]]]
"""One node's shares of a run's outputs: by name, the public form and the encoded shares."""


def encode_outputs(outputs: Outputs) -> bytes:
    """One node's shares of all outputs of a run.

    Layout: ``TSO1`` | length of the header (4 bytes, little-endian) | header, canonical JSON: a list of
    ``[name, kind, shape, ring, scale, [[share, length], ...]]`` | shares in that order.
    """
    header, data = [], []
    for name, (form, shares) in outputs.items():
        lengths = [[share, len(shares[share])] for share in sorted(shares)]
        header.append([name, form.kind, list(form.shape), form.ring, form.scale, lengths])
        data += [shares[share] for share in sorted(shares)]
    head = canonical_json(header)
    return b"".join([OUTPUT_MAGIC, len(head).to_bytes(_LENGTH_BYTES, "little"), head, *data])


def decode_outputs(data: bytes | bytearray) -> dict[str, tuple[OutputForm, dict[int, bytes]]]:
    """What `encode_outputs` wrote.

    Raises:
        ShareFormatError: not of this form, or lengths that do not add up.
    """
    view = memoryview(data)
    start = len(OUTPUT_MAGIC) + _LENGTH_BYTES
    place = start + int.from_bytes(view[len(OUTPUT_MAGIC) : start], "little")
    if view[: len(OUTPUT_MAGIC)] != OUTPUT_MAGIC:
        raise ShareFormatError("the bytes are no output shares (TSO1)")
    outputs = {}
    try:
        for name, kind, shape, ring, scale, lengths in parse_json(bytes(view[start:place])):
            shares = {}
            for share, length in lengths:
                shares[int(share)] = bytes(view[place : place + length])
                place += length
            outputs[str(name)] = (OutputForm(kind, tuple(map(int, shape)), int(ring), int(scale)), shares)
    except (DocumentError, ValueError, TypeError) as error:
        raise ShareFormatError("the header of output shares is malformed") from error
    if place != len(view):
        raise ShareFormatError("output shares are not as long as their header says")
    return outputs
