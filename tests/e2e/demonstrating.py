"""`tessera demo` as a user at a terminal starts it: the report, the accounts it prints, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.federation import Federation
from workbench.client import Client
from workbench.demo.hospital import Hospital
from workbench.demo.layout import RESEARCHER, Layout
from workbench.demo.processes import Processes

COMMAND = [sys.executable, "-m", "workbench.cli", "demo"]
ANSWERS_SECONDS = 700.0
ENDING_SECONDS = 120.0
ACCOUNT = re.compile(r"^(?:research|hospital) workbench  (https://\S+)  (\S+) / (\S+)$", re.MULTILINE)


def processes_of(folder: Path) -> list[int]:
    """Processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(int(entry.name))
    return found


class AtTerminal:
    """`tessera demo --json` with a terminal for its output; so it answers, then serves until it is interrupted.

    Use as a context manager: leaving it interrupts the command if it still runs.
    """

    def __init__(self, folder: Path, errors: Path, words: Sequence[str]) -> None:
        self.layout = Layout(folder)
        self._errors = errors
        self._terminal, output = os.openpty()
        try:
            with errors.open("wb") as stream:
                self._process = subprocess.Popen(
                    [*COMMAND, "--json", "--dir", str(folder), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=stream,
                )
        finally:
            os.close(output)
        self.report: dict[str, Any] = {}

    def __enter__(self) -> AtTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.interrupt()
        os.close(self._terminal)

    def await_answers(self) -> None:
        """Read the report, and wait until the workbenches are served."""
        until = time.monotonic() + ANSWERS_SECONDS
        said = b""
        while not said.endswith(b"\n"):
            assert time.monotonic() < until, f"no report; {self.said()[-2000:]}"
            if select.select([self._terminal], [], [], 0.5)[0]:
                try:
                    said += os.read(self._terminal, 65_536)
                except OSError as error:  # the command has ended
                    raise AssertionError(f"no report; {self.said()[-2000:]}") from error
        self.report = json.loads(said)
        while "Ctrl-C ends everything." not in self.said():
            assert self._process.poll() is None, self.said()[-2000:]
            assert time.monotonic() < until, f"no workbenches; {self.said()[-2000:]}"
            time.sleep(0.2)

    def said(self) -> str:
        """What it printed beside the report."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def accounts(self) -> list[tuple[str, str, str]]:
        """Address, name and password of each account that was printed."""
        return ACCOUNT.findall(self.said())

    def interrupt(self) -> int:
        """End it as Ctrl-C does; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(ENDING_SECONDS)

    # ---- what its people hold

    def digest(self, short_name: str) -> str:
        """The digest of one of its studies, as the researcher finds it at the nodes."""
        federation = Federation.load(self.layout.federation_file)
        return Client(federation, self.layout.identity(RESEARCHER)).study(short_name).view.digest

    def approve(self, hospitals: Sequence[str], digest: str, logs: Path) -> None:
        """Let stewards of hospitals without a workbench sign; ``logs``: a folder for no output, as nothing is started."""
        federation = Federation.load(self.layout.federation_file)
        with Processes(logs) as none:
            for name in hospitals:
                Hospital(name, self.layout, federation, none).approve([digest])
