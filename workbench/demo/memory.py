"""The most memory that each process of the demonstration had in use."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final

from mpc_backend.bench.usage import peak_mib

EVERY_SECONDS: Final = 0.2


class Peaks:
    """Reads the kernel's high-water mark of every process named to it, again and again until each has ended.

    Use as a context manager. What a process takes in its last `EVERY_SECONDS` may be missed; nothing before is.
    """

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._mib: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def watch(self, name: str, pid: int) -> None:
        """Watch a process from now on."""
        with self._lock:
            self._pids[name] = pid

    def mib(self) -> dict[str, float]:
        """The highest so far, by name."""
        self._read()
        with self._lock:
            return {name: round(value, 1) for name, value in sorted(self._mib.items())}

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self._read()

    def _read(self) -> None:
        with self._lock:
            for name, pid in list(self._pids.items()):
                found = peak_mib(pid)
                if found is None:
                    del self._pids[name]
                else:
                    self._mib[name] = max(found, self._mib.get(name, 0.0))
