"""One of four nodes answers garbage: what the others hold is shown, and the one is named."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from governance.approval import SiteDecision
from governance.envelope import Envelope, sign_document
from governance.keys import SigningKey
from governance.study import StudyProtocol
from mpc_backend.client.errors import NoUsableAnswer
from tests.workbench.answering import Answers, Honest, holding, node_set, run_line
from tests.workbench.conftest import Consortium
from workbench import asking, client, study_cli
from workbench.asking import Asker
from workbench.client import Client
from workbench.errors import exit_status
from workbench.parts.study_list import network_state
from workbench.store import now

from .test_cli import run

SITES = ("north", "south", "west")


class Approved:
    """A study all hospitals signed, at four nodes of which one lies."""

    def __init__(self, consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
        self.consortium = consortium
        self.study: StudyProtocol = consortium.study("count")
        self.envelopes = consortium.envelopes(self.study, by=SITES)
        self.honest = holding(self.study, self.envelopes)
        self.lying: dict[str, Answers] = {}
        for module in (client, asking):
            monkeypatch.setattr(module, "NodeSet", lambda one: node_set(one, self.honest, self.lying))
        self.client = Client(consortium.federation, consortium.researcher)

    def lie(self, path: str, said: object, node: str = "node-d") -> None:
        """Let a node answer this to one path, and honestly to all others."""
        self.lying[node] = lambda asked: said if asked.split("?")[0] == path else self.honest(asked)

    def only_complaint(self) -> str:
        """The study is shown in full to pages, scripts and commands alike, with one complaint; returns it."""
        seen = self.client.look()
        (view,) = seen.studies
        assert (view.study, view.state, view.signed) == (self.study, "approved", 3)
        assert self.client.study(self.study.short_name).view == view
        watched = Asker(self.consortium.federation)(self.consortium.federation, now())
        assert [one.state for one in watched.studies] == ["approved"]
        assert [one[:30] for one in watched.problems] == [one[:30] for one in seen.problems]
        (said,) = seen.problems
        return said


@pytest.fixture
def approved(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> Approved:
    return Approved(consortium, monkeypatch)


def altered(value: object, *path: str | int, to: object) -> Any:
    """A JSON value with one member replaced."""
    if not path:
        return to
    copy: Any = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    copy[path[0]] = altered(copy[path[0]], *path[1:], to=to)
    return copy


@pytest.mark.parametrize("node", ["node-a", "node-d"])
@pytest.mark.parametrize(
    "said",
    [
        7,
        None,
        {},
        [{}],
        [None],
        [{"digest": "../x", "sites": [], "closed": False, "revision": "0" * 64, "waiting": []}],
        [{"digest": ["0" * 64], "sites": [], "closed": False, "revision": "0" * 64, "waiting": []}],
        b"<html>",
        b"[" * 100_000,
        b'[{"digest": "\\ud800"}]',
    ],
)
def test_a_list_of_studies_that_is_none_costs_one_complaint(
    approved: Approved, said: object, node: str
) -> None:
    approved.lie("/v1/studies", said, node)
    assert approved.only_complaint().startswith(f"{node}")


def study_lies(approved: Approved) -> dict[str, object]:
    true = approved.honest(f"/v1/studies/{approved.study.digest}")
    other = approved.consortium.study("survival")
    return {
        "nothing": None,
        "no study": {"envelopes": []},
        "another type": altered(true, "study", "sites", to=7),
        "one field too many": altered(true, "study", to={**true["study"], "more": 1}),
        "another study": altered(true, "study", to=other.model_dump(mode="json")),
        "a changed study": altered(true, "study", "title", to="Another title"),
        "a number no document holds": altered(true, "study", "analyses", 0, "parameters", to={"a": 1e400}),
        "no envelopes": altered(true, "envelopes", to=None),
        "no envelope": altered(true, "envelopes", 0, to={"payload": "*"}),
        "no signature": altered(true, "envelopes", 0, "signatures", to=[]),
    }


@pytest.mark.parametrize("node", ["node-a", "node-d"])
@pytest.mark.parametrize(
    "lie",
    [
        "nothing",
        "no study",
        "another type",
        "one field too many",
        "another study",
        "a changed study",
        "a number no document holds",
        "no envelopes",
        "no envelope",
        "no signature",
    ],
)
def test_a_study_that_is_none_costs_one_complaint(approved: Approved, lie: str, node: str) -> None:
    approved.lie(f"/v1/studies/{approved.study.digest}", study_lies(approved)[lie], node)
    complaint = approved.only_complaint()
    assert complaint.startswith(f"{node}: ")
    assert approved.study.digest[:12] in complaint


def false_statements(approved: Approved) -> dict[str, Envelope]:
    """Statements that are envelopes, and yet nobody's word about this study."""
    study, stewards = approved.study, approved.consortium.stewards
    fields = {"study_digest": study.digest, "site": "south", "decision": "decline", "decided_at": now()}
    decline = SiteDecision(**fields)
    later = SiteDecision(**{**fields, "decided_at": now() + timedelta(days=1)})
    elsewhere = SiteDecision(**{**fields, "study_digest": "0" * 64})
    signed = approved.envelopes[1]
    swapped = signed.model_copy(update={"signatures": approved.envelopes[2].signatures})
    return {
        "forged": sign_document(decline, SigningKey.generate()),
        "by another hospital": sign_document(decline, stewards["west"]),
        "about another study": sign_document(elsewhere, stewards["south"]),
        "from the future": sign_document(later, stewards["south"]),
        "with another's signature": swapped,
        "of no kind": signed.model_copy(update={"payloadType": "text/plain"}),
        "signed twice": sign_document(decline, stewards["south"], stewards["west"]),
    }


