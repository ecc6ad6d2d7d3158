"""Counters for Prometheus. Labels are routes, states and node ids; never anything taken from data or documents."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """One node's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tessera_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.runs = Counter(
            "tessera_runs", "Runs that reached a final state.", ["state"], registry=self.registry
        )
        self.running = Gauge("tessera_runs_running", "Runs computed on now.", registry=self.registry)
        self.uploads = Counter("tessera_uploads", "Uploads accepted.", registry=self.registry)
        self.upload_bytes = Counter(
            "tessera_upload_bytes", "Sealed bytes of uploads.", registry=self.registry
        )
        self.sent = Counter("tessera_job_bytes_sent", "Payload bytes sent to peers.", registry=self.registry)
        self.received = Counter(
            "tessera_job_bytes_received", "Payload bytes received from peers.", registry=self.registry
        )
        self.rounds = Counter(
            "tessera_job_rounds", "Rounds in which a run waited for peers.", registry=self.registry
        )
        self.deletions = Counter("tessera_deletions", "Sites' shares destroyed.", registry=self.registry)
        self.witness_refusals = Counter(
            "tessera_witness_refusals",
            "Logs of peers that did not extend what was seen.",
            registry=self.registry,
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
