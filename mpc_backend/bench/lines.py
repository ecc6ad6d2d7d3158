"""The register of benchmark lines, and how one is measured.

A line is a function that takes n and a random generator and gives the plaintext inputs and the program; decorate it with
`line` to add it. Inputs are shared before the clock starts; the time is from the first node's start to the last node's
verified end, without opening. Work that a hospital does in the clear, before anything is shared, is a `clear_line`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mpc_backend.memory import give_back_memory
from mpc_backend.session import Session
from mpc_backend.testing import Shared, World
from mpc_backend.transport.shape import LinkShape

Program = Callable[..., Any]
Prepare = Callable[[World, int, np.random.Generator], tuple[list[Shared], Program]]
PrepareClear = Callable[[int], AbstractContextManager[tuple[int, Callable[[], object]]]]
CLEAR = "none"
"""The protocol of a measurement without nodes."""


class Measurement(BaseModel):
    """One line of output. ``bytes_sent``: one entry per node, none for work in the clear; ``peak_mib``: of the whole
    process so far, of the largest one where nodes are processes of their own.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    n: int
    protocol: str
    seconds: float
    cpu_seconds: float
    bytes_sent: list[int]
    rounds: int
    peak_mib: float


@dataclass(frozen=True)
class Line:
    """One benchmark: its name, default size and what prepares it; ``shards``: whether it is worked on in row shards."""

    name: str
    n: int
    prepare: Prepare
    shards: bool = False


@dataclass(frozen=True)
class ClearLine:
    """A benchmark without nodes: ``prepare(n)`` gives for a while the size it made and the work to be timed."""

    name: str
    n: int
    prepare: PrepareClear


LINES: dict[str, Line | ClearLine] = {}


def line(name: str, n: int, *, shards: bool = False) -> Callable[[Prepare], Prepare]:
    """Register a benchmark under a name with its default n."""

    def register(prepare: Prepare) -> Prepare:
        LINES[name] = Line(name, n, prepare, shards)
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
) -> Measurement:
    """Run a registered line ``repeats`` times after one run that warms up, and report the fastest.

    ``shape``: how slow the links between nodes are; without it, as fast as this process copies. ``workers``: row shards
    that are worked on side by side, as threads, by lines that have them.
    Work in the clear knows no ``protocol``; its n is the size that was made, near the one asked for.

    Raises:
        KeyError: no line of that name.
    """
    chosen = LINES[name]
    size = chosen.n if n is None else n
    if isinstance(chosen, ClearLine):
        return _measure_clear(chosen, size, repeats)
    with World(protocol, shape=shape, workers=workers) as world:
        inputs, program = chosen.prepare(world, size, np.random.default_rng(1))
        give_back_memory()
        timed = [_timed(world, program, inputs) for _ in range(repeats + 1)]
        sent = [traffic.bytes_sent for traffic in world.traffic]
        rounds = max(traffic.rounds for traffic in world.traffic)
    return _measurement(name, size, protocol, min(timed[1:]), sent, rounds)


def _measure_clear(chosen: ClearLine, size: int, repeats: int) -> Measurement:
    with chosen.prepare(size) as (made, work):
        timed = [_timed_clear(work) for _ in range(repeats + 1)]
    return _measurement(chosen.name, made, CLEAR, min(timed[1:]), [], 0)


def _timed_clear(work: Callable[[], object]) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def _measurement(
    name: str, size: int, protocol: str, fastest: tuple[float, float], sent: list[int], rounds: int
) -> Measurement:
    seconds, cpu = fastest
    return Measurement(
        name=name,
        n=size,
        protocol=protocol,
        seconds=round(seconds, 4),
        cpu_seconds=round(cpu, 4),
        bytes_sent=sent,
        rounds=rounds,
        peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _timed(world: World, program: Program, inputs: list[Shared]) -> tuple[float, float]:
    """Wall and processor seconds of one run of all nodes, the verification barrier included."""
    starts, ends = [], []

    def work(session: Session, *values: Any) -> None:
        starts.append(time.perf_counter())
        program(session, *values)
        session.protocol.verify()
        ends.append(time.perf_counter())

    cpu = time.process_time()
    world.run(work, *inputs)
    return max(ends) - min(starts), time.process_time() - cpu
