"""The command line against four real nodes in this process, some of which do not answer.

Invariant: what is of no use unless every node has it is sent to all or to none, and asking again finishes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from sqlalchemy import select

from governance.approval import SiteDecision
from governance.envelope import sign_document
from governance.federation import NodeEntry
from governance.study import StudyProtocol
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.nodes import NodeSet
from mpc_backend.node.api import make_app
from mpc_backend.node.core import open_core
from mpc_backend.node.database import RunRow, StudyRow
from mpc_backend.node.service import NodeService
from tests.mpc_backend.node.conftest import SITES, Party, make_party
from tests.workbench.samples import in_own_words
from tests.workbench.test_cli import run
from workbench import client
from workbench.client import Client
from workbench.identities import Identity, create_identity
from workbench.store import now


class Wire(httpx.BaseTransport):
    """Calls one node's control interface without a network; ``lost`` says which requests get no answer."""

    def __init__(self, service: NodeService) -> None:
        self.service = service
        self.lost: Callable[[httpx.Request], bool] = lambda _: False
        self._asgi = httpx.ASGITransport(make_app(service), raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.lost(request):
            raise httpx.ConnectError("refused")

        async def answer() -> tuple[httpx.Response, bytes]:
            given = await self._asgi.handle_async_request(request)
            return given, await given.aread()

        request.read()
        given, body = asyncio.run(answer())
        return httpx.Response(given.status_code, headers=given.headers, content=body)

    def held(self) -> tuple[list[str], list[str]]:
        """Digests of studies and ids of runs that this node holds."""
        with self.service.core.database.read() as session:
            return list(session.scalars(select(StudyRow.digest))), list(
                session.scalars(select(RunRow.run_id))
            )


class Consortium:
    """Four nodes, a researcher with keys in a folder, and a study file."""

    def __init__(self, folder: Path) -> None:
        self.party: Party = make_party(folder)
        self.party.federation.save(folder / "federation.json")
        cores = [open_core(self.party.directory(at), self.party.federation) for at in range(4)]
        self.wires = {core.entry.id: Wire(NodeService(core)) for core in cores}
        self.researcher: Identity = create_identity(folder / "researcher")
        self.file = folder / "study.yaml"
        self.options = (
            "--federation", str(folder / "federation.json"),
            "--identity", str(folder / "researcher"),
        )  # fmt: skip

    def connected(self, *_: object) -> NodeSet:
        def connect(entry: NodeEntry) -> NodeClient:
            return NodeClient(entry, self.wires[entry.id])

        return NodeSet(self.party.federation, connect)

    def approve(self, digest: str) -> None:
        with self.connected() as nodes:
            for site in SITES:
                said = SiteDecision(study_digest=digest, site=site, decision="approve", decided_at=now())
                nodes.post_envelope(digest, sign_document(said, self.party.stewards[site]))


def submit(consortium: Consortium, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, the digest it printed (below what nodes log), what it said otherwise."""
    code, out, err = run(capsys, "study", "submit", str(consortium.file), *consortium.options)
    return code, out.strip().rpartition("\n")[2], err


@pytest.fixture
def consortium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Consortium]:
    for name in ("TESSERA_FEDERATION", "TESSERA_IDENTITY", "TESSERA_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    one = Consortium(tmp_path)
    monkeypatch.setattr(client, "NodeSet", one.connected)
    assert run(capsys, "study", "new", *one.options[:2], "-o", str(one.file))[0] == 0
    one.file.write_text(in_own_words(one.file.read_text(encoding="utf-8")), encoding="utf-8")
    yield one
    for wire in one.wires.values():
        wire.service.stop()


def test_a_run_is_asked_for_at_all_nodes_or_none(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = submit(consortium, capsys)
    assert code == 0, err
    consortium.approve(out)
    consortium.wires["node-c"].lost = lambda _: True
    ask = ("study", "run", "my-study", "attrition", *consortium.options, "--timeout", "0")
    code, _, err = run(capsys, *ask)
    assert code == 3
    assert "nothing was sent: node-c does not answer at https://127.0.0.1" in err
    assert [wire.held()[1] for wire in consortium.wires.values()] == [[], [], [], []]
    consortium.wires["node-c"].lost = lambda _: False
    code, _, err = run(capsys, *ask)
    assert "Waiting for the upload of north, south, west" in err
    runs = [wire.held()[1] for wire in consortium.wires.values()]
    assert len(runs[0]) == 1
    assert runs == [runs[0]] * 4


def test_a_study_goes_to_all_nodes_or_none(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    consortium.wires["node-b"].lost = lambda _: True
    code, _, err = submit(consortium, capsys)
    assert code == 3
    assert "a study goes to every node or to none, so nothing was sent: node-b does not answer" in err
    assert [wire.held()[0] for wire in consortium.wires.values()] == [[], [], [], []]


def test_submitting_again_finishes_what_was_begun(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    consortium.wires["node-c"].lost = lambda request: request.method == "POST"
    assert submit(consortium, capsys)[0] == 3
    consortium.wires["node-c"].lost = lambda _: False
    code, out, err = submit(consortium, capsys)
    assert code == 0, err
    assert [wire.held()[0] for wire in consortium.wires.values()] == [[out]] * 4


def test_a_short_name_finds_what_its_investigator_signed(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = submit(consortium, capsys)[1]
    one = Client(consortium.party.federation, consortium.researcher)
    study = one.study("my-study").view.study
    copy = StudyProtocol.from_value({**study.model_dump(mode="json"), "nonce": "ab" * 16})
    with consortium.connected() as nodes:
        nodes.post_study(copy)
    assert one.study("my-study").view.digest == signed
    assert one.study(copy.digest).view.digest == copy.digest


def test_another_file_or_other_keys_give_another_study(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    first = submit(consortium, capsys)[1]
    draft = yaml.safe_load(consortium.file.read_text(encoding="utf-8"))
    consortium.file.write_text(yaml.safe_dump({**draft, "title": "Another"}), encoding="utf-8")
    second = submit(consortium, capsys)[1]
    with consortium.connected() as nodes:
        found = [nodes.study(digest, now()).study.nonce for digest in (first, second)]
    assert found[0] != found[1]
