"""A steward's decisions: signed here, put into the mailbox and the site's log, delivered by the connector."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from governance.approval import SiteDecision, Withdrawal
from governance.document import Document, utc_text
from governance.envelope import Envelope, sign_document
from governance.keys import SigningKey
from site_connector.directory import SiteDirectory
from site_connector.errors import DecisionRefused
from site_connector.leaving import columns_leaving
from site_connector.mailbox import Mailbox
from site_connector.models import InboxItem, StudyState

DECIDABLE = {
    StudyState.WAITING_FOR_US,
    StudyState.WAITING_FOR_OTHERS,
    StudyState.DECLINED,
    StudyState.DECLINED_ELSEWHERE,
    StudyState.NOT_YET_VALID,
}


def decide(
    directory: SiteDirectory,
    mailbox: Mailbox,
    which: str,
    decision: Literal["approve", "decline"],
    steward: SigningKey,
    now: datetime,
    reason: str = "",
) -> InboxItem:
    """Sign a decision about a study; repeating the decision in force changes nothing.

    Raises:
        UnknownStudy: no such study in the mailbox.
        DecisionRefused: too late to decide, no dry run yet, or this hospital's data cannot serve the study.
    """
    item = mailbox.item(which, now)
    site = directory.settings().id
    ours = next(standing for standing in item.standings if standing.site == site)
    if ours.state == ("approved" if decision == "approve" else "declined"):
        return item
    _check_decidable(item, decision, now)
    said = SiteDecision(
        study_digest=item.digest,
        site=site,
        decision=decision,
        reason=reason,
        decided_at=now,
        columns=columns_leaving(item.study),
    )
    _say(directory, mailbox, item, said, steward, now, decision)
    return mailbox.item(item.digest, now)


def withdraw(
    directory: SiteDirectory,
    mailbox: Mailbox,
    which: str,
    steward: SigningKey,
    now: datetime,
    reason: str = "",
) -> InboxItem:
    """End this hospital's part in a study: later runs leave it out and nodes destroy its shares. Final.

    Raises:
        UnknownStudy: no such study in the mailbox.
        DecisionRefused: this hospital never approved the study.
    """
    item = mailbox.item(which, now)
    site = directory.settings().id
    ours = next(standing for standing in item.standings if standing.site == site)
    if ours.state == "withdrawn":
        return item
    if ours.state != "approved":
        raise DecisionRefused(
            f"study {item.study.short_name} was never approved here ({ours.state}); decline it instead"
        )
    said = Withdrawal(study_digest=item.digest, site=site, withdrawn_at=now, reason=reason)
    _say(directory, mailbox, item, said, steward, now, "withdraw")
    return mailbox.item(item.digest, now)


def _check_decidable(item: InboxItem, decision: str, now: datetime) -> None:
    name = item.study.short_name
    if item.state not in DECIDABLE:
        raise DecisionRefused(
            f"study {name} is {item.state}; nothing can be decided about it any more"
            + ("; withdraw instead" if item.state is StudyState.ACTIVE else "")
        )
    if decision == "decline":
        return
    if item.dry_run is None:
        raise DecisionRefused(
            f"study {name} had no dry run on this hospital's data yet; let the connector (`tessera site "
            f"serve`) make "
            "one first"
        )
    if item.dry_run.problems:
        raise DecisionRefused(
            f"study {name} cannot be served by this hospital's data: {item.dry_run.problems[0]}. Decline it, "
            f"or mend "
            "the data and load again"
        )


def _say(
    directory: SiteDirectory,
    mailbox: Mailbox,
    item: InboxItem,
    said: Document,
    steward: SigningKey,
    now: datetime,
    what: str,
) -> None:
    """Sign, check that the key is the one the federation lists, then mailbox and log."""
    if steward.public != directory.site().steward_key:
        raise DecisionRefused("this is not the steward's key that the federation file lists for this site")
    envelope: Envelope = sign_document(said, steward)
    mailbox.post(item.digest, envelope, now)
    with directory.ledger() as ledger:
        ledger.append(
            {
                "kind": what,
                "at": utc_text(now),
                "study": item.digest,
                "short_name": item.study.short_name,
                "statement": envelope.digest,
            }
        )
