"""One hospital of the demonstration: its load, its connector, and its steward's decisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from governance.clock import utc_now
from governance.federation import Federation
from site_connector.decisions import StewardDesk
from site_connector.errors import UnknownStudy
from site_connector.mailbox import Mailbox
from workbench.demo.errors import DemonstrationFailed
from workbench.demo.extracts import load_words
from workbench.demo.layout import Layout
from workbench.demo.processes import Processes

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.5


class Hospital:
    """A hospital's processes and its steward."""

    def __init__(self, name: str, layout: Layout, federation: Federation, processes: Processes) -> None:
        self.name = name
        self._layout, self._federation, self._processes = layout, federation, processes
        self._directory = layout.site(name)

    def start_load(self) -> None:
        """Start ``tessera site load`` on the hospital's extract."""
        self._processes.start(f"load-{self.name}", load_words(self._layout, self.name))

    def serve(self) -> None:
        """Wait for the load to end, then start ``tessera site serve``.

        Raises:
            DemonstrationFailed: the load failed.
        """
        self._processes.wait(f"load-{self.name}")
        self._processes.start(f"site-{self.name}", ["site", "serve", str(self._directory.path)])

    def approve(self, studies: Sequence[str]) -> None:
        """Sign every study once the connector has tried it on the hospital's data.

        Raises:
            DemonstrationFailed: the connector ended, or made no dry run in time.
            site_connector.errors.DecisionRefused: a study cannot be served by this hospital's data.
        """
        with self._mailbox() as mailbox:
            desk = StewardDesk(self._directory, mailbox)
            steward = self._directory.steward(self._layout.passphrase_file.read_bytes())
            for digest in studies:
                self._await(mailbox, "a dry run", digest, _tried)
                desk.approve(digest, steward, utc_now(), reason="demonstration on synthetic data")

    def await_uploads(self, studies: Sequence[str]) -> None:
        """Wait until every node holds this hospital's shares for the studies.

        Raises:
            DemonstrationFailed: the connector ended, or did not deliver in time.
        """
        with self._mailbox() as mailbox:
            for digest in studies:
                self._await(mailbox, "an upload", digest, _delivered)

    def _mailbox(self) -> Mailbox:
        return Mailbox(self._directory.mailbox, self._federation, self.name)

    def _await(
        self, mailbox: Mailbox, what: str, digest: str, reached: Callable[[Mailbox, str], bool]
    ) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not reached(mailbox, digest):
            self._processes.check()
            if time.monotonic() > until:
                note = "the study did not reach the hospital"
                with suppress(UnknownStudy):
                    note = mailbox.item(digest, utc_now()).note or "the connector gives no reason"
                raise DemonstrationFailed(
                    f"{self.name}: no {what.removeprefix('a ').removeprefix('an ')} for study {digest[:12]} within "
                    f"{PATIENCE_SECONDS:g} s; {note}"
                )
            time.sleep(POLL_SECONDS)


# Asked again and again by three hospitals while their connectors work: no signature is verified for it.


def _tried(mailbox: Mailbox, digest: str) -> bool:
    return bool(mailbox.dry_run_snapshots().get(digest))


def _delivered(mailbox: Mailbox, digest: str) -> bool:
    return any(upload.state == "delivered" for upload in mailbox.uploads(digest))
