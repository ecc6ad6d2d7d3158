"""One upload, from frozen rows to every node's store.

    frozen -> evaluated -> padded, split, sealed into ``outbox/.ID`` -> renamed to ``outbox/ID`` -> noted in
    the mailbox
    -> sent to each node -> noted as delivered, sealed files deleted

A crash before the mailbox's note leaves a folder nobody refers to, which the next start removes; a crash
after it is resumed with the very same bytes, so that no node ever holds shares of another splitting.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from importlib.metadata import version

from governance.canonical import sha256_hex
from governance.document import utc_text
from governance.envelope import Envelope, sign_document
from governance.federation import Federation
from governance.keys import SigningKey
from governance.manifest import ManifestTable, UploadManifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.planned import PlannedTable
from mpc_backend.tables import Arrays
from site_connector.directory import SiteDirectory, write_new
from site_connector.errors import SiteError
from site_connector.evaluation import opened
from site_connector.leaving import planned
from site_connector.mailbox import Mailbox
from site_connector.sealing import SealedUpload, seal_upload
from site_connector.snapshot import Snapshot, freeze, release, thaw
from site_connector.tables import evaluate_cohorts, local_tables, padded, rows_of


class Uploader:
    """Prepares uploads of one site; sending them is the connector's part."""

    def __init__(
        self, directory: SiteDirectory, federation: Federation, mailbox: Mailbox, key: SigningKey
    ) -> None:
        self._directory, self._federation, self._mailbox, self._key = directory, federation, mailbox, key
        self._settings = directory.settings()

    def prepare(self, study: StudyProtocol, run: RunRequest | None, now: datetime) -> str:
        """Compute, seal and note an upload; returns its id. Approval is checked by the caller.

        Raises:
            AlreadyUploaded: the study, or this run, has one.
            CannotEvaluate: this hospital's data cannot give a table the study asks for.
            NoData: nothing was loaded yet.
        """
        run_id = run.run_id if run else None
        self._mailbox.check_not_uploaded(study.digest, run_id)
        name = run_id or study.digest
        snapshot = freeze(self._directory, name)
        try:
            tables = planned(study, run)
            columns = self._columns(study, run, snapshot, tables)
            sealed = seal_upload(self._federation, study, self._settings.id, tables, columns)
        except SiteError:
            thaw(self._directory, name)
            raise
        shapes = [_shape(table, columns[table.name]) for table in tables]
        manifest = self._manifest(study, run_id, now, snapshot, shapes, sealed)
        self._keep(sealed)
        self.log("upload sealed", now, manifest)
        self._mailbox.add_upload(sealed.upload_id, study.digest, run_id, manifest, now)
        if run is not None:
            release(self._directory, name)
        return sealed.upload_id

    def clean(self) -> None:
        """Remove what a crash left behind: sealed files and snapshots that no upload in the mailbox refers
        to."""
        uploads = self._mailbox.uploads()
        waiting = {one.upload_id for one in uploads if one.state == "prepared"}
        for folder in self._directory.outbox.iterdir():
            if folder.name not in waiting:
                shutil.rmtree(folder)
        used = {one.run or one.study for one in uploads}
        for record in self._directory.snapshots.glob("*.json"):
            if record.stem not in used:
                thaw(self._directory, record.stem)

    def package(self, upload_id: str, node: str) -> bytes:
        """The sealed package for one node."""
        return (self._directory.outbox / upload_id / node).read_bytes()

    def finish(self, upload_id: str) -> None:
        """Every node has it: note that and delete the sealed files."""
        self._mailbox.finish_upload(upload_id)
        shutil.rmtree(self._directory.outbox / upload_id, ignore_errors=True)

    def _columns(
        self,
        study: StudyProtocol,
        run: RunRequest | None,
        snapshot: Snapshot,
        tables: tuple[PlannedTable, ...],
    ) -> dict[str, Arrays]:
        with opened(snapshot.database) as connection:
            found = local_tables(study, evaluate_cohorts(connection, study, run), run)
        return {table.name: padded(table, found[table.name]) for table in tables}

    def _manifest(
        self,
        study: StudyProtocol,
        run_id: str | None,
        now: datetime,
        snapshot: Snapshot,
        tables: list[ManifestTable],
        sealed: SealedUpload,
    ) -> Envelope:
        manifest = UploadManifest(
            study_digest=study.digest,
            federation=self._federation.digest,
            run=run_id,
            site=self._settings.id,
            upload_id=sealed.upload_id,
            created_at=now,
            not_after=min(study.validity.not_after, now + timedelta(days=self._settings.upload_days)),
            snapshot=snapshot.commitment,
            tables=tuple(tables),
            shares={str(share): digest for share, digest in sealed.shares.items()},
            sealed={node: sha256_hex(package) for node, package in sealed.packages.items()},
            software=f"tessera-rwe {version('tessera-rwe')}",
        )
        return sign_document(manifest, self._key)

    def _keep(self, sealed: SealedUpload) -> None:
        """Write the sealed packages so that they appear together or not at all."""
        scratch = self._directory.outbox / f".{sealed.upload_id}"
        scratch.mkdir(mode=0o700, parents=True)
        for node, package in sealed.packages.items():
            write_new(scratch / node, package)
        os.replace(scratch, self._directory.outbox / sealed.upload_id)

    def log(self, kind: str, now: datetime, manifest: Envelope) -> None:
        """Append what happened to an upload to the site's ledger."""
        said = UploadManifest.from_canonical(manifest.body)
        with self._directory.ledger() as ledger:
            ledger.append(
                {
                    "kind": kind,
                    "at": utc_text(now),
                    "study": said.study_digest,
                    "run": said.run or "",
                    "upload": said.upload_id,
                    "manifest": said.digest,
                    "tables": [f"{one.analysis}/{one.name}: {one.rows} rows" for one in said.tables],
                }
            )


def _shape(table: PlannedTable, columns: Arrays) -> ManifestTable:
    names = tuple(column.name for column in table.spec.columns)
    return ManifestTable(analysis=table.analysis, name=table.spec.name, rows=rows_of(columns), columns=names)
