"""Exact release beside R's numbers, and docs/validation.md beside exact release."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.validation import comparative, simulation
from tests.validation.holding import AGAIN, agreed, held
from tests.validation.lines import Line
from tests.validation.page import PAGE, SECTIONS, Row, row, rows, text

CASES = [
    (section, case)
    for section in SECTIONS
    for case in section.CASES
    if section is not comparative or "beyond" in case  # test_comparative_effectiveness has the others
]


@pytest.mark.parametrize(("section", "case"), CASES, ids=[case for _, case in CASES])
def test_every_number_is_that_of_r(section: ModuleType, case: str) -> None:
    held(section, case, section.lines(case))


def test_the_page_is_what_the_command_writes() -> None:
    """Read back from the page itself: headings, tables and summary in their order, nothing else."""
    page = PAGE.read_text(encoding="utf-8")
    found = {
        section.TITLE: {
            case: [line(each) for each in rows(page, section.TITLE, case)] for case in section.CASES
        }
        for section in SECTIONS
    }
    _, mark, simulated = page.partition(f"\n## {simulation.TITLE}\n")
    again = text(found, (mark + simulated).splitlines()).splitlines()
    assert len(again) == len(page.splitlines()), AGAIN
    for ours, theirs in zip(again, page.splitlines(), strict=True):
        assert ours == theirs or ours.split(" | ")[:3] == theirs.split(" | ")[:3], AGAIN


def line(found: Row) -> Line:
    return Line(found.statistic, float(found.ours), float(found.theirs), float(found.allowed))


def test_simulated_confounding_is_seen_through() -> None:
    """Stored results: every adjusted interval holds the truth often enough, and the crude difference is wrong in sign."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [each for each in simulation.confounding_rows() if each not in page] == [], AGAIN
    for found in simulation.confounding():
        assert found["replicates"] == found["shown"] == 1000
        assert min(found["rmst_coverage"], found["risk_coverage"]) >= 0.93
        assert found["wrong_sign"] < 0.01
        assert found["wrong_sign_crude"] > 0.9


def test_a_number_that_is_off_is_said() -> None:
    good = Line("x", 1.0, 1.0 + 1e-7, 1e-6)
    assert good.agrees and row(good) == Row("x", "1", "1", "-1.0e-07", "1e-06")
    for ours in (1.1, None):
        bad = Line("x", ours, 1.0, 1e-6)
        assert not bad.agrees
        with pytest.raises(AssertionError):
            agreed([good, bad])
    with pytest.raises(AssertionError, match="make validation"):
        held(comparative, "rotterdam, iptw", [good])
