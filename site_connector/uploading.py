"""One upload, from frozen rows to every node's store.

    frozen -> evaluated -> padded, split, sealed into ``outbox/.ID`` -> renamed to ``outbox/ID``
    -> noted in the mailbox -> sent to each node -> noted as delivered, sealed files deleted

A crash before the mailbox's note leaves a folder nobody refers to, which the next start removes; a crash
after it is resumed with the very same bytes, so that no node ever holds shares of another splitting.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime

from governance.document import utc_text
from governance.envelope import Envelope
from governance.errors import GovernanceError
from governance.federation import Federation
from governance.files import write_new
from governance.keys import SigningKey
from governance.manifest import UploadManifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.client.sharing import Upload, share_upload
from mpc_backend.errors import EngineError
from site_connector.directory import SiteDirectory
from site_connector.errors import CannotEvaluate, EvaluationFailed, SiteError
from site_connector.evaluated import Evaluated
from site_connector.evaluation import opened
from site_connector.faults import where_from
from site_connector.linked import recognition
from site_connector.mailbox import Mailbox
from site_connector.snapshot import Snapshot, freeze, release, thaw
from site_connector.tables import evaluate_cohorts, local_tables


class Uploader:
    """Prepares uploads of one site; sending them is the connector's part."""

    def __init__(
        self,
        directory: SiteDirectory,
        federation: Federation,
        mailbox: Mailbox,
        key: SigningKey,
        evaluated: Evaluated,
    ) -> None:
        self._directory, self._federation, self._mailbox, self._key = directory, federation, mailbox, key
        self._evaluated = evaluated
        self._site = directory.settings().id

    def prepare(self, study: StudyProtocol, run: RunRequest | None, now: datetime) -> str:
        """Compute, seal and note an upload; returns its id. Approval is checked by the caller.

        Raises:
            AlreadyUploaded: the study, or this run, has one.
            UploadRefused: it had one, which was given up.
            CannotEvaluate: this hospital's data cannot give a table the study asks for.
            EvaluationFailed: an error nobody foresaw; by its type and place.
            NoData: nothing was loaded yet.
        """
        run_id = run.run_id if run else None
        self._mailbox.check_not_uploaded(study.digest, run_id)
        name = run_id or study.digest
        snapshot = freeze(self._directory, name)
        try:
            upload = self._shared(study, run, snapshot, now)
        except (SiteError, EngineError, GovernanceError) as error:
            thaw(self._directory, name)
            raise CannotEvaluate(str(error)) from error
        except Exception as error:
            thaw(self._directory, name)
            raise EvaluationFailed(f"computing the tables failed: {where_from(error)}") from error
        upload_id = UploadManifest.from_canonical(upload.manifest.body).upload_id
        self._keep(upload_id, upload)
        self.log("upload sealed", now, upload.manifest)
        self._mailbox.add_upload(upload_id, study.digest, run_id, upload.manifest, now)
        if run is not None:
            release(self._directory, name)
        return upload_id

    def clean(self) -> None:
        """Remove what a crash left behind: sealed files and snapshots that no upload in the mailbox refers to."""
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

    def give_up(self, upload_id: str, reason: str, now: datetime) -> None:
        """It will never be delivered: note why and delete the sealed files."""
        self._mailbox.refuse_upload(upload_id, reason, now)
        shutil.rmtree(self._directory.outbox / upload_id, ignore_errors=True)

    def _shared(
        self, study: StudyProtocol, run: RunRequest | None, snapshot: Snapshot, now: datetime
    ) -> Upload:
        data = None if run else self._evaluated.take(study.digest, snapshot.load)
        if data is None:
            with opened(snapshot.database) as connection:
                data = evaluate_cohorts(connection, study, run, recognition(self._directory, study))
        tables = local_tables(study, data, run)
        return share_upload(
            self._federation,
            study,
            self._site,
            tables,
            key=self._key,
            snapshot=snapshot.commitment,
            now=now,
            run=run,
            data=snapshot.data,
        )

    def _keep(self, upload_id: str, upload: Upload) -> None:
        """Write the sealed packages so that they appear together or not at all."""
        scratch = self._directory.outbox / f".{upload_id}"
        scratch.mkdir(mode=0o700, parents=True)
        for node, package in upload.sealed.items():
            write_new(scratch / node, package)
        os.replace(scratch, self._directory.outbox / upload_id)

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
