"""Nodes whose answers over HTTP are put in place by the test: what is read of them is read by the real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from governance.envelope import Envelope
from governance.federation import Federation, NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.nodes import NodeSet

Answers = Callable[[str], Any]
"""The JSON value, or the bytes, that a node answers to a path."""


@dataclass
class Honest:
    """What an honest node answers about some studies."""

    studies: Mapping[str, tuple[StudyProtocol, list[Envelope]]]
    runs: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, path: str) -> Any:
        parts = path.split("?", maxsplit=1)[0].removeprefix("/v1/").split("/")
        match parts:
            case ["studies"]:
                return [
                    {
                        "digest": digest,
                        "sites": list(study.sites),
                        "closed": False,
                        "revision": "0" * 64,
                        "waiting": [],
                    }
                    for digest, (study, _) in self.studies.items()
                ]
            case ["studies", digest] if digest in self.studies:
                study, envelopes = self.studies[digest]
                return {
                    "study": study.model_dump(mode="json"),
                    "envelopes": [one.model_dump(mode="json") for one in envelopes],
                    "state": {},
                }
            case ["runs"]:
                return self.runs.get(path.partition("study=")[2], [])
        return httpx.Response(
            404, json={"type": "urn:tessera:problem:unknown-study", "detail": "no such study"}
        )


def holding(study: StudyProtocol, envelopes: list[Envelope]) -> Honest:
    """An honest node that holds one study."""
    return Honest({study.digest: (study, envelopes)})


def run_line(study: StudyProtocol, **changes: object) -> dict[str, Any]:
    """A run in a node's list."""
    return {
        "run_id": "1" * 64,
        "study": study.digest,
        "analysis": study.analyses[0].id,
        "recipient": study.recipients[0].id,
        "state": "waiting",
        "label": "waiting",
        "fraction": 0.0,
        "waiting_for": [],
        "reason": "",
        "who": "",
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": None,
        "finished_at": None,
        **changes,
    }


def node_set(federation: Federation, honest: Answers, lying: Mapping[str, Answers]) -> NodeSet:
    """Connections to nodes that all answer ``honest``ly but those named in ``lying``."""

    def connect(entry: NodeEntry) -> NodeClient:
        say = lying.get(entry.id, honest)

        def answer(request: httpx.Request) -> httpx.Response:
            said = say(request.url.raw_path.decode())
            if isinstance(said, httpx.Response):
                return said
            return httpx.Response(200, content=said if isinstance(said, bytes) else json.dumps(said).encode())

        return NodeClient(entry, httpx.MockTransport(answer))

    return NodeSet(federation, connect)
