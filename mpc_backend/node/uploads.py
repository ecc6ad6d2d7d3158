"""A site's upload: streamed to disk, checked against its signed manifest and the study, then encrypted at rest.

The body is ``length of the envelope (4 bytes, little-endian) | signed manifest, canonical JSON | sealed
package``. Nothing is kept unless everything holds; what was written meanwhile is removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from governance.envelope import Envelope, peek_document
from governance.errors import Withdrawn
from governance.manifest import UploadManifest, check_manifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import OPEN_STATES, RunRow, UploadRow, utc_now
from mpc_backend.node.errors import Refusal
from mpc_backend.node.settings import MIB
from mpc_backend.node.studies import find_study, standing_of
from mpc_backend.node.vault import write_encrypted
from mpc_backend.packages import Package, SealContext, decode_package, unseal_chunks
from mpc_backend.planned import arrange, check_tables, planned_tables
from mpc_backend.protocols.sharing import decode_share, layout, word_type, words_in

LARGEST_MANIFEST = 4 * MIB
_LENGTH_BYTES = 4


class Incoming:
    """One upload on its way in: its manifest's bytes, and the sealed package in a file."""

    def __init__(self, path: Path, cap: int) -> None:
        self.path = path
        self.size = 0
        self.sealed = hashlib.sha256()
        self._cap = cap
        self._lead = bytearray()
        self._wanted = _LENGTH_BYTES
        self._stream = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")  # noqa: SIM115

    @property
    def manifest(self) -> bytes:
        """The signed manifest, once enough has come."""
        return bytes(self._lead[_LENGTH_BYTES:])

    def take_lead(self, piece: bytes) -> bytes:
        """Take in what of the next piece still belongs to the manifest; returns the rest.

        Raises:
            Refusal: the manifest is empty or longer than this node accepts.
        """
        rest = piece
        while rest and len(self._lead) < self._wanted:
            missing = self._wanted - len(self._lead)
            self._lead += rest[:missing]
            rest = rest[missing:]
            if len(self._lead) == _LENGTH_BYTES:
                self._wanted += self._announced()
        return rest

    def take(self, rest: bytes) -> None:
        """Take in the next piece of the sealed package.

        Raises:
            Refusal: longer than this node accepts.
        """
        self.size += len(rest)
        if self.size > self._cap:
            raise Refusal(
                "too-large", f"the upload is larger than the {self._cap // MIB} MiB this node accepts"
            )
        self.sealed.update(rest)
        self._stream.write(rest)

    def _announced(self) -> int:
        length = int.from_bytes(self._lead, "little")
        if not 0 < length <= LARGEST_MANIFEST:
            raise Refusal("malformed", f"the upload announces a manifest of {length} bytes")
        return length

    def finish(self) -> None:
        """No more will come.

        Raises:
            Refusal: the manifest is cut short.
        """
        self._stream.close()
        if len(self._lead) < max(self._wanted, _LENGTH_BYTES + 1):
            raise Refusal("malformed", "the upload ends before its manifest does")

    def discard(self) -> None:
        """Remove what was written."""
        self._stream.close()
        self.path.unlink(missing_ok=True)


async def receive(core: NodeCore, body: AsyncIterator[bytes]) -> Incoming:
    """Stream a request's body into a new file, once the signed manifest at its start permits the upload.

    Raises:
        Refusal, governance.errors.GovernanceError, mpc_backend.analyses.errors.AnalysisError: not permitted, too
            large or cut short; the file is gone then.
    """
    path = core.directory.incoming / secrets.token_hex(16)
    incoming = Incoming(path, core.settings.largest_upload_mib * MIB)
    try:
        permitted = False
        async for piece in body:
            rest = incoming.take_lead(piece)
            if rest and not permitted:
                await run_in_threadpool(_check_permitted, core, incoming.manifest)
                permitted = True
            incoming.take(rest)
        incoming.finish()
    except BaseException:
        incoming.discard()
        raise
    return incoming


def accept(core: NodeCore, incoming: Incoming) -> dict[str, Any]:
    """Check a received upload and keep it; the sealed file is removed either way.

    Raises:
        Refusal, governance.errors.GovernanceError, mpc_backend.errors.EngineError,
        mpc_backend.analyses.errors.AnalysisError: see docs/node.md; nothing is kept then.
    """
    with _discarded(incoming):
        envelope = Envelope.from_canonical(incoming.manifest)
        with core.database.read() as session:
            study, manifest, run = _permitted(core, session, envelope)
        if incoming.sealed.hexdigest() != manifest.sealed[core.entry.id]:
            raise Refusal("shares-mismatch", "the sealed package is not the one the manifest was signed for")
        package = _opened(core, study, manifest, run, incoming.path)
        _keep(core, manifest, envelope, package, incoming.size)
    core.metrics.uploads.inc()
    core.metrics.upload_bytes.inc(incoming.size)
    facts = {"study": manifest.study_digest, "site": manifest.site, "upload": manifest.upload_id}
    core.record("upload accepted", **facts, manifest=manifest.digest, run=manifest.run or "")
    return {"upload_id": manifest.upload_id, "site": manifest.site, "manifest": manifest.digest}


