"""The hospital's side as its stewards use it: the mailbox, decisions, the ledger. Opened anew for every
view, since the connector writes the same files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from governance.federation import Federation
from site_connector.decisions import DECIDABLE, StewardDesk
from site_connector.directory import SiteDirectory
from site_connector.mailbox import Mailbox
from site_connector.models import ConnectorStatus, InboxItem, SiteStanding
from site_connector.review import ReviewPage, review_page
from workbench.errors import DraftError, PageDenied
from workbench.parts.moments import moment_text
from workbench.parts.states import State
from workbench.settings import WorkbenchSettings

SILENT_SECONDS = 60
IN_COLUMNS = {"at", "kind", "study", "short_name"}
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

    @property
    def site_names(self) -> dict[str, str]:
        """Every hospital of the federation by its id."""
        return {site.id: site.name for site in self.federation.sites}

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

    def study_names(self, moment: datetime) -> dict[str, str]:
        """Short names of the studies in the mailbox, by digest."""
        with self.mailbox() as opened:
            return {item.digest: item.study.short_name for item in opened.inbox(moment)}

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


def own_standing(page: ReviewPage) -> SiteStanding:
    """How far this hospital itself is with the study."""
    return next(standing for standing in page.standings if standing.site == page.site)


def open_decisions(page: ReviewPage) -> tuple[Decision, ...]:
    """What this hospital may still sign about a study, as `StewardDesk` would take it."""
    ours = own_standing(page).state
    taken: dict[Decision, bool] = {"approve": ours == "approved", "decline": ours == "declined"}
    decidable = ours != "withdrawn" and page.state in {state.value for state in DECIDABLE}
    found: list[Decision] = [one for one, done in taken.items() if decidable and not done]
    return (*found, "withdraw") if ours == "approved" else tuple(found)


def connector_problem(status: ConnectorStatus, moment: datetime) -> State | None:
    """What to say when the connector is silent or cannot reach a node; None when all is well."""
    if status.last_round is None:
        return State(
            "warning", "The connector has not run yet (tessera site serve); studies appear once it has."
        )
    silent = (moment - status.last_round).total_seconds()
    if silent > SILENT_SECONDS:
        since = moment_text(status.last_round)
        return State("warning", f"The connector is silent since {since}; decisions wait for it.")
    troubled = [node for node in status.nodes if node.problem]
    if not troubled:
        return None
    named = ", ".join(node.node for node in troubled)
    said = f"The connector cannot reach {named}; decisions are delivered once it can."
    return State("warning", said, tuple(node.problem for node in troubled))


def ledger_table(entries: list[dict[str, Any]], studies: Mapping[str, str]) -> pd.DataFrame:
    """The log as a table: when (UTC), what, which study, and last the digests that prove it.

    ``studies``: short names by digest.
    """
    rows = [
        {
            "When": pd.Timestamp(entry["at"]),
            "What": str(entry["kind"]),
            "Study": str(
                entry.get("short_name")
                or studies.get(entry.get("study", ""), _shortened(entry.get("study", "")))
            ),
            "Details": _details(entry),
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=["When", "What", "Study", "Details"])


def _details(entry: Mapping[str, Any]) -> str:
    told = {name: value for name, value in entry.items() if name not in IN_COLUMNS and value}
    ordered = sorted(told.items(), key=lambda pair: _is_digest(pair[1]))
    return "; ".join(f"{name} {_shortened(value)}" for name, value in ordered)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32,}", value) is not None


def _shortened(value: Any) -> str:
    """Digests by their beginning, lists by their entries."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value[:12]}…" if _is_digest(value) else str(value)
