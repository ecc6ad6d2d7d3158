"""A benchmark line asked of real nodes: processes of their own that speak TLS on loopback.

Everything is as in a consortium: a signed study, shares uploaded by three hospitals' keys, a signed request with a sealed
query, an answer opened with the recipient's key. The clock runs from the request to the opened answer; nodes are up and
shares uploaded before.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from governance.approval import InvestigatorSubmission, SiteDecision
from governance.envelope import Envelope, sign_document
from governance.federation import Federation, SiteEntry
from governance.keys import SealingKey, SigningKey
from governance.protocols import NODES_OF
from governance.study import StudyProtocol
from mpc_backend.analyses.registry import resolve
from mpc_backend.bench.analyses import CASES, SITES, Case
from mpc_backend.bench.lines import LINES, Measurement
from mpc_backend.bench.usage import cpu_seconds, peak_mib
from mpc_backend.client import NodeSet, run, share_upload
from mpc_backend.node.local import LocalNodes, init_local_nodes
from mpc_backend.transport.certificates import control_client_context

ORGANISATIONS: Final = ("Operator A", "Operator B", "Operator C", "Operator D")
ANALYSIS: Final = "question"
COHORT: Final = """
cohort "Everybody with a record"
concept set anything: 2000000000 and descendants
enter on first observation of anything
"""
COUNTERS: Final = ("tessera_job_bytes_sent_total", "tessera_job_rounds_total", "tessera_runs_running")


@dataclass(frozen=True)
class Usage:
    """What one node has used so far: payload bytes sent, rounds, processor seconds."""

    bytes_sent: int
    rounds: int
    cpu_seconds: float


def measure_processes(name: str, protocol: str, n: int | None = None, repeats: int = 3) -> Measurement:
    """Ask the question of a line ``repeats`` times after one time that warms up, and report the fastest.

    Raises:
        KeyError: the line is no question of a study; see `CASES`.
        mpc_backend.node.errors.NodeStartError: a node did not come up.
    """
    size = LINES[name].n if n is None else n
    case = CASES[name](size, np.random.default_rng(1))
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        consortium = _Consortium(Path(folder), protocol)
        with LocalNodes(Path(folder), consortium.federation) as processes:
            processes.start()
            with NodeSet(consortium.federation) as nodes:
                study = consortium.prepare(nodes, case, repeats + 1)
                timed = [_timed(consortium, processes, nodes, study, case) for _ in range(repeats + 1)]
            peak = max(peak_mib(processes.pid(node.id)) or 0.0 for node in consortium.federation.nodes)
    seconds, used = min(timed[1:], key=lambda one: one[0])
    return Measurement(
        name=name,
        n=size,
        protocol=protocol,
        seconds=round(seconds, 4),
        cpu_seconds=round(sum(one.cpu_seconds for one in used), 4),
        bytes_sent=[one.bytes_sent for one in used],
        rounds=max(one.rounds for one in used),
        peak_mib=round(peak, 1),
    )


class _Consortium:
    """A federation of nodes under ``folder`` and three hospitals, and the keys of everybody who signs."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.connectors = {site: SigningKey.generate() for site in SITES}
        self.stewards = {site: SigningKey.generate() for site in SITES}
        self.asking, self.sealing = SigningKey.generate(), SealingKey.generate()
        self.federation = Federation.model_validate(
            {
                "name": "Benchmark",
                "version": 1,
                "protocol": protocol,
                "nodes": tuple(init_local_nodes(folder, ORGANISATIONS[: NODES_OF[protocol]])),
                "sites": tuple(
                    SiteEntry(
                        id=site,
                        name=f"Hospital {site}",
                        connector_key=self.connectors[site].public,
                        steward_key=self.stewards[site].public,
                    )
                    for site in SITES
                ),
            }
        )

    def prepare(self, nodes: NodeSet, case: Case, runs: int) -> StudyProtocol:
        """Submit the study, approve it everywhere, upload every hospital's shares."""
        study, now = self._study(case, runs), datetime.now(UTC)
        nodes.post_study(study)
        for envelope in self._signatures(study, now):
            nodes.post_envelope(study.digest, envelope)
        chosen, parameters = resolve(study, ANALYSIS)
        for place, site in enumerate(SITES):
            tables = {ANALYSIS: chosen.local(parameters, case.rows_of(place))}
            upload = share_upload(
                self.federation,
                study,
                site,
                tables,
                key=self.connectors[site],
                snapshot="0" * 64,
                now=now,
            )
            nodes.upload(upload.manifest, upload.sealed)
        return study

    def _signatures(self, study: StudyProtocol, now: datetime) -> Sequence[Envelope]:
        submitted = InvestigatorSubmission(study_digest=study.digest, submitted_at=now)
        decisions = {
            site: SiteDecision(study_digest=study.digest, site=site, decision="approve", decided_at=now)
            for site in SITES
        }
        return [
            sign_document(submitted, self.asking),
            *(sign_document(one, self.stewards[site]) for site, one in decisions.items()),
        ]

    def _study(self, case: Case, runs: int) -> StudyProtocol:
        start = datetime.now(UTC) - timedelta(hours=1)
        fields: dict[str, Any] = {
            "title": "Benchmark",
            "short_name": "benchmark",
            "purpose": {
                "use": "scientific_research",
                "description": "Measures how long an answer takes.",
                "legal_basis": "Generated rows; no person is described.",
                "ethics_reference": "Not needed for generated rows.",
            },
            "investigator": {
                "role": "engineer",
                "organisation": "Operator A",
                "key": self.asking.public,
            },
            "federation": self.federation.digest,
            "protocol": self.federation.protocol,
            "sites": list(SITES),
            "cohorts": {"everybody": COHORT},
            "variables": dict(case.variables),
            "analyses": [
                {
                    "id": ANALYSIS,
                    "kind": case.kind,
                    "cohort": "everybody",
                    "parameters": dict(case.parameters),
                }
            ],
            "recipients": [
                {
                    "id": "asking",
                    **(
                        {"role": "researcher"}
                        if case.facts is None
                        else {"role": "physician", "site": SITES[0]}
                    ),
                    "organisation": "Operator A",
                    "signing_key": self.asking.public,
                    "sealing_key": self.sealing.public,
                }
            ],
            "budget": {"runs": runs},
            "validity": {
                "not_before": start.isoformat(),
                "not_after": (start + timedelta(days=1)).isoformat(),
            },
            "synthetic_data": True,
            "nonce": secrets.token_hex(16),
        }
        return StudyProtocol.from_value(fields)


