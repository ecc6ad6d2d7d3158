"""Once a node has loaded its kernels, no question makes it compile another."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from mpc_backend.bench.cli import load_lines
from mpc_backend.bench.lines import LINES, ClearLine
from mpc_backend.kernels.warming import compile_all
from mpc_backend.testing import World

LONG = ("cox", "logistic", "ranking_publish")  # thousands of rounds of what the other lines do under either protocol

def compiled():
    modules = [one for name, one in sys.modules.items() if name.startswith("mpc_backend")]
    found = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, Dispatcher)}
    return {(one.py_func.__qualname__, str(signature)) for one in found.values() for signature in one.signatures}

def run_once(line, protocol):
    with World(protocol) as world:
        inputs, program = line.prepare(world, min(line.n, 500), np.random.default_rng(1))

        def verified(session, *given):
            program(session, *given)
            session.protocol.verify()

        world.run(verified, *inputs)

compile_all()
load_lines()
before = compiled()
for name, line in LINES.items():
    if not isinstance(line, ClearLine) and not name.endswith("_large"):
        for protocol in ("rep3",) if name in LONG else ("rep3", "rep4"):
            run_once(line, protocol)
for kernel, signature in sorted(compiled() - before):
    print(kernel, signature)
"""


@pytest.mark.slow
def test_nothing_is_compiled_after_the_kernels_are_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == ""
