"""Measure what docs/performance.md states, keep it as JSON lines, and write the tables of the page from them.

    python -m tests.performance [--how processes] [--only multiply ...]      about 18 minutes for everything
    python -m tests.performance --page                                       writes the page alone

Measured lines replace what was kept of them; all others stay. Nothing else should run on the machine. Exit status 1 if a line
could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import time

from mpc_backend.bench.engine_processes import NodeFailed
from mpc_backend.bench.lines import UnequalRuns
from tests.performance import page
from tests.performance.runs import HOWS, TASKS, key, load, save


def main() -> int:
    """The command line."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--how", choices=HOWS, help="Only lines measured in this way.")
    reader.add_argument(
        "--only", nargs="+", choices=sorted({one.name for one in TASKS}), help="Only these lines."
    )
    reader.add_argument("--page", action="store_true", help="Measure nothing.")
    given = reader.parse_args()
    began, records, failed = time.monotonic(), load(), False
    for task in TASKS:
        if given.page or given.how not in {None, task.how} or task.name not in (given.only or [task.name]):
            continue
        try:
            for record in task.measured():
                records[key(record)] = record
                save(records.values())
                print(
                    f"{time.monotonic() - began:6.0f} s  {task.how}: {record['name']} {record['protocol']} "
                    f"{record['seconds']:.3f} s",
                    flush=True,
                )
        except (NodeFailed, UnequalRuns) as error:  # the others can be measured all the same
            print(f"{task.how}: {task.name} was not measured: {error}", file=sys.stderr, flush=True)
            failed = True
    page.PAGE.write_text(page.renewed(page.PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
