"""`tessera demo` interrupted, and asked for what it refuses; tests/e2e/test_personas.py lets it answer and serve."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.demonstrating import COMMAND, processes_of
from workbench.demo import cli

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.mark.timeout(300)
def test_demo_interrupted_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [*COMMAND, "--headless", "--patients", "500", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 120
    while len(processes_of(folder / "nodes")) < 4 and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert b"Traceback" not in errors
    assert process.returncode not in (0, None)
    assert processes_of(folder) == []


def test_demo_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = subprocess.run([*COMMAND, "--dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_demo_refuses_a_patient_it_does_not_know(tmp_path: Path) -> None:
    command = [*COMMAND, "--dir", str(tmp_path / "new"), "--patient", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "choose from advanced, advanced-a-year-older, common-genotype, missing-facts" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("headless", "terminal", "serves"), [(True, True, False), (False, False, False), (False, True, True)]
)
def test_demo_serves_at_a_terminal_unless_headless(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, headless: bool, terminal: bool, serves: bool
) -> None:
    done: list[str] = []
    for step in ("_run", "_serve"):
        monkeypatch.setattr(cli, step, lambda *_, step=step: done.append(step))
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli.sys.stdout, "isatty", lambda: terminal)
    cli.demo(headless=headless, patients=500, folder=tmp_path / "demo")
    assert done == (["_run", "_serve"] if serves else ["_run"])
