"""The connector's process: lock, limits, logs, the loop, a graceful end. It opens no listening socket."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import structlog

from governance.clock import utc_now
from governance.federation import Federation
from mpc_backend.client.nodes import NodeSet
from site_connector.connector import Connector
from site_connector.directory import SiteDirectory
from site_connector.mailbox import Mailbox
from site_connector.nodes import HttpNode


def serve_site(directory: SiteDirectory, *, once: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, or for one round.

    Raises:
        ConnectorBusy: another connector serves this directory.
        NodesUnreachable: in the one round, a node did not answer.
        SiteSetupError: the site is not set up, or pinned no federation.
    """
    configure_logs()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with connected(directory) as connector:
        if once:
            connector.round()
            connector.check_reached()
        else:
            connector.serve(stop, directory.settings().poll_seconds)


@contextmanager
def connected(directory: SiteDirectory) -> Iterator[Connector]:
    """The one connector of a directory, with connections to all nodes."""
    federation: Federation = directory.federation()
    with (
        directory.connector_locked(),
        Mailbox(directory.mailbox, federation, directory.settings().id) as mailbox,
        NodeSet(federation) as nodes,
    ):
        links = [HttpNode(client) for client in nodes.nodes]
        yield Connector(directory, federation, mailbox, links, utc_now)


def configure_logs() -> None:
    """One JSON object a line on standard error: ids, digests and states, never a value."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
