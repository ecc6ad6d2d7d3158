"""Four real node processes over TLS on loopback.

Invariants: a run reaches exactly one final state at every node; a result exists only where every node
attested it; shares of a run are never handed out unless the run is done. Not failures: a run that waits
because a site has not uploaded or a node is down before it began; a run that aborts because a node was lost,
provided that nothing was released.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from governance.envelope import Envelope, peek_document, sign_document
from governance.receipt import verify_receipt
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.ranking_result import CLOSE, REASONS, RankingResult
from mpc_backend.analyses.registry import resolve
from mpc_backend.client import Answer, NodeSet, open_run, prepare_run, run, wait_for_run
from mpc_backend.client.answers import RunAnswer
from mpc_backend.client.errors import NodeRefused, NodeUnreachable, NothingSent, RunAborted
from mpc_backend.client.runs import stage_of
from mpc_backend.client.sharing import seal_tables, share_upload
from mpc_backend.node.local import LocalNodes
from mpc_backend.planned import query_tables

from .conftest import SITES, Party, make_party
from .studying import (
    COHORT,
    DATA,
    PEOPLE,
    approvals,
    by_cells,
    feasibility,
    now,
    ranking,
    released,
    request,
    shared,
    site_data,
    study,
    withdrawal,
)

pytestmark = pytest.mark.processes
MESSAGE_SECONDS = 20
"""Short for the test of a node that falls silent; nodes beside other tests must not run into it."""


class Cluster:
    """Four running nodes and a client of them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.party: Party = make_party(folder)
        self.nodes = LocalNodes(folder, self.party.federation, environment)
        self.nodes.start()
        self.client = NodeSet(self.party.federation)

    def stop(self) -> None:
        self.client.close()
        self.nodes.stop()

    def publish(
        self, one: StudyProtocol, *, sites: tuple[str, ...] = SITES, rows: int = 900
    ) -> StudyProtocol:
        """Post a study with all signatures, and the uploads of some sites."""
        self.client.post_study(one)
        for envelope in approvals(self.party, one):
            self.client.post_envelope(one.digest, envelope)
        for site in sites:
            self.upload(one, site, rows=rows)
        return one

    def upload(self, one: StudyProtocol, site: str, **options: Any) -> None:
        upload = shared(self.party, one, site, **options)
        self.client.upload(upload.manifest, upload.sealed)

    def states(self, run_id: str) -> dict[str, str]:
        return {node: view.state for node, view in self.client.run(run_id)[0].items()}

    def until(self, condition: Callable[[], object], seconds: float = 120, pause: float = 0.02) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "did not happen in time"
            time.sleep(pause)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    one = Cluster(
        folder,
        TESSERA_NODE_WITNESS_SECONDS="1",
        TESSERA_NODE_MESSAGE_SECONDS=str(MESSAGE_SECONDS),
        TESSERA_NODE_STOP_SECONDS="0",
    )
    yield one
    one.stop()


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[None]:
    """Whatever a test did to the nodes, all of them run again after it."""
    yield
    for node in cluster.party.federation.nodes:
        if not cluster.nodes.runs(node.id):
            cluster.nodes.start(node.id)


def cleartext(
    one: StudyProtocol, analysis: str, recipient: str, facts: dict[str, object] | None = None
) -> Any:
    """The same analysis on pooled plaintext, under the same disclosure rules."""
    chosen, parameters = resolve(one, analysis)
    data = {site: site_data(site) for site in SITES}
    return run_here(chosen, parameters, released(one, recipient), data, facts=facts)


MARKED = {"north": 73_519_846, "south": 61_947_283, "west": 58_264_937}
"""Counts of persons that are unmistakable wherever they turn up."""

FACTS: dict[str, object] = {**{f"m{number}": number % 2 for number in range(8)}, "age": 55}


def test_a_count_over_four_processes_equals_the_pooled_count(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party))
    told: list[float] = []
    answer = run(
        cluster.client,
        one,
        "persons",
        signing_key=PEOPLE.researcher,
        sealing_key=PEOPLE.sealing,
        seen=lambda views: told.append(stage_of(views)[1]),
    )
    assert all(0 <= fraction <= 1 for fraction in told)
    assert answer.result == cleartext(one, "persons", "researcher")
    verified = verify_receipt(cluster.party.federation, answer.receipt, one)
    assert set(verified.inputs) == set(SITES)
    assert verified.budget_spent == 1
    assert verified.data == dict.fromkeys(SITES, DATA) and verified.left_out == ()


