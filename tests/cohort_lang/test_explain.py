"""Definitions in words and in canonical text: golden files. UPDATE_GOLDEN=1 rewrites them, for a person to read."""

import os
from pathlib import Path

import pytest

from cohort_lang import explain, format_cohort, parse

GOLDEN = Path(__file__).parent / "golden"
TEXTS = sorted(path.stem for path in GOLDEN.glob("*.cohort"))


def golden(path, found):
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEXTS)
def test_explanation(name):
    text = (GOLDEN / f"{name}.cohort").read_text(encoding="utf-8")
    golden(GOLDEN / f"{name}.explained.txt", explain(parse(text)))


@pytest.mark.parametrize("name", TEXTS)
def test_golden_texts_are_canonical(name):
    text = (GOLDEN / f"{name}.cohort").read_text(encoding="utf-8")
    assert format_cohort(parse(text)) == text
