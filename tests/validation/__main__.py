"""Run every analysis in exact release on the data sets that R's numbers are stored for, and compare; then simulate.

    python -m tests.validation [--protocol plain] [--only cox] [--write docs/validation.md]

prints one line for each data set; exit status 1 if a number is further from R's than it may be, and then nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType

from tests.validation import simulation
from tests.validation.lines import Line
from tests.validation.page import SECTIONS, text, used

NAMES = {section.__name__.rpartition(".")[2]: section for section in SECTIONS}


def compared(section: ModuleType, protocol: str) -> dict[str, list[Line]]:
    """All cases of a section; prints how each came out."""
    found: dict[str, list[Line]] = {}
    for case in section.CASES:
        found[case] = list(section.lines(case, protocol))
        print(
            f"{section.TITLE}, {case}: {len(found[case])} statistics, {used(found[case]):.0%} of what is allowed"
        )
        for line in found[case]:
            if not line.agrees:
                print(f"  {line.statistic}: {line.ours}, R {line.theirs}, allowed {line.allowed:.2g}")
    return found


def main() -> int:
    """The command line."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--protocol", default="plain", choices=("plain", "rep3", "rep4"))
    reader.add_argument("--only", choices=sorted(NAMES), help="One section; then nothing can be written.")
    reader.add_argument("--write", type=Path, help="The page to write.")
    given = reader.parse_args()
    if given.only and given.write:
        reader.error("--write writes the whole page; leave out --only")
    sections = [NAMES[given.only]] if given.only else SECTIONS
    found = {section.TITLE: compared(section, given.protocol) for section in sections}
    if not all(line.agrees for cases in found.values() for lines in cases.values() for line in lines):
        print("some numbers are further from R's than they may be; nothing was written", file=sys.stderr)
        return 1
    if given.write:
        given.write.write_text(text(found, simulation.section()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
