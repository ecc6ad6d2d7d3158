"""Three real node processes over TLS on loopback, under rep3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from governance.receipt import verify_receipt
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import resolve
from mpc_backend.client import NodeSet, run
from mpc_backend.node.local import LocalNodes

from .conftest import SITES, Party, make_party
from .studying import PEOPLE, approvals, released, shared, site_data, study

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    one = make_party(tmp_path_factory.mktemp("three"), "rep3")
    with LocalNodes(one.folder, one.federation) as nodes:
        nodes.start()
        yield one


def test_a_count_over_three_processes_equals_the_pooled_count(party: Party) -> None:
    one = study(party)
    assert one.protocol == "rep3"
    client = NodeSet(party.federation)
    try:
        client.post_study(one)
        for envelope in approvals(party, one):
            client.post_envelope(one.digest, envelope)
        for site in SITES:
            upload = shared(party, one, site)
            client.upload(upload.manifest, upload.sealed)
        answer = run(client, one, "persons", signing_key=PEOPLE.researcher, sealing_key=PEOPLE.sealing)
    finally:
        client.close()
    chosen, parameters = resolve(one, "persons")
    pooled = run_here(chosen, parameters, released(one), {site: site_data(site) for site in SITES})
    assert answer.result == pooled
    assert set(verify_receipt(party.federation, answer.receipt, one).inputs) == set(SITES)
