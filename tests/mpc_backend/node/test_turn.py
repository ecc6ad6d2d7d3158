"""A node works on one run at a time, and a run's progress is told until it ends."""

from __future__ import annotations

import threading
from unittest.mock import MagicMock

import pytest

from mpc_backend.errors import AbortKind
from mpc_backend.node import computing
from mpc_backend.node.agreement import NotNow
from mpc_backend.node.computing import Computation
from mpc_backend.node.rendezvous import Gathering, RunTerms
from mpc_backend.node.turn import Progress, Turn
from mpc_backend.node.working import NodeWorkers
from mpc_backend.transport.tls import TlsTransport


def gathering(run: str = "1", study: str = "a") -> Gathering:
    terms = RunTerms(
        run=run * 64, epoch="0" * 16, study=study * 64, federation="0" * 64, software="x", sites={}
    )
    return Gathering(terms, 1)


def test_a_second_run_waits_until_the_first_has_ended() -> None:
    turn, first, second = Turn("node-a"), gathering("1"), gathering("2")
    turn.reserve(first)
    with pytest.raises(NotNow, match="still computes run 111111111111"):
        turn.reserve(second)
    turn.release(second)
    assert turn.current is first, "only its own end ends a turn"
    turn.release(first)
    turn.reserve(second)
    assert turn.current is second


def test_giving_up_a_study_leaves_the_run_of_another_alone() -> None:
    turn, one = Turn("node-a"), gathering(study="a")
    turn.give_up("nothing runs")
    turn.reserve(one)
    turn.give_up("a site withdrew", study="b" * 64)
    assert not one.closed
    turn.give_up("a site withdrew", study="a" * 64)
    assert one.closed


def test_a_node_that_stops_lets_its_run_end_and_begins_no_other() -> None:
    turn, one = Turn("node-a"), gathering()
    turn.reserve(one)
    turn.refuse_others()
    with pytest.raises(NotNow, match="is stopping"):
        turn.reserve(gathering("2"))
    ending = threading.Timer(0.1, turn.release, [one])
    ending.start()
    turn.await_end(20)
    ending.join()
    assert turn.current is None
    turn.await_end(0)


def test_a_run_that_outlasts_a_stop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc_backend.node.turn.GIVING_UP_SECONDS", 0.01)
    turn, one = Turn("node-a"), gathering()
    turn.reserve(one)
    turn.await_end(0.01)
    assert one.closed


@pytest.mark.parametrize("closed", [True, False])
def test_a_run_given_up_while_its_links_are_taken_is_aborted(closed: bool) -> None:
    turn, one = Turn("node-a"), gathering(study="a")
    turn.reserve(one)
    one.incoming, one.outgoing = {}, {}
    if closed:
        turn.give_up("a site withdrew", study="a" * 64)
    links = MagicMock(spec=TlsTransport)
    turn.connected(links)
    if closed:
        links.abort.assert_called_once_with("a site withdrew", "node-a", kind=AbortKind.STOPPED)
        turn.release(one)
        turn.reserve(two := gathering("2"))
        turn.connected(links)
        assert turn.current is two
    assert links.abort.call_count == closed


def test_progress_is_newer_than_waiting_and_is_forgotten_at_the_end() -> None:
    progress = Progress()
    assert progress.of("run") is None
    progress.waits("run", "waiting for uploads of north")
    assert progress.of("run") == ("waiting for uploads of north", 0.0)
    progress.at("run", "ranking", 0.5)
    assert progress.of("run") == ("ranking", 0.5)
    progress.forget("run")
    assert progress.of("run") is None


def test_memory_is_given_back_once_a_node_has_rested(monkeypatch: pytest.MonkeyPatch) -> None:
    given, turn, one, two = MagicMock(), Turn("node-a"), gathering("1"), gathering("2")
    monkeypatch.setattr(computing, "give_back_memory", given)
    computation = Computation(MagicMock(), MagicMock(), turn, MagicMock(), NodeWorkers(1))
    turn.reserve(one)
    computation.compute("1" * 64, one)  # nothing can be connected: the run ends at once
    computation.rest()
    given.assert_not_called()
    monkeypatch.setattr(computing, "IDLE_SECONDS", 0.0)
    turn.reserve(two)
    computation.rest()
    given.assert_not_called()
    turn.release(two)
    computation.rest()
    computation.rest()
    given.assert_called_once_with()
