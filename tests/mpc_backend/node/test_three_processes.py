"""Three real node processes over TLS on loopback, under rep3, with worker processes of their own: three at one node and two at
the others, so that a run has two.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from governance.keys import SigningKey
from governance.receipt import verify_receipt
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Result
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.registry import resolve
from mpc_backend.client import Answer, NodeSet, prepare_run, run, wait_for_run
from mpc_backend.client.answers import RunAnswer
from mpc_backend.client.errors import NodeRefused, RunAborted
from mpc_backend.node.local import LocalNodes

from .conftest import SITES, Party, make_party
from .studying import PEOPLE, approvals, ranking, released, shared, site_data, study

pytestmark = pytest.mark.processes
FACTS: dict[str, object] = {"m0": 1, "m1": 0, "age": 60}


@pytest.fixture(scope="module")
def nodes(party: Party) -> Iterator[LocalNodes]:
    with LocalNodes(party.folder, party.federation) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    one = make_party(tmp_path_factory.mktemp("three"), "rep3")
    for index, workers in enumerate((3, 2, 2)):
        with one.directory(index).settings_file.open("a", encoding="utf-8") as stream:
            stream.write(f"workers = {workers}\n")
    return one


def answered(
    party: Party, one: StudyProtocol, analysis: str, who: SigningKey, facts: dict[str, object] | None = None
) -> Answer:
    """The answer of the nodes to one question of a study that is published for it."""
    with closing(NodeSet(party.federation)) as client:
        publish(client, party, one)
        return run(client, one, analysis, signing_key=who, sealing_key=PEOPLE.sealing, facts=facts)


def publish(client: NodeSet, party: Party, one: StudyProtocol) -> None:
    """Post a study with all signatures and uploads."""
    client.post_study(one)
    for envelope in approvals(party, one):
        client.post_envelope(one.digest, envelope)
    for site in SITES:
        upload = shared(party, one, site)
        client.upload(upload.manifest, upload.sealed)


def pooled(
    one: StudyProtocol, analysis: str, recipient: str, facts: dict[str, object] | None = None
) -> Result:
    chosen, parameters = resolve(one, analysis)
    rows = {site: site_data(site) for site in SITES}
    return run_here(chosen, parameters, released(one, recipient), rows, facts=facts)


@pytest.mark.usefixtures("nodes")
def test_a_count_over_three_processes_equals_the_pooled_count(party: Party) -> None:
    one = study(party)
    assert one.protocol == "rep3"
    answer = answered(party, one, "persons", PEOPLE.researcher)
    assert answer.result == pooled(one, "persons", "researcher")
    assert set(verify_receipt(party.federation, answer.receipt, one).inputs) == set(SITES)


@pytest.mark.usefixtures("nodes")
def test_a_ranking_by_worker_processes_equals_the_pooled_one(party: Party) -> None:
    """Two row shards at every node: the fewest workers that one of them has."""
    one = study(party, analyses=[ranking()])
    found = answered(party, one, "rank", PEOPLE.physician, FACTS).result
    wanted = pooled(one, "rank", "physician", FACTS)
    assert isinstance(found, RankingResult)
    assert isinstance(wanted, RankingResult)
    assert (found.tier, found.hidden) == (wanted.tier, wanted.hidden)
    estimates = {arm.treatment: arm.estimate for arm in wanted.arms}
    assert {arm.treatment: arm.estimate for arm in found.arms} == pytest.approx(estimates, abs=0.11)
    assert len(estimates) >= 2
    for node in party.federation.nodes:
        lines = (party.folder / f"{node.id}.log").read_text(encoding="utf-8").splitlines()
        ended = [json.loads(line) for line in lines if '"run ended"' in line]
        assert {line["workers"] for line in ended} == {2}


def workers_of(pid: int) -> list[int]:
    """The worker processes of a node's process."""
    lists = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    found = [int(child) for child in " ".join(lists).split()]
    return [one for one in found if b"mpc_backend.shards" in Path(f"/proc/{one}/cmdline").read_bytes()]


def computes(view: RunAnswer) -> bool:
    """Whether a node is past the start of a run, and has its links."""
    return view.state == "running" and view.fraction > 0


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_a_worker_killed_mid_run_ends_it_everywhere_and_a_new_run_succeeds(
    party: Party, nodes: LocalNodes
) -> None:
    one, victim = study(party, analyses=[ranking()]), party.federation.nodes[1].id
    with closing(NodeSet(party.federation)) as client:
        publish(client, party, one)
        worker = workers_of(nodes.pid(victim))[0]
        os.kill(worker, signal.SIGSTOP)
        prepared = prepare_run(party.federation, one, "rank", PEOPLE.physician, facts=FACTS)
        run_id = prepared.request.run_id
        client.post_run(prepared.envelope, prepared.queries)
        until(lambda: all(map(computes, client.run(run_id)[0].values())))
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(RunAborted, match="nothing was released"):
            wait_for_run(client, run_id, timeout=60)
        until(lambda: all(view.state == "aborted" for view in client.run(run_id)[0].values()))
        for node in client.nodes:
            assert node.run(run_id).who == victim
            assert f"worker {worker} of this node ended" in node.run(run_id).reason
            with pytest.raises(NodeRefused) as refused:
                node.result(run_id)
            assert refused.value.problem == "no-result"
        again = run(
            client, one, "rank", signing_key=PEOPLE.physician, sealing_key=PEOPLE.sealing, facts=FACTS
        )
    assert isinstance(again.result, RankingResult)
    assert worker not in workers_of(nodes.pid(victim))
    assert len(workers_of(nodes.pid(victim))) == 2
