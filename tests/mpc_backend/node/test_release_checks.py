"""The list of checks before a run begins and before its result is released. Each stops some attack: without it, that succeeds.

The nodes are real but for their links, which are in memory; node-d, or whoever calls, is the one that deviates.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from governance.envelope import Envelope, peek_document, sign_document
from governance.errors import GovernanceError
from governance.keys import SigningKey
from governance.receipt import RunAttestation
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.node import agreement, runs, studies
from mpc_backend.node.agreement import Never, NotNow
from mpc_backend.node.core import NodeCore, open_core
from mpc_backend.node.database import UploadRow
from mpc_backend.node.execution import Execution, Job
from mpc_backend.node.rendezvous import Gathering, RunTerms
from mpc_backend.node.runs import PostedRun, finish_run, post_run
from mpc_backend.node.studies import post_envelope, post_study
from mpc_backend.packages import Package
from mpc_backend.protocols.sharing import layout
from mpc_backend.transport.memory import MemoryNetwork, Tamper
from mpc_backend.transport.tls import TlsTransport
from tests.mpc_backend.removal import remove

from .conftest import SITES, Party, in_parallel, make_party
from .studying import approvals, now, request, study, withdrawal
from .test_link_checks import said

MANIFESTS = {site: str(place) * 64 for place, site in enumerate(SITES)}
DEVIATES = 3
Part = Callable[[Execution], object]


class Nodes:
    """All nodes of a federation, each with the same studies, uploads and runs."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.cores: list[NodeCore] = [open_core(party.directory(i), party.federation) for i in range(4)]
        self.study, self.withdrawn = study(party), study(party, disclosure={"minimum_sites": 2})
        for one in (self.study, self.withdrawn):
            self._approved(one)
        self.request, self.ended = self.asked(self.study), self.asked(self.study)
        finish_run(self.cores[1], self.ended.run_id, "aborted", "for a test")

    def _approved(self, one: StudyProtocol) -> None:
        signed = approvals(self.party, one)
        for core in self.cores:
            post_study(core, one.canonical())
            for envelope in signed:
                post_envelope(core, one.digest, envelope)
            with core.database.write() as session:
                for site, manifest in MANIFESTS.items():
                    upload = secrets.token_hex(16)
                    session.add(
                        UploadRow(
                            upload_id=upload, study=one.digest, site=site, manifest_digest=manifest,
                            manifest=b"", size=0,
                        )
                    )  # fmt: skip

    def asked(self, one: StudyProtocol) -> RunRequest:
        envelope = request(one, "persons")
        for core in self.cores:
            post_run(core, PostedRun(request=envelope, query=None))
        return peek_document(envelope, RunRequest)

    def terms(self, one: StudyProtocol, asked: RunRequest, **changes: Any) -> RunTerms:
        fields: dict[str, Any] = {
            "run": asked.run_id,
            "epoch": "0" * 16,
            "study": one.digest,
            "federation": self.party.federation.digest,
            "software": self.cores[0].software,
            "sites": MANIFESTS,
        }
        return RunTerms(**{**fields, **changes})

    def together(
        self,
        part: Part,
        *,
        tamper: Tamper | None = None,
        deviating: type[Execution] = Execution,
        of: tuple[StudyProtocol, RunRequest] | None = None,
    ) -> str:
        """What the honest nodes say against a part of a run that all do at one time; "" where they go through with it."""
        one, asked = of or (self.study, self.request)
        job = Job(one, asked, self.terms(one, asked), charged=1, workers=1, uploads={})
        network = MemoryNetwork(4, deadline=10, tamper=tamper)

        def node(index: int) -> None:
            end = network.transport(index)
            made = deviating if index == DEVIATES else Execution
            try:
                part(made(self.cores[index], job, cast("TlsTransport", end), None, lambda *_: None))
            except Exception as error:
                end.abort(str(error))
                raise
            finally:
                end.close()

        return said(in_parallel([lambda index=index: node(index) for index in range(4)])[:DEVIATES])  # type: ignore[misc]

    def close(self) -> None:
        for core in self.cores:
            core.close()


