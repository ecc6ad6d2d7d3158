"""Between a link of a node and a worker that may not have it: bytes are passed on, in one direction, as they are.

TLS ends in the node's own process, which has its keys; a worker gets the plaintext of its channel over a socket that never
leaves the machine.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

PIECE: Final = 256 * 1024


def relayed(link: socket.socket, *, sends: bool) -> socket.socket:
    """A socket for a worker that leads to a link: to send on, or to receive from. Ends where either end does."""
    ours, theirs = socket.socketpair()
    link.settimeout(None)
    source, sink = (ours, link) if sends else (link, ours)
    threading.Thread(target=_pass_on, args=(source, sink), daemon=True, name="relay").start()
    return theirs


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Until the source ends or either breaks; then both are ended, which the process at the other end takes as it is meant:
    as the end of the job if it was announced, else as a lost peer.
    """
    piece = memoryview(bytearray(PIECE))
    with contextlib.suppress(OSError):
        while count := source.recv_into(piece):
            sink.sendall(piece[:count])
    for one in (source, sink):
        with contextlib.suppress(OSError):
            socket.socket.shutdown(one, socket.SHUT_RDWR)
        one.close()