@pytest.mark.parametrize("node", ["node-a", "node-d"])
@pytest.mark.parametrize(
    "lie",
    [
        "forged",
        "by another hospital",
        "about another study",
        "from the future",
        "with another's signature",
        "of no kind",
        "signed twice",
    ],
)
def test_a_statement_that_does_not_verify_costs_one_complaint(
    approved: Approved, lie: str, node: str
) -> None:
    false = false_statements(approved)[lie]
    lying = holding(approved.study, [false, *approved.envelopes])
    path = f"/v1/studies/{approved.study.digest}"
    approved.lie(path, lying(path), node)
    assert approved.only_complaint().startswith(
        f"{node}: holds 1 statement about study {approved.study.digest[:12]} that does not verify: "
    )


def test_a_study_that_only_a_liar_lists_is_left_out(approved: Approved) -> None:
    lines = [
        *approved.honest("/v1/studies"),
        {"digest": "9" * 64, "sites": ["north"], "closed": False, "revision": "0" * 64, "waiting": []},
    ]
    approved.lying["node-b"] = lambda path: lines if path == "/v1/studies" else approved.honest(path)
    assert approved.only_complaint().startswith(f"no node gives study {'9' * 12}: node-a: ")


@pytest.mark.parametrize("change", [{"fraction": float("nan")}, {"state": "won"}, {"study": "0" * 64}])
def test_runs_that_are_none_cost_one_complaint(approved: Approved, change: dict[str, object]) -> None:
    begun = run_line(approved.study, state="done", started_at="2026-01-01T00:00:00Z")
    approved.honest = Honest(approved.honest.studies, {approved.study.digest: [begun]})
    approved.lie("/v1/runs", [{**begun, **change}])
    assert approved.only_complaint().startswith("node-d: ")
    (view,) = approved.client.studies()
    assert view.spent.runs == 1


def test_without_one_usable_answer_every_node_is_named(approved: Approved) -> None:
    for node in ("node-a", "node-b", "node-c"):
        approved.lie("/v1/studies", {}, node)
    approved.lie("/v1/studies", b"<html>", "node-d")
    with pytest.raises(NoUsableAnswer) as refused:
        approved.client.studies()
    said = str(refused.value)
    assert all(
        f"{node}: cannot read its list of studies: " in said for node in ("node-a", "node-b", "node-c")
    )
    assert "node-d does not answer at https://127.0.0.1:9003 (status 200, no JSON)" in said
    assert exit_status(refused.value) == 3
    watched = Asker(approved.consortium.federation)(approved.consortium.federation, now())
    assert watched.silent == ["node-a", "node-b", "node-c", "node-d"]
    assert len(watched.problems) == 4


def test_pages_and_commands_tell_what_is_wrong(
    approved: Approved, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    approved.lie("/v1/studies", [{"digest": "![here](https://example.org)"}])
    state = network_state(approved.client.look(), now())
    assert state is not None
    assert state.text.startswith("3 of 4 answered; no answer since ")
    assert "cannot read" not in state.text, "folded away: only who runs the nodes can do something about it"
    assert any("node-d: cannot read its list of studies" in detail for detail in state.details)
    monkeypatch.setattr(study_cli, "_client", lambda *_: approved.client)
    code, out, err = run(capsys, "study", "status", "--federation", "f.json", "--identity", "keys")
    assert code == 0
    assert approved.study.short_name in out
    assert err.startswith("warning: node-d: cannot read its list of studies")


@pytest.mark.parametrize("detail", ["\x1b[2Jgone", "gone\ud800"])
def test_words_of_a_node_reach_no_terminal_unfiltered(approved: Approved, detail: str) -> None:
    sly = json.dumps({"type": "urn:tessera:problem:internal", "detail": detail}).encode()
    for node in approved.consortium.federation.nodes:
        approved.lie("/v1/studies", httpx.Response(500, content=sly), node.id)
    with pytest.raises(NoUsableAnswer) as refused:
        approved.client.studies()
    assert str(refused.value).isprintable()
    str(refused.value).encode()