def _check_permitted(core: NodeCore, manifest: bytes) -> None:
    with core.database.read() as session:
        _permitted(core, session, Envelope.from_canonical(manifest))


@contextmanager
def _discarded(incoming: Incoming) -> Iterator[None]:
    try:
        yield
    finally:
        incoming.discard()


def _permitted(
    core: NodeCore, session: Session, envelope: Envelope
) -> tuple[StudyProtocol, UploadManifest, RunRequest | None]:
    """Whether this site may upload this now; every signature is checked."""
    claimed = peek_document(envelope, UploadManifest)
    study = find_study(session, claimed.study_digest)
    manifest = check_manifest(core.federation, study, envelope, utc_now())
    _refuse_withdrawn(core, session, study, manifest.site)
    refuse_duplicate(session, manifest)
    run = None if manifest.run is None else _open_run(session, study, manifest.run)
    check_tables(planned_tables(study, run), manifest.tables)
    return study, manifest, run


def _refuse_withdrawn(core: NodeCore, session: Session, study: StudyProtocol, site: str) -> None:
    if site not in standing_of(core, session, study).sites:
        raise Withdrawn(f"{site} has withdrawn from study {study.short_name}; its uploads are refused")


def refuse_duplicate(session: Session, manifest: UploadManifest) -> None:
    """Refuse a second upload for the same study (or run) and site.

    Raises:
        Refusal: says which upload is there.
    """
    where = (UploadRow.study == manifest.study_digest, UploadRow.site == manifest.site)
    row = session.scalar(select(UploadRow).where(*where, UploadRow.run == (manifest.run or "")))
    if row is not None:
        for_what = f"run {manifest.run[:12]}" if manifest.run else f"study {manifest.study_digest[:12]}"
        when = f"{row.received_at:%Y-%m-%d %H:%M}Z"
        raise Refusal(
            "duplicate-upload",
            f"{manifest.site} has uploaded for {for_what} already (upload {row.upload_id}, {when}); shares "
            "of a study never change, an amended study takes a new upload",
            upload_id=row.upload_id,
            manifest=row.manifest_digest,
        )
    if session.get(UploadRow, manifest.upload_id) is not None:
        raise Refusal(
            "duplicate-upload", f"upload id {manifest.upload_id} was used before; make a new upload"
        )


def _open_run(session: Session, study: StudyProtocol, run_id: str) -> RunRequest:
    row = session.get(RunRow, run_id)
    if row is None or row.study != study.digest:
        raise Refusal("unknown-run", f"the upload is for run {run_id[:12]}, which this node does not have")
    if row.state not in OPEN_STATES:
        raise Refusal("not-permitted", f"run {run_id[:12]} is {row.state}; it takes no more uploads")
    return peek_document(Envelope.from_canonical(row.request), RunRequest)


def _opened(
    core: NodeCore, study: StudyProtocol, manifest: UploadManifest, run: RunRequest | None, path: Path
) -> bytearray:
    """The package, once its salted digests, tables and share lengths are those of the manifest."""
    context = SealContext(study.digest, manifest.site, core.entry.id, manifest.upload_id)
    plain = unseal_chunks(path.read_bytes(), core.sealing, context)
    package = decode_package(plain)
    check_digests(core, package, manifest)
    planned = planned_tables(study, run)
    rows = check_tables(planned, manifest.tables)
    held = layout(study.protocol).held[core.index]
    encoded = arrange(planned, package.parts, held)
    for table in planned:
        for column in table.spec.columns:
            for share in held:
                count = words_in(column, rows[table.name])
                decode_share(encoded[table.name][column.name][share], count, word_type(column))
    return plain


def check_digests(core: NodeCore, package: Package, manifest: UploadManifest) -> None:
    """Whether the shares of a package are those its site signed for.

    Raises:
        Refusal: a share is missing or another one.
    """
    held = set(layout(core.federation.protocol).held[core.index])
    digests = package.digests()
    if set(digests) != held:
        raise Refusal(
            "shares-mismatch",
            f"{core.entry.id} holds shares {sorted(held)}, the package has {sorted(digests)}",
        )
    for share, digest in digests.items():
        if manifest.shares[str(share)] != digest:
            raise Refusal(
                "shares-mismatch",
                f"share {share} of {manifest.site} is not the one its manifest was signed for; make a new upload",
            )


def _keep(core: NodeCore, manifest: UploadManifest, envelope: Envelope, plain: bytearray, size: int) -> None:
    """Encrypt at rest and remember, in one step."""
    final = core.directory.shares / manifest.upload_id
    scratch = core.directory.incoming / f"{manifest.upload_id}.enc"
    try:
        with core.database.write() as session:
            refuse_duplicate(session, manifest)
            _refuse_withdrawn(core, session, find_study(session, manifest.study_digest), manifest.site)
            key = core.vault.site_key(session, manifest.study_digest, manifest.site)
            write_encrypted(scratch, key, manifest.upload_id, [memoryview(plain)])
            session.add(
                UploadRow(
                    upload_id=manifest.upload_id,
                    study=manifest.study_digest,
                    site=manifest.site,
                    run=manifest.run or "",
                    manifest_digest=manifest.digest,
                    manifest=envelope.canonical(),
                    size=size,
                )
            )
            session.flush()
            scratch.rename(final)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
