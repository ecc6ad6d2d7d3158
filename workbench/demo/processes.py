"""The processes of the demonstration other than the nodes: connectors and workbenches, each really separate."""

from __future__ import annotations

import os
import ssl
import subprocess  # our own interpreter with fixed arguments
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from mpc_backend.node.local import stop_processes
from workbench.demo.errors import DemonstrationFailed
from workbench.demo.memory import Peaks

READY_SECONDS = 180.0
LINES_SHOWN = 12


class Processes:
    """Runs ``tessera`` commands as processes of their own; output of each goes to a file in ``logs``.

    Use as a context manager: leaving it stops every process it started.
    """

    def __init__(
        self, logs: Path, environment: Mapping[str, str] | None = None, peaks: Peaks | None = None
    ) -> None:
        """``peaks``: told of every process that starts."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._peaks = peaks
        self._environment = {**os.environ, **(environment or {})}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start ``tessera ARGUMENTS`` under ``name``.

        Raises:
            DemonstrationFailed: everything was stopped meanwhile.
        """
        self.check()
        with self.log(name).open("ab") as output:
            self._running[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "workbench.cli", *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if self._peaks is not None:
            self._peaks.watch(name, self._running[name].pid)

    def wait(self, name: str) -> None:
        """Wait for a process that ends by itself.

        Raises:
            DemonstrationFailed: it ended with another status than 0; quotes the end of its output.
        """
        status = self._running[name].wait()
        self._running.pop(name, None)
        if status:
            raise DemonstrationFailed(f"{name} ended with status {status}: {self._tail(name)}")

    def check(self) -> None:
        """See that every process that should serve still does.

        Raises:
            DemonstrationFailed: one has ended (quotes the end of its output), or everything was stopped.
        """
        if self._stopped:
            raise DemonstrationFailed("stopped")
        for name, process in list(self._running.items()):
            if process.poll() is not None and not name.startswith("load-"):
                self._running.pop(name, None)
                raise DemonstrationFailed(
                    f"{name} ended with status {process.returncode}: {self._tail(name)}"
                )

    def await_page(self, name: str, url: str, certificate: Path | None = None) -> None:
        """Wait until a process answers at ``url``; over TLS with that very certificate and no other.

        Raises:
            DemonstrationFailed: it ended, or does not answer in time.
        """
        tls = () if certificate is None else (urllib.request.HTTPSHandler(context=only(certificate)),)
        no_proxy = urllib.request.ProxyHandler({})
        asking = urllib.request.build_opener(no_proxy, *tls)
        until = time.monotonic() + READY_SECONDS
        found = ""
        while time.monotonic() < until:
            self.check()
            try:
                with asking.open(url, timeout=5):
                    return
            except urllib.error.HTTPError:
                return
            except OSError as error:
                found = f" ({error})"
                time.sleep(0.2)
        raise DemonstrationFailed(
            f"{name} did not answer at {url} within {READY_SECONDS:g} s{found}: {self._tail(name)}"
        )

    def stop(self) -> None:
        """Ask every process to stop, wait until it has, kill what does not; nothing starts after that."""
        self._stopped = True
        stop_processes(list(self._running.values()))
        self._running.clear()

    def log(self, name: str) -> Path:
        """Where the output of a process goes."""
        return self._logs / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return f"see {self.log(name)}\n" + "\n".join(lines[-LINES_SHOWN:])


def only(certificate: Path) -> ssl.SSLContext:
    """A client's TLS settings that trust one self-signed certificate and nothing else."""
    return ssl.create_default_context(cafile=certificate)
