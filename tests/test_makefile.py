"""What `make` does before there is anything of ours to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(folder: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """`make` on a copy of the Makefile, with no settings of a `make` that runs these tests."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**kept, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def _program(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_without_venv_another_user_is_told_what_to_install(tmp_path: Path) -> None:
    python = _program(tmp_path / "bin", "python-without-venv", "exit 1")
    _program(tmp_path / "bin", "id", "echo 1000")
    done = _make(
        tmp_path, "setup", f"PYTHON={python}", path=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("given", "headless"), [("1", True), ("yes", True), ("0", False), ("no", False), ("", False)]
)
def test_headless_0_is_not_headless(tmp_path: Path, given: str, headless: bool) -> None:
    (tmp_path / ".venv").mkdir()
    done = _make(tmp_path, "--dry-run", "demo", f"HEADLESS={given}")
    assert done.returncode == 0, done.stderr
    assert ("--headless" in done.stdout) == headless
