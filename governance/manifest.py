"""What a site says it uploaded: shapes and digests, never values, signed by its connector."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from governance.document import Digest, Document, Nonce, Part, Slug, UtcTime, Words, absent
from governance.envelope import Envelope, open_document, peek_document
from governance.errors import DocumentError, Expired, FederationMismatch, ForeignSignature, SignatureError
from governance.federation import Federation
from governance.study import StudyProtocol


class ManifestTable(Part):
    """One uploaded table. ``rows`` is the number after padding: the true number is not in a manifest."""

    analysis: Slug
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    rows: Annotated[int, Field(ge=1)]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]


class DataFacts(Part):
    """What a reader of a result must know about a hospital's data: the day up to which they reach and, in the words of its
    profile, between which days a person counts as observed and which deaths are known."""

    extract_date: date
    observation_period: Annotated[str, Field(min_length=1, max_length=400)]
    death: Annotated[str, Field(min_length=1, max_length=400)]


class UploadManifest(Document):
    """One upload of one site.

    ``run``: the run request it answers, for a feasibility count; None for the one upload of a study.
    ``snapshot``: digest of the frozen database the tables were computed from, salted by the site.
    ``shares``: for each share index, SHA-256(salt || share), the 32-byte salt being sealed to that share's
    holders: an unsalted digest would let one node test guesses of the plaintext.
    ``sealed``: SHA-256 of the ciphertext for each node id.
    ``data``: what results say of the data; None from a connector that does not tell.
    """

    payload_type: ClassVar[str] = "application/vnd.tessera.upload+json"

    study_digest: Digest
    federation: Digest
    run: Digest | None = None
    site: Slug
    upload_id: Nonce
    created_at: UtcTime
    not_after: UtcTime
    snapshot: Digest
    tables: Annotated[tuple[ManifestTable, ...], Field(min_length=1)]
    shares: dict[str, Digest]
    sealed: dict[Slug, Digest]
    software: Words
    data: Annotated[DataFacts | None, Field(exclude_if=absent)] = None


def check_manifest(
    federation: Federation, study: StudyProtocol, envelope: Envelope, now: datetime
) -> UploadManifest:
    """The manifest inside, if the connector of a site of this study signed it for these nodes.

    Whether its tables are those the analyses ask for is checked where the analyses are known.

    Raises:
        ForeignSignature: not signed by the site's connector, for another study, or a site the study does not name.
        FederationMismatch: for another federation.
        Expired: the upload's own time is over.
        DocumentError: malformed, or not sealed to exactly the federation's nodes.
    """
    claimed = peek_document(envelope, UploadManifest)
    if claimed.study_digest != study.digest:
        raise ForeignSignature(
            f"an upload for study {claimed.study_digest[:12]} was offered for {study.digest[:12]}"
        )
    if claimed.site not in study.sites:
        raise ForeignSignature(f"site {claimed.site!r} is not named by study {study.short_name}")
    manifest = _opened(federation, envelope, claimed.site)
    if manifest.federation != federation.digest:
        raise FederationMismatch(f"the upload is for federation {manifest.federation[:12]}")
    if now > manifest.not_after:
        raise Expired(f"upload {manifest.upload_id} of {manifest.site} was valid until {manifest.not_after}")
    if (study.feasibility is None) != (manifest.run is None):
        raise DocumentError("an upload names a run in a feasibility study, and in no other")
    _check_holders(federation, manifest)
    return manifest


def _opened(federation: Federation, envelope: Envelope, site: str) -> UploadManifest:
    try:
        return open_document(envelope, UploadManifest, by=federation.site(site).connector_key)
    except SignatureError as error:
        raise ForeignSignature(f"not signed by the connector of {site}: {error}") from error


def _check_holders(federation: Federation, manifest: UploadManifest) -> None:
    nodes = {node.id for node in federation.nodes}
    if set(manifest.sealed) != nodes:
        raise DocumentError(f"the upload is sealed to {sorted(manifest.sealed)}, expected {sorted(nodes)}")
    indexes = {str(node.index) for node in federation.nodes}
    if set(manifest.shares) != indexes:
        raise DocumentError(
            f"the upload commits to shares {sorted(manifest.shares)}, expected {sorted(indexes)}"
        )
