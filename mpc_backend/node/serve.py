"""The process of one node: lock, limits, logs, the service and its control interface, and a graceful end."""

from __future__ import annotations

import fcntl
import logging
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from mpc_backend.kernels.warming import each_kernel
from mpc_backend.memory import take_memory
from mpc_backend.node.api import make_app
from mpc_backend.node.core import open_core
from mpc_backend.node.errors import NodeSetupError, NodeStartError
from mpc_backend.node.service import NodeService
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.node.setup import pin_federation
from mpc_backend.transport.certificates import control_server_context
from mpc_backend.transport.errors import TransportError
from mpc_backend.transport.greeting import split_address

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: short, so that readers and writers of links are not starved."""
KEEP_ALIVE_SECONDS = 60
"""How long an idle connection of a client stays open: longer than clients use it."""
READY_MIB = 240
"""Memory at hand for the first question: what a ranking over 20,000 patients takes."""


def serve_node(path: Path, federation_file: Path | None = None, pin: str | None = None) -> None:
    """Run the node in ``path`` until it is asked to stop (SIGTERM, SIGINT). Kernels load while it answers already.

    Raises:
        NodeSetupError: the directory or the federation file cannot be used, or another process runs this node.
        NodeStartError: an address is taken.
    """
    configure_logs()
    sys.setswitchinterval(SWITCH_SECONDS)
    directory = NodeDirectory(path)
    directory.settings()
    with _only_process(directory):
        core = open_core(directory, pin_federation(directory, federation_file, pin))
        try:
            service = NodeService(core)
        except TransportError as error:
            core.close()
            raise NodeStartError(str(error)) from error
        server = _server(service, directory)
        service.start()
        try:
            with _warming(service):
                server.run()
        finally:
            service.stop()
    if not server.started:
        raise NodeStartError(f"cannot listen at {core.settings.control_listen}; see the log above")


@contextmanager
def _warming(service: NodeService) -> Iterator[None]:
    """Load the kernels beside and take memory, so that the first question waits for neither, then start the workers, which
    load theirs; stops between two kernels.
    """
    enough = threading.Event()

    def load() -> None:
        for _ in each_kernel():
            if enough.is_set():
                return
        take_memory(READY_MIB)
        service.jobs.start_workers()

    thread = threading.Thread(target=load, name="kernels")
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def _server(service: NodeService, directory: NodeDirectory) -> uvicorn.Server:
    host, port = split_address(service.core.settings.control_listen)

    def context(_config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        return control_server_context(directory.tls_certificate, directory.tls_key)

    config = uvicorn.Config(
        make_app(service),
        host=host,
        port=port,
        ssl_context_factory=context,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


@contextmanager
def _only_process(directory: NodeDirectory) -> Iterator[None]:
    """Refuse to run one node twice: both would use the same database and keys."""
    with directory.lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NodeSetupError(f"{directory.path}: this node runs already in another process") from error
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def configure_logs() -> None:
    """JSON lines on standard error; libraries from warnings on. Nothing logs a value."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_plain,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _only_plain(_logger: Any, _method: str, event: Any) -> Any:
    """Let through words, numbers and lists of them; anything else (an array, an object) is named by its type
    alone.
    """
    return {key: value if _plain(value) else type(value).__name__ for key, value in event.items()}


def _plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) for item in value)
    return value is None or type(value) in {str, int, float, bool}
