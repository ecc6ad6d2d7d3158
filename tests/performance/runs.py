"""What is measured for docs/performance.md, and the file of JSON lines that it is kept in."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from mpc_backend.bench.analyses import CASES
from mpc_backend.bench.cli import load_lines
from mpc_backend.bench.engine_processes import measure_engine
from mpc_backend.bench.lines import LINES, Measurement, alone, measure
from mpc_backend.bench.processes import measure_question
from mpc_backend.transport.shape import LinkShape

STORE: Final = Path(__file__).parents[2] / "docs" / "performance" / "lines.jsonl"
PROTOCOLS: Final = ("rep3", "rep4")
WAN: Final = "20ms,200Mbit"
How = Literal["in process", "processes", "wan", "kernels"]
HOWS: Final[tuple[How, ...]] = ("kernels", "in process", "processes", "wan")
Record = dict[str, Any]
"""A `Measurement` as JSON with ``how`` it was made and, for lines, the ``command`` that makes it again."""
Records = Mapping[tuple[str, str, str], Record]
"""By ``how``, line and protocol."""


@dataclass(frozen=True)
class Task:
    """One line to be measured under both protocols."""

    how: How
    name: str
    n: int
    repeats: int = 1
    warm_up: bool = True

    def measured(self) -> Iterator[Record]:
        """One record for each protocol."""
        if self.how == "kernels":
            yield from _kernels()
            return
        load_lines()
        for protocol in PROTOCOLS:
            found = self._measurement(protocol).model_dump()
            yield {"how": self.how, **found, "command": self.command(protocol)}

    def _measurement(self, protocol: str) -> Measurement:
        if self.how == "processes":
            by_question = measure_question if self.name in CASES else measure_engine
            return by_question(self.name, protocol, self.n, self.repeats, warm_up=self.warm_up)
        shape = LinkShape.parse(WAN) if self.how == "wan" else None
        once = partial(measure, self.name, protocol, self.n, self.repeats, shape, warm_up=self.warm_up)
        return alone(once, LINES[self.name].prepare.__module__)

    def command(self, protocol: str) -> str:
        """What somebody types who wants to see it again."""
        words = [f"tessera bench {self.name} --protocol {protocol} --n {self.n} --repeats {self.repeats}"]
        words += [] if self.warm_up else ["--no-warm-up"]
        words += {"processes": ["--processes"], "wan": [f"--wan {WAN}"]}.get(self.how, [])
        return " ".join([*words, "--json"])


MILLION: Final = 1_000_000
SHORT: Final = (
    "multiply", "compare64", "compare16", "equal64", "shuffle", "groupby_public", "filter_sum",
)  # fmt: skip
TABLES: Final = {"sort20": MILLION, "sort64": MILLION, "groupby_secret": MILLION, "join": MILLION // 2}
ANALYSES: Final = {
    "ranking": (20_000, 2, True),
    "ranking_cells": (20_000, 2, True),
    "ranking_publish": (20_000, 1, False),
    "ranking_cells_large": (MILLION, 2, True),
    "survival_rows": (MILLION, 1, True),
    "logistic": (100_000, 1, False),
    "cox": (100_000, 1, False),
    "ranking_publish_large": (MILLION, 1, False),
}
SLOW: Final = {
    "multiply": MILLION, "compare64": MILLION, "shuffle": MILLION, "groupby_public": MILLION,
    "sort20": 100_000, "join": 50_000, "ranking": 20_000, "ranking_cells": 20_000, "survival_rows": 100_000,
}  # fmt: skip
TASKS: Final = (
    Task("kernels", "kernels", 1),
    *(Task("in process", name, MILLION, 3) for name in SHORT),
    *(Task("in process", name, n) for name, n in TABLES.items()),
    *(Task("processes", name, MILLION) for name in SHORT),
    *(Task("processes", name, n, warm_up=False) for name, n in TABLES.items()),
    Task("processes", "ranking", 20_000, 2),
    *(Task("wan", name, n, warm_up=False) for name, n in SLOW.items()),
    *(Task("in process", name, n, repeats, warm_up) for name, (n, repeats, warm_up) in ANALYSES.items()),
)
"""In this order, what takes longest last: whatever has been measured is kept."""


def _kernels() -> Iterator[Record]:
    """Compiling all kernels with nothing on disk, and loading them in a new process afterwards."""
    with tempfile.TemporaryDirectory(prefix="tessera-kernels-") as folder:
        for step in ("compile", "load"):
            before = _children_seconds()
            done = subprocess.run(
                [sys.executable, "-m", "mpc_backend.kernels"],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            said = re.search(r"compiled in ([\d.]+) s", done.stderr)
            assert said is not None, done.stderr
            yield {
                "how": "kernels",
                "name": step,
                "protocol": "none",
                "seconds": float(said[1]),
                "cpu_seconds": round(_children_seconds() - before, 1),
                "command": "python -m mpc_backend.kernels",
            }


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def key(record: Record) -> tuple[str, str, str]:
    """What a record replaces an earlier one by."""
    return record["how"], record["name"], record["protocol"]


def load(store: Path = STORE) -> dict[tuple[str, str, str], Record]:
    """Everything that has been measured."""
    if not store.exists():
        return {}
    lines = store.read_text(encoding="utf-8").splitlines()
    return {key(record): record for record in map(json.loads, lines)}


def save(records: Iterable[Record], store: Path = STORE) -> None:
    """Write the whole file, in the order of `TASKS`."""
    order = [
        (task.how, name, protocol)
        for task in TASKS
        for name in (("compile", "load") if task.how == "kernels" else (task.name,))
        for protocol in (("none",) if task.how == "kernels" else PROTOCOLS)
    ]
    known = sorted((one for one in records if key(one) in order), key=lambda one: order.index(key(one)))
    store.parent.mkdir(exist_ok=True)
    store.write_text("".join(json.dumps(one) + "\n" for one in known), encoding="utf-8")
