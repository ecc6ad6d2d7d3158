"""docs/validation.md: how it is written from lines, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.validation import comparative, competing, cox, description, ranking, regression, survival
from tests.validation.lines import Line

SECTIONS: tuple[ModuleType, ...] = (survival, cox, competing, comparative, ranking, regression, description)
"""Each has a TITLE, CASES by name, and ``lines(case, protocol)``; its docstring says which functions of R are meant."""
PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
Found = Mapping[str, Mapping[str, Sequence[Line]]]
"""Lines by title of the section and name of the case."""

HEAD = """# Validation

Every number that an analysis gives in exact release beside R's, on published data sets of patients. This page is made by
`make validation`, which runs the analyses under the protocol `plain` (the same code on one node, in the clear);
`python -m tests.validation --protocol rep4` does it on shares. Tests hold the page against what the analyses compute.

R's numbers were written by R 4.2.2 (survival 3.5-3, cmprsk 2.2-11, MatchIt 4.5.1, survey 4.1-1, MASS 7.3-58.2), to twelve
digits; the scripts, the data sets and where they come from are in
[tests/mpc_backend/analyses/golden](../tests/mpc_backend/analyses/golden/README.md).
*difference* is ours less R's; *allowed* is how far a number may be off before a test fails, in the main:

- counts, medians and quartiles: not at all;
- curves, incidences, restricted means and times lost, which follow in the clear from opened tables: 1e-9 of the number
  (a difference of two: 1e-8 of it or of its standard error);
- means, variances and correlations, made of sums in fixed point: 1e-6;
- chi-squares, coefficients and their errors: 1e-4 of the number, or of a coefficient's standard error where that is larger;
- a comparison under weights: 3e-5 of the standard error, and 1e-5 of the robust error itself;
- robust errors of Cox regressions: 1e-3;
- p and limits: as far as they move when what they are made of moves by that much;
- standardised differences: 2e-5; of MatchIt, whose deviations are those of a sample, 1.5e-3 more;
- standard errors that estimate the same variance in another way: cmprsk's 8e-3, survey's, which leaves out one person after
  the other, 3e-2.

What is released under thresholds are these numbers rounded; tests of each analysis hold them against exact release.

[Simulations](#simulations), whose truth is known, are at the end of the page. Counts are judged by counting rows, at every
threshold ([cohort_count.md](analyses/cohort_count.md)).
"""


@dataclass(frozen=True)
class Row:
    """One row of a table, as it is printed."""

    statistic: str
    ours: str
    theirs: str
    difference: str
    allowed: str


def row(line: Line) -> Row:
    """A line in text: seven digits of the numbers, two of how far they are apart."""
    ours = "none" if line.ours is None else f"{line.ours:.7g}"
    apart = 0.0 if abs(line.difference) < 1e-11 * abs(line.theirs) else line.difference
    return Row(
        line.statistic, ours, f"{line.theirs:.7g}", f"{apart:.1e}" if apart else "0", f"{line.allowed:.2g}"
    )


def used(lines: Sequence[Line]) -> float:
    """The largest difference as a part of what is allowed."""
    return max((abs(line.difference) / line.allowed for line in lines if line.allowed), default=0.0)


def text(found: Found, simulations: Sequence[str]) -> str:
    """The whole page; ``simulations``: the lines of its last section."""
    summary = [
        "",
        "| | data set | statistics | largest difference, of what is allowed |",
        "|---|---|---|---|",
    ]
    tables: list[str] = []
    for section in SECTIONS:
        cases = found[section.TITLE]
        first, *_ = (section.__doc__ or "").splitlines()
        tables += ["", f"## {section.TITLE}", "", first]
        for name, lines in cases.items():
            summary.append(f"| {section.TITLE} | {name} | {len(lines)} | {used(lines):.0%} |")
            tables += [
                "",
                f"### {name}",
                "",
                "| statistic | ours | R | difference | allowed |",
                "|---|---|---|---|---|",
            ]
            tables += [_printed(row(line)) for line in lines]
    return HEAD + "\n".join([*summary, *tables, *simulations]) + "\n"


def _printed(found: Row) -> str:
    cells = (found.statistic, found.ours, found.theirs, found.difference, found.allowed)
    return f"| {' | '.join(cells)} |"


def rows(page: str, title: str, case: str) -> Iterator[Row]:
    """The rows of one table of a page."""
    _, _, after = page.partition(f"\n## {title}\n")
    section, *_ = after.partition("\n## ")
    _, _, table = section.partition(f"\n### {case}\n")
    for line in table.partition("\n### ")[0].splitlines():
        cells = [each.strip() for each in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and cells[0] != "statistic" and not line.startswith("|---"):
            yield Row(*cells)
