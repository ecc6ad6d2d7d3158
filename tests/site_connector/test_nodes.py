"""A node may answer anything: each method of the link reads it as that node's refusal, and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from governance.canonical import parse_json
from governance.envelope import Envelope, sign_document
from governance.keys import SigningKey
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.errors import NodeRefused, NodeUnreachable
from site_connector.nodes import HttpNode
from tests.site_connector.consortium import Consortium

DIGEST = "ab" * 32
Answers = Callable[[str], tuple[int, object]]


def link(consortium: Consortium, answers: Answers) -> HttpNode:
    """A link to node-a that gets these answers, by path."""

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = answers(request.url.path)
        return httpx.Response(status, content=body if isinstance(body, bytes) else json.dumps(body).encode())

    return HttpNode(NodeClient(consortium.federation.node("node-a"), httpx.MockTransport(answer)))


def always(body: object, status: int = 200) -> Answers:
    return lambda _: (status, body)


def malformed(call: Callable[[], object]) -> None:
    with pytest.raises(NodeRefused, match=r"^node-a: ") as refused:
        call()
    assert refused.value.problem == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        7,
        None,
        {"digest": DIGEST},
        [{"sites": ["north"], "closed": False, "revision": DIGEST, "waiting": []}],
        [{"digest": DIGEST, "sites": None, "closed": False, "revision": DIGEST, "waiting": []}],
        [{"digest": [DIGEST], "sites": ["north"], "closed": False, "revision": DIGEST, "waiting": []}],
        [{"digest": "../x\n", "sites": ["north"], "closed": False, "revision": DIGEST, "waiting": []}],
        [{"digest": DIGEST, "sites": ["north"], "closed": False, "revision": None, "waiting": []}],
        [{"digest": DIGEST, "sites": ["north"], "closed": False, "revision": DIGEST, "waiting": ["../x"]}],
    ],
)
def test_a_malformed_list_of_studies_is_a_refusal(consortium: Consortium, body: object) -> None:
    malformed(lambda: link(consortium, always(body)).studies_concerning("north", ()))


def test_studies_of_this_site_and_amendments_of_known_ones_concern_it(consortium: Consortium) -> None:
    lines = [
        {
            "digest": f"{number}" * 64,
            "sites": sites,
            "amends": amends,
            "closed": closed,
            "revision": DIGEST,
            "waiting": [],
        }
        for number, (sites, closed, amends) in enumerate(
            [
                (["north"], False, None),
                (["north"], True, None),
                (["south"], False, None),
                (["south"], False, DIGEST),
                (["south"], True, DIGEST),
                (["south"], False, "cd" * 32),
            ]
        )
    ]
    found = link(consortium, always(lines)).studies_concerning("north", {DIGEST})
    assert [one.digest[0] for one in found] == ["0", "3", "4"], "an amendment that has ended still counts"


@pytest.mark.parametrize("body", [[], None, {}, {"study": {"title": 1}, "envelopes": []}, {"study": 2**70}])
def test_a_malformed_study_is_a_refusal(consortium: Consortium, body: object) -> None:
    malformed(lambda: link(consortium, always(body)).study(DIGEST))


@pytest.mark.parametrize("envelopes", [1, [{"payload": "*"}], [None]])
def test_malformed_statements_are_a_refusal(consortium: Consortium, envelopes: object) -> None:
    study = consortium.study()
    body = {"study": parse_json(study.canonical()), "envelopes": envelopes}
    malformed(lambda: link(consortium, always(body)).study(study.digest))


def test_another_study_than_the_one_asked_for_is_a_refusal(consortium: Consortium) -> None:
    body = {"study": parse_json(consortium.study().canonical()), "envelopes": []}
    malformed(lambda: link(consortium, always(body)).study(DIGEST))


WAITING = {
    "run_id": DIGEST,
    "study": DIGEST,
    "recipient": "researcher",
    "state": "waiting",
    "label": "",
    "fraction": 0.0,
    "waiting_for": [],
    "reason": "",
    "who": "",
    "started_at": None,
}


@pytest.mark.parametrize(
    "run",
    [
        {},
        [],
        WAITING,
        {**WAITING, "run_id": {}},
        {**WAITING, "run_id": "\u0000"},
        {**WAITING, "run_id": "cd" * 32},
        {**WAITING, "request": {"payload": "*"}},
    ],
)
def test_a_malformed_run_is_a_refusal(consortium: Consortium, run: object) -> None:
    malformed(lambda: link(consortium, always(run)).run_request(DIGEST))


@pytest.mark.parametrize("body", [[], "no", 7, None])
def test_an_error_that_is_no_object_is_a_refusal(consortium: Consortium, body: object) -> None:
    signed = sign_document(consortium.request(consortium.study()), SigningKey.generate())
    malformed(lambda: link(consortium, always(body, 500)).post_statement(DIGEST, signed))
    malformed(lambda: link(consortium, always(body, 409)).upload(signed, b""))


def test_nesting_no_parser_follows_is_no_answer(consortium: Consortium) -> None:
    with pytest.raises(NodeUnreachable):
        link(consortium, always(b"[" * 200_000)).studies_concerning("north", ())


def test_one_node_that_answers_nonsense_stops_nothing(loaded: Consortium) -> None:
    """The first node tried answers nonsense everywhere; what the others say is taken in and answered."""
    study = loaded.submit(loaded.feasibility())
    loaded.others_approve(study)
    listed = [
        {"digest": study.digest, "sites": ["north"], "closed": False, "revision": DIGEST, "waiting": [DIGEST]}
    ]
    nonsense = link(loaded, lambda path: (200, listed if path == "/v1/studies" else [{}]))
    with loaded.mailbox() as mailbox:
        loaded.nodes.insert(0, nonsense)  # type: ignore[arg-type]
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
        loaded.nodes.pop(0)
        request = loaded.request(study)
        connector.round()
        assert mailbox.known_runs(study.digest) == {request.run_id}


@pytest.mark.parametrize("lie", ["forged", "of another study"])
def test_what_one_node_makes_of_a_request_decides_nothing(loaded: Consortium, lie: str) -> None:
    """A node hands a sound request out with another's signature, or under another study; it is still answered."""
    study, other = loaded.submit(loaded.feasibility()), loaded.submit(loaded.feasibility(title="Another"))
    for one in (study, other):
        loaded.others_approve(one)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        for one in (study, other):
            loaded.desk(mailbox).approve(one.digest, loaded.steward, loaded.now)
        request = loaded.request(study)
        held = {node.node: node.runs.pop(study.digest) for node in loaded.nodes}
        forged = sign_document(request, SigningKey.generate())
        liar = loaded.nodes[-1]
        liar.runs = {study.digest: [forged]} if lie == "forged" else {other.digest: held[liar.node]}
        if lie == "forged":
            loaded.nodes[0].runs[study.digest] = held["node-a"]
        connector.round()
        loaded.nodes[0].runs[study.digest] = held["node-a"]
        connector.round()
        assert mailbox.spent(study.digest).runs == 1
        assert [one.run for one in mailbox.uploads(study.digest)] == [request.run_id]


def test_envelopes_come_back_as_they_are_held(consortium: Consortium) -> None:
    study = consortium.submit(consortium.study())
    held = consortium.nodes[0].said[study.digest]
    body = {
        "study": parse_json(study.canonical()),
        "envelopes": [one.model_dump(mode="json") for one in held],
    }
    found, said = link(consortium, always(body)).study(study.digest)
    assert found == study
    assert [Envelope.from_canonical(one.canonical()) for one in said] == held
