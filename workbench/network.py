"""The background look at the nodes: every few seconds, in one thread, for all pages of a workbench."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from governance.federation import Federation
from workbench.consortium import Snapshot
from workbench.errors import SettingsError, message_of
from workbench.settings import WorkbenchSettings
from workbench.store import now

LOG = structlog.get_logger("tessera.workbench")
POLL_SECONDS = 4.0
PIN_FILE = "federation.sha256"

Look = Callable[[Federation, datetime], Snapshot]


class Network:
    """Keeps the latest `Snapshot`. The thread starts with the first reader and ends with the process.

    Args:
        federation: the pinned federation.
        make_look: makes what asks every node once; called in the thread, since its imports take seconds.
    """

    def __init__(self, federation: Federation, make_look: Callable[[Federation], Look]) -> None:
        self.federation = federation
        self._make_look = make_look
        self._snapshot: Snapshot | None = None
        self._asked = now()
        self._again = threading.Event()
        self._seen = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def snapshot(self) -> Snapshot | None:
        """What was seen last; None before the first round ended. Never waits."""
        self._start()
        return self._snapshot

    def refresh_soon(self) -> None:
        """Look again at once, in the background. `wait` then waits for a look that begins after this moment."""
        self._asked = now()
        self._seen.clear()
        self._again.set()

    def wait(self, seconds: float) -> bool:
        """Give the look under way a moment to end; for the first drawing of a page, and after `refresh_soon`.

        Returns whether it did.
        """
        self._start()
        return self._seen.wait(seconds)

    def close(self) -> None:
        """End the thread after its present round."""
        self._stopped.set()
        self._again.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tessera-network", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        look = self._make_look(self.federation)
        while not self._stopped.is_set():
            self._again.clear()
            try:
                began = now()
                self._snapshot = look(self.federation, began)
                if began >= self._asked:
                    self._seen.set()
            except Exception as error:
                # One failed round must not end the watch; the age of the last snapshot shows on every page.
                LOG.error("nodes not seen", kind=type(error).__name__, problem=message_of(error))
            self._again.wait(POLL_SECONDS)


def pinned_federation(settings: WorkbenchSettings) -> Federation:
    """The federation file, checked against the digest that was agreed or seen at the first start.

    Raises:
        SettingsError: there is no such file.
        governance.errors.FederationMismatch: the file changed since it was pinned.
    """
    if not settings.federation.is_file():
        raise SettingsError(
            f"{settings.federation}: no federation file there; name the file the members agreed on as 'federation'"
        )
    pin = settings.state_dir / PIN_FILE
    known = settings.federation_digest or (pin.read_text("ascii").strip() if pin.exists() else None)
    federation = Federation.load(settings.federation, known)
    if not pin.exists():
        pin.write_text(federation.digest + "\n", encoding="ascii")
    return federation
