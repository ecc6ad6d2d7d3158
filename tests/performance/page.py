"""The tables of docs/performance.md, written from what was measured. Every other word of the page is written by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mpc_backend.bench.lines import Measurement
from tests.performance.runs import ANALYSES, MILLION, PROTOCOLS, SHORT, SLOW, TABLES, Record, Records

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
MIB: Final = 2**20
LARGE: Final = (*SHORT, *TABLES)

AIMS: Final = {
    "multiply": (0.06, 0.1), "compare64": (0.25, 0.5), "compare16": (0.08, 0.2), "equal64": (0.15, 0.35),
    "shuffle": (0.6, 1.5), "groupby_public": (0.3, 0.7), "sort20": (6, 12), "sort64": (10, 20),
    "groupby_secret": (12, 30), "join": (20, 50), "filter_sum": (0.8, 1.8),
    "ranking": (0.5, 1), "ranking_cells": (0.05, 0.1), "ranking_publish_large": (60, 120),
    "ranking_cells_large": (3, 6), "survival_rows": (2, 5), "cox": (20, 60), "logistic": (6, 15),
}  # fmt: skip
"""Wall seconds under `rep3` and `rep4`."""
BYTE_AIMS: Final = {
    "multiply": (8, 12.1), "compare64": (28, 42), "compare16": (6, 9), "equal64": (11, 16.5), "shuffle": (54, 121),
    "sort20": (900, 1400), "sort64": (1500, 2200),
}  # fmt: skip
"""Bytes a value at the node that sends most."""
WHAT: Final = {
    "ranking": "20,000 patients, 100 treatments, one question",
    "ranking_cells": "the same by 45 cells, a question after publication",
    "ranking_publish": "the table of all its answers, once for each set of uploads",
    "ranking_cells_large": "a question after publication of 10^6 patients and 1,000 treatments",
    "survival_rows": "curves and log-rank of two arms, 120 months, 10^6 shared rows",
    "logistic": "10^5 persons, ten covariates, likelihood ratio",
    "cox": "10^5 persons, ten covariates, robust errors and all tests",
    "ranking_publish_large": "the table of answers for 10^6 patients and 1,000 treatments",
}
PEERS: Final = (
    ("10^6 products", "multiply", "MP-SPDZ replicated ring 0.08"),
    ("10^6 comparisons, 64 bits", "compare64",
     "MP-SPDZ 1.9 (8,200 rounds); SPU (ABY3) 4; ORQ 2.0 with three, 12.6 with four parties"),
    ("sort 10^6 keys of 20 bits", "sort20", "MP-SPDZ 107; SPU 289"),
    ("sort 10^6 keys of 64 bits", "sort64", "ORQ, 10^5 keys: 7.7 with three, 27 to 31 with four parties"),
)  # fmt: skip


def renewed(page: str, records: Records) -> str:
    """The page with every block between its two marks written anew."""

    def block(found: re.Match[str]) -> str:
        lines = BLOCKS[found["name"]](records)
        return "\n".join([f"<!-- begin {found['name']} -->", "", *lines, "", f"<!-- end {found['name']} -->"])

    return re.sub(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", block, page, flags=re.DOTALL)


def number(value: float) -> str:
    """Three digits, or whole numbers with a comma."""
    for above, digits in ((100, 0), (10, 1), (1, 2)):
        if value >= above:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def size(n: int) -> str:
    """10^6, 5 * 10^5, 20,000."""
    head = str(n).rstrip("0")
    zeros = len(str(n)) - len(head)
    if len(head) > 1 or zeros < 5:
        return f"{n:,}"
    return f"10^{zeros}" if head == "1" else f"{head} * 10^{zeros}"


def _both(records: Records, how: str, name: str, say: Callable[[Record], str]) -> str:
    """What is said of both protocols, with a stroke between; a dash where nothing has been measured."""
    found = [records.get((how, name, protocol)) for protocol in PROTOCOLS]
    return " / ".join("-" if one is None else say(one) for one in found)


def _aims(aims: dict[str, tuple[float, float]], name: str) -> str:
    return " / ".join(f"{one:,g}" for one in aims[name]) if name in aims else ""


def _per_value(one: Record) -> float:
    return float(max(one["bytes_sent"])) / float(one["n"])


def _seconds(one: Record) -> str:
    return number(one["seconds"])


def _wall_and_cpu(one: Record) -> str:
    return f"{number(one['seconds'])} ({number(one['cpu_seconds'])})"


def _table(head: str, rows: Iterator[tuple[str, ...]]) -> list[str]:
    rule = "|---" * head.count(" | ") + "|---|"
    return [f"| {head} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _engine(records: Records) -> list[str]:
    head = "line | n | target s | wall (cpu) s | target bytes | bytes | rounds | peak MiB"
    return _table(
        head,
        (
            (
                f"`{name}`", size(TABLES.get(name, MILLION)), _aims(AIMS, name),
                _both(records, "in process", name, _wall_and_cpu), _aims(BYTE_AIMS, name),
                _both(records, "in process", name, lambda one: number(_per_value(one))),
                _both(records, "in process", name, lambda one: f"{one['rounds']:,}"),
                _both(records, "in process", name, lambda one: f"{one['peak_mib']:,.0f}"),
            )
            for name in LARGE
        ),
    )  # fmt: skip


def _analyses(records: Records) -> list[str]:
    head = "line | what | aim s | wall (cpu) s | MB | rounds | peak MiB"
    return _table(
        head,
        (
            (
                f"`{name}`", WHAT[name], _aims(AIMS, name), _both(records, "in process", name, _wall_and_cpu),
                _both(records, "in process", name, lambda one: number(max(one["bytes_sent"]) / 1e6)),
                _both(records, "in process", name, lambda one: f"{one['rounds']:,}"),
                _both(records, "in process", name, lambda one: f"{one['peak_mib']:,.0f}"),
            )
            for name in ANALYSES
        ),
    )  # fmt: skip


def _misses(names: tuple[str, ...]) -> Callable[[Records], list[str]]:
    """Sentences on what is above its aim, of the engine's lines or of analyses."""

    def said(records: Records) -> list[str]:
        found = []
        for name in names:
            for place, protocol in enumerate(PROTOCOLS):
                one = records.get(("in process", name, protocol))
                if one is None:
                    continue
                if name in AIMS and one["seconds"] > AIMS[name][place]:
                    found.append(
                        f"`{name}` under `{protocol}` ({_seconds(one)} s, aim {AIMS[name][place]:g})"
                    )
                if name in BYTE_AIMS and _per_value(one) > BYTE_AIMS[name][place] * 1.005:
                    found.append(
                        f"`{name}` under `{protocol}` ({number(_per_value(one))} bytes, aim {BYTE_AIMS[name][place]:g})"
                    )
        return [f"Above their aims: {'; '.join(found)}." if found else "Nothing is above its aim."]

    return said