def _timed(
    consortium: _Consortium, processes: LocalNodes, nodes: NodeSet, study: StudyProtocol, case: Case
) -> tuple[float, list[Usage]]:
    """Seconds from request to opened answer, and what each node used for it."""
    before = _usage(consortium.federation, processes)
    began = time.perf_counter()
    run(
        nodes,
        study,
        ANALYSIS,
        signing_key=consortium.asking,
        sealing_key=consortium.sealing,
        facts=case.facts,
    )
    seconds = time.perf_counter() - began
    after = _usage(consortium.federation, processes)
    return seconds, [
        Usage(b.bytes_sent - a.bytes_sent, b.rounds - a.rounds, b.cpu_seconds - a.cpu_seconds)
        for a, b in zip(before, after, strict=True)
    ]


def _usage(federation: Federation, processes: LocalNodes) -> list[Usage]:
    """What each node says it sent, once it has nothing more to do, and its processor time."""
    found = []
    for node in federation.nodes:
        with httpx.Client(verify=control_client_context(node.tls_certificate), timeout=30) as client:
            sent, rounds, running = _counters(client, node.control_url)
            while running:
                time.sleep(0.02)
                sent, rounds, running = _counters(client, node.control_url)
        found.append(Usage(int(sent), int(rounds), cpu_seconds(processes.pid(node.id))))
    return found


def _counters(client: httpx.Client, url: str) -> list[float]:
    lines = client.get(f"{url}/metrics").raise_for_status().text.splitlines()
    values: Mapping[str, str] = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return [float(values[name]) for name in COUNTERS]
