"""The client against nodes that lie or hospitals that never upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import pytest

from governance.envelope import Envelope, sign_document
from governance.federation import Federation
from governance.keys import SigningKey
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.client.answers import RunAnswer
from mpc_backend.client.errors import NodeUnreachable, ResultRefused, RunTimeout
from mpc_backend.client.nodes import Faults
from tests.workbench.conftest import Consortium
from workbench import client
from workbench.client import Client, Study, await_run
from workbench.errors import exit_status
from workbench.store import now

Answers = Callable[[str, str], RunAnswer]


class Nodes:
    """Stands in for the connections: what each node says about a run is what the test put in place."""

    def __init__(self, federation: Federation, say: Answers, silent: tuple[str, ...] = ()) -> None:
        self.federation, self._say, self._silent = federation, say, silent
        self.nodes = federation.nodes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def run(self, run_id: str) -> tuple[dict[str, RunAnswer], Faults]:
        said = {node.id: self._say(node.id, run_id) for node in self.nodes if node.id not in self._silent}
        lost = {name: NodeUnreachable(name, "https://127.0.0.1", "refused") for name in self._silent}
        return said, dict(lost)

    def results(self, run_id: str) -> dict[str, RunAnswer]:
        return self.run(run_id)[0]


def said_of(request: RunRequest, signed: Envelope, **changes: object) -> RunAnswer:
    """What a node says of a run."""
    told = {
        "run_id": request.run_id,
        "study": request.study_digest,
        "recipient": request.recipient,
        "state": "done",
        "label": "",
        "fraction": 1.0,
        "waiting_for": [],
        "reason": "",
        "who": "",
        "started_at": None,
        "request": signed,
    }
    return RunAnswer.model_validate({**told, **changes})


def asked(consortium: Consortium, study: StudyProtocol, nonce: str) -> tuple[str, RunAnswer]:
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
    return request.run_id, said_of(request, sign_document(request, keys))


def test_a_lying_node_cannot_hand_out_another_runs_answer(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = consortium.study("count")
    (wanted, honest), (other, lie) = asked(consortium, study, "0" * 32), asked(consortium, study, "1" * 32)
    said = {wanted: honest, other: lie}

    def say(node: str, run_id: str) -> RunAnswer:
        return lie if node == "node-a" else said[run_id]

    monkeypatch.setattr(client, "NodeSet", lambda federation: Nodes(federation, say))
    opened: list[RunRequest] = []
    monkeypatch.setattr(client, "open_run", lambda _nodes, _study, request, _key: opened.append(request))
    one = Study(Client(consortium.federation, consortium.researcher), consortium.view(study))
    with pytest.raises(ResultRefused, match="node-a hands out run") as refused:
        one.wait(wanted)
    assert opened == []
    assert exit_status(refused.value) == 3


def waiting(_node: str, run_id: str) -> RunAnswer:
    """What every node says of a run that two hospitals have not uploaded for."""
    key = SigningKey.generate()
    request = RunRequest(
        study_digest="0" * 64,
        analysis="count",
        nonce="0" * 32,
        created_at=now(),
        requester_key=key.public,
        recipient="researcher",
    )
    return said_of(
        request,
        sign_document(request, key),
        run_id=run_id,
        state="waiting",
        fraction=0.0,
        label="waiting",
        waiting_for=["west", "south"],
    )


def test_a_late_run_says_whom_to_ask_and_how_to_go_on(consortium: Consortium) -> None:
    run_id = "7" * 64
    told: list[str] = []

    def report(stage: str, _fraction: float, *, run_id: str | None = None, parties: object = None) -> None:
        told.append(stage)

    with pytest.raises(RunTimeout) as late:
        await_run(Nodes(consortium.federation, waiting, silent=("node-c",)), run_id, report, 0.0)  # type: ignore[arg-type]
    words = str(late.value)
    assert "ask the data steward of south, west: the inbox there says whether the connector runs" in words
    assert "whether it refused the run and why" in words
    assert "node-c does not answer" in words
    assert f"`tessera study results STUDY {run_id}`" in words
    assert told == ["Waiting for the upload of west, south"]
    assert exit_status(late.value) == 3
