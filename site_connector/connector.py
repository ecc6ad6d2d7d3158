"""The connector's loop. It listens on no port: each round it calls the nodes, and hands over what people signed.

A round: take in what nodes hold, make dry runs, deliver statements, finish uploads under way, start new ones. No node
keeps a round for longer than `site_connector.patience` allows, but for the call under way.
Every step can be repeated; a round that is cut short is taken up by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import structlog

from governance.approval import check_approved, read_statements
from governance.envelope import Envelope, open_document, peek_document
from governance.errors import (
    DatedAhead,
    DocumentError,
    Expired,
    GovernanceError,
    NotPermitted,
    SignatureError,
)
from governance.federation import Federation
from governance.run_request import RunRequest, check_run_request
from governance.study import StudyProtocol
from mpc_backend.analyses.registry import side_by_side
from mpc_backend.client.errors import NodeRefused, NodeUnreachable
from site_connector.directory import SiteDirectory
from site_connector.dry_run import dry_run
from site_connector.errors import (
    AlreadyUploaded,
    CannotEvaluate,
    DecisionRefused,
    EvaluationFailed,
    NoData,
    NodesUnreachable,
    UploadRefused,
)
from site_connector.evaluated import Evaluated
from site_connector.faults import where_from
from site_connector.intake import Intake
from site_connector.leaving import columns_leaving, release_fault
from site_connector.loading import last_report
from site_connector.mailbox import Mailbox
from site_connector.models import DryRun, StudyState, Upload
from site_connector.nodes import NodeLink
from site_connector.patience import Patience
from site_connector.turns import Turns
from site_connector.uploading import Uploader

log = structlog.get_logger()

FINAL_REFUSALS = frozenset({"withdrawn", "not-permitted", "tables-mismatch", "shares-mismatch"})
"""A node's reasons against an upload that sending the same bytes again cannot change. ``expired`` is none: what
has expired by our own clock is not offered, and otherwise the node's clock is wrong."""
NEVER_RAN = frozenset({StudyState.DECLINED, StudyState.DECLINED_ELSEWHERE})
RUN_ARRIVES_WITHIN = timedelta(minutes=10)
"""A run request reaches all nodes within seconds. A node that still does not know it this long after the upload
was prepared never will, so that its refusal is final too."""