def test_a_secret_patient_is_ranked_for(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party, analyses=[ranking()]))
    answer = run(
        cluster.client,
        one,
        "rank",
        signing_key=PEOPLE.physician,
        sealing_key=PEOPLE.sealing,
        facts=FACTS,
    )
    expected = cleartext(one, "rank", "physician", FACTS)
    assert isinstance(answer.result, RankingResult)
    assert isinstance(expected, RankingResult)
    assert (answer.result.tier, answer.result.hidden) == (expected.tier, expected.hidden)
    found = {arm.treatment: arm.estimate for arm in answer.result.arms}
    assert found == pytest.approx({arm.treatment: arm.estimate for arm in expected.arms}, abs=0.11)
    assert len(found) >= 2


def asked_by_cells(cluster: Cluster, one: StudyProtocol, facts: dict[str, object]) -> Any:
    keys = {"signing_key": PEOPLE.physician, "sealing_key": PEOPLE.sealing}
    return run(cluster.client, one, "rank", facts=facts, **keys).result


def kept_tables(cluster: Cluster) -> list[list[Path]]:
    """The files of kept tables at each node."""
    folders = [cluster.party.directory(index).published for index in range(4)]
    return [sorted(folder.iterdir()) for folder in folders]


def test_a_table_of_answers_is_made_once_kept_and_gone_with_any_sites_shares(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party, analyses=[by_cells()]))
    other = {**FACTS, "age": 40}
    first = asked_by_cells(cluster, one, FACTS)
    made = kept_tables(cluster)
    assert [len(files) for files in made] == [1] * 4
    assert len({file.name for files in made for file in files}) == 4, "each under a name of its own"
    for facts, result in ((FACTS, first), (other, asked_by_cells(cluster, one, other))):
        assert result.arms == cleartext(one, "rank", "physician", facts).arms and len(result.arms) >= 2
        assert result.tier == "cell"
    assert kept_tables(cluster) == made, "used, not made anew"

    damaged, old = made[2][0], made[1][0].read_bytes()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert asked_by_cells(cluster, one, FACTS) == first
    again = kept_tables(cluster)
    assert [len(files) for files in again] == [1] * 4
    assert not {file for files in made for file in files} & {file for files in again for file in files}

    again[1][0].unlink()
    made[1][0].write_bytes(old)  # readable, but shares of an earlier table than the others hold
    assert asked_by_cells(cluster, one, FACTS) == first
    assert [len(files) for files in kept_tables(cluster)] == [1] * 4 and kept_tables(cluster)[0] != again[0]

    cluster.client.post_envelope(one.digest, withdrawal(cluster.party, one, "south"))
    assert kept_tables(cluster) == [[]] * 4


def records(cluster: Cluster, one: StudyProtocol) -> list[list[Path]]:
    """The records of a study's answers at each node."""
    folders = [cluster.party.directory(index).earlier for index in range(4)]
    return [sorted(folder.glob(f"{one.digest}.*")) for folder in folders]


def test_an_answer_is_held_against_what_the_physician_was_told_before(cluster: Cluster, whole: None) -> None:
    tiers = [{"name": "near", "max_distance": 4, "age_within": 10}]
    one = cluster.publish(study(cluster.party, analyses=[ranking(tiers=tiers)]))
    chosen, parameters = resolve(one, "rank")
    data = {site: site_data(site) for site in SITES}
    keys = {"signing_key": PEOPLE.physician, "sealing_key": PEOPLE.sealing}
    memory: list[Any] = []

    def same(age: int) -> RankingResult:
        facts = {**FACTS, "age": age}
        found = run(cluster.client, one, "rank", facts=facts, **keys).result
        expected = run_here(chosen, parameters, released(one, "physician"), data, facts=facts, memory=memory)
        assert isinstance(found, RankingResult) and isinstance(expected, RankingResult)
        assert (found.tier, found.hidden, found.total) == (expected.tier, expected.hidden, expected.total)
        return found

    assert not same(55).hidden
    assert [len(files) for files in records(cluster, one)] == [1] * 4
    cluster.nodes.stop("node-c")
    cluster.nodes.start("node-c")
    assert {arm.reason for arm in same(56).hidden} == {REASONS[CLOSE]}
    assert [len(files) for files in records(cluster, one)] == [2] * 4

    away = records(cluster, one)[2][0]
    content = away.read_bytes()
    away.unlink()
    with pytest.raises(RunAborted, match="node-c has no record of run"):
        run(cluster.client, one, "rank", facts=FACTS, **keys)
    away.write_bytes(content)
    assert not same(55).hidden

    cluster.client.post_envelope(one.digest, withdrawal(cluster.party, one, "south"))
    assert records(cluster, one) == [[]] * 4


