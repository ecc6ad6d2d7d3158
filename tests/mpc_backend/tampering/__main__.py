"""Tamper with every message of every operation, and write what came of it.

    python -m tests.mpc_backend.tampering [--only NAME ...] [--whole 100] [--stride 10] [--all] [--write docs/tampering.md]

prints a line for each operation; exit status 1 if a case did not abort, and then nothing is written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

from tests.mpc_backend.tampering.attack import attacked, sample
from tests.mpc_backend.tampering.page import Line, text
from tests.mpc_backend.tampering.programs import jobs
from tests.mpc_backend.tampering.recorded import recorded


def line(name: str, whole_to: int, stride: int) -> Line:
    """Attack one operation: in full up to so many messages."""
    began, job = time.monotonic(), jobs()[name]()
    whole = len(recorded(job).messages) <= whole_to
    report = attacked(job, None if whole else sample(stride))
    print(
        f"{name}: {report.aborted:,} of {report.tried.total():,} tampered runs aborted, {report.altered_nothing} altered "
        f"nothing; {'all' if whole else 'some'} cases on {report.messages} messages, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return Line(name, report)


def main() -> int:
    """The command line."""
    names = list(jobs())
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help="These; then nothing can be written."
    )
    reader.add_argument(
        "--whole", type=int, default=100, help="Operations of so many messages are attacked in full."
    )
    reader.add_argument("--stride", type=int, default=10, help="Of longer ones one case in so many.")
    reader.add_argument("--all", action="store_true", help="Every case of every operation.")
    reader.add_argument("--write", type=Path, help="The page to write.")
    given = reader.parse_args()
    if given.only and given.write:
        reader.error("--write writes the whole page; leave out --only")
    whole = sys.maxsize if given.all else given.whole
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        lines = pool.starmap(line, [(name, whole, given.stride) for name in given.only or names], chunksize=1)
    failures = [f"{one.name}: {failure}" for one in lines for failure in one.report.failures]
    if failures:
        print("not aborted:", *failures, sep="\n", file=sys.stderr)
        return 1
    if given.write:
        given.write.write_text(text(lines, whole, given.stride), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
