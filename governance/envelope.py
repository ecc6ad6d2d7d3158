"""Signatures around documents: DSSE envelopes (Dead Simple Signing Envelope, protocol v1).

A signature covers the payload's type and its exact bytes, so a document signed as one kind is never accepted
as another: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in ASCII decimal.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from governance.document import Document, Part
from governance.errors import DocumentError, SignatureError
from governance.keys import SigningKey, key_id, verify_signature

D = TypeVar("D", bound=Document)

LONGEST_KEY_ID = 64
"""Characters of a `Signature.keyid`; our own have 16."""


def _base64(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != value:
        raise ValueError("not base64 in its one canonical spelling")
    return value


Base64 = Annotated[str, AfterValidator(_base64)]


class Signature(Part):
    """One signature; ``keyid`` is a hint (see `governance.keys.key_id`), trust comes from the key the
    verifier holds."""

    keyid: Annotated[str, Field(max_length=LONGEST_KEY_ID)]
    sig: Base64


class Envelope(Document):
    """A payload with its signatures; field names are those of the DSSE specification."""

    payloadType: str
    payload: Base64
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=64)]

    @property
    def body(self) -> bytes:
        """The payload's bytes, not yet trusted."""
        return base64.b64decode(self.payload)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Who claims to have signed."""
        return tuple(signature.keyid for signature in self.signatures)


def pre_authentication_encoding(payload_type: str, body: bytes) -> bytes:
    """The bytes that are signed (PAE of the DSSE specification)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign_envelope(payload_type: str, body: bytes, *keys: SigningKey) -> Envelope:
    """Wrap and sign with every key given, at least one."""
    return Envelope(
        payloadType=payload_type,
        payload=base64.b64encode(body).decode(),
        signatures=tuple(_signature(key, payload_type, body) for key in keys),
    )


def add_signature(envelope: Envelope, key: SigningKey) -> Envelope:
    """The same envelope with one more signature over the same bytes."""
    added = _signature(key, envelope.payloadType, envelope.body)
    return envelope.model_copy(update={"signatures": (*envelope.signatures, added)})


def open_envelope(envelope: Envelope, payload_type: str, *, by: str) -> bytes:
    """The payload, after checking that it has this type and that the public key ``by`` signed it.

    Raises:
        SignatureError: another type, no signature by this key, or one that does not verify.
    """
    if envelope.payloadType != payload_type:
        raise SignatureError(f"expected a signed {payload_type}, found {envelope.payloadType!r}")
    wanted = key_id(by)
    message = pre_authentication_encoding(envelope.payloadType, envelope.body)
    for signature in envelope.signatures:
        if signature.keyid == wanted:
            verify_signature(by, message, base64.b64decode(signature.sig))
            return envelope.body
    found = ", ".join(envelope.key_ids)
    raise SignatureError(f"{payload_type}: no signature by key {wanted}; signed by {found}")


def sign_document(document: Document, *keys: SigningKey) -> Envelope:
    """Sign a document's canonical bytes under its own payload type."""
    return sign_envelope(document.payload_type, document.canonical(), *keys)


def peek_document(envelope: Envelope, kind: type[D]) -> D:
    """Read a document **before** trusting it, to learn whose signature it needs; `open_document` must follow."""
    if envelope.payloadType != kind.payload_type:
        raise DocumentError(f"expected {kind.payload_type}, found {envelope.payloadType!r}")
    return kind.from_canonical(envelope.body)


def open_document(envelope: Envelope, kind: type[D], *, by: str) -> D:
    """The document inside, after its signature by ``by`` and its form were checked.

    Raises:
        SignatureError: see `open_envelope`.
        DocumentError: the signed bytes are no such document.
    """
    return kind.from_canonical(open_envelope(envelope, kind.payload_type, by=by))


def _signature(key: SigningKey, payload_type: str, body: bytes) -> Signature:
    raw = key.sign(pre_authentication_encoding(payload_type, body))
    return Signature(keyid=key_id(key.public), sig=base64.b64encode(raw).decode())