def test_a_withheld_upload_keeps_the_run_waiting_and_names_the_site(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party), sites=("north", "south"))
    prepared = prepare_run(cluster.party.federation, one, "persons", PEOPLE.researcher)
    cluster.client.post_run(prepared.envelope)
    views, _ = cluster.client.run(prepared.request.run_id)
    assert [view.state for view in views.values()] == ["waiting"] * 4
    assert all("waiting for uploads of west" in view.label for view in views.values())
    cluster.upload(one, "west")
    wait_for_run(cluster.client, prepared.request.run_id, timeout=60)
    assert open_run(cluster.client, one, prepared.request, PEOPLE.sealing).result


def test_a_second_upload_of_the_same_study_is_refused(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party), sites=("north",))
    upload = shared(cluster.party, one, "south")
    cluster.client.upload(upload.manifest, upload.sealed)
    cluster.client.upload(
        upload.manifest, upload.sealed
    )  # the very same one again: an interrupted upload, repeated
    with pytest.raises(NodeRefused, match="south has uploaded") as refused:
        cluster.upload(one, "south")
    assert refused.value.problem == "duplicate-upload"


def test_a_feasibility_count_takes_uploads_of_its_own(cluster: Cluster) -> None:
    one = cluster.publish(feasibility(cluster.party), sites=())
    prepared = prepare_run(
        cluster.party.federation, one, "count", PEOPLE.researcher, parameters={"cohort": COHORT}
    )
    cluster.client.post_run(prepared.envelope)
    seen = cluster.client.run(prepared.request.run_id)[0]["node-c"]
    asked = peek_document(seen.request, RunRequest)
    assert asked.parameters == {"cohort": COHORT}
    for site in SITES:
        cluster.upload(one, site, run=asked)
    wait_for_run(cluster.client, prepared.request.run_id, timeout=60)
    answer = open_run(cluster.client, one, prepared.request, PEOPLE.sealing)
    assert answer.result.kind == "cohort_count"


def test_a_site_that_sends_different_shares_to_different_nodes_is_caught(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party), sites=("north", "south"))
    first, second = shared(cluster.party, one, "west"), shared(cluster.party, one, "west")
    for node in cluster.client.nodes:
        chosen = second if node.entry.id == "node-c" else first
        node.upload(chosen.manifest, chosen.sealed[node.entry.id])
    prepared = prepare_run(cluster.party.federation, one, "persons", PEOPLE.researcher)
    cluster.client.post_run(prepared.envelope)
    cluster.until(lambda: cluster.states(prepared.request.run_id)["node-a"] == "refused")
    views, _ = cluster.client.run(prepared.request.run_id)
    assert "west uploaded other shares" in views["node-a"].reason


def test_a_requester_that_sends_different_queries_to_different_nodes_is_caught(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party, analyses=[ranking()]))
    first = prepare_run(cluster.party.federation, one, "rank", PEOPLE.physician, facts=FACTS)
    (table,) = query_tables(one, one.analysis("rank"))
    chosen, parameters = resolve(one, "rank")
    columns = chosen.query(parameters, {**FACTS, "age": 70})[table.spec.name]
    other = seal_tables(
        cluster.party.federation, one.digest, "query", first.request.nonce, [(table, columns)]
    )
    assert first.queries is not None
    queries = {**first.queries, "node-c": other.sealed["node-c"]}
    commitments = {**first.request.commitments, "node-c": other.commitments["node-c"]}
    lie = first.request.model_copy(update={"commitments": commitments})
    cluster.client.post_run(sign_document(lie, PEOPLE.physician), queries)
    with pytest.raises(RunAborted, match="holds other shares of the query"):
        wait_for_run(cluster.client, lie.run_id, timeout=60)
    cluster.until(lambda: set(cluster.states(lie.run_id).values()) == {"aborted"})
    no_result_anywhere(cluster, lie.run_id)


def test_withdrawal_leaves_too_few_sites(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party))
    cluster.client.post_envelope(one.digest, withdrawal(cluster.party, one, "west"))
    with pytest.raises(NodeRefused) as refused:
        cluster.client.post_run(request(one, "persons"))
    assert refused.value.problem == "withdrawn"
    assert all(
        [line.destroyed for line in lines if line.site == "west"] == [True]
        for lines in cluster.client.uploads(one.digest).values()
    )


