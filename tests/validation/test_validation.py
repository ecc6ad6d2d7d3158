"""Exact release beside R's numbers, and docs/validation.md beside exact release."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.validation import comparative
from tests.validation.lines import Line
from tests.validation.page import PAGE, SECTIONS, Row, row, rows, text

CASES = [(section, case) for section in SECTIONS for case in section.CASES]
AGAIN = "write it anew: make validation"


def held(section: ModuleType, case: str, lines: list[Line]) -> None:
    """Every number is R's, and the page says so: its own number may differ as R's may, in the last digits."""
    assert [line for line in lines if not line.agrees] == []
    printed = list(rows(PAGE.read_text(encoding="utf-8"), section.TITLE, case))
    assert [named(each) for each in printed] == [named(row(line)) for line in lines], AGAIN
    for each, line in zip(printed, lines, strict=True):
        assert line.ours is not None
        last = 5e-7 * abs(line.ours)
        assert abs(float(each.ours) - line.ours) <= line.allowed + last, f"{line.statistic}; {AGAIN}"
        assert abs(float(each.difference)) <= line.allowed


def named(found: Row) -> tuple[str, str, str]:
    return found.statistic, found.theirs, found.allowed


@pytest.mark.parametrize(("section", "case"), CASES, ids=[case for _, case in CASES])
def test_every_number_is_that_of_r(section: ModuleType, case: str) -> None:
    held(section, case, list(section.lines(case)))


def test_the_page_is_what_the_command_writes() -> None:
    """Read back from the page itself: headings, tables and summary in their order, nothing else."""
    page = PAGE.read_text(encoding="utf-8")
    found = {
        section.TITLE: {
            case: [line(each) for each in rows(page, section.TITLE, case)] for case in section.CASES
        }
        for section in SECTIONS
    }
    again = text(found).splitlines()
    assert len(again) == len(page.splitlines()), AGAIN
    for ours, theirs in zip(again, page.splitlines(), strict=True):
        assert ours == theirs or ours.split(" | ")[:3] == theirs.split(" | ")[:3], AGAIN


def line(found: Row) -> Line:
    return Line(found.statistic, float(found.ours), float(found.theirs), float(found.allowed))


def test_a_number_that_is_off_is_said() -> None:
    good = Line("x", 1.0, 1.0 + 1e-7, 1e-6)
    assert good.agrees and row(good) == Row("x", "1", "1", "-1.0e-07", "1e-06")
    for ours in (1.1, None):
        bad = Line("x", ours, 1.0, 1e-6)
        assert not bad.agrees
    with pytest.raises(AssertionError):
        held(comparative, "rotterdam, iptw", [Line("x", 1.1, 1.0, 1e-6)])
