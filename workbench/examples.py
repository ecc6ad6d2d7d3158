"""The worked examples a workbench offers: study files in a folder the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Example:
    """One study file, with what a card shows of it."""

    path: Path
    title: str
    description: str
    kind: str


def examples(folder: Path | None) -> list[Example]:
    """The study files of a folder, protocols first. A file that is no study is left out."""
    if folder is None or not folder.is_dir():
        return []
    found = [example for path in sorted(folder.glob("*.yaml")) if (example := _read(path)) is not None]
    return sorted(found, key=lambda example: example.kind != "protocol")


def _read(path: Path) -> Example | None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("tessera") != "study/1":
        return None
    purpose = content.get("purpose")
    description = str(purpose.get("description", "")) if isinstance(purpose, dict) else ""
    return Example(
        path, str(content.get("title", path.stem)), description, str(content.get("kind", "protocol"))
    )
