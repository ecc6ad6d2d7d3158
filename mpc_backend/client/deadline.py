"""One deadline for a whole request: connecting, sending, waiting, and every byte of the answer.

The timeouts of an HTTP client are for single steps, so that a peer which sends a byte before each runs out can stall
it for ever. Here each step is cut to what is left of the whole.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_UNTIL: ContextVar[float | None] = ContextVar("deadline of the request under way", default=None)


@contextmanager
def within(seconds: float) -> Iterator[float]:
    """What this thread does in the block with sockets of `punctual` is over in so many seconds, or ends in a
    `TimeoutError`. Gives the deadline as `time.monotonic` will tell it.
    """
    until = time.monotonic() + seconds
    token = _UNTIL.set(until)
    try:
        yield until
    finally:
        _UNTIL.reset(token)


class _PunctualSocket(ssl.SSLSocket):
    """Its timeout, which is set anew before every step, never reaches beyond the deadline. A step may have many
    system calls; its timeout is for all of them.
    """

    def settimeout(self, value: float | None) -> None:
        until = _UNTIL.get()
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline of the request has passed")
            value = left if value is None else min(value, left)
        super().settimeout(value)


def punctual(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context; connections made with it keep to the deadline of `within`."""
    context.sslsocket_class = _PunctualSocket
    return context
