"""Records of earlier answers: nodes agree on them before a run, and none can make the others forget one.

The nodes are real but for their links, which are in memory; node-d is the one that deviates.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from governance.canonical import canonical_json
from governance.envelope import sign_document
from governance.keys import SigningKey
from governance.receipt import LogPosition, RunAttestation
from governance.run_request import RunRequest
from mpc_backend.node import earlier, kept
from mpc_backend.node.core import NodeCore, open_core
from mpc_backend.node.database import ResultRow, RunRow
from mpc_backend.node.earlier import EarlierAnswers, Known
from mpc_backend.node.studies import destroy_shares
from mpc_backend.packages import Package
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import OutputForm
from mpc_backend.transport.memory import MemoryNetwork, Tamper
from tests.mpc_backend.removal import remove

from .conftest import SITES, Party, in_parallel, make_party
from .studying import PEOPLE, now, ranking, study
from .test_link_checks import said

UPLOADS = {site: str(place + 1) * 64 for place, site in enumerate(SITES)}
DEVIATES = 3
FORM = OutputForm("int", (1, 2))


class Nodes:
    """All nodes of a federation with one study, and runs as they are left behind."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.cores: list[NodeCore] = [open_core(party.directory(i), party.federation) for i in range(4)]
        self.study = study(party, analyses=[ranking()])
        for core in self.cores:
            with core.database.write() as session:
                for site in SITES:
                    core.vault.site_key(session, self.study.digest, site)

    def request(self, key: SigningKey = PEOPLE.physician) -> RunRequest:
        return RunRequest(
            study_digest=self.study.digest,
            analysis="rank",
            nonce=secrets.token_hex(16),
            created_at=now(),
            requester_key=key.public,
            recipient="physician",
        )

    def answers(
        self,
        core: NodeCore,
        asked: RunRequest,
        uploads: Mapping[str, str] = UPLOADS,
        made: type[EarlierAnswers] = EarlierAnswers,
    ) -> EarlierAnswers:
        rows = {site: SimpleNamespace(manifest_digest=digest) for site, digest in uploads.items()}
        return made(core, self.study, asked, cast("Any", rows))

    def answered(
        self, *, released: tuple[int, ...] = (0, 1, 2, 3), value: bytes = b"one", **options: Any
    ) -> str:
        """A run that every node has a record of; those of ``released`` hold all attestations."""
        asked = self.request(**options)
        for core in self.cores:
            shares = {share: value + bytes([share]) for share in layout("rep4").held[core.index]}
            self.answers(core, asked).keep("earlier", {"member": (FORM, shares)})
            with core.database.write() as session:
                session.add(self._row(asked))
                if core.index in released:
                    session.add(self._result(core, asked))
        return asked.run_id

    def _row(self, asked: RunRequest) -> RunRow:
        return RunRow(
            run_id=asked.run_id, study=self.study.digest, analysis="rank", recipient="physician",
            requester_key=asked.requester_key, nonce=asked.nonce, request=b"", state="done",
        )  # fmt: skip

    def _result(self, core: NodeCore, asked: RunRequest) -> ResultRow:
        attested = RunAttestation(
            node=core.entry.id, federation=self.party.federation.digest, study_digest=self.study.digest,
            run_id=asked.run_id, analysis="rank", recipient="physician", inputs=UPLOADS, software="x",
            sealed_output="0" * 64, budget_spent=1, finished_at=now(), log=LogPosition(size=0, root="0" * 64),
        )  # fmt: skip
        body = canonical_json([sign_document(attested, core.identity).model_dump(mode="json")])
        return ResultRow(run_id=asked.run_id, sealed_output="0" * 64, attestations=body)

    def files(self, index: int, run: str = "") -> list[Any]:
        return [file for file in self.cores[index].directory.earlier.iterdir() if run in file.name]

    def agreed(
        self,
        *,
        tamper: Tamper | None = None,
        deviating: type[EarlierAnswers] = EarlierAnswers,
        **options: Any,
    ) -> tuple[str, list[Any]]:
        """What the honest nodes say against the next run, and what each node takes earlier answers to be."""
        uploads = options.pop("uploads", UPLOADS)
        asked, network = self.request(**options), MemoryNetwork(4, deadline=10, tamper=tamper)

        def node(index: int) -> object:
            end = network.transport(index)
            try:
                made = deviating if index == DEVIATES else EarlierAnswers
                return self.answers(self.cores[index], asked, uploads, made).agreed(end)
            except Exception as error:
                end.abort(str(error))
                raise
            finally:
                end.close()

        results = in_parallel([lambda index=index: node(index) for index in range(4)])  # type: ignore[misc]
        return said(results[:3]), results

    def known(self, tamper: Tamper | None = None, **options: Any) -> set[str]:
        """The runs that all nodes agree on."""
        refusal, results = self.agreed(tamper=tamper, **options)
        assert refusal == ""
        for index, found in enumerate(results):
            held = set(layout("rep4").held[index])
            assert list(found) == sorted(found) and list(found) == list(results[0])
            assert all(set(columns["member"]) == held for columns in found.values())
        return set(results[0])

    def close(self) -> None:
        for core in self.cores:
            core.close()


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    one = Nodes(make_party(tmp_path_factory.mktemp("earlier")))
    yield one
    one.close()


def test_answers_are_known_at_every_node_also_after_a_restart(nodes: Nodes) -> None:
    assert nodes.known() == set()
    runs = {nodes.answered(value=value) for value in (b"one", b"two")}
    assert nodes.known() == runs
    nodes.cores[2].close()
    nodes.cores[2] = open_core(nodes.party.directory(2), nodes.party.federation)
    assert nodes.known() == runs
    assert b"one" not in b"".join(file.read_bytes() for file in nodes.files(0)), "encrypted"


