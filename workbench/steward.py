"""The hospital's side as its stewards use it: the mailbox, decisions, the ledger. Opened anew for every
view, since the connector writes the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from governance.federation import Federation
from site_connector.decisions import StewardDesk
from site_connector.directory import SiteDirectory
from site_connector.mailbox import Mailbox
from site_connector.models import ConnectorStatus, InboxItem
from site_connector.review import ReviewPage, review_page
from workbench.errors import DraftError, PageDenied
from workbench.settings import WorkbenchSettings

SILENT_SECONDS = 60
Decision = Literal["approve", "decline", "withdraw"]


@dataclass(frozen=True)
class Hospital:
    """One hospital's site directory."""

    directory: SiteDirectory

    @cached_property
    def federation(self) -> Federation:
        """The federation the hospital pinned."""
        return self.directory.federation()

    @property
    def site(self) -> str:
        """The hospital's id."""
        return self.directory.settings().id

    @contextmanager
    def mailbox(self) -> Iterator[Mailbox]:
        """The mailbox, closed afterwards."""
        with Mailbox(self.directory.mailbox, self.federation, self.site) as opened:
            yield opened

    def inbox(self, moment: datetime) -> tuple[list[InboxItem], ConnectorStatus]:
        """Every study, newest first, and the connector's sign of life."""
        with self.mailbox() as opened:
            return opened.inbox(moment), opened.status()

    def page(self, digest: str, moment: datetime) -> ReviewPage:
        """The one page a steward reads before signing."""
        with self.mailbox() as opened:
            item = opened.item(digest, moment)
            return review_page(
                self.federation, self.directory.settings(), item, opened.spent(item.digest), moment
            )

    def decide(
        self,
        page: ReviewPage,
        decision: Decision,
        moment: datetime,
        *,
        typed: str,
        passphrase: str,
        reason: str,
    ) -> None:
        """Sign a decision. ``typed`` is the short name the steward typed again.

        Raises:
            DraftError: the short name differs, or the reason is missing.
            governance.errors.KeyFileError: the passphrase is wrong.
            site_connector.errors.DecisionRefused: nothing can be decided any more, or the data cannot serve
            it.
        """
        if typed.strip() != page.short_name:
            raise DraftError(f"Type the study's short name, {page.short_name}, to sign; nothing was signed.")
        if decision != "approve" and not reason.strip():
            raise DraftError(f"Give a reason to {decision}; the investigator reads it. Nothing was signed.")
        steward = self.directory.steward(passphrase.encode())
        with self.mailbox() as opened:
            desk = StewardDesk(self.directory, opened)
            act = {"approve": desk.approve, "decline": desk.decline, "withdraw": desk.withdraw}[decision]
            act(page.digest, steward, moment, reason=reason.strip())

    def ledger_entries(self) -> tuple[list[dict[str, Any]], str]:
        """The hospital's own log, newest first, and its present root."""
        with self.directory.ledger() as ledger:
            return ledger.entries()[::-1], ledger.root()


def hospital_of(settings: WorkbenchSettings) -> Hospital:
    """The hospital this workbench stands in.

    Raises:
        PageDenied: a research workbench has none.
    """
    if settings.site_dir is None:
        raise PageDenied("a research workbench sees no hospital's site directory")
    return Hospital(SiteDirectory(settings.site_dir))


def connector_problem(status: ConnectorStatus, moment: datetime) -> str | None:
    """What to say when the connector is silent or cannot reach a node; None when all is well."""
    if status.last_round is None:
        return "The connector has not run yet (`tessera site serve`); studies appear once it has."
    silent = (moment - status.last_round).total_seconds()
    if silent > SILENT_SECONDS:
        return f"The connector is silent since {status.last_round:%Y-%m-%d %H:%M} UTC; decisions wait for it."
    troubled = [f"{node.node} ({node.problem})" for node in status.nodes if node.problem]
    return f"The connector cannot reach {', '.join(troubled)}." if troubled else None


def ledger_table(entries: list[dict[str, Any]]) -> pd.DataFrame:
    """The log as a table: when, what, which study, and the digests that prove it."""
    rows = [
        {
            "When": str(entry.get("at", "")),
            "What": str(entry.get("kind", "")),
            "Study": str(entry.get("short_name") or str(entry.get("study", ""))[:12]),
            "Details": "; ".join(
                f"{name} {_shortened(value)}"
                for name, value in entry.items()
                if name not in {"at", "kind", "study", "short_name"} and value
            ),
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=["When", "What", "Study", "Details"])


def _shortened(value: Any) -> str:
    """Digests by their beginning, lists by their entries."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)[:16]
