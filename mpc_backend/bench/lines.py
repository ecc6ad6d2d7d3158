"""The register of benchmark lines, and how one is measured.

A line is a function that takes n and a random generator and gives the plaintext inputs and the program; decorate it with
`line` to add it. Inputs are shared before the clock starts; the time is from the first node's start to the last node's
verified end, without opening. Work that a hospital does in the clear, before anything is shared, is a `clear_line`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from mpc_backend.bench.usage import count_peak_anew, in_use_mib, peak_mib
from mpc_backend.kernels.warming import compile_all
from mpc_backend.memory import give_back_memory, keep_freed_memory
from mpc_backend.session import Session
from mpc_backend.testing import Shared, World
from mpc_backend.transport.shape import LinkShape

Program = Callable[..., Any]
Prepare = Callable[[World, int, np.random.Generator], tuple[list[Shared], Program]]
PrepareClear = Callable[[int], AbstractContextManager[tuple[int, Callable[[], object]]]]
CLEAR = "none"
"""The protocol of a measurement without nodes."""
SILENCE_SECONDS: Final = 600.0
"""How long a node waits for a message: lines may be large, and links slow."""


class UnequalRuns(RuntimeError):
    """Runs of a line whose traffic follows from its size alone sent different amounts."""

    exit_code = 3


class Measurement(BaseModel):
    """One line of output.

    ``seconds`` and ``cpu_seconds`` are of the fastest run. ``bytes_sent`` (one entry per node, none for work in the clear)
    and ``rounds`` are equal in all runs, or of the run that sent most where a line's traffic follows a random permutation.

    ``peak_mib``: the most memory in use: of all nodes together from when their inputs were shared, or of the largest node
    since its start where nodes are processes of their own. ``base_mib``: what the same process had in use before there were
    inputs (interpreter, libraries, kernels). ``input_bytes``: the plaintext in words of its rings, a bit for a truth value.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    n: int
    protocol: str
    seconds: float
    cpu_seconds: float
    bytes_sent: list[int]
    rounds: int
    input_bytes: int
    base_mib: float
    peak_mib: float


class Run(NamedTuple):
    """One run of all nodes: seconds, processor seconds of all together, payload bytes by node, rounds."""

    seconds: float
    cpu_seconds: float
    bytes_sent: list[int]
    rounds: int


@dataclass(frozen=True)
class Line:
    """One benchmark: its name, default size and what prepares it; ``shards``: whether it is worked on in row shards;
    ``varies``: whether what is sent follows a random permutation, as in sorts by wide keys.
    """

    name: str
    n: int
    prepare: Prepare
    shards: bool = False
    varies: bool = False


@dataclass(frozen=True)
class ClearLine:
    """A benchmark without nodes: ``prepare(n)`` gives for a while the size it made and the work to be timed."""

    name: str
    n: int
    prepare: PrepareClear


LINES: dict[str, Line | ClearLine] = {}


def line(name: str, n: int, *, shards: bool = False, varies: bool = False) -> Callable[[Prepare], Prepare]:
    """Register a benchmark under a name with its default n."""

    def register(prepare: Prepare) -> Prepare:
        LINES[name] = Line(name, n, prepare, shards, varies)
        return prepare

    return register


def clear_line(name: str, n: int) -> Callable[[PrepareClear], PrepareClear]:
    """Register a benchmark of work in the clear under a name with its default n."""

    def register(prepare: PrepareClear) -> PrepareClear:
        LINES[name] = ClearLine(name, n, prepare)
        return prepare

    return register


