"""What the documents say is tested by a file, is tested by one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
NAME = re.compile(r"\b(?:[\w-]+/)*test_\w+\.py\b")
PLACE = re.compile(r"\btests/[\w./-]*\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there_once(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for place in PLACE.findall(text):
        assert (ROOT / place).exists(), f"{page.name} names {place}"
    for name in NAME.findall(text):
        parts = tuple(Path(name.removeprefix("tests/")).parts)
        found = [one for one in TESTS.rglob(parts[-1]) if one.parts[-len(parts) :] == parts]
        assert len(found) == 1, f"{page.name} names {name}, which {len(found)} files are called"


def test_pages_are_looked_at() -> None:
    assert sum(len(NAME.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
