"""How connections between nodes begin: dial or accept, prove who one is, then greet.

The first frame of every connection is a greeting (kind `FrameKind.CONTROL`, canonical JSON, at most 64 KiB).
It names the purpose, the job, its epoch and the digests of study, federation and software, so that a
connection is never taken for another job's. The accepting node answers with one frame of the same kind; after
that the connection carries one direction.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from governance.canonical import canonical_json, parse_json
from governance.errors import GovernanceError
from mpc_backend.errors import PeerLost
from mpc_backend.transport.certificates import ALPN, TrustedNodes, client_context
from mpc_backend.transport.errors import CertificateRefused, FrameError, TransportError
from mpc_backend.transport.frames import HEADER_BYTES, FrameHeader, FrameKind, decode_header
from mpc_backend.transport.tls import read_exactly, write_frame

LARGEST_GREETING = 64 * 1024
HANDSHAKE_SECONDS = 10.0
ANSWER_LIMIT_SECONDS = 10.0
"""How long an accepted connection may take to send its greeting."""
WAITING_CONNECTIONS = 64
"""Connections that may be in their handshake or greeting at one time; further ones are closed at once."""

log = structlog.get_logger()
Greeting = dict[str, Any]


@dataclass(frozen=True)
class Connection:
    """One authenticated connection: ``peer`` is the node at the other end, by its certificate."""

    index: int
    peer: int
    socket: ssl.SSLSocket

    def say(self, message: Greeting) -> None:
        """Send one greeting or answer."""
        payload = memoryview(canonical_json(message))
        header = FrameHeader(FrameKind.CONTROL, self.index, self.peer, 0, 0, len(payload))
        write_frame(self.socket, header, payload)

    def hear(self, seconds: float) -> Greeting:
        """Wait for one greeting or answer.

        Raises:
            PeerLost: nothing complete came in time, or the connection ended.
            FrameError: it is no greeting, or says to come from or go to another node.
        """
        until = time.monotonic() + seconds
        try:
            header = decode_header(read_exactly(self.socket, HEADER_BYTES, until), cap=LARGEST_GREETING)
            if header.kind is not FrameKind.CONTROL:
                raise FrameError(f"expected a greeting, found a frame of kind {header.kind.name}")
            if (header.sender, header.receiver) != (self.peer, self.index):
                raise FrameError(
                    f"a greeting from {header.sender} to {header.receiver} on the link from {self.peer} to "
                    f"{self.index}"
                )
            message = parse_json(bytes(read_exactly(self.socket, header.length, until)))
        except (EOFError, OSError) as error:
            raise PeerLost(
                f"node {self.peer} ended or stalled its greeting ({type(error).__name__})"
            ) from error
        except GovernanceError as error:
            raise FrameError(f"a greeting that is not JSON: {error}") from error
        if not isinstance(message, dict):
            raise FrameError("a greeting that is no JSON object")
        return message

    def ended(self) -> bool:
        """Whether the other side has closed or reset the connection; reads nothing and waits for nothing."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close at once."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        self.socket.close()


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` as a pair."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Dialer:
    """Connects to the other nodes' data addresses, from node ``index`` with its certificate and key."""

    def __init__(self, index: int, trusted: TrustedNodes, certificate: Path, key: Path) -> None:
        self._index = index
        self._trusted = trusted
        self._contexts = [client_context(certificate, key, [pem]) for pem in trusted.certificates]

    def dial(self, peer: int, address: str, seconds: float) -> Connection:
        """Connect, and check that the certificate listed for node ``peer`` answers.

        Raises:
            PeerLost: nobody answers there, or the handshake fails (another certificate, older TLS, out of date).
            CertificateRefused: another node of the federation answers, or it speaks another protocol.
        """
        try:
            plain = socket.create_connection(split_address(address), timeout=seconds)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PeerLost(f"nobody answers at {address} ({reason})") from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self._contexts[peer].wrap_socket(plain)
        except OSError as error:
            plain.close()
            raise PeerLost(f"{address}: the TLS handshake failed: {_reason(error)}") from error
        try:
            self._trusted.require(secured.getpeercert(binary_form=True), peer)
            _require_protocol(secured)
        except TransportError:
            secured.close()
            raise
        return Connection(self._index, peer, secured)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", None) or error.reason or type(error).__name__
    return error.strerror or type(error).__name__


def _require_protocol(secured: ssl.SSLSocket) -> None:
    if secured.version() != "TLSv1.3" or secured.selected_alpn_protocol() != ALPN:
        raise CertificateRefused(
            f"expected TLSv1.3 with {ALPN}, found {secured.version()} with {secured.selected_alpn_protocol()}"
        )


class DataListener:
    """Accepts the other nodes' connections, one for the whole process, and hands each to ``accepted``.

    ``accepted(connection)`` runs in a thread of its own, reads the greeting, and owns the connection from
    then on. A connection that is not from a node of the federation is closed and counted, and says nothing of
    why to its peer.
    """

    def __init__(
        self,
        index: int,
        address: str,
        context: ssl.SSLContext,
        trusted: TrustedNodes,
        accepted: Callable[[Connection], None],
    ) -> None:
        """Raises:
        TransportError: the address cannot be bound.
        """
        self._index = index
        self._context = context
        self._trusted = trusted
        self._accepted = accepted
        self._places = threading.Semaphore(WAITING_CONNECTIONS)
        self.refused = 0
        host, port = split_address(address)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=WAITING_CONNECTIONS)
        except OSError as error:
            raise TransportError(
                f"cannot listen for nodes at {address}: {error.strerror or error}"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True, name="data-listener")

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more; connections already handed over are left alone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._thread.is_alive():
            self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return  # stopped
            if not self._places.acquire(blocking=False):
                plain.close()
                continue
            threading.Thread(target=self._greet, args=(plain,), daemon=True, name="data-greeting").start()

    def _greet(self, plain: socket.socket) -> None:
        try:
            connection = self._secure(plain)
            if connection is not None:
                self._accepted(connection)
        finally:
            self._places.release()

    def _secure(self, plain: socket.socket) -> Connection | None:
        plain.settimeout(HANDSHAKE_SECONDS)
        secured: ssl.SSLSocket | None = None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self._context.wrap_socket(plain, server_side=True)
            peer = self._trusted.index_of(secured.getpeercert(binary_form=True))
            _require_protocol(secured)
            if peer == self._index:
                raise CertificateRefused("a connection that presents this node's own certificate")
        except (OSError, TransportError) as error:
            self.refused += 1
            reason = _reason(error) if isinstance(error, OSError) else str(error)
            log.warning("node connection refused", reason=reason)
            (secured or plain).close()
            return None
        return Connection(self._index, peer, secured)
