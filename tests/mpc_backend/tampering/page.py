"""docs/tampering.md: what was attacked, how, and how it ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.mpc_backend.tampering import kinds
from tests.mpc_backend.tampering.attack import Report

HEAD = """# Tampering with messages

Written by `make tampering`. What it shows of `rep4`: in whichever of the cases below one node changed a message that it sends,
the job aborted, and nothing that depends on it was opened or left a node. Where of a long operation only a sample of the cases
was tried, the column *attacked* says how many there are; `make tampering ALL=1` leaves none out.

For each line all four nodes run the operation honestly, and every message between them is noted: its bytes, its round, what
it is, and in which message the tag of it travels. Every kind of deviation below that a message allows is then tried on it in
a run of its own, with the same inputs and keys, so that all messages before it are the same. It counts as aborted if some
node stops, and

- no node opens anything, or lets shares go, if a verdict on the altered message was still to come;
- no honest node opens or gives away anything but what it does in the honest run;
- every honest node that stops does so because a check failed or because another node stopped.

An alteration that leaves everything as it was (a message of zeros that is zeroed, an equal one that is replayed, a draw on
which nothing that is sent depends) is no case and is counted as *altered nothing*. A message that is dropped leaves no gap:
the next one stands in its place, as if its sender had numbered them so.

Messages of shards are the same messages under keys of their own (`tests/mpc_backend/engine/test_shards.py`). Messages that
precede a run or release its result are attacked in `test_link_checks.py` and `test_release_checks.py`; what is delivered to a
recipient, and every check of the protocol with that check taken out of the code, in `test_checks.py`.
"""


@dataclass(frozen=True)
class Line:
    """One operation."""

    name: str
    report: Report


def text(lines: list[Line], whole: int, stride: int) -> str:
    """The page."""
    parts = [
        HEAD,
        _totals(lines, whole, stride),
        "## Kinds\n",
        _kinds(lines),
        "## Operations\n",
        _operations(lines),
    ]
    return "\n".join(parts)


def _totals(lines: list[Line], whole: int, stride: int) -> str:
    tried = sum(line.report.tried.total() for line in lines)
    aborted = sum(line.report.aborted for line in lines)
    nothing = sum(line.report.altered_nothing for line in lines)
    messages = sum(line.report.messages for line in lines)
    said = (
        f"**{aborted:,} of {tried:,} tampered runs aborted.** {len(lines)} lines below, {messages:,} messages; {nothing:,} "
        "more alterations altered nothing.\n"
    )
    if any(line.report.chosen < line.report.chosen_of for line in lines):
        said += (
            f"\nLines of at most {whole} messages are attacked in full. Of longer ones one case in {stride} is tried, and at "
            "least\none for each kind and sort of message, each kind and node, each sort and node; `make tampering ALL=1` "
            "tries all.\n"
        )
    return said


def _share(report: Report) -> str:
    return "all" if report.chosen == report.chosen_of else f"{report.chosen:,} of {report.chosen_of:,}"


def _kinds(lines: list[Line]) -> str:
    counted: Counter[tuple[str, str]] = Counter()
    for line in lines:
        counted += line.report.tried
    rows = [f"- **{kind}**: {meaning}" for kind, meaning in kinds.KINDS.items()]
    rows += ["", f"| altered | {' | '.join(kinds.KINDS)} |", f"|---|{'---:|' * len(kinds.KINDS)}"]
    for sort in dict.fromkeys(sort for _, sort in sorted(counted, key=lambda one: one[1])):
        cells = [f"{counted[kind, sort]:,}" if counted[kind, sort] else "" for kind in kinds.KINDS]
        rows.append(f"| {sort} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _operations(lines: list[Line]) -> str:
    rows = [
        "| operation | messages | kinds | attacked | cases | aborted | altered nothing |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for line in lines:
        report = line.report
        used = len({kind for kind, _ in report.tried})
        rows.append(
            f"| {line.name} | {report.messages} | {used} | {_share(report)} | {report.tried.total():,} | "
            f"{report.aborted:,} | {report.altered_nothing} |"
        )
    return "\n".join(rows) + "\n"
