"""The runs of one node: one at a time, begun together with the other nodes, ended in exactly one final state."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import select

from governance.errors import GovernanceError
from mpc_backend.errors import PeerLost
from mpc_backend.node.agreement import (
    LEADER,
    Never,
    NotNow,
    agree_charge,
    charged_here,
    check_leader,
    terms_of,
)
from mpc_backend.node.computing import Computation
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import OPEN_STATES, RunRow
from mpc_backend.node.faults import where_of
from mpc_backend.node.rendezvous import (
    Gathering,
    LinkAnswer,
    LinkGreeting,
    StartAnswer,
    StartDecision,
    StartGreeting,
)
from mpc_backend.node.runs import finish_run, runs_to_refuse
from mpc_backend.node.turn import Progress, Turn
from mpc_backend.node.working import NodeWorkers
from mpc_backend.transport.errors import FrameError, TransportError
from mpc_backend.transport.greeting import Connection, Dialer

ANSWER_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.05

log = structlog.get_logger()


class Jobs:
    """Starts runs (at the leader), answers invitations (at the others), and computes."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._dialer = Dialer(
            core.index, core.trusted, core.directory.tls_certificate, core.directory.tls_key
        )
        self._turn = Turn(core.entry.id)
        self._progress = Progress()
        self._workers = NodeWorkers(core.settings.workers)
        self._computation = Computation(core, self._dialer, self._turn, self._progress, self._workers)
        self._wake = threading.Event()
        self._leading = threading.Thread(target=self._lead, daemon=True, name="leader")

    def start(self) -> None:
        """Begin to lead, if this is the node that leads."""
        if self._core.index == LEADER:
            self._leading.start()

    def start_workers(self) -> None:
        """Start the processes that work on row shards; a run that comes before starts them itself."""
        self._workers.start()

    def wake(self) -> None:
        """Something arrived that a waiting run may need."""
        self._wake.set()

    @property
    def fault(self) -> str:
        """What does not work any more, in words; empty if everything does."""
        begun = self._leading.ident is not None
        if begun and not self._turn.stopping and not self._leading.is_alive():
            return "starts no more runs, its log has the reason; restart it"
        return ""

    def progress_of(self, run_id: str) -> tuple[str, float] | None:
        """Label and fraction of a run that computes or waits, newer than what the database has."""
        return self._progress.of(run_id)

    @property
    def running(self) -> str | None:
        """The run that is computed on now."""
        current = self._turn.current
        return None if current is None else current.terms.run

    def stop(self, seconds: float) -> None:
        """Start nothing more; let the current run end, and give it up if it takes longer than ``seconds``."""
        self._turn.refuse_others()
        self._wake.set()
        self._turn.await_end(seconds)
        if self._leading.is_alive():
            self._leading.join(ANSWER_SECONDS)
        self._workers.stop()

    def give_up(self, reason: str, study: str | None = None) -> None:
        """Abort the current run, if there is one (of this study)."""
        self._turn.give_up(reason, study)

    def rest(self) -> None:
        """Give back the memory of runs that are over, unless another came at once."""
        self._computation.rest()

    def refuse_stale(self) -> None:
        """End runs that wait and may not begin any more, or wait too long; one that has begun meanwhile goes on.

        Runs that have ended, but whose final state the database did not take then, get it now.
        """
        self._computation.settle()
        for run_id, why in runs_to_refuse(self._core).items():
            if finish_run(self._core, run_id, "refused", why, self._core.entry.id, of=("waiting",)):
                self._progress.forget(run_id)

    # Leading

    def _lead(self) -> None:
        """Body of the leader's thread: start waiting runs in order of their arrival, one after the other."""
        delay = FIRST_RETRY_SECONDS
        while not self._turn.stopping:
            self._wake.wait(delay)
            delay = min(2 * delay, self._core.settings.retry_seconds)
            if self._wake.is_set():
                delay = FIRST_RETRY_SECONDS
            self._wake.clear()
            try:
                for run_id in self._waiting():
                    if not self._turn.stopping:
                        self._try(run_id)
            except Exception as error:  # else no run would ever begin again
                log.error("leading failed", error=type(error).__name__, where=where_of(error))

    def _waiting(self) -> list[str]:
        with self._core.database.read() as session:
            rows = select(RunRow.run_id).where(RunRow.state == "waiting").order_by(RunRow.created_at)
            return list(session.scalars(rows))

    def _try(self, run_id: str) -> None:
        """Start a run with the other nodes and compute it, or note what it waits for."""
        gathering: Gathering | None = None
        try:
            gathering = self._invite(run_id)
        except NotNow as error:
            self._progress.waits(run_id, str(error))
        except Never as error:
            self._computation.end(run_id, "refused", str(error), error.who)
        except GovernanceError as error:
            self._computation.end(run_id, "refused", str(error), self._core.entry.id)
        except Exception as error:
            log.error("start failed", run=run_id, error=type(error).__name__, where=where_of(error))
            self._progress.waits(run_id, f"{self._core.entry.id} failed to start it; its log has the reason")
        if gathering is not None:
            self._computation.compute(run_id, gathering)

    def _invite(self, run_id: str) -> Gathering:
        """Ask every node whether the run can start; returns with links to all of them once it has."""
        gathering = Gathering(*terms_of(self._core, run_id, secrets.token_hex(8)))
        self._turn.reserve(gathering)
        try:
            self._ask_all(gathering)
        except BaseException:
            self._turn.release(gathering)
            raise
        return gathering

    def _ask_all(self, gathering: Gathering) -> None:
        """Connect, ask, decide; on any other answer than ready from all, everybody is told that it is not now."""
        peers = [peer for peer in range(len(self._core.names)) if peer != self._core.index]
        greeting = StartGreeting(terms=gathering.terms, charged=gathering.charged)
        with ThreadPoolExecutor(len(peers)) as pool:
            asked = list(pool.map(lambda peer: self._ask(gathering, peer, greeting), peers))
        answers = dict(zip(peers, asked, strict=True))
        not_ready = {peer: answer for peer, answer in answers.items() if answer.answer != "ready"}
        if not not_ready:
            self._agree_charge_or_tell(gathering, {peer: answer.charged for peer, answer in answers.items()})
            gathering.decide(min(self._workers.most, *(answer.workers for answer in answers.values())))
            go = StartDecision(go=True, charged=gathering.charged, workers=gathering.workers)
            self._decide(gathering, go)
            return
        peer, answer = min(not_ready.items(), key=lambda item: (item[1].answer != "no", item[0]))
        who, final = self._core.names[peer], answer.answer == "no"
        self._decide(gathering, StartDecision(go=False, final=final, why=answer.why, who=who))
        if final:
            raise Never(f"{who}: {answer.why}", who)
        raise NotNow("; ".join(f"{self._core.names[one]}: {not_ready[one].why}" for one in sorted(not_ready)))

    def _agree_charge_or_tell(self, gathering: Gathering, charges: dict[int, int]) -> None:
        try:
            for peer, charged in charges.items():
                agree_charge(self._core, gathering, peer, charged)
        except Never as error:
            self._decide(gathering, StartDecision(go=False, final=True, why=str(error)[:2000], who=error.who))
            raise

    def _ask(self, gathering: Gathering, peer: int, greeting: StartGreeting) -> StartAnswer:
        """One node's answer; an unreachable one counts as not ready."""
        address = self._core.federation.nodes[peer].data_address
        try:
            connection = self._dialer.dial(peer, address, min(5.0, self._core.settings.greeting_seconds))
            gathering.outgoing[peer] = connection
            connection.say(greeting.model_dump(mode="json"))
            answer: StartAnswer = StartAnswer.read(connection.hear(ANSWER_SECONDS))
        except (PeerLost, TransportError, OSError) as error:
            return StartAnswer(answer="wait", why=f"not reached: {error}"[:2000])
        return answer

    def _decide(self, gathering: Gathering, decision: StartDecision) -> None:
        for connection in gathering.outgoing.values():
            try:
                connection.say(decision.model_dump(mode="json"))
            except OSError as error:  # a lost peer shows when its link is awaited
                log.warning("decision not delivered", peer=connection.peer, error=type(error).__name__)

    # Following

    def invited(self, connection: Connection, greeting: StartGreeting) -> None:
        """The leader asks whether a run can start; answer, and begin it if all nodes can."""
        terms = greeting.terms
        gathering = Gathering(terms, 1)
        try:
            charged = self._agree(connection, gathering, greeting.charged)
            ready = StartAnswer(answer="ready", charged=charged, workers=self._workers.most)
            connection.say(ready.model_dump(mode="json"))
            decision: StartDecision = StartDecision.read(connection.hear(3 * ANSWER_SECONDS))
            if not decision.go:
                raise Never(decision.why, decision.who) if decision.final else NotNow(decision.why)
            agree_charge(self._core, gathering, connection.peer, decision.charged)
            gathering.decide(min(self._workers.most, decision.workers))
            gathering.arrived(connection)
        except (NotNow, Never, GovernanceError, PeerLost, FrameError, OSError) as error:
            self._decline(connection, gathering, error)
            return
        except BaseException:
            self._turn.release(gathering)
            connection.close()
            raise
        self._computation.compute(terms.run, gathering)

    def _decline(self, connection: Connection, gathering: Gathering, error: Exception) -> None:
        """Answer why not, if the leader still listens, and remember it."""
        run_id, me = gathering.terms.run, self._core.entry.id
        final = isinstance(error, Never | GovernanceError)
        answer = StartAnswer(answer="no" if final else "wait", why=str(error)[:2000])
        try:
            connection.say(answer.model_dump(mode="json"))
        except OSError as lost:
            log.warning("answer not delivered", run=run_id, error=type(lost).__name__)
        finally:
            self._turn.release(gathering)
            connection.close()
        if final and self._open(run_id):
            self._computation.end(
                run_id, "refused", str(error), error.who if isinstance(error, Never) else me
            )
        else:
            self._progress.waits(run_id, str(error))

    def _agree(self, connection: Connection, gathering: Gathering, charged: int) -> int:
        """Take the turn if this node would run what the leader says; returns the runs charged as this node counts them."""
        check_leader(self._core, connection.peer, gathering.terms)
        self._turn.reserve(gathering)
        own = gathering.charged = charged_here(self._core, gathering.terms)
        agree_charge(self._core, gathering, connection.peer, charged)
        return own

    def _open(self, run_id: str) -> bool:
        with self._core.database.read() as session:
            row = session.get(RunRow, run_id)
            return row is not None and row.state in OPEN_STATES

    def linked(self, connection: Connection, greeting: LinkGreeting) -> None:
        """A peer opens its link for a run that has begun."""
        until = time.monotonic() + self._core.settings.greeting_seconds
        while time.monotonic() < until:
            current = self._turn.current
            if current is not None and current.terms == greeting.terms and current.awaits(greeting.shard):
                connection.say(LinkAnswer(answer="ready").model_dump(mode="json"))
                if not current.arrived(connection, greeting.shard):
                    connection.close()
                return
            time.sleep(0.005)
        connection.say(LinkAnswer(answer="no", why="no such run is starting here").model_dump(mode="json"))
        connection.close()