class Connector:
    """One hospital's connector; at most one at a time works in a directory."""

    def __init__(
        self,
        directory: SiteDirectory,
        federation: Federation,
        mailbox: Mailbox,
        nodes: Sequence[NodeLink],
        clock: Callable[[], datetime],
    ) -> None:
        self._directory, self._federation, self._mailbox = directory, federation, mailbox
        self._nodes, self._clock = nodes, clock
        settings = directory.settings()
        self._site, self._synthetic = settings.id, settings.synthetic_data
        self._patience = Patience()
        self._turns, self._dry_runs = Turns(), settings.dry_runs_per_round
        self._intake = Intake(federation, self._site, mailbox)
        self._judge_anew = {
            one.digest
            for one in self._intake.studies.values()
            if one.disclosure.release == "exact" or one.linkage is not None
        }
        self._evaluated = Evaluated()
        self._uploader = Uploader(directory, federation, mailbox, directory.connector(), self._evaluated)
        self._uploader.clean()
        self._snapshot = ""
        self._failed: dict[str, str] = {}

    def serve(self, stop: Event, pause: float) -> None:
        """Round after round until ``stop`` is set."""
        log.info("connector started", site=self._site, federation=self._federation.digest)
        while not stop.is_set():
            self.round()
            stop.wait(pause)
        log.info("connector stopped", site=self._site)

    def round(self) -> None:
        """One round; a node that does not answer is noted and met again in the next."""
        now = self._clock()
        self._patience.begin()
        for node in self._nodes:
            self._try(node, partial(self._intake.take, node, now))
        self._patience.begin()
        self._make_dry_runs(now)
        self._deliver_statements(now)
        self._finish_uploads(now)
        for study in list(self._intake.studies.values()):
            self._serve_study(study, now)
        self._mailbox.put_round(self._clock())

    def check_reached(self) -> None:
        """Whether every node answered in the last round.

        Raises:
            NodesUnreachable: some did not; names them.
        """
        silent = [contact for contact in self._mailbox.status().nodes if contact.problem]
        if silent:
            said = "; ".join(f"{contact.node}: {contact.problem}" for contact in silent)
            raise NodesUnreachable(
                f"{len(silent)} of {len(self._federation.nodes)} nodes did not answer ({said}); what is for them is kept: "
                "run the connector again when they do"
            )

    def upload(self, study: StudyProtocol) -> Upload:
        """Upload one approved study now, as the loop would.

        Raises:
            AlreadyUploaded: it has been uploaded.
            UploadRefused: a node will never take it.
            governance.errors.NotPermitted: not approved, out of date, withdrawn.
            CannotEvaluate, EvaluationFailed, NoData: see `Uploader.prepare`.
            NodesUnreachable: sealed and kept, but a node does not have it yet.
        """
        now = self._clock()
        self._mailbox.check_not_uploaded(study.digest, None)
        self._check_permitted(study, now)
        upload_id = self._uploader.prepare(study, None, now)
        self._finish_uploads(now)
        done = next(one for one in self._mailbox.uploads(study.digest) if one.upload_id == upload_id)
        if done.state == "refused":
            raise UploadRefused(f"upload {upload_id} was given up, since {done.reason}")
        if done.state != "delivered":
            missing = [node.id for node in self._federation.nodes if node.id not in done.delivered_to]
            raise NodesUnreachable(
                f"upload {upload_id} is sealed, but {', '.join(missing)} did not take it; `tessera site "
                "serve` sends it again"
            )
        return done

    # ---- the steps of a round

    def _make_dry_runs(self, now: datetime) -> None:
        """A dry run for studies that have none on the data now in place: a few in each round, by turns.

        After a start also for studies of exact release, since the settings may say something else of the data now, and for
        those that recognise persons, since their key may have come.
        """
        try:
            self._snapshot = snapshot = last_report(self._directory).snapshot
        except NoData as error:
            for digest in self._intake.studies:
                self._mailbox.put_note(digest, str(error))
            return
        made_on = self._mailbox.dry_run_snapshots()
        lacking = [
            study
            for digest, study in self._intake.studies.items()
            if (made_on[digest] != snapshot or digest in self._judge_anew)
            and now <= study.validity.not_after
            and not self._mailbox.uploads(digest)
        ]
        for study in self._turns.take(lacking, self._dry_runs):
            self._make_dry_run(study, snapshot, now)
            self._judge_anew.discard(study.digest)

    def _make_dry_run(self, study: StudyProtocol, snapshot: str, now: datetime) -> None:
        try:
            found, data = dry_run(study, self._directory, snapshot, now, synthetic=self._synthetic)
        except Exception as error:
            problem = f"the dry run failed unexpectedly: {where_from(error)}"
            log.error("dry run failed", study=study.digest, error=where_from(error))
            found = DryRun(snapshot=snapshot, made_at=now, problems=(problem,))
        else:
            if not found.problems:
                self._evaluated.keep(study.digest, snapshot, data)
            found = found.model_copy(update={"beside": self._beside(study, now)})
        self._mailbox.put_dry_run(study.digest, found)
        self._mailbox.put_note(study.digest, "")
        log.info("dry run made", study=study.digest, problems=len(found.problems))

    def _beside(self, study: StudyProtocol, now: datetime) -> tuple[str, ...]:
        """What its numbers would tell beside those of other studies here that ran or may yet."""
        others = [
            item.study
            for item in self._mailbox.inbox(now)
            if item.digest != study.digest and item.state not in NEVER_RAN
        ]
        return tuple(said for other in others for said in side_by_side(study, other))

    def _deliver_statements(self, now: datetime) -> None:
        by_id = {node.node: node for node in self._nodes}
        for digest, envelope, lacking in self._mailbox.pending():
            for name in lacking:
                if self._try(by_id[name], partial(by_id[name].post_statement, digest, envelope)):
                    self._mailbox.mark_delivered(envelope.digest, name, now)

    def _finish_uploads(self, now: datetime) -> None:
        for upload in self._mailbox.uploads():
            if upload.state == "prepared" and self._still_permitted(upload, now):
                self._send(upload, now)

    def _still_permitted(self, upload: Upload, now: datetime) -> bool:
        """Whether what was sealed earlier may leave now: a withdrawal or a decline may have come since.

        An upload whose study has expired is given up. Before the study's first day it waits.
        """
        study = self._intake.studies.get(upload.study)
        if study is None:
            return False
        try:
            self._check_permitted(study, now)
        except Expired as error:
            self._abandon(upload, self._mailbox.manifest(upload.upload_id), str(error), now)
            return False
        except (NotPermitted, DatedAhead, DecisionRefused) as error:
            log.warning("upload held back", study=upload.study, upload=upload.upload_id, why=str(error))
            return False
        return True

    def _send(self, upload: Upload, now: datetime) -> None:
        manifest = self._mailbox.manifest(upload.upload_id)
        have = set(upload.delivered_to)
        for node in self._nodes:
            if node.node in have or self._patience.over(node.node):
                continue
            package = self._uploader.package(upload.upload_id, node.node)
            send = partial(self._hand_over, node, upload, manifest, package, now)
            if self._try(node, send, upload.study):
                self._mailbox.mark_delivered(upload.upload_id, node.node, now)
                have.add(node.node)
            elif not self._mailbox.is_prepared(upload.upload_id):
                return
        if len(have) == len(self._nodes):
            self._uploader.log("upload delivered", now, manifest)
            self._uploader.finish(upload.upload_id)
            self._mailbox.put_note(upload.study, "")
            log.info("upload delivered", study=upload.study, upload=upload.upload_id)

    def _hand_over(
        self, node: NodeLink, upload: Upload, manifest: Envelope, package: bytes, now: datetime
    ) -> None:
        """Send one package; a refusal that will not change ends the upload at all nodes."""
        try:
            node.upload(manifest, package)
        except NodeRefused as error:
            never = error.problem == "unknown-run" and now - upload.created_at > RUN_ARRIVES_WITHIN
            if never or error.problem in FINAL_REFUSALS:
                self._abandon(upload, manifest, str(error), now)
            raise

    def _abandon(self, upload: Upload, manifest: Envelope, why: str, now: datetime) -> None:
        """Give an upload up for good: site's log, reason, sealed files, a note to the steward."""
        self._uploader.log("upload given up", now, manifest)
        self._uploader.give_up(upload.upload_id, why, now)
        self._mailbox.put_note(upload.study, why)
        log.error("upload given up", study=upload.study, upload=upload.upload_id, why=why)

    def _serve_study(self, study: StudyProtocol, now: datetime) -> None:
        """Upload what an approved study asks for and does not have yet; what failed waits for other data."""
        if self._failed.get(study.digest) == self._snapshot:
            return
        try:
            if study.feasibility is not None:
                self._serve_runs(study, now)
            elif not self._mailbox.uploads(study.digest):
                self._check_permitted(study, now)
                self._uploader.prepare(study, None, now)
                self._finish_uploads(now)
        except NotPermitted:
            return
        except DatedAhead as error:  # our clock was set back; what waits for it need not wait for other data
            self._mailbox.put_note(study.digest, str(error))
        except (CannotEvaluate, EvaluationFailed, NoData, DecisionRefused) as error:
            self._give_up(study, str(error))
        except Exception as error:
            self._give_up(study, f"serving failed unexpectedly: {where_from(error)}")

    def _give_up(self, study: StudyProtocol, why: str) -> None:
        """Say why a study is not served; it is tried again on other data or after a restart."""
        self._failed[study.digest] = self._snapshot
        self._mailbox.put_note(study.digest, why)
        log.error("study cannot be served", study=study.digest, why=why)

    def _serve_runs(self, study: StudyProtocol, now: datetime) -> None:
        """Answer each new, signed run request of a feasibility study that keeps within its bounds."""
        known = self._mailbox.known_runs(study.digest)
        if all(known.issuperset(runs) for runs in self._intake.waiting(study.digest).values()):
            return
        self._check_permitted(study, now)
        for envelope in self._open_runs(study, known).values():
            request = peek_document(envelope, RunRequest)
            refused = self._answer(study, request, envelope, now)
            self._mailbox.put_run(request, now, refused)
            if refused:
                log.warning("run refused", study=study.digest, run=request.run_id, why=refused)
        self._finish_uploads(now)

    def _answer(self, study: StudyProtocol, request: RunRequest, envelope: Envelope, now: datetime) -> str:
        """Upload for one run; why not, if not."""
        try:
            spent = self._mailbox.spent(study.digest)
            check_run_request(self._federation, study, envelope, now, spent)
            self._uploader.prepare(study, request, now)
        except (AlreadyUploaded, UploadRefused):
            return ""
        except (GovernanceError, CannotEvaluate, EvaluationFailed) as error:
            return str(error)
        return ""

    def _open_runs(self, study: StudyProtocol, known: set[str]) -> dict[str, Envelope]:
        """Requests that wait for uploads at any node, by run id, without those already known."""
        found: dict[str, Envelope] = {}
        waiting = self._intake.waiting(study.digest)
        for node in self._nodes:
            for run_id in waiting.get(node.node, ()):  # oldest first, as the bounds are used up
                if run_id not in known and run_id not in found:
                    self._try(node, partial(self._collect_run, node, study, run_id, found))
        return {run_id: envelope for run_id, envelope in found.items() if run_id not in known}

    @staticmethod
    def _collect_run(node: NodeLink, study: StudyProtocol, run_id: str, found: dict[str, Envelope]) -> None:
        envelope = node.run_request(run_id)
        try:
            claimed = peek_document(envelope, RunRequest)
            request = open_document(envelope, RunRequest, by=claimed.requester_key)
        except (DocumentError, SignatureError) as error:
            log.warning("refused what a node holds", node=node.node, why=str(error))
            return
        # Decisions are noted by run: what a node hands out under the wrong study decides nothing.
        if request.study_digest == study.digest:
            found[request.run_id] = envelope

    # ---- checks and notes

    def _check_permitted(self, study: StudyProtocol, now: datetime) -> None:
        """All signatures again, this site among those that contribute, the columns those the steward saw, and
        a release that is for data such as these."""
        envelopes = self._mailbox.statements(study.digest)
        standing = check_approved(self._federation, study, envelopes, now, self._mailbox.amendments)
        if self._site not in standing.sites:
            raise NotPermitted(f"{self._site} has withdrawn from study {study.short_name}")
        fault = release_fault(study, synthetic=self._synthetic)
        if fault:
            raise DecisionRefused(fault)
        seen = read_statements(self._federation, study, envelopes).decisions[self._site].columns
        if seen != columns_leaving(study):
            raise DecisionRefused(
                f"study {study.short_name}: the columns to be shared are not those the steward approved; "
                "approve anew after the software was updated"
            )

    def _try(self, node: NodeLink, call: Callable[[], None], study: str | None = None) -> bool:
        """Call one node, if the round has time for it; note how it went. A refusal concerns a study, silence concerns
        the node.
        """
        if self._patience.over(node.node):
            return False
        try:
            with self._patience.calling(node.node):
                call()
        except NodeUnreachable as error:
            self._mailbox.put_contact(node.node, self._clock(), str(error))
            log.warning("node did not answer", node=node.node, why=str(error))
            return False
        except NodeRefused as error:
            log.warning("node refused", node=node.node, why=str(error))
            if study is not None:
                self._mailbox.put_note(study, str(error))
            return False
        self._mailbox.put_contact(node.node, self._clock())
        return True
