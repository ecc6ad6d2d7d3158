"""The register of benchmark lines, and how one is measured.

A line is a function that takes n and a random generator and gives the plaintext inputs and the program; decorate it with
`line` to add it. Inputs are shared before the clock starts; the time is from the first node's start to the last node's
verified end, without opening.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mpc_backend.session import Session
from mpc_backend.testing import Shared, World

Program = Callable[..., Any]
Prepare = Callable[[World, int, np.random.Generator], tuple[list[Shared], Program]]


class Measurement(BaseModel):
    """One line of output. ``bytes_sent``: one entry per node; ``peak_mib``: of the whole process so far."""

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
    """One benchmark: its name, default size and what prepares it."""

    name: str
    n: int
    prepare: Prepare


LINES: dict[str, Line] = {}


def line(name: str, n: int) -> Callable[[Prepare], Prepare]:
    """Register a benchmark under a name with its default n."""

    def register(prepare: Prepare) -> Prepare:
        LINES[name] = Line(name, n, prepare)
        return prepare

    return register


def measure(name: str, protocol: str, n: int | None = None, repeats: int = 3) -> Measurement:
    """Run a registered line ``repeats`` times after one run that warms up, and report the fastest.

    Raises:
        KeyError: no line of that name.
    """
    chosen = LINES[name]
    size = chosen.n if n is None else n
    with World(protocol) as world:
        inputs, program = chosen.prepare(world, size, np.random.default_rng(1))
        timed = [_timed(world, program, inputs) for _ in range(repeats + 1)]
        seconds, cpu = min(timed[1:])
        return Measurement(
            name=name,
            n=size,
            protocol=protocol,
            seconds=round(seconds, 4),
            cpu_seconds=round(cpu, 4),
            bytes_sent=[traffic.bytes_sent for traffic in world.traffic],
            rounds=max(traffic.rounds for traffic in world.traffic),
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