def measure(
    name: str,
    protocol: str,
    n: int | None = None,
    repeats: int = 3,
    shape: LinkShape | None = None,
    workers: int = 1,
    *,
    warm_up: bool = True,
) -> Measurement:
    """Run a registered line ``repeats`` times, after one run that is not counted if it is to ``warm_up``.

    ``shape``: how slow the links between nodes are; without it, as fast as this process copies. ``workers``: row shards
    that are worked on side by side, as threads, by lines that have them.
    Work in the clear knows no ``protocol``; its n is the size that was made, near the one asked for.

    Raises:
        KeyError: no line of that name.
        UnequalRuns: see there.
    """
    chosen = LINES[name]
    size = chosen.n if n is None else n
    counted = slice(int(warm_up), None)
    base = memory_before_inputs()
    if isinstance(chosen, ClearLine):
        with chosen.prepare(size) as (made, work):
            count_peak_anew()
            runs = [_timed_clear(work) for _ in range(repeats + warm_up)]
        return measurement(chosen, made, CLEAR, runs[counted], runs, 0, base, own_peak())
    with World(protocol, shape=shape, workers=workers, deadline=SILENCE_SECONDS) as world:
        inputs, program = chosen.prepare(world, size, np.random.default_rng(1))
        give_back_memory()
        count_peak_anew()
        runs = [_timed(world, program, inputs) for _ in range(repeats + warm_up)]
        return measurement(
            chosen, size, protocol, runs[counted], runs, plaintext_bytes(inputs), base, own_peak()
        )


def alone(once: Callable[[], Measurement], module: str) -> Measurement:
    """Measure in a new process, whose memory no other line has used; ``module`` registers the line there."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, keep_freed_memory) as process:
        process.submit(_register, module).result()
        return process.submit(once).result()


def _register(module: str) -> None:
    importlib.import_module(module)


def measurement(
    chosen: Line | ClearLine, size: int, protocol: str, counted: Sequence[Run], runs: Sequence[Run],
    input_bytes: int, base: float, peak: float,
) -> Measurement:  # fmt: skip
    """What is reported of ``runs``, of which those that are ``counted`` are timed.

    Raises:
        UnequalRuns: see there.
    """
    fastest, most = min(counted), max(runs, key=lambda run: max(run.bytes_sent, default=0))
    if not (isinstance(chosen, Line) and chosen.varies):
        for run in runs:
            if (run.bytes_sent, run.rounds) != (most.bytes_sent, most.rounds):
                raise UnequalRuns(
                    f"runs of {chosen.name} differ: bytes {most.bytes_sent} and {run.bytes_sent}, rounds {most.rounds} "
                    f"and {run.rounds}; what a line sends must follow from its size, or be marked to vary"
                )
    return Measurement(
        name=chosen.name,
        n=size,
        protocol=protocol,
        seconds=round(fastest.seconds, 4),
        cpu_seconds=round(fastest.cpu_seconds, 4),
        bytes_sent=most.bytes_sent,
        rounds=max(run.rounds for run in runs),
        input_bytes=input_bytes,
        base_mib=round(base, 1),
        peak_mib=round(peak, 1),
    )


_load_kernels = cache(compile_all)


def memory_before_inputs() -> float:
    """MiB that this process has in use with all kernels loaded and everything given back that is free."""
    _load_kernels()
    give_back_memory()
    return in_use_mib(os.getpid()) or 0.0


def own_peak() -> float:
    """`peak_mib` of this process."""
    return peak_mib(os.getpid()) or 0.0


def plaintext_bytes(inputs: Any) -> int:
    """What nested inputs would take in the clear, in words of their rings, 64 truth values to a word."""
    return sum(
        -(-one.rows * one.column.width // 64) * 8
        if one.column.kind == "bit"
        else one.rows * one.column.width * one.column.ring // 8
        for one in _shared(inputs)
    )


def _shared(item: Any) -> Iterator[Shared]:
    if isinstance(item, Shared):
        yield item
    elif isinstance(item, Mapping | list | tuple):
        for part in item.values() if isinstance(item, Mapping) else item:
            yield from _shared(part)


def _timed_clear(work: Callable[[], object]) -> Run:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return Run(time.perf_counter() - start, time.process_time() - cpu, [], 0)


def _timed(world: World, program: Program, inputs: list[Shared]) -> Run:
    """One run of all nodes, the verification barrier included."""
    starts, ends = [], []

    def work(session: Session, *values: Any) -> None:
        starts.append(time.perf_counter())
        program(session, *values)
        session.protocol.verify()
        ends.append(time.perf_counter())

    cpu = time.process_time()
    world.run(work, *inputs)
    cpu = time.process_time() - cpu
    sent = [traffic.bytes_sent for traffic in world.traffic]
    return Run(max(ends) - min(starts), cpu, sent, max(traffic.rounds for traffic in world.traffic))
