"""A running node without its control interface: the data listener, its runs, its witness duties, housekeeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from governance.errors import GovernanceError
from mpc_backend.errors import EngineError
from mpc_backend.node.core import NodeCore
from mpc_backend.node.faults import where_of
from mpc_backend.node.jobs import Jobs
from mpc_backend.node.rendezvous import LinkGreeting, StartGreeting
from mpc_backend.node.runs import end_interrupted
from mpc_backend.node.studies import close_expired
from mpc_backend.node.witness import Witness, WitnessGreeting
from mpc_backend.transport.certificates import server_context
from mpc_backend.transport.errors import TransportError
from mpc_backend.transport.greeting import ANSWER_LIMIT_SECONDS, Connection, DataListener

log = structlog.get_logger()


class NodeService:
    """Starts and stops everything that runs beside the control interface."""

    def __init__(self, core: NodeCore) -> None:
        """Raises:
        TransportError: the data address cannot be bound.
        """
        self.core = core
        self.jobs = Jobs(core)
        self._witness = Witness(core)
        context = server_context(
            core.directory.tls_certificate, core.directory.tls_key, core.trusted.certificates
        )
        self._listener = DataListener(
            core.index, core.settings.data_listen, context, core.trusted, self._accepted
        )
        self._stopped = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, daemon=True, name="housekeeper")

    def start(self) -> None:
        """End what an earlier process left open, then begin to listen and to work."""
        end_interrupted(self.core)
        self.core.record("node started", software=self.core.software, federation=self.core.federation.digest)
        self._listener.start()
        self.jobs.start()
        self._housekeeper.start()

    def stop(self) -> None:
        """Let the current run end or give it up, then release everything."""
        self._stopped.set()
        self.jobs.stop(self.core.settings.stop_seconds)
        self._listener.stop()
        if self._housekeeper.is_alive():
            self._housekeeper.join(10)
        self.core.record("node stopped")
        self.core.close()

    def _accepted(self, connection: Connection) -> None:
        """Another node connected: read what it wants, and hand it on."""
        try:
            greeting = connection.hear(ANSWER_LIMIT_SECONDS)
            match greeting.get("purpose"):
                case "start":
                    self.jobs.invited(connection, StartGreeting.read(greeting))
                case "link":
                    self.jobs.linked(connection, LinkGreeting.read(greeting))
                case "witness":
                    self._witness.witnessed(connection, WitnessGreeting.read(greeting))
                    connection.close()
                case _:
                    raise TransportError("a greeting with an unknown purpose")
        except (EngineError, GovernanceError, ValidationError, OSError) as error:
            peer = self.core.names[connection.peer]
            log.warning("connection ended", peer=peer, error=type(error).__name__, reason=str(error)[:200])
            connection.close()
        except Exception as error:
            peer = self.core.names[connection.peer]
            log.error("connection failed", peer=peer, error=type(error).__name__, where=where_of(error))
            connection.close()

    def _keep_house(self) -> None:
        """Destroy what has expired, end what waits in vain, and have the log cosigned when it has grown."""
        settings, seen = self.core.settings, 0
        cleaned = witnessed = time.monotonic()
        pause = min(1.0, settings.housekeeping_seconds, settings.witness_seconds)
        while not self._stopped.wait(pause):
            now = time.monotonic()
            _attempt(self.jobs.rest)
            if now - cleaned >= settings.housekeeping_seconds:
                cleaned = now
                _attempt(lambda: close_expired(self.core))
                _attempt(self.jobs.refuse_stale)
            if now - witnessed >= settings.witness_seconds and self.core.ledger.size > seen:
                witnessed, seen = now, self.core.ledger.size
                _attempt(self._witness.ask_all)


def _attempt(duty: Callable[[], object]) -> None:
    """What fails is logged, and keeps nothing else from being done."""
    try:
        duty()
    except Exception as error:
        log.error("housekeeping failed", error=type(error).__name__, where=where_of(error))