def test_another_requester_and_other_uploads_know_nothing_of_them(nodes: Nodes) -> None:
    run = nodes.answered()
    assert nodes.known(key=PEOPLE.researcher) == set()
    assert nodes.known(uploads={**UPLOADS, "west": "f" * 64}) == set()
    assert nodes.known() == {run}, "and leave them alone"


@pytest.mark.parametrize("damage", ["missing", "changed", "short"])
def test_a_record_that_one_node_lacks_refuses_the_run(nodes: Nodes, damage: str) -> None:
    run = nodes.answered()
    (file,) = nodes.files(1)
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + (b"" if damage == "short" else bytes([content[-1] ^ 1])))
    refusal, _ = nodes.agreed()
    assert f"node-b has no record of run {run[:12]}" in refusal and "from a backup" in refusal
    file.write_bytes(content)
    assert nodes.known() == {run}


def test_a_record_that_all_nodes_lost_refuses_the_run(nodes: Nodes) -> None:
    nodes.answered()
    for index in range(4):
        nodes.files(index)[0].unlink()
    assert "has no record" in nodes.agreed()[0]


def test_a_node_with_other_shares_of_a_record_is_caught(nodes: Nodes) -> None:
    asked = nodes.request()
    for core in nodes.cores:
        value = b"two" if core.index == 3 else b"one"
        shares = {share: value + bytes([share]) for share in layout("rep4").held[core.index]}
        nodes.answers(core, asked).keep("earlier", {"member": (FORM, shares)})
        with core.database.write() as session:
            session.add(nodes._row(asked))
            session.add(nodes._result(core, asked))
    assert "holds other shares of what this requester was told before" in nodes.agreed()[0]


def test_a_record_of_a_run_that_was_never_released_is_left_out_and_removed(nodes: Nodes) -> None:
    told, untold = nodes.answered(), nodes.answered(released=(), value=b"two")
    nodes.files(2, untold)[0].unlink()  # lost before it was written there
    assert [len(nodes.files(index)) for index in range(4)] == [2, 2, 1, 2]
    assert nodes.known() == {told}
    assert [len(nodes.files(index)) for index in range(4)] == [1] * 4


def test_an_answer_that_one_node_alone_knows_as_released_counts(nodes: Nodes) -> None:
    """The others went down between their last message and keeping that the run was done."""
    assert nodes.known() == set()
    run = nodes.answered(released=(1,))
    assert nodes.known() == {run}


def test_records_go_with_any_sites_shares(nodes: Nodes) -> None:
    nodes.answered()
    for core in nodes.cores:
        destroy_shares(core, nodes.study.digest, "south", "withdrawn")
    assert [nodes.files(index) for index in range(4)] == [[]] * 4
    assert "shares of south" in nodes.agreed()[0]


class Forgetful(EarlierAnswers):
    """Says that it has no record and knows of no answer."""

    def _known(self, packages: Mapping[str, Package]) -> Known:
        return Known(held=[], released=[])


def forgetful(nodes: Nodes) -> str:
    nodes.answered()
    return nodes.agreed(deviating=Forgetful)[0]


def two_faced(nodes: Nodes) -> str:
    """node-d tells node-a that a run was released of which all have a record, and the others that it was not."""
    run = nodes.answered(released=())
    lie = Known(held=[run], released=[run]).message()

    def tamper(sender: int, receiver: int, index: int, sent: bytes) -> bytes:
        return lie if (sender, receiver, index) == (3, 0, 0) else sent

    return nodes.agreed(tamper=tamper)[0]


def other_digests(nodes: Nodes) -> str:
    """node-d shows other digests of the shares that it holds."""
    nodes.answered()
    return nodes.agreed(tamper=lambda sender, _, index, sent: b"{}" if (sender, index) == (3, 2) else sent)[0]


class Garbage(Known):
    def message(self) -> bytes:
        return canonical_json({**self.model_dump(), "more": []})


class Chatty(EarlierAnswers):
    """Says something that is no list of runs."""

    def _known(self, packages: Mapping[str, Package]) -> Known:
        return Garbage(**super()._known(packages).model_dump())


def garbage(nodes: Nodes) -> str:
    return nodes.agreed(deviating=Chatty)[0]


class Check(NamedTuple):
    """An attack, what the refusal says, the check that it meets, and what stands there without it."""

    attack: Callable[[Nodes], str]
    says: str
    owner: type | ModuleType
    function: str
    check: str
    instead: str = "if False:"


CHECKS = (
    Check(forgetful, "node-d has no record", earlier, "_check_held", "if lacking:"),
    Check(two_faced, "was told otherwise of earlier answers", kept, "told_alike", "if theirs != heard:"),
    Check(other_digests, "holds other shares", EarlierAnswers, "_compare", "if theirs != common[peer]:"),
    Check(
        garbage, "node-d sent no list of earlier answers",
        Known, "read", "cls.model_validate(parse_json(message))", "cls.model_construct(**parse_json(message))",
    ),
)  # fmt: skip


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.attack.__name__)
def test_a_node_that_deviates_refuses_the_run(nodes: Nodes, one: Check) -> None:
    assert one.says in one.attack(nodes)


@pytest.mark.parametrize("one", CHECKS[:3], ids=lambda one: one.attack.__name__)
def test_without_its_check_it_is_not_noticed_there(
    nodes: Nodes, one: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(monkeypatch, one.owner, one.function, one.check, one.instead)
    if one.function == "told_alike":
        monkeypatch.setattr(earlier, "told_alike", kept.told_alike)
    assert one.says not in one.attack(nodes)
