"""What tests ask of a comparison with R: the numbers agree, and docs/validation.md prints them."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from tests.validation.lines import Line
from tests.validation.page import PAGE, Row, row, rows

AGAIN = "write docs/validation.md anew: make validation"


def agreed(lines: Iterable[Line]) -> list[Line]:
    """The lines, all of which agree."""
    found = list(lines)
    assert found
    assert [line for line in found if not line.agrees] == []
    return found


def held(section: ModuleType, case: str, lines: Iterable[Line]) -> None:
    """Every number is R's, and the page says so: its own number may differ as R's may, in the last digits."""
    found, printed = agreed(lines), list(rows(PAGE.read_text(encoding="utf-8"), section.TITLE, case))
    assert [_fixed(each) for each in printed] == [_fixed(row(line)) for line in found], AGAIN
    for each, line in zip(printed, found, strict=True):
        assert line.ours is not None
        last = 5e-7 * abs(line.ours)
        assert abs(float(each.ours) - line.ours) <= line.allowed + last, f"{line.statistic}; {AGAIN}"
        assert abs(float(each.difference)) <= line.allowed, f"{line.statistic}; {AGAIN}"


def _fixed(found: Row) -> tuple[str, str, str]:
    return found.statistic, found.theirs, found.allowed
