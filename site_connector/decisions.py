"""A steward's decisions: signed here, put into the mailbox and the site's log, delivered by the connector."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from governance.approval import SiteDecision, Withdrawal
from governance.document import utc_text
from governance.envelope import sign_document
from governance.keys import SigningKey
from site_connector.directory import SiteDirectory
from site_connector.errors import DecisionRefused
from site_connector.leaving import columns_leaving, release_fault
from site_connector.mailbox import Mailbox
from site_connector.models import InboxItem, StudyState

Decision = Literal["approve", "decline"]

DECIDABLE = {
    StudyState.WAITING_FOR_US,
    StudyState.WAITING_FOR_OTHERS,
    StudyState.DECLINED,
    StudyState.DECLINED_ELSEWHERE,
    StudyState.NOT_YET_VALID,
}


class StewardDesk:
    """Where a steward decides. Repeating a decision that is in force changes nothing."""

    def __init__(self, directory: SiteDirectory, mailbox: Mailbox) -> None:
        self._directory, self._mailbox = directory, mailbox
        self._site = directory.settings().id

    def approve(self, which: str, steward: SigningKey, now: datetime, *, reason: str = "") -> InboxItem:
        """Sign that this hospital takes part.

        Raises:
            UnknownStudy: no such study in the mailbox.
            DecisionRefused: too late, no dry run yet, or this hospital's data cannot serve the study.
        """
        return self._decide(which, "approve", steward, now, reason=reason)

    def decline(self, which: str, steward: SigningKey, now: datetime, *, reason: str = "") -> InboxItem:
        """Sign that this hospital does not take part; nothing of the study runs then.

        Raises:
            UnknownStudy, DecisionRefused: see `approve`.
        """
        return self._decide(which, "decline", steward, now, reason=reason)

    def withdraw(self, which: str, steward: SigningKey, now: datetime, *, reason: str = "") -> InboxItem:
        """End this hospital's part: later runs leave it out and nodes destroy its shares. Final.

        Raises:
            UnknownStudy: no such study in the mailbox.
            DecisionRefused: this hospital never approved the study.
        """
        item = self._mailbox.item(which, now)
        state = self._ours(item)
        if state == "withdrawn":
            return item
        if state != "approved":
            raise DecisionRefused(
                f"study {item.study.short_name} was never approved here ({state}); decline it instead"
            )
        said = Withdrawal(study_digest=item.digest, site=self._site, withdrawn_at=now, reason=reason)
        return self._say(item, said, steward, now)

    def _decide(
        self, which: str, decision: Decision, steward: SigningKey, now: datetime, *, reason: str
    ) -> InboxItem:
        item = self._mailbox.item(which, now)
        if self._ours(item) == ("approved" if decision == "approve" else "declined"):
            return item
        synthetic = self._directory.settings().synthetic_data
        _check_decidable(item, decision, release_fault(item.study, synthetic=synthetic))
        said = SiteDecision(
            study_digest=item.digest,
            site=self._site,
            decision=decision,
            reason=reason,
            decided_at=now,
            # A study whose columns cannot be worked out can be declined: nothing leaves then.
            columns=columns_leaving(item.study) if decision == "approve" else (),
        )
        return self._say(item, said, steward, now)

    def _ours(self, item: InboxItem) -> str:
        return next(standing.state for standing in item.standings if standing.site == self._site)

    def _say(
        self, item: InboxItem, said: SiteDecision | Withdrawal, steward: SigningKey, now: datetime
    ) -> InboxItem:
        """Sign with the key that the federation lists, then mailbox and log."""
        if steward.public != self._directory.site().steward_key:
            raise DecisionRefused(
                "this is not the steward's key that the federation file lists for this site"
            )
        envelope = sign_document(said, steward)
        self._mailbox.post(item.digest, envelope, now)
        with self._directory.ledger() as ledger:
            ledger.append(
                {
                    "kind": said.decision if isinstance(said, SiteDecision) else "withdraw",
                    "at": utc_text(now),
                    "study": item.digest,
                    "short_name": item.study.short_name,
                    "statement": envelope.digest,
                }
            )
        return self._mailbox.item(item.digest, now)


def _check_decidable(item: InboxItem, decision: Decision, fault: str) -> None:
    name = item.study.short_name
    if item.state not in DECIDABLE:
        by = f" ({item.replaced_by[:12]})" if item.replaced_by else ""
        raise DecisionRefused(
            f"study {name} is {item.state}{by}; nothing can be decided about it any more"
            + ("; withdraw instead" if item.state is StudyState.ACTIVE else "")
        )
    if decision == "decline":
        return
    if fault:
        raise DecisionRefused(f"{fault}. Decline it; an amendment can ask for thresholds")
    if item.dry_run is None:
        raise DecisionRefused(
            f"study {name} had no dry run on this hospital's data yet; let the connector (`tessera site "
            "serve`) make one first"
        )
    if item.dry_run.problems:
        raise DecisionRefused(
            f"study {name} cannot be served by this hospital's data: {item.dry_run.problems[0]}. Decline it, "
            "or mend the data and load again"
        )
