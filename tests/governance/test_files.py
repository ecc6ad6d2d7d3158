"""Files and folders appear whole or not at all; settings come from a file over which the environment wins."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select, text

from governance.files import is_filled, new_directory, replace_file, write_new
from governance.settings import FileSettings, read_settings
from governance.storage import UtcDateTime


def test_a_new_file_has_its_mode_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_new(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_new(path, b"other")
    assert path.read_bytes() == b"secret"


def test_a_replaced_file_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new")
        assert reader.read() == b"old", "who has it open reads what was there"
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["pin"]


def test_a_directory_appears_filled_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sites" / "north"
    with pytest.raises(ZeroDivisionError), new_directory(path) as scratch:
        (scratch / "half").touch()
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []
    path.mkdir()
    assert not is_filled(path)
    with new_directory(path) as scratch:
        (scratch / "whole").touch()
        assert not any(path.iterdir())
    assert [one.name for one in path.iterdir()] == ["whole"]
    assert is_filled(path)
    assert is_filled(path / "whole"), "a file is in the way"


class Oven(FileSettings):
    model_config = SettingsConfigDict(env_prefix="OVEN_")

    name: str
    degrees: Annotated[int, Field(le=300)] = 180


def test_settings_come_from_the_environment_then_the_file_then_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "oven.toml"
    path.write_text('name = "small"\ndegrees = 100\n')
    assert read_settings(Oven, path, LookupError, "") == Oven(name="small", degrees=100)
    monkeypatch.setenv("OVEN_DEGREES", "200")
    assert read_settings(Oven, path, LookupError, "").degrees == 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('name = "small"\ndegrees = 400\n', "degrees"),
        ('name = "small"\ncolour = "red"\n', "colour"),
        ("degrees = 100\n", "name"),
        ("name =", "cannot be read"),
        (None, "bake one"),
    ],
)
def test_settings_at_fault_are_refused_by_name(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "oven.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LookupError, match=words):
        read_settings(Oven, path, LookupError, "bake one")


def test_times_come_back_in_utc() -> None:
    engine, table = create_engine("sqlite://"), Table("t", MetaData(), Column("at", UtcDateTime))
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(insert(table).values(at=moment))
        connection.execute(insert(table).values(at=None))
        assert list(connection.scalars(select(table.c.at))) == [moment.astimezone(UTC), None]
        assert str(connection.scalar(text("SELECT at FROM t"))).startswith("2026-01-02 01:04")
    engine.dispose()
