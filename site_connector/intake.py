"""Taking in what nodes hold: every signature is checked here again, and nothing else is believed.

A node may withhold things, repeat them or make them up. Whatever does not verify is left out and logged once;
what one node withholds, another delivers.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from governance.approval import check_study, read_statement
from governance.envelope import Envelope
from governance.errors import GovernanceError
from governance.federation import Federation
from governance.study import StudyProtocol
from site_connector.mailbox import Mailbox
from site_connector.nodes import NodeLink

log = structlog.get_logger()


class Intake:
    """Remembers what it refused, so that one bad document is logged once and not in every round."""

    def __init__(self, federation: Federation, site: str, mailbox: Mailbox) -> None:
        self._federation, self._site, self._mailbox = federation, site, mailbox
        self._studies = {study.digest: study for study, _ in mailbox.studies()}
        self._refused: set[str] = set()

    @property
    def studies(self) -> dict[str, StudyProtocol]:
        """Studies in the mailbox, by digest."""
        return self._studies

    def take(self, node: NodeLink, now: datetime) -> None:
        """Take in everything new from one node.

        Raises:
            NodeDown, NodeRefused: the node did not answer; what was taken so far stays.
        """
        for digest in node.study_digests():
            if digest in self._refused:
                continue
            known = self._studies.get(digest)
            study = known or self._fetched(node, digest)
            if study is None:
                continue
            statements = self._verified(node, study)
            if known is None and not self._submitted(study, statements):
                continue
            self._put(study, statements, now)

    def _fetched(self, node: NodeLink, digest: str) -> StudyProtocol | None:
        """A study that names this site and may be proposed in this federation."""
        try:
            study = node.study(digest)
            if study.digest != digest:
                self._refuse(node, digest, "the document has another digest")
                return None
            if self._site not in study.sites:
                self._refused.add(digest)
                return None
            check_study(self._federation, study)
        except GovernanceError as error:
            self._refuse(node, digest, str(error))
            return None
        return study

    def _verified(self, node: NodeLink, study: StudyProtocol) -> list[Envelope]:
        found = []
        for envelope in node.statements(study.digest):
            key = envelope.digest
            if key in self._refused:
                continue
            try:
                read_statement(self._federation, study, envelope)
            except GovernanceError as error:
                self._refuse(node, key, str(error))
                continue
            found.append(envelope)
        return found

    def _submitted(self, study: StudyProtocol, statements: list[Envelope]) -> bool:
        """Whether the investigator signed: before that, a study is nobody's proposal."""
        kind = "application/vnd.tessera.submission+json"
        return any(envelope.payloadType == kind for envelope in statements)

    def _put(self, study: StudyProtocol, statements: list[Envelope], now: datetime) -> None:
        if self._mailbox.put_study(study, now):
            log.info("study received", study=study.digest, short_name=study.short_name)
        self._studies[study.digest] = study
        for envelope in statements:
            if self._mailbox.put_statement(study.digest, envelope, now):
                log.info("statement received", study=study.digest, kind=envelope.payloadType)

    def _refuse(self, node: NodeLink, what: str, why: str) -> None:
        self._refused.add(what)
        log.warning("refused what a node holds", node=node.node, what=what, why=why)
