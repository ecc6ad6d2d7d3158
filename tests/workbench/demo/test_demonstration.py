"""The whole of it: `tessera demo` as a user starts it, on real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpc_backend.node.local import NODE_IDS
from workbench.demo.population import HOSPITALS

pytestmark = [pytest.mark.slow, pytest.mark.processes]
PATIENTS = ("--patient", "advanced", "--patient", "missing-facts", "--patient", "common-genotype")
COMMAND = [sys.executable, "-m", "workbench.cli", "demo", "--headless"]


def _processes_of(folder: Path) -> list[int]:
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


@pytest.mark.timeout(900)
def test_demo_answers_every_question_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [*COMMAND, "--json", "--patients", "4000", "--dir", str(folder), *PATIENTS],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["agrees"]
    assert [story["differences"] for story in report["stories"]] == [[]] * 6
    assert {story["result"]["kind"] for story in report["stories"]} == {
        "cohort_count",
        "survival",
        "treatment_ranking",
    }
    assert set(report["peak_mib"]) == {
        "demonstration",
        *(f"{kind}-{hospital}" for kind in ("load", "site") for hospital in HOSPITALS),
        *NODE_IDS,
    }
    for name, mib in report["peak_mib"].items():
        assert 20 < mib < 1024, (name, mib)
    assert _processes_of(folder) == []


@pytest.mark.timeout(300)
def test_demo_interrupted_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [*COMMAND, "--patients", "500", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 120
    while len(_processes_of(folder / "nodes")) < 4 and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert b"Traceback" not in errors
    assert process.returncode not in (0, None)
    assert _processes_of(folder) == []


def test_demo_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = subprocess.run([*COMMAND, "--dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_demo_refuses_a_patient_it_does_not_know(tmp_path: Path) -> None:
    command = [*COMMAND, "--dir", str(tmp_path / "new"), "--patient", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "choose from advanced, common-genotype, missing-facts" in done.stderr
    assert not (tmp_path / "new").exists()
