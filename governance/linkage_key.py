"""Handing the linkage secret from one hospital to all: sealed to each hospital's key, signed by a steward.

The file may travel by any way: nobody but the hospitals opens it, neither nodes nor investigators. A hospital that takes it
checks that a steward of this federation signed it, and that it holds the secret it claims to hold.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from governance.document import Digest, Document, Slug, UtcTime
from governance.envelope import Base64, Envelope, open_document, peek_document, sign_document
from governance.errors import DocumentError, FederationMismatch, ForeignSignature, SealError, SignatureError
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey, seal
from governance.linkage import KeyId, LinkageSecret


class SealedLinkage(Document):
    """The linkage secret ``key`` for the hospitals of a federation: ``sealed`` has one ciphertext for each."""

    payload_type: ClassVar[str] = "application/vnd.tessera.linkage+json"

    tessera: Literal["linkage/1"] = "linkage/1"
    federation: Digest
    site: Slug
    made_at: UtcTime
    key: KeyId
    sealed: Annotated[dict[Slug, Base64], Field(min_length=1)]


def seal_linkage(
    federation: Federation, secret: LinkageSecret, site: str, key: SigningKey, now: datetime
) -> Envelope:
    """Seal the secret to every hospital of the federation. ``key``: the steward's of ``site``, who answers for it.

    Raises:
        DocumentError: a hospital has no sealing key in the federation file; names it.
    """
    lacking = [entry.id for entry in federation.sites if entry.sealing_key is None]
    if lacking:
        raise DocumentError(
            f"federation {federation.name!r} lists no sealing key of {', '.join(lacking)}; `tessera site linkage` there adds "
            "one to its entry, then the members agree on a new federation file"
        )
    sealed = {
        entry.id: base64.b64encode(
            seal(str(entry.sealing_key), secret.reveal(), _context(federation, site, entry.id, secret.id))
        ).decode()
        for entry in federation.sites
    }
    said = SealedLinkage(federation=federation.digest, site=site, made_at=now, key=secret.id, sealed=sealed)
    return sign_document(said, key)


def open_linkage(federation: Federation, envelope: Envelope, site: str, key: SealingKey) -> LinkageSecret:
    """The secret, as ``site`` reads it with its own sealing key.

    Raises:
        ForeignSignature: no steward of this federation signed it.
        FederationMismatch: it was made for another federation file.
        SealError: it holds nothing for this hospital, or another secret than it says.
        DocumentError: malformed.
    """
    claimed = peek_document(envelope, SealedLinkage)
    try:
        said = open_document(envelope, SealedLinkage, by=federation.site(claimed.site).steward_key)
    except SignatureError as error:
        raise ForeignSignature(f"not signed by the steward of {claimed.site}: {error}") from error
    if said.federation != federation.digest:
        raise FederationMismatch(
            f"the linkage key was sealed for federation file {said.federation[:12]}, pinned is {federation.digest[:12]}; ask "
            f"{said.site} to share it again"
        )
    if site not in said.sealed:
        raise SealError(f"the linkage key was sealed to {sorted(said.sealed)}, not to {site}")
    raw = key.unseal(base64.b64decode(said.sealed[site]), _context(federation, said.site, site, said.key))
    secret = LinkageSecret(raw)
    if secret.id != said.key:
        raise SealError(
            f"the file says linkage key {said.key} and holds {secret.id}; ask {said.site} for another"
        )
    return secret


def _context(federation: Federation, sender: str, receiver: str, key: str) -> bytes:
    return f"tessera linkage {federation.digest} {sender} {receiver} {key}".encode()
