"""The client against nodes that lie or hospitals that never upload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import pytest

from governance.envelope import sign_document
from governance.federation import Federation
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.client.errors import ResultRefused, RunTimeout
from tests.workbench.conftest import Consortium
from workbench import client
from workbench.client import Client, Study, await_run
from workbench.errors import exit_status
from workbench.store import now

Answers = Callable[[str, str], Any]


class Nodes:
    """Stands in for the connections: what each node says about a run is what the test put in place."""

    def __init__(self, federation: Federation, say: Answers, silent: tuple[str, ...] = ()) -> None:
        self.federation, self._say, self._silent = federation, say, silent
        self.nodes = federation.nodes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def run(self, run_id: str) -> dict[str, Any]:
        return {node.id: self._say(node.id, run_id) for node in self.nodes if node.id not in self._silent}

    def results(self, run_id: str) -> dict[str, Any]:
        return self.run(run_id)


def asked(consortium: Consortium, study: StudyProtocol, nonce: str) -> tuple[str, Mapping[str, Any]]:
    """A run's id and what an honest node says of it once it is done."""
    keys = consortium.researcher.signing
    request = RunRequest(
        study_digest=study.digest,
        analysis=study.analyses[0].id,
        nonce=nonce,
        created_at=now(),
        requester_key=keys.public,
        recipient="researcher",
    )
    signed = sign_document(request, keys).model_dump(mode="json")
    return request.run_id, {
        "state": "done",
        "fraction": 1.0,
        "label": "",
        "waiting_for": [],
        "request": signed,
    }


def test_a_lying_node_cannot_hand_out_another_runs_answer(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = consortium.study("count")
    (wanted, honest), (other, lie) = asked(consortium, study, "0" * 32), asked(consortium, study, "1" * 32)
    said = {wanted: honest, other: lie}

    def say(node: str, run_id: str) -> Mapping[str, Any]:
        return lie if node == "node-a" else said[run_id]

    monkeypatch.setattr(client, "NodeSet", lambda federation: Nodes(federation, say))
    opened: list[RunRequest] = []
    monkeypatch.setattr(client, "open_run", lambda _nodes, _study, request, _key: opened.append(request))
    one = Study(Client(consortium.federation, consortium.researcher), consortium.view(study))
    with pytest.raises(ResultRefused, match="node-a hands out run") as refused:
        one.wait(wanted)
    assert opened == []
    assert exit_status(refused.value) == 3


def waiting(_node: str, _run_id: str) -> Mapping[str, Any]:
    return {
        "state": "waiting",
        "fraction": 0.0,
        "label": "waiting",
        "waiting_for": ["west", "south"],
        "who": "",
    }


def test_a_late_run_says_whom_to_ask_and_how_to_go_on(consortium: Consortium) -> None:
    run_id = "7" * 64
    told: list[str] = []

    def report(stage: str, _fraction: float, *, run_id: str | None = None, parties: object = None) -> None:
        told.append(stage)

    with pytest.raises(RunTimeout) as late:
        await_run(Nodes(consortium.federation, waiting, silent=("node-c",)), run_id, report, 0.0)  # type: ignore[arg-type]
    words = str(late.value)
    assert "ask south, west whether its connector runs" in words
    assert "node-c does not answer" in words
    assert f"`tessera study results STUDY {run_id}`" in words
    assert told == ["Waiting for the upload of west, south"]
    assert exit_status(late.value) == 3