def _links(records: Records) -> list[str]:
    def row(name: str) -> tuple[str, ...]:
        n = SLOW.get(name)
        return (
            f"`{name}`",
            size(TABLES.get(name, ANALYSES[name][0] if name in ANALYSES else MILLION)),
            _both(records, "in process", name, _seconds),
            _both(records, "processes", name, _seconds) if name in (*LARGE, "ranking") else "",
            "" if n is None else size(n),
            "" if n is None else _both(records, "wan", name, _seconds),
        )

    head = "line | n | in one process s | `--processes` s | n | `--wan 20ms,200Mbit` s"
    return _table(head, (row(name) for name in (*LARGE, *(one for one in SLOW if one not in LARGE))))


def _memory(records: Records) -> list[str]:
    def grown(one: Record) -> str:
        mib = one["peak_mib"] - one["base_mib"]
        return f"{mib:,.0f} ({mib * MIB / one['input_bytes']:.1f})"

    def row(name: str) -> tuple[str, ...]:
        one = records.get(("processes", name, "rep3"))
        plain = "-" if one is None else number(one["input_bytes"] / 1e6)
        return f"`{name}`", plain, *_both(records, "processes", name, grown).split(" / ")

    head = "line | plaintext MB | `rep3` MiB (times plaintext) | `rep4` MiB (times plaintext)"
    return _table(head, (row(name) for name in LARGE))


def _others(records: Records) -> list[str]:
    def row(work: str, name: str, theirs: str) -> tuple[str, ...]:
        return work, *_both(records, "in process", name, _seconds).split(" / "), theirs

    return _table("work | `rep3` s | `rep4` s | others, s", (row(*one) for one in PEERS))


def _kernels(records: Records) -> list[str]:
    compiled, loaded = (records.get(("kernels", step, "none")) for step in ("compile", "load"))
    if compiled is None or loaded is None:
        return ["Not measured yet."]
    return [
        f"Compiling all kernels, with nothing on disk, takes {number(compiled['seconds'])} s "
        f"({number(compiled['cpu_seconds'])} s of processor time); loading them from disk in a new process "
        f"{number(loaded['seconds'])} s."
    ]


def _json(records: Records) -> list[str]:
    names = Measurement.model_fields
    lines = [
        json.dumps({name: one[name] for name in names})
        for (how, _, _), one in records.items()
        if how == "in process"
    ]
    return ["```json", *lines, "```"]


BLOCKS: Final[dict[str, Callable[[Records], list[str]]]] = {
    "engine": _engine,
    "engine_misses": _misses(LARGE),
    "analyses": _analyses,
    "analyses_misses": _misses(tuple(ANALYSES)),
    "links": _links,
    "memory": _memory,
    "others": _others,
    "kernels": _kernels,
    "json": _json,
}
