"""The mark that says all kernels are compiled: it holds for these sources on this machine, and for no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpc_backend.kernels import kept


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kernels"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "rows.py").write_text("one = 1\n", encoding="utf-8")
    monkeypatch.setattr(kept, "_SOURCES", folder)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return folder


def test_is_kept_once_noted(sources: Path) -> None:
    assert not kept.all_kept()
    kept.note_all_kept()
    assert kept.all_kept()


def test_a_changed_source_is_compiled_again(sources: Path) -> None:
    kept.note_all_kept()
    os.utime(sources / "rows.py", ns=(1, 1))  # numba, too, goes by time and size
    assert not kept.all_kept()
    kept.note_all_kept()
    assert kept.all_kept()
    assert len(list((sources / "__pycache__").glob("*.whole"))) == 1


def test_another_processor_compiles_again(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.note_all_kept()
    other = tmp_path / "cpuinfo"
    other.write_text("processor: 0\nmodel name: another\nflags: few\n\n", encoding="utf-8")
    monkeypatch.setattr(kept, "_PROCESSOR", other)
    assert not kept.all_kept()


def test_a_chosen_cache_has_its_own_mark(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.note_all_kept()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert not kept.all_kept()
    kept.note_all_kept()  # there is no such folder: nothing is written, nothing fails
    assert not kept.all_kept()
