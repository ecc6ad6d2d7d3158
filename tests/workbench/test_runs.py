"""Runs that wait at the nodes: they keep nobody else waiting, outlast silent nodes, and end in words for a page."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from governance.run_request import RunRequest
from mpc_backend.analyses.base import Result
from mpc_backend.client import runs as node_runs
from mpc_backend.client.answers import RunAnswer
from mpc_backend.client.errors import NodeUnreachable, NoUsableAnswer
from tests.workbench.conftest import PASSWORD, Benches, Consortium
from tests.workbench.test_client import Nodes, waiting
from tests.workbench.test_parts import count
from workbench import client, runs
from workbench.accounts import SignIn
from workbench.context import Workbench
from workbench.jobs import DONE, FAILED, RUNNING
from workbench.runs import start_run
from workbench.store import JobRow, now

SILENT_HOSPITAL = "Waiting for the upload of west, south"
Ask = Callable[[], str]


class Held:
    """What the nodes hold: runs in the order they were asked for; all wait but those that are ``done``."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.done: set[int] = set()
        self.dead = False

    def post(self, _nodes: Nodes, prepared: node_runs.PreparedRun) -> str:
        self.runs.append(prepared.request.run_id)
        return self.runs[-1]

    def say(self, node: str, run_id: str) -> RunAnswer:
        if self.dead:
            raise NoUsableAnswer("the run", {node: NodeUnreachable(node, "https://127.0.0.1", "refused")})
        told = waiting(node, run_id)
        if self.runs.index(run_id) in self.done:
            told = told.model_copy(update={"state": "done", "waiting_for": ()})
        return told


def opened(_nodes: Nodes, _study: object, request: RunRequest, _key: object) -> Any:
    result: Result = count()
    return node_runs.Answer(request.run_id, result, SimpleNamespace(model_dump=lambda mode: {}))  # type: ignore[arg-type]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    nodes = Held()
    monkeypatch.setattr(client, "NodeSet", lambda federation: Nodes(federation, nodes.say))
    monkeypatch.setattr(client, "post_run", nodes.post)
    monkeypatch.setattr(client, "open_run", opened)
    return nodes


@pytest.fixture
def bench(make_bench: Benches) -> Workbench:
    return make_bench()


@pytest.fixture
def person(bench: Workbench) -> SignIn:
    return bench.accounts.sign_in("researcher", PASSWORD, "127.0.0.1")[1]


@pytest.fixture
def ask(
    bench: Workbench, person: SignIn, held: Held, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> Ask:
    view = consortium.view(consortium.study("count"))
    monkeypatch.setattr(client.Client, "study", lambda self, _: client.Study(self, view))
    return lambda: start_run(bench, person, view, view.study.analyses[0])


def until(bench: Workbench, identifier: str, state: str, stage: str = "") -> JobRow:
    for _ in range(300):
        job = bench.jobs.get(identifier, "researcher")
        if job.state == state and stage in job.stage:
            return job
        time.sleep(0.01)
    raise AssertionError(f"{job.state} {job.stage} {job.error}")


def test_runs_that_wait_for_a_silent_hospital_keep_no_other_from_its_answer(
    bench: Workbench, held: Held, ask: Ask
) -> None:
    many = [ask() for _ in range(20)]
    waits = [until(bench, one, RUNNING, SILENT_HOSPITAL) for one in many]
    assert waits[0].parties["west"] == "upload awaited"
    held.done.add(len(many))
    assert until(bench, ask(), DONE).result == count().model_dump(mode="json")
    held.done.add(held.runs.index(str(waits[3].run_id)))
    assert until(bench, waits[3].id, DONE).result is not None
    assert until(bench, waits[4].id, RUNNING).stage == SILENT_HOSPITAL


def test_a_run_outlasts_nodes_that_do_not_answer_for_a_while(bench: Workbench, held: Held, ask: Ask) -> None:
    job = ask()
    until(bench, job, RUNNING, SILENT_HOSPITAL)
    held.dead = True
    until(bench, job, RUNNING, "No node answers")
    held.dead = False
    held.done.add(0)
    assert until(bench, job, DONE).result is not None


def test_a_run_without_result_ends_in_words_for_the_page(
    bench: Workbench, held: Held, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask()
    until(bench, job, RUNNING, SILENT_HOSPITAL)
    monkeypatch.setattr(runs, "now", lambda: now() + timedelta(hours=runs.PATIENCE_HOURS, seconds=1))
    said = until(bench, job, FAILED).error
    assert SILENT_HOSPITAL in said
    assert "ask again" in said
    assert "tessera" not in said