def releasing(execution: Execution) -> None:
    execution._release(b"sealed by " + execution._core.entry.id.encode())


def attests(nodes: Nodes, *, key: SigningKey | None = None, **claims: Any) -> str:
    """node-d claims something else in its attestation, or signs it with another key, and takes what others attest."""

    class Deviating(Execution):
        def _attestation(self, sealed_output: str) -> RunAttestation:
            self._core = replace(self._core, identity=key or self._core.identity)
            return super()._attestation(sealed_output).model_copy(update=claims)

        def _checked(self, peer: int, message: bytes, own: RunAttestation) -> Envelope:
            return Envelope.from_canonical(message)

    return nodes.together(releasing, deviating=Deviating)


def another_set(nodes: Nodes) -> str:
    """What node-d attests to node-a differs from what it attests to the others, and each is right by itself."""

    def tamper(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        if (sender, receiver, index) != (DEVIATES, 0, 0):
            return payload
        own = peek_document(Envelope.from_canonical(payload), RunAttestation)
        later = own.model_copy(update={"finished_at": own.finished_at + timedelta(seconds=1)})
        return sign_document(later, nodes.cores[DEVIATES].identity).canonical()

    return nodes.together(releasing, tamper=tamper)


def another_digest(nodes: Nodes) -> str:
    def tamper(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return payload[:-32] + bytes(32) if (sender, index) == (DEVIATES, 1) else payload

    return nodes.together(releasing, tamper=tamper)


def withdrawn_meanwhile(nodes: Nodes) -> str:
    one = nodes.withdrawn
    gone = withdrawal(nodes.party, one, "west")
    for core in nodes.cores:
        post_envelope(core, one.digest, gone)
    asked = peek_document(request(one, "persons"), RunRequest)
    return nodes.together(releasing, of=(one, asked))


def expired_meanwhile(nodes: Nodes) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "utc_now", lambda: now() + timedelta(days=31))
        return nodes.together(releasing)


def other_query(nodes: Nodes) -> str:
    """A share of the query that node-d holds with others has another digest at node-d."""

    def comparing(execution: Execution) -> None:
        index = execution._core.index
        digests = {share: f"{share}" * 64 for share in layout("rep4").held[index]}
        if index == DEVIATES:
            digests[0] = "f" * 64
        execution._compare_query(cast("Package", SimpleNamespace(digests=lambda: digests)))

    return nodes.together(comparing)


def refused(function: Callable[[], object]) -> str:
    try:
        function()
    except (Never, NotNow, GovernanceError) as error:
        return str(error)
    return ""


def led(nodes: Nodes, peer: int = 0, **changes: Any) -> str:
    terms = nodes.terms(nodes.study, nodes.request, **changes)
    return refused(lambda: agreement.check_leader(nodes.cores[1], peer, terms))


def begun(nodes: Nodes, asked: RunRequest, **changes: Any) -> str:
    terms = nodes.terms(nodes.study, asked, **changes)
    return refused(lambda: agreement.charged_here(nodes.cores[1], terms))


def counted(nodes: Nodes, charged: int) -> str:
    gathering = Gathering(nodes.terms(nodes.study, nodes.request), 1)
    return refused(lambda: agreement.agree_charge(nodes.cores[1], gathering, 0, charged))


class Check(NamedTuple):
    """A check, what stands there without it, an attack, and what the refusal says."""

    name: str
    owner: type | ModuleType
    function: str
    check: str
    instead: str
    attack: Callable[[Nodes], str]
    says: str


CHECKS = (
    Check(
        "an attestation is signed by its node",
        Execution, "_checked",
        "open_document(envelope, RunAttestation, by=node.identity_key)",
        "RunAttestation.from_canonical(envelope.body)",
        lambda nodes: attests(nodes, key=SigningKey.generate()), "sent no valid attestation",
    ),
    Check(
        "all nodes attest the same run",
        Execution, "_checked", "if wrong or theirs.node != node.id:", "if theirs.node != node.id:",
        lambda nodes: attests(nodes, software="f" * 64), "node-d attests another software",
    ),
    Check(
        "a node attests for itself",
        Execution, "_checked", "if wrong or theirs.node != node.id:", "if wrong:",
        lambda nodes: attests(nodes, node="node-c"), "node-d attests another node",
    ),
    Check(
        "every node holds the same attestations",
        Execution, "_confirm",
        'if bytes(self._transport.receive(peer)) != b"release" + digest:',
        "if not self._transport.receive(peer):",
        another_set, "holds other attestations",
    ),
    Check(
        "and says so",
        Execution, "_confirm",
        'if bytes(self._transport.receive(peer)) != b"release" + digest:',
        "if not self._transport.receive(peer):",
        another_digest, "node-d holds other attestations",
    ),
    Check(
        "the sites still take part",
        Execution, "_check_permission", "if now != dict(self._job.terms.sites):", "if False:",
        withdrawn_meanwhile, "the sites changed during the run (west withdrew)",
    ),
    Check(
        "the study still holds",
        Execution, "_check_permission",
        "standing_of(self._core, session, self._job.study)",
        "self._job.study",
        expired_meanwhile, "study diabetes was valid until",
    ),
    Check(
        "all hold shares of one query",
        Execution, "_compare_query",
        "if bytes(self._transport.receive(peer)) != canonical_json(common[peer]):",
        "if not self._transport.receive(peer):",
        other_query, "holds other shares of the query",
    ),
    Check(
        "only the leader begins a run",
        agreement, "check_leader", "if peer != LEADER:", "if False:",
        lambda nodes: led(nodes, peer=2), "node-c does not lead this federation",
    ),
    Check(
        "the leader runs the same software",
        agreement, "check_leader", "if theirs != own:", "if False:",
        lambda nodes: led(nodes, software="f" * 64), "all nodes must run the same",
    ),
    Check(
        "the leader has the same federation file",
        agreement, "check_leader", "if theirs != own:", "if False:",
        lambda nodes: led(nodes, federation="f" * 64), "all nodes must run the same",
    ),
    Check(
        "a run that has ended does not begin again",
        agreement, "charged_here", 'if row.state != "waiting":', "if False:",
        lambda nodes: begun(nodes, nodes.ended), "the run is aborted here",
    ),
    Check(
        "the same sites take part at all nodes",
        agreement, "_compare_sites",
        "if set(theirs) != set(own):", "if not set(own) <= set(theirs):",
        lambda nodes: begun(nodes, nodes.request, sites={**MANIFESTS, "east": "9" * 64}),
        "a withdrawal is under way",
    ),
    Check(
        "each site's shares are of one upload",
        agreement, "_compare_sites", "if theirs[site] != manifest:", "if False:",
        lambda nodes: begun(nodes, nodes.request, sites={**MANIFESTS, "west": "9" * 64}),
        "west uploaded other shares here than at the leader",
    ),
    Check(
        "no more runs are charged than were asked for",
        runs, "check_charge", "if charged > most:", "if False:",
        lambda nodes: counted(nodes, 3), "but only 2 were requested",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    made = Nodes(make_party(tmp_path_factory.mktemp("release")))
    yield made
    made.close()


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_the_attack_is_stopped_by_this_check_and_by_no_other(
    one: Check, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one.says in one.attack(nodes)
    remove(monkeypatch, one.owner, one.function, one.check, one.instead)
    if one.function == "check_charge":
        monkeypatch.setattr(agreement, "check_charge", runs.check_charge)
    assert one.attack(nodes) == ""


def test_nodes_that_keep_to_it_release(nodes: Nodes) -> None:
    assert nodes.together(releasing) == ""
    assert nodes.together(releasing) == "", "and once more, where a result lies already"
