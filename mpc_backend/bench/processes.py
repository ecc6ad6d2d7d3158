"""A benchmark line asked of real nodes: processes of their own that speak TLS on loopback.

Everything is as in a consortium: a signed study, shares uploaded by three hospitals' keys, a signed request with a sealed
query, an answer opened with the recipient's key. The clock runs from the request to the opened answer; nodes are up and
shares uploaded before.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from governance.federation import Federation
from governance.keys import SigningKey
from governance.study import StudyProtocol
from mpc_backend.bench.analyses import CASES, Case
from mpc_backend.bench.consortium import ANALYSIS, Consortium
from mpc_backend.bench.lines import LINES, Line, Measurement, Run, measurement, plaintext_bytes
from mpc_backend.bench.usage import cpu_with_workers, in_use_mib, peak_with_workers
from mpc_backend.client import NodeSet, run
from mpc_backend.node.local import LocalNodes
from mpc_backend.testing import World
from mpc_backend.transport.certificates import control_client_context

COUNTERS: Final = ("tessera_job_bytes_sent_total", "tessera_job_rounds_total", "tessera_runs_running")


@dataclass(frozen=True)
class Usage:
    """What one node has used so far: payload bytes sent, rounds, processor seconds."""

    bytes_sent: int
    rounds: int
    cpu_seconds: float


def measure_question(
    name: str,
    protocol: str,
    n: int | None = None,
    repeats: int = 3,
    wan: str = "",
    workers: int = 1,
    *,
    warm_up: bool = True,
) -> Measurement:
    """Ask the question of a line ``repeats`` times, after one time that is not counted if it is to ``warm_up``.

    ``wan``: links between the nodes as slow as this says, see `mpc_backend.transport.shape`. ``workers``: processes at
    each node that work on row shards.

    Raises:
        KeyError: the line is no question of a study; see `CASES`.
        mpc_backend.node.errors.NodeStartError: a node did not come up.
        mpc_backend.bench.lines.UnequalRuns: see there.
    """
    chosen = LINES[name]
    assert isinstance(chosen, Line)
    size = chosen.n if n is None else n
    with World(protocol) as world:
        given = plaintext_bytes(chosen.prepare(world, size, np.random.default_rng(1))[0])
    case = CASES[name](size, np.random.default_rng(1))
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        consortium = Consortium(Path(folder), protocol)
        settings = {"TESSERA_NODE_LINK": wan, "TESSERA_NODE_WORKERS": str(workers)}
        with LocalNodes(Path(folder), consortium.federation, settings) as processes:
            processes.start()
            before = [in_use_mib(processes.pid(node.id)) or 0.0 for node in consortium.federation.nodes]
            with NodeSet(consortium.federation) as nodes:
                study = consortium.prepare(nodes, case, repeats + warm_up)
                runs = [
                    _timed(consortium, processes, nodes, study, case, key) for key in consortium.requesters
                ]
            peaks = [peak_with_workers(processes.pid(node.id)) for node in consortium.federation.nodes]
    most = peaks.index(max(peaks))
    return measurement(chosen, size, protocol, runs[int(warm_up) :], runs, given, before[most], peaks[most])


def _timed(
    consortium: Consortium,
    processes: LocalNodes,
    nodes: NodeSet,
    study: StudyProtocol,
    case: Case,
    requester: SigningKey,
) -> Run:
    """From request to opened answer."""
    before = _usage(consortium.federation, processes)
    began = time.perf_counter()
    run(
        nodes,
        study,
        ANALYSIS,
        signing_key=requester,
        sealing_key=consortium.sealing,
        facts=case.facts,
    )
    seconds = time.perf_counter() - began
    after = _usage(consortium.federation, processes)
    used = [
        Usage(b.bytes_sent - a.bytes_sent, b.rounds - a.rounds, b.cpu_seconds - a.cpu_seconds)
        for a, b in zip(before, after, strict=True)
    ]
    return Run(
        seconds,
        sum(one.cpu_seconds for one in used),
        [one.bytes_sent for one in used],
        max(one.rounds for one in used),
    )


def _usage(federation: Federation, processes: LocalNodes) -> list[Usage]:
    """What each node says it sent, once it has nothing more to do, and its processor time."""
    found = []
    for node in federation.nodes:
        with httpx.Client(verify=control_client_context(node.tls_certificate), timeout=30) as client:
            sent, rounds, running = _counters(client, node.control_url)
            while running:
                time.sleep(0.02)
                sent, rounds, running = _counters(client, node.control_url)
        found.append(Usage(int(sent), int(rounds), cpu_with_workers(processes.pid(node.id))))
    return found


def _counters(client: httpx.Client, url: str) -> list[float]:
    lines = client.get(f"{url}/metrics").raise_for_status().text.splitlines()
    values: Mapping[str, str] = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return [float(values[name]) for name in COUNTERS]
