"""The one run a node works on at a time, and how far runs are."""

from __future__ import annotations

import threading

from mpc_backend.errors import AbortKind
from mpc_backend.node.agreement import NotNow
from mpc_backend.node.rendezvous import Gathering
from mpc_backend.transport.tls import TlsTransport

GIVING_UP_SECONDS = 10.0


class Turn:
    """Reserved for a run while its links gather, released when the run has ended; whoever comes meanwhile has to wait."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._current: Gathering | None = None
        self._transport: TlsTransport | None = None
        self._given_up = ""
        self._idle = threading.Event()
        self._idle.set()
        self._stopping = False

    @property
    def current(self) -> Gathering | None:
        """The run that begins or is computed on now."""
        return self._current

    @property
    def transport(self) -> TlsTransport | None:
        """Its links, once all of them stand."""
        return self._transport

    @property
    def stopping(self) -> bool:
        """Whether nothing more may begin."""
        return self._stopping

    def reserve(self, gathering: Gathering) -> None:
        """Take the turn.

        Raises:
            NotNow: another run has it, or the node stops.
        """
        with self._lock:
            if self._stopping:
                raise NotNow("is stopping")
            if self._current is not None:
                raise NotNow(f"still computes run {self._current.terms.run[:12]}")
            self._current = gathering
            self._idle.clear()

    def connected(self, transport: TlsTransport) -> None:
        """All links of the current run stand; they are cut again if it was given up while they gathered."""
        with self._lock:
            self._transport, reason = transport, self._given_up
        if reason:
            transport.abort(reason, self._node, kind=AbortKind.STOPPED)

    def release(self, gathering: Gathering) -> None:
        """Close what has gathered, and end the turn if it is this one's."""
        gathering.close()
        with self._lock:
            if self._current is gathering:
                self._current = self._transport = None
                self._given_up = ""
                self._idle.set()

    def give_up(self, reason: str, study: str | None = None) -> None:
        """Abort the current run, if there is one (of this study)."""
        with self._lock:
            current, transport = self._current, self._transport
            if current is None or (study is not None and current.terms.study != study):
                return
            self._given_up = reason
        if transport is not None:
            transport.abort(reason, self._node, kind=AbortKind.STOPPED)
        else:
            current.close()

    def refuse_others(self) -> None:
        """Let nothing more begin."""
        self._stopping = True

    def await_end(self, seconds: float) -> None:
        """Let the current run end, and give it up if it takes longer than ``seconds``."""
        if not self._idle.wait(seconds):
            self.give_up("this node is stopping")
            self._idle.wait(GIVING_UP_SECONDS)


class Progress:
    """What runs wait for, and how far the current one is: newer than what the database has."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        self._live: dict[str, tuple[str, float]] = {}

    def waits(self, run_id: str, why: str) -> None:
        """Note what a run waits for."""
        self._waiting[run_id] = why

    def at(self, run_id: str, label: str, fraction: float) -> None:
        """Note how far a run is."""
        self._live[run_id] = (label, fraction)

    def of(self, run_id: str) -> tuple[str, float] | None:
        """Label and fraction of a run that computes or waits."""
        why = self._waiting.get(run_id)
        return self._live.get(run_id) or ((why, 0.0) if why else None)

    def forget(self, run_id: str) -> None:
        """The run has ended."""
        self._live.pop(run_id, None)
        self._waiting.pop(run_id, None)
