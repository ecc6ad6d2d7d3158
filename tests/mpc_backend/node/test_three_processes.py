"""Three real node processes over TLS on loopback, under rep3, with worker processes of their own: three at one node and two at
the others, so that a run has two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from governance.keys import SigningKey
from governance.receipt import verify_receipt
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Result
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.registry import resolve
from mpc_backend.client import Answer, NodeSet, run
from mpc_backend.node.local import LocalNodes

from .conftest import SITES, Party, make_party
from .studying import PEOPLE, approvals, ranking, released, shared, site_data, study

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    one = make_party(tmp_path_factory.mktemp("three"), "rep3")
    for index, workers in enumerate((3, 2, 2)):
        with one.directory(index).settings_file.open("a", encoding="utf-8") as stream:
            stream.write(f"workers = {workers}\n")
    with LocalNodes(one.folder, one.federation) as nodes:
        nodes.start()
        yield one


def answered(
    party: Party, one: StudyProtocol, analysis: str, who: SigningKey, facts: dict[str, object] | None = None
) -> Answer:
    """The answer of the nodes to one question of a study that is published for it."""
    client = NodeSet(party.federation)
    try:
        client.post_study(one)
        for envelope in approvals(party, one):
            client.post_envelope(one.digest, envelope)
        for site in SITES:
            upload = shared(party, one, site)
            client.upload(upload.manifest, upload.sealed)
        return run(client, one, analysis, signing_key=who, sealing_key=PEOPLE.sealing, facts=facts)
    finally:
        client.close()


def pooled(
    one: StudyProtocol, analysis: str, recipient: str, facts: dict[str, object] | None = None
) -> Result:
    chosen, parameters = resolve(one, analysis)
    rows = {site: site_data(site) for site in SITES}
    return run_here(chosen, parameters, released(one, recipient), rows, facts=facts)


def test_a_count_over_three_processes_equals_the_pooled_count(party: Party) -> None:
    one = study(party)
    assert one.protocol == "rep3"
    answer = answered(party, one, "persons", PEOPLE.researcher)
    assert answer.result == pooled(one, "persons", "researcher")
    assert set(verify_receipt(party.federation, answer.receipt, one).inputs) == set(SITES)


def test_a_ranking_by_worker_processes_equals_the_pooled_one(party: Party) -> None:
    """Two row shards at every node: the fewest workers that one of them has."""
    one, facts = study(party, analyses=[ranking()]), {"m0": 1, "m1": 0, "age": 60}
    found = answered(party, one, "rank", PEOPLE.physician, facts).result
    wanted = pooled(one, "rank", "physician", facts)
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
