"""A node whose database or a stored document fails once goes on: runs begin again, end once, and studies close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from sqlalchemy.exc import OperationalError

from mpc_backend.node import agreement, computing, jobs, service, studies
from mpc_backend.node.agreement import Never, NotNow
from mpc_backend.node.database import RunRow, StudyRow, utc_now
from mpc_backend.node.jobs import Jobs
from mpc_backend.node.rendezvous import LinkGreeting, RunTerms, StartGreeting
from mpc_backend.node.studies import close_expired

from .calling import Node
from .conftest import make_party
from .studying import approvals, request, shared, study


class Failing:
    """Stands before a function; the first calls fail as a full disk does."""

    def __init__(self, function: Callable[..., Any], times: int = 1) -> None:
        self._function, self.left, self.calls = function, times, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise OperationalError("COMMIT", {}, Exception("database or disk is full"))
        return self._function(*arguments, **options)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that was not started."""
    monkeypatch.setenv("TESSERA_NODE_HOUSEKEEPING_SECONDS", "0.02")
    node = Node(make_party(tmp_path))
    yield node
    node.close()


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def waiting_run(node: Node) -> tuple[str, StartGreeting]:
    """A run that waits here, and the leader's invitation to it."""
    one = study(node.party)
    node.post_study(one, *approvals(node.party, one))
    run_id = node.run(request(one, "persons")).json()["run_id"]
    terms = RunTerms(
        run=run_id,
        epoch="0" * 16,
        study=one.digest,
        federation=node.core.federation.digest,
        software=node.core.software,
        sites={},
    )
    return run_id, StartGreeting(terms=terms, charged=1)


def state_of(node: Node, run_id: str) -> tuple[str, str]:
    with node.core.database.read() as session:
        row = session.get_one(RunRow, run_id)
        return row.state, row.reason


