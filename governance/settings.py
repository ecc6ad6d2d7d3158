"""Settings of a node or a site: a TOML file, over which environment variables win."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from governance.document import explain_validation


class FileSettings(BaseSettings):
    """Base of settings that come from a file; a subclass names the prefix of its environment variables."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what the file says."""
        return env_settings, init_settings


S = TypeVar("S", bound=FileSettings)


def read_settings(kind: type[S], path: Path, refused: type[Exception], absent: str) -> S:
    """Settings of this kind from a file.

    Args:
        kind: the class of settings.
        path: the file.
        refused: what to raise.
        absent: what to say if there is no such file.

    Raises:
        refused: the file is absent or cannot be read, or a setting is at fault (by name).
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise refused(absent) from error
    except (OSError, ValueError) as error:
        raise refused(f"{path}: cannot be read: {error}") from error
    try:
        return kind(**values)
    except ValidationError as error:
        raise refused(f"{path}: {explain_validation('settings', error, kind)}") from error
