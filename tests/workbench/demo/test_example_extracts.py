"""`tessera demo --extracts`: what it writes is what the commands it prints load."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from site_connector.cli import site_app
from site_connector.directory import SiteDirectory
from site_connector.loading import last_report
from workbench.demo.cli import demo_app

FEW = ["--patients", "500"]


def demo(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(demo_app, [*map(str, words), *FEW])
    return done.exit_code, done.output


def test_the_printed_commands_load_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with a space" / "ex"
    folder.parent.mkdir()
    status, said = demo("--extracts", folder)
    assert status == 0, said
    commands = [shlex.split(line) for line in said.splitlines() if line.startswith("  tessera ")]
    assert [(words[2], Path(words[3]).name) for words in commands] == [
        (verb, site) for verb in ("init", "load") for site in ("north", "south", "west")
    ]
    for words in commands[3:]:
        assert all(Path(path).exists() for path in words[5::2])
    assert (folder / "extracts" / "west" / "mapping.yaml").is_file()
    monkeypatch.setenv("TESSERA_STEWARD_PASSPHRASE", "a passphrase of the steward")
    for words in (commands[1], commands[4]):  # the tables, which load fastest
        done = CliRunner().invoke(site_app, words[2:])
        assert done.exit_code == 0, done.output
    report = last_report(SiteDirectory(Path(commands[4][3])))
    assert report.persons > 500 and report.warnings == ()


def test_only_a_new_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    for words, part in (
        (["--extracts", tmp_path], "is not empty; choose a new folder"),
        (["--extracts", tmp_path / "mine"], "is not empty; choose a new folder"),
        (["--extracts", tmp_path / "new", "--headless"], "goes with --patients and --seed alone"),
    ):
        status, said = demo(*words)
        assert status == 2
        assert part in " ".join(said.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
