"""Taking in what nodes hold: every signature is checked here again, and nothing else is believed.

A node may withhold things, repeat them or make them up. Whatever does not verify is left out and logged once;
what one node withholds, another delivers. Nor does one node hold up the others: what it has not handed out in time is
asked for in the next round.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from governance.approval import InvestigatorSubmission, check_study, read_statement
from governance.envelope import Envelope
from governance.errors import DatedAhead, GovernanceError
from governance.federation import Federation
from governance.study import StudyProtocol
from mpc_backend.client.errors import NodeRefused
from site_connector.mailbox import Mailbox
from site_connector.nodes import NodeLink
from site_connector.patience import SECONDS_FOR_A_NODE

log = structlog.get_logger()


class Intake:
    """Remembers what it refused, so that one bad document is logged once and not in every round."""

    def __init__(self, federation: Federation, site: str, mailbox: Mailbox) -> None:
        self._federation, self._site, self._mailbox = federation, site, mailbox
        self._studies = {study.digest: study for study in mailbox.studies()}
        self._amendments = {study.digest: study for study in mailbox.all_amendments()}
        self._refused: set[str] = set()
        self._kept: set[str] = set()
        self._complaints: set[tuple[str, str]] = set()
        self._taken: dict[tuple[str, str], str] = {}
        self._waiting: dict[str, dict[str, tuple[str, ...]]] = {}

    @property
    def studies(self) -> dict[str, StudyProtocol]:
        """Studies in the mailbox, by digest."""
        return self._studies

    def waiting(self, digest: str) -> dict[str, tuple[str, ...]]:
        """Runs of a study that wait, by node, as each said when it was last asked."""
        return {node: studies.get(digest, ()) for node, studies in self._waiting.items()}

    def take(self, node: NodeLink, now: datetime) -> None:
        """Take in everything new from one node. What has not changed there is not fetched again.

        Raises:
            NodeUnreachable, NodeRefused: what was taken so far stays. One study that cannot be read is left out
                alone.
        """
        until = time.monotonic() + SECONDS_FOR_A_NODE
        self._waiting.pop(node.node, None)
        every = {**self._amendments, **self._studies}
        listed = node.studies_concerning(self._site, every)
        self._waiting[node.node] = {one.digest: one.waiting for one in listed}
        for one in listed:
            key = (node.node, one.digest)
            if one.digest in self._refused or self._taken.get(key) == one.revision:
                continue
            if time.monotonic() > until:
                log.warning("node is slow, the rest is asked for in the next round", node=node.node)
                return
            known = every.get(one.digest)
            taken = self._meet(node, one.digest, now) if known is None else self._follow(node, known, now)
            if taken:
                self._taken[key] = one.revision

    def _follow(self, node: NodeLink, study: StudyProtocol, now: datetime) -> bool:
        """Take in what is newly said about a known study; False if it is to be asked for again."""
        try:
            _, envelopes = node.study(study.digest)
        except NodeRefused as error:
            self._complain(node, study.digest, str(error))
            return False
        statements, complete = self._verified(node, study, envelopes, now)
        self._put(study, statements, now)
        return complete

    def _meet(self, node: NodeLink, digest: str, now: datetime) -> bool:
        """Take in a new study, once its investigator signed it; False if it is to be asked for again."""
        found = self._fetched(node, digest)
        if found is None:
            return False
        statements, complete = self._verified(node, *found, now)
        if self._submitted(statements):
            self._put(found[0], statements, now)
        return complete

    def _fetched(self, node: NodeLink, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]] | None:
        """A study that concerns this site and may be proposed in this federation, with what is said about it."""
        try:
            study, envelopes = node.study(digest)
        except NodeRefused as error:
            self._complain(node, digest, str(error))
            return None
        return (study, envelopes) if self._proposable(node, study) else None

    def _proposable(self, node: NodeLink, study: StudyProtocol) -> bool:
        try:
            check_study(self._federation, study)
        except GovernanceError as error:
            self._refuse(node, study.digest, str(error))
            return False
        if self._site not in study.sites and not self._amends_ours(study):
            self._complain(node, study.digest, "the study neither names this site nor amends one that does")
            return False
        return True

    def _amends_ours(self, study: StudyProtocol) -> bool:
        """Whether it could close a study of this site, by leaving this site out."""
        amended = self._studies.get(study.amends or "") or self._amendments.get(study.amends or "")
        return amended is not None and amended.investigator.key == study.investigator.key

    def _verified(
        self, node: NodeLink, study: StudyProtocol, envelopes: Sequence[Envelope], now: datetime
    ) -> tuple[list[Envelope], bool]:
        """The sound statements, and whether they are all there will be: what is dated ahead of our clock is refused
        now, but may be sound once that time has come.
        """
        found, complete = [], True
        for envelope in envelopes:
            key = envelope.digest
            if key in self._refused or key in self._kept:
                continue
            try:
                read_statement(self._federation, study, envelope, now)
            except DatedAhead as error:
                self._complain(node, key, str(error))
                complete = False
            except GovernanceError as error:
                self._refuse(node, key, str(error))
            else:
                found.append(envelope)
        return found, complete

    @staticmethod
    def _submitted(statements: list[Envelope]) -> bool:
        """Whether the investigator signed: before that, a study is nobody's proposal."""
        return any(envelope.payloadType == InvestigatorSubmission.payload_type for envelope in statements)

    def _put(self, study: StudyProtocol, statements: list[Envelope], now: datetime) -> None:
        if study.amends is not None:
            self._mailbox.put_amendment(study)
            self._amendments[study.digest] = study
        if self._site in study.sites:
            if self._mailbox.put_study(study, now):
                log.info("study received", study=study.digest, short_name=study.short_name)
            self._studies[study.digest] = study
        for envelope in statements:
            self._kept.add(envelope.digest)
            if self._mailbox.put_statement(study.digest, envelope, now):
                log.info("statement received", study=study.digest, kind=envelope.payloadType)

    def _refuse(self, node: NodeLink, digest: str, why: str) -> None:
        """For good, whichever node holds it: the digest names the content that was refused."""
        self._refused.add(digest)
        self._complain(node, digest, why)

    def _complain(self, node: NodeLink, digest: str, why: str) -> None:
        """Log once. A node that hands out something else under a digest does not keep others from delivering it."""
        if (node.node, digest) not in self._complaints:
            self._complaints.add((node.node, digest))
            log.warning("refused what a node holds", node=node.node, what=digest, why=why)