def test_a_result_says_which_hospital_is_left_out(cluster: Cluster) -> None:
    one = cluster.publish(study(cluster.party, disclosure={"minimum_sites": 2}))
    cluster.client.post_envelope(one.digest, withdrawal(cluster.party, one, "west"))
    keys = {"signing_key": PEOPLE.researcher, "sealing_key": PEOPLE.sealing}
    verified = verify_receipt(
        cluster.party.federation, run(cluster.client, one, "persons", **keys).receipt, one
    )
    assert verified.left_out == ("west",) and set(verified.data) == {"north", "south"}


def test_logs_are_cosigned_by_the_other_nodes(cluster: Cluster) -> None:
    from governance.envelope import open_document
    from governance.ledger import Checkpoint

    def cosigned(node: Any) -> Envelope | None:
        try:
            return Envelope.from_value(node.get("/v1/log/checkpoint")["checkpoint"])
        except NodeRefused:
            return None

    for node in cluster.client.nodes:
        cluster.until(lambda node=node: (found := cosigned(node)) is not None and len(found.signatures) == 4)
        envelope = cosigned(node)
        assert envelope is not None
        for entry in cluster.party.federation.nodes:
            assert open_document(envelope, Checkpoint, by=entry.identity_key)


def test_no_process_uses_a_gibibyte_or_leaves_a_core(cluster: Cluster) -> None:
    for node in cluster.party.federation.nodes:
        status = Path(f"/proc/{cluster.nodes.pid(node.id)}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 1024 * 1024
        limits = Path(f"/proc/{cluster.nodes.pid(node.id)}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"


def test_logs_hold_no_value(cluster: Cluster) -> None:
    """Counts no log holds by chance are shared, and computed and released in a run: neither they, their total
    nor its rounding show up in any process's output, in decimal or hexadecimal, whatever is beside the digits.
    """
    one = cluster.publish(study(cluster.party), sites=())
    for site, count in MARKED.items():
        upload = share_upload(
            cluster.party.federation,
            one,
            site,
            {"persons": {"attrition": {"persons": count + np.array([900_000, 5000, 1000, 0])}}},
            key=cluster.party.connectors[site],
            snapshot="0" * 64,
            now=now(),
        )
        cluster.client.upload(upload.manifest, upload.sealed)
    answer = run(
        cluster.client, one, "persons", signing_key=PEOPLE.researcher, sealing_key=PEOPLE.sealing, timeout=60
    )
    total = sum(MARKED.values())
    shown = answer.result.count.value
    assert abs(shown - total) < 10, "the marked counts were computed with"
    marks = {shown, *(count + more for count in (*MARKED.values(), total) for more in (0, 1000, 3000, 5000))}
    for node in cluster.party.federation.nodes:
        text = (cluster.party.folder / f"{node.id}.log").read_text()
        assert one.digest in text
        assert text.count('"event"') > 5
        assert "Traceback" not in text
        plain = re.sub(r"\b[0-9a-f]{12,}\b", "", text)  # digests and ids, which hold any digits by chance
        for mark in marks:
            assert str(mark) not in plain
            assert f"{mark:x}" not in plain


# Crashes: every test leaves all nodes running again


@pytest.fixture
def ranked(cluster: Cluster, whole: None) -> StudyProtocol:
    """A study whose run takes long enough to be met in the middle."""
    return cluster.publish(study(cluster.party, analyses=[ranking()]), rows=6000)


def ask(cluster: Cluster, one: StudyProtocol) -> str:
    prepared = prepare_run(cluster.party.federation, one, "rank", PEOPLE.physician, facts=FACTS)
    cluster.client.post_run(prepared.envelope, prepared.queries)
    return prepared.request.run_id


def rank(cluster: Cluster, one: StudyProtocol) -> Answer:
    return run(
        cluster.client, one, "rank", signing_key=PEOPLE.physician, sealing_key=PEOPLE.sealing, facts=FACTS
    )


def freeze_in_run(cluster: Cluster, victim: str, run_id: str) -> None:
    """Stop the victim's clock (SIGSTOP) while it computes, so that what happens next happens inside the run."""
    begun = lambda view: view.state == "running" and view.fraction > 0  # noqa: E731  (not while they connect, nor before)
    cluster.until(lambda: all(map(begun, cluster.client.run(run_id)[0].values())))
    os.kill(cluster.nodes.pid(victim), signal.SIGSTOP)


def others(cluster: Cluster, run_id: str, victim: str) -> list[RunAnswer]:
    return [node.run(run_id) for node in cluster.client.nodes if node.entry.id != victim]


def no_result_anywhere(cluster: Cluster, run_id: str) -> None:
    for node in cluster.party.federation.nodes:
        folder = cluster.party.directory(node.index)
        assert not (folder.results / run_id).exists()
    for client in cluster.client.nodes:
        with pytest.raises(NodeRefused) as refused:
            client.result(run_id)
        assert refused.value.problem == "no-result"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["node-d", "node-a"])
def test_a_node_killed_mid_run_makes_the_others_abort_and_a_new_run_succeed(
    cluster: Cluster, ranked: StudyProtocol, victim: str
) -> None:
    run_id = ask(cluster, ranked)
    freeze_in_run(cluster, victim, run_id)
    assert [view.state for view in others(cluster, run_id, victim)] == ["running"] * 3
    cluster.nodes.kill(victim)
    cluster.until(lambda: all(view.state == "aborted" for view in others(cluster, run_id, victim)))
    for view in others(cluster, run_id, victim):
        assert view.who == victim
        assert victim in view.reason
    with pytest.raises(RunAborted, match="nothing was released"):
        wait_for_run(cluster.client, run_id, timeout=5)
    with pytest.raises(NodeUnreachable, match=victim):
        cluster.client.status()
    cluster.nodes.start(victim)
    no_result_anywhere(cluster, run_id)
    assert set(cluster.states(run_id).values()) == {"aborted"}
    again = rank(cluster, ranked)
    assert verify_receipt(cluster.party.federation, again.receipt, ranked).budget_spent == 2


@pytest.mark.slow
def test_a_silent_node_makes_the_others_abort_at_the_deadline(
    cluster: Cluster, ranked: StudyProtocol
) -> None:
    run_id = ask(cluster, ranked)
    freeze_in_run(cluster, "node-c", run_id)
    cluster.until(
        lambda: all(view.state == "aborted" for view in others(cluster, run_id, "node-c")), pause=0.5
    )
    said = f"sent nothing for {MESSAGE_SECONDS} s"
    assert any(said in view.reason for view in others(cluster, run_id, "node-c"))
    os.kill(cluster.nodes.pid("node-c"), signal.SIGCONT)
    cluster.until(lambda: set(cluster.states(run_id).values()) == {"aborted"})
    no_result_anywhere(cluster, run_id)
    assert rank(cluster, ranked).result


def test_a_node_that_is_down_keeps_a_run_waiting_until_it_is_back(cluster: Cluster, whole: None) -> None:
    one = cluster.publish(study(cluster.party))
    prepared = prepare_run(cluster.party.federation, one, "persons", PEOPLE.researcher)
    cluster.nodes.stop("node-b")
    with pytest.raises(
        NothingSent, match=r"node-b does not answer at https://127\.0\.0\.1:.* check that it runs"
    ):
        cluster.client.post_run(prepared.envelope)
    run_id = prepared.request.run_id
    leader = cluster.client.nodes[0]
    with pytest.raises(NodeRefused, match="has no run"):
        leader.run(run_id)
    leader.post_run(prepared.envelope, None)
    cluster.until(lambda: "node-b: not reached" in leader.run(run_id).label, pause=0.2)
    cluster.nodes.start("node-b")
    cluster.until(lambda: "node-b: does not have this run" in leader.run(run_id).label, pause=0.2)
    cluster.client.post_run(prepared.envelope)
    wait_for_run(cluster.client, run_id, timeout=60)


def test_a_stopping_node_ends_its_run_in_order(cluster: Cluster, ranked: StudyProtocol) -> None:
    run_id = ask(cluster, ranked)
    victim = next(node for node in cluster.client.nodes if node.entry.id == "node-b")
    cluster.until(lambda: victim.run(run_id).state == "running")
    cluster.nodes.stop("node-b")
    cluster.until(lambda: all(view.state != "running" for view in others(cluster, run_id, "node-b")))
    cluster.nodes.start("node-b")
    assert len(set(cluster.states(run_id).values())) == 1, "all nodes agree on how it ended"
    for node in cluster.party.federation.nodes:
        assert "Traceback" not in (cluster.party.folder / f"{node.id}.log").read_text()
