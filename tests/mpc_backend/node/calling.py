"""One node in this process, its control interface called without a network. Peers are not needed."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
from fastapi import FastAPI

from governance.canonical import canonical_json
from governance.envelope import Envelope, peek_document, sign_document
from governance.manifest import UploadManifest
from governance.study import StudyProtocol
from mpc_backend.client.sharing import Upload
from mpc_backend.node.api import make_app
from mpc_backend.node.core import NodeCore, open_core
from mpc_backend.node.problems import PROBLEMS, TYPE_PREFIX
from mpc_backend.node.service import NodeService

from .conftest import Party


class Caller:
    """Calls an application without a network."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="https://node-b") as client:
                headers = {"Content-Type": "application/json"}
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, content: bytes) -> httpx.Response:
        return self.request("POST", path, content)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)


class Node:
    """node-b in this process, its interface called without a network."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.core: NodeCore = open_core(party.directory(1), party.federation)
        self.service = NodeService(self.core)
        self.client = Caller(make_app(self.service))

    def close(self) -> None:
        self.service.stop()

    def post_study(self, one: StudyProtocol, *envelopes: Envelope) -> None:
        assert self.client.post("/v1/studies", content=one.canonical()).status_code == 201
        for envelope in envelopes:
            assert self.say(one, envelope).status_code == 201

    def say(self, one: StudyProtocol, envelope: Envelope) -> Any:
        return self.client.post(f"/v1/studies/{one.digest}/envelopes", content=envelope.canonical())

    def upload(self, manifest: Envelope, sealed: bytes) -> Any:
        head = manifest.canonical()
        return self.client.post("/v1/uploads", content=len(head).to_bytes(4, "little") + head + sealed)

    def send(self, upload: Upload) -> Any:
        return self.upload(upload.manifest, upload.sealed["node-b"])

    def run(self, envelope: Envelope, query: bytes | None = None) -> Any:
        text = None if query is None else base64.b64encode(query).decode()
        body = {"request": envelope.model_dump(mode="json"), "query": text}
        return self.client.post("/v1/runs", content=canonical_json(body))

    def leftovers(self) -> list[str]:
        folder = self.core.directory
        return [path.name for path in (*folder.incoming.iterdir(), *folder.queries.iterdir())]


def refused(response: Any, slug: str, *words: str) -> None:
    """A problem document of this registered type whose detail says these words."""
    body = response.json()
    assert body["type"] == TYPE_PREFIX + slug, body
    assert response.status_code == PROBLEMS[slug].status == body["status"]
    assert response.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in body["detail"], body["detail"]


def resigned(party: Party, upload: Upload, site: str, **changes: Any) -> Envelope:
    manifest = peek_document(upload.manifest, UploadManifest).model_copy(update=changes)
    return sign_document(manifest, party.connectors[site])
