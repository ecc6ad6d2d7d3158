"""Documentation that drifts fails here: settings, commands, and the drawn trees of errors."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

import governance.errors
import site_connector.errors
from site_connector.cli import site_app
from site_connector.directory import SiteSettings

PAGE = (Path(__file__).parents[2] / "docs" / "site-connector.md").read_text("utf-8")


@pytest.mark.parametrize("name", list(SiteSettings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `{name}` |" in PAGE
    default = SiteSettings.model_fields[name].default
    if isinstance(default, float):
        assert f"| `{name}` | {default} |" in PAGE


@pytest.mark.parametrize("command", [one.name for one in site_app.registered_commands])
def test_every_command_is_documented(command: str) -> None:
    assert f"tessera site {command}" in PAGE or f"`{command} " in PAGE


@pytest.mark.parametrize("module", [governance.errors, site_connector.errors], ids=lambda one: one.__name__)
def test_every_error_is_in_the_drawn_tree(module: ModuleType) -> None:
    drawn = inspect.getdoc(module) or ""
    classes = [
        one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__
    ]
    assert len(classes) > 5
    for one in classes:
        assert one.__name__ in drawn
        assert one.__doc__