def test_an_invitation_that_fails_gives_the_turn_back(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _, greeting = waiting_run(alone)
    monkeypatch.setattr(jobs, "charged_here", Failing(agreement.charged_here))
    leader = MagicMock(peer=0)
    with pytest.raises(OperationalError):
        alone.service.jobs.invited(leader, greeting)
    assert alone.service.jobs.running is None
    leader.close.assert_called()
    again = MagicMock(peer=0)
    alone.service.jobs.invited(again, greeting)
    assert again.say.call_args.args[0]["why"] == "waiting for uploads of north, south, west"


def test_every_start_of_a_run_has_an_epoch_of_its_own(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, _ = waiting_run(alone)
    leader, epochs = Jobs(alone.core), []

    def not_yet(_core: object, _run_id: str, epoch: str) -> None:
        epochs.append(int(epoch, 16))
        raise NotNow("waiting for uploads")

    monkeypatch.setattr(jobs, "terms_of", not_yet)
    for _ in range(3):
        with pytest.raises(NotNow):
            leader._invite(run_id)
    assert len(set(epochs)) == 3
    assert max(epochs) >= 1 << 32, "drawn from 64 bits: no node has to remember those before"


def test_what_fails_unexpectedly_closes_the_connection(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _, greeting = waiting_run(alone)
    monkeypatch.setattr(jobs, "check_leader", Failing(agreement.check_leader))
    leader = MagicMock(peer=0, hear=lambda _seconds: greeting.model_dump(mode="json"))
    alone.service._accepted(leader)
    leader.close.assert_called()


def test_a_leader_goes_on_after_its_database_failed(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, _ = waiting_run(alone)
    party, node = alone.party, alone
    node.core.settings.__dict__["retry_seconds"] = 0.02
    leader = Jobs(node.core)
    object.__setattr__(node.core, "entry", party.federation.nodes[0])
    waiting, ending = Failing(leader._waiting), Failing(computing.finish_run, times=2)
    monkeypatch.setattr(leader, "_waiting", waiting)
    monkeypatch.setattr(computing, "finish_run", ending)

    def never(_run_id: str) -> None:
        raise Never("uploaded other shares", "north")

    monkeypatch.setattr(leader, "_invite", never)
    leader.start()
    until(lambda: state_of(node, run_id) == ("refused", "uploaded other shares"))
    assert leader.fault == ""
    leader.stop(0)
    assert (waiting.left, ending.left) == (0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_leader_that_died_is_told_in_the_status(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    object.__setattr__(alone.core, "entry", alone.party.federation.nodes[0])
    led = alone.service.jobs
    monkeypatch.setattr(led, "_waiting", MagicMock(side_effect=SystemExit))
    assert alone.client.get("/v1/status").json()["fault"] == ""
    led.start()
    led._leading.join(20)
    assert alone.client.get("/v1/status").json()["fault"].startswith("starts no more runs")


def test_a_run_gets_its_first_final_state_once_the_database_takes_it(
    alone: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, greeting = waiting_run(alone)
    ending = Failing(computing.finish_run, times=1)
    monkeypatch.setattr(computing, "finish_run", ending)
    computation = alone.service.jobs._computation
    gathering = jobs.Gathering(greeting.terms, 1)
    computation.compute(run_id, gathering)
    assert state_of(alone, run_id)[0] == "running"
    computation.compute(run_id, gathering)
    state, reason = state_of(alone, run_id)
    assert state == "aborted"
    assert "has ended" not in reason
    alone.service.jobs.refuse_stale()
    assert ending.calls == 2


def test_a_shards_link_that_comes_before_the_leaders_decision_waits_for_it(alone: Node) -> None:
    """Another node heard it first, and this one does not know yet how many shards there are."""
    _, greeting = waiting_run(alone)
    followed, gathering = alone.service.jobs, jobs.Gathering(greeting.terms, 1)
    followed._turn.reserve(gathering)
    link = MagicMock(peer=1)
    early = threading.Thread(target=followed.linked, args=(link, LinkGreeting(terms=greeting.terms, shard=2)))
    early.start()
    early.join(0.3)
    assert early.is_alive() and not link.close.called
    gathering.decide(2)
    early.join(5)
    assert gathering.shards_incoming == {(2, 1): link} and not link.close.called
    followed._turn.release(gathering)


def test_a_run_whose_end_failed_is_settled_by_the_housekeeper(
    alone: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, greeting = waiting_run(alone)
    monkeypatch.setattr(computing, "finish_run", Failing(computing.finish_run))
    alone.service.jobs._computation.compute(run_id, jobs.Gathering(greeting.terms, 1))
    alone.service.jobs.refuse_stale()
    assert state_of(alone, run_id)[0] == "aborted"


def test_a_study_that_does_not_parse_keeps_no_other_from_closing(
    alone: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = (study(alone.party) for _ in range(2))
    for one in (broken, other):
        alone.post_study(one, *approvals(alone.party, one))
    assert alone.send(shared(alone.party, other, "north")).status_code == 201
    with alone.core.database.write() as session:
        session.get_one(StudyRow, broken.digest).document = b"{}"
        session.get_one(StudyRow, broken.digest).received_at -= timedelta(days=1)
    later = utc_now() + timedelta(days=365)
    monkeypatch.setattr(studies, "utc_now", lambda: later)
    close_expired(alone.core)
    with alone.core.database.read() as session:
        closed = {row.digest: row.closed for row in session.query(StudyRow)}
    assert closed == {broken.digest: False, other.digest: True}
    assert list(alone.core.directory.shares.iterdir()) == []


def test_runs_are_refused_though_closing_fails(alone: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = MagicMock()
    monkeypatch.setattr(service, "close_expired", Failing(close_expired, times=1_000_000))
    monkeypatch.setattr(alone.service.jobs, "refuse_stale", refusing)
    alone.service._housekeeper.start()
    until(lambda: refusing.called)
