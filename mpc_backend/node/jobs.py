"""The runs of one node: one at a time, begun together with the other nodes, ended in exactly one final state."""

from __future__ import annotations

import secrets
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import select

from governance.envelope import Envelope, peek_document
from governance.errors import GovernanceError
from governance.run_request import RunRequest
from mpc_backend.errors import AbortKind, EngineError, PeerLost, ProtocolAbort
from mpc_backend.memory import give_back_memory
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import OPEN_STATES, RunRow, utc_now
from mpc_backend.node.execution import Execution, Job
from mpc_backend.node.problems import EXPECTED
from mpc_backend.node.rendezvous import (
    Gathering,
    LinkAnswer,
    LinkGreeting,
    RunTerms,
    StartAnswer,
    StartDecision,
    StartGreeting,
)
from mpc_backend.node.runs import Readiness, check_charge, finish_run, readiness, runs_to_refuse, uploads_for
from mpc_backend.node.studies import find_study, standing_of
from mpc_backend.transport.errors import FrameError, TransportError
from mpc_backend.transport.greeting import Connection, Dialer
from mpc_backend.transport.tls import TlsTransport

LEADER = 0
ANSWER_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.05

log = structlog.get_logger()


class NotNow(Exception):
    """A run cannot start yet; the message says what it waits for. Stays inside this module."""


class Never(Exception):
    """A run will never start; carries the node that says so. Stays inside this module."""

    def __init__(self, why: str, who: str) -> None:
        super().__init__(why)
        self.who = who


class Jobs:
    """Starts runs (at the leader), answers invitations (at the others), and computes."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._dialer = Dialer(
            core.index, core.trusted, core.directory.tls_certificate, core.directory.tls_key
        )
        self._lock = threading.Lock()
        self._current: Gathering | None = None
        self._transport: TlsTransport | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._wake = threading.Event()
        self._stopping = False
        self._why: dict[str, str] = {}
        self._live: dict[str, tuple[str, float]] = {}
        self._leading = threading.Thread(target=self._lead, daemon=True, name="leader")

    def start(self) -> None:
        """Begin to lead, if this is the node that leads."""
        if self._core.index == LEADER:
            self._leading.start()

    def wake(self) -> None:
        """Something arrived that a waiting run may need."""
        self._wake.set()

    def progress_of(self, run_id: str) -> tuple[str, float] | None:
        """Label and fraction of a run that computes or waits, newer than what the database has."""
        why = self._why.get(run_id)
        return self._live.get(run_id) or ((why, 0.0) if why else None)

    @property
    def running(self) -> str | None:
        """The run that is computed on now."""
        current = self._current
        return None if current is None else current.terms.run

    def stop(self, seconds: float) -> None:
        """Start nothing more; let the current run end, and give it up if it takes longer than ``seconds``."""
        self._stopping = True
        self._wake.set()
        if not self._idle.wait(seconds):
            self.give_up("this node is stopping")
            self._idle.wait(ANSWER_SECONDS)
        if self._leading.is_alive():
            self._leading.join(ANSWER_SECONDS)

    def give_up(self, reason: str, study: str | None = None) -> None:
        """Abort the current run, if there is one (of this study)."""
        with self._lock:
            current, transport = self._current, self._transport
        if current is None or (study is not None and current.terms.study != study):
            return
        if transport is not None:
            transport.abort(reason, self._core.entry.id, kind=AbortKind.STOPPED)
        else:
            current.close()

    def refuse_stale(self) -> None:
        """End runs that wait and may not begin any more, or wait too long; one that has begun meanwhile goes on."""
        for run_id, why in runs_to_refuse(self._core).items():
            if finish_run(self._core, run_id, "refused", why, self._core.entry.id, of=("waiting",)):
                self._why.pop(run_id, None)

    # Leading

    def _lead(self) -> None:
        """Body of the leader's thread: start waiting runs in order of their arrival, one after the other."""
        delay = FIRST_RETRY_SECONDS
        while not self._stopping:
            self._wake.wait(delay)
            delay = min(2 * delay, self._core.settings.retry_seconds)
            if self._wake.is_set():
                delay = FIRST_RETRY_SECONDS
            self._wake.clear()
            for run_id in self._waiting():
                if not self._stopping:
                    self._try(run_id)

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
            self._why[run_id] = str(error)
        except Never as error:
            self._end(run_id, "refused", str(error), error.who)
        except GovernanceError as error:
            self._end(run_id, "refused", str(error), self._core.entry.id)
        except Exception as error:
            log.error("start failed", run=run_id, error=type(error).__name__, where=_where(error))
            self._why[run_id] = f"{self._core.entry.id} failed to start it; its log has the reason"
        if gathering is not None:
            self._compute(run_id, gathering)

    def _invite(self, run_id: str) -> Gathering:
        """Ask every node whether the run can start; returns with links to all of them once it has."""
        with self._core.database.read() as session:
            row = session.get(RunRow, run_id)
            assert row is not None  # runs are never deleted
            ready = readiness(self._core, session, row)
        if ready.missing:
            raise NotNow(f"waiting for uploads of {', '.join(ready.missing)}")
        gathering = Gathering(self._terms(row, ready, secrets.token_hex(8)), ready.charged)
        self._reserve(gathering)
        try:
            self._ask_all(gathering, ready.charged)
        except BaseException:
            self._release(gathering)
            raise
        return gathering

    def _terms(self, row: RunRow, ready: Readiness, epoch: str) -> RunTerms:
        return RunTerms(
            run=row.run_id,
            epoch=epoch,
            study=row.study,
            federation=self._core.federation.digest,
            software=self._core.software,
            sites=ready.sites,
        )

    def _ask_all(self, gathering: Gathering, charged: int) -> None:
        """Connect, ask, decide; on any other answer than ready from all, everybody is told that it is not now."""
        peers = [peer for peer in range(len(self._core.names)) if peer != self._core.index]
        greeting = StartGreeting(terms=gathering.terms, charged=charged)
        with ThreadPoolExecutor(len(peers)) as pool:
            asked = list(pool.map(lambda peer: self._ask(gathering, peer, greeting), peers))
        answers = dict(zip(peers, asked, strict=True))
        not_ready = {peer: answer for peer, answer in answers.items() if answer.answer != "ready"}
        if not not_ready:
            self._agree_charge_or_tell(gathering, {peer: answer.charged for peer, answer in answers.items()})
            self._decide(gathering, StartDecision(go=True, charged=gathering.charged))
            return
        peer, answer = min(not_ready.items(), key=lambda item: (item[1].answer != "no", item[0]))
        who, final = self._core.names[peer], answer.answer == "no"
        self._decide(gathering, StartDecision(go=False, final=final, why=answer.why, who=who))
        if final:
            raise Never(f"{who}: {answer.why}", who)
        raise NotNow("; ".join(f"{self._core.names[one]}: {not_ready[one].why}" for one in sorted(not_ready)))

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
            connection.say(StartAnswer(answer="ready", charged=charged).model_dump(mode="json"))
            decision: StartDecision = StartDecision.read(connection.hear(3 * ANSWER_SECONDS))
            if not decision.go:
                raise Never(decision.why, decision.who) if decision.final else NotNow(decision.why)
            self._agree_charge(gathering, connection.peer, decision.charged)
            gathering.arrived(connection)
        except (NotNow, Never, GovernanceError, PeerLost, FrameError, OSError) as error:
            self._decline(connection, gathering, error)
            return
        self._compute(terms.run, gathering)

    def _decline(self, connection: Connection, gathering: Gathering, error: Exception) -> None:
        """Answer why not, if the leader still listens, and remember it."""
        run_id, me = gathering.terms.run, self._core.entry.id
        final = isinstance(error, Never | GovernanceError)
        answer = StartAnswer(answer="no" if final else "wait", why=str(error)[:2000])
        try:
            connection.say(answer.model_dump(mode="json"))
        except OSError as lost:
            log.warning("answer not delivered", run=run_id, error=type(lost).__name__)
        connection.close()
        self._release(gathering)
        if final and self._open(run_id):
            self._end(run_id, "refused", str(error), error.who if isinstance(error, Never) else me)
        else:
            self._why[run_id] = str(error)

    def _agree(self, connection: Connection, gathering: Gathering, charged: int) -> int:
        """Whether this node would run what the leader says; returns the runs charged as this node counts them."""
        terms, me = gathering.terms, self._core.entry.id
        if connection.peer != LEADER:
            raise Never(f"{self._core.names[connection.peer]} does not lead this federation", me)
        for name, own in (("federation", self._core.federation.digest), ("software", self._core.software)):
            if getattr(terms, name) != own:
                theirs = getattr(terms, name)
                raise Never(
                    f"runs {name} {own[:12]}, the leader {theirs[:12]}; all nodes must run the same", me
                )
        self._reserve(gathering)
        with self._core.database.read() as session:
            row = session.get(RunRow, terms.run)
            if row is None:
                raise NotNow("does not have this run; post it to every node")
            if row.state != "waiting":
                raise Never(f"the run is {row.state} here: {row.reason}", row.who or me)
            ready = readiness(self._core, session, row)
        if ready.missing:
            raise NotNow(f"waiting for uploads of {', '.join(ready.missing)}")
        self._compare_sites(dict(terms.sites), ready.sites)
        gathering.charged = ready.charged
        self._agree_charge(gathering, connection.peer, charged)
        return ready.charged

    def _compare_sites(self, theirs: dict[str, str], own: dict[str, str]) -> None:
        if set(theirs) != set(own):
            raise NotNow(f"sees sites {sorted(own)}, the leader {sorted(theirs)}; a withdrawal is under way")
        for site, manifest in own.items():
            if theirs[site] != manifest:
                raise Never(f"{site} uploaded other shares here than at the leader", site)

    def linked(self, connection: Connection, greeting: LinkGreeting) -> None:
        """A peer opens its link for a run that has begun."""
        until = time.monotonic() + self._core.settings.greeting_seconds
        while time.monotonic() < until:
            current = self._current
            if current is not None and current.terms == greeting.terms:
                connection.say(LinkAnswer(answer="ready").model_dump(mode="json"))
                if not current.arrived(connection):
                    connection.close()
                return
            time.sleep(0.005)
        connection.say(LinkAnswer(answer="no", why="no such run is starting here").model_dump(mode="json"))
        connection.close()

    # Both

    def _reserve(self, gathering: Gathering) -> None:
        with self._lock:
            if self._stopping:
                raise NotNow("is stopping")
            if self._current is not None:
                raise NotNow(f"still computes run {self._current.terms.run[:12]}")
            self._current = gathering
            self._idle.clear()

    def _release(self, gathering: Gathering) -> None:
        gathering.close()
        with self._lock:
            if self._current is gathering:
                self._current = self._transport = None
                self._idle.set()

    def _check_charge(self, gathering: Gathering) -> None:
        with self._core.database.read() as session:
            row = session.get(RunRow, gathering.terms.run)
            assert row is not None  # checked before
            study = find_study(session, row.study)
            request = peek_document(Envelope.from_canonical(row.request), RunRequest)
            check_charge(session, study, request, gathering.charged)

    def _agree_charge(self, gathering: Gathering, peer: int, charged: int) -> None:
        """Take over a peer's count of runs if it is the larger one and can be true.

        Raises:
            Never: it cannot, or is beyond the signed budget; names the peer.
        """
        gathering.charged = max(gathering.charged, charged)
        try:
            self._check_charge(gathering)
        except GovernanceError as error:
            raise Never(
                f"{self._core.names[peer]} counts {charged} runs: {error}", self._core.names[peer]
            ) from error

    def _agree_charge_or_tell(self, gathering: Gathering, charges: dict[int, int]) -> None:
        try:
            for peer, charged in charges.items():
                self._agree_charge(gathering, peer, charged)
        except Never as error:
            self._decide(gathering, StartDecision(go=False, final=True, why=str(error)[:2000], who=error.who))
            raise

    def _open(self, run_id: str) -> bool:
        with self._core.database.read() as session:
            row = session.get(RunRow, run_id)
            return row is not None and row.state in OPEN_STATES

    def _compute(self, run_id: str, gathering: Gathering) -> None:
        """Compute a run that all nodes begin now, and give it its final state."""
        began = time.monotonic()
        self._core.metrics.running.inc()
        try:
            job = self._begin(run_id, gathering)
            self._connect(gathering)
            transport = self._take_links(gathering)
            Execution(self._core, job, transport, lambda *at: self._live.__setitem__(run_id, at)).run()
            self._end(run_id, "done")
            transport.close()
        except Exception as error:
            self._abort(run_id, error, gathering.blamed)
        finally:
            self._count_traffic()
            self._release(gathering)
            give_back_memory()
            self._core.metrics.running.dec()
            log.info("run ended", run=run_id, seconds=round(time.monotonic() - began, 3))

    def _begin(self, run_id: str, gathering: Gathering) -> Job:
        with self._core.database.write() as session:
            row = session.get(RunRow, run_id)
            assert row is not None  # checked before
            if row.state != "waiting":
                raise ProtocolAbort(f"the run is {row.state} at {self._core.entry.id}: {row.reason}")
            row.state, row.started_at = "running", utc_now()
            study = find_study(session, row.study)
            request = peek_document(Envelope.from_canonical(row.request), RunRequest)
            uploads = uploads_for(session, study, standing_of(self._core, session, study), request)
        if {site: upload.manifest_digest for site, upload in uploads.items()} != dict(gathering.terms.sites):
            raise ProtocolAbort("a site withdrew as the run began; ask for a new run")
        self._live[run_id] = ("connecting", 0.0)
        self._core.record("run begun", study=study.digest, run=run_id, epoch=gathering.terms.epoch)
        return Job(study, request, gathering.terms, gathering.charged, uploads)

    def _connect(self, gathering: Gathering) -> None:
        """Open this node's links to all nodes it has none to, and wait for theirs."""
        seconds, me = self._core.settings.greeting_seconds, self._core.index
        peers = {peer for peer in range(len(self._core.names)) if peer != me}
        greeting = LinkGreeting(terms=gathering.terms).model_dump(mode="json")
        for peer in sorted(peers - set(gathering.outgoing)):
            gathering.blamed = self._core.names[peer]
            connection = self._dialer.dial(peer, self._core.federation.nodes[peer].data_address, seconds)
            gathering.outgoing[peer] = connection
            connection.say(greeting)
            answer: LinkAnswer = LinkAnswer.read(connection.hear(seconds))
            if answer.answer != "ready":
                raise PeerLost(f"{self._core.names[peer]} does not begin the run: {answer.why}")
        gathering.await_incoming(peers, self._core.names, seconds)
        gathering.blamed = ""

    def _take_links(self, gathering: Gathering) -> TlsTransport:
        transport = TlsTransport(
            self._core.index,
            self._core.names,
            int(gathering.terms.epoch, 16),
            {peer: one.socket for peer, one in gathering.outgoing.items()},
            {peer: one.socket for peer, one in gathering.incoming.items()},
            deadline=self._core.settings.message_seconds,
            shape=self._core.settings.link_shape,
        )
        gathering.outgoing, gathering.incoming = {}, {}
        with self._lock:
            self._transport = transport
        return transport

    def _count_traffic(self) -> None:
        if self._transport is not None:
            self._core.metrics.sent.inc(self._transport.traffic.bytes_sent)
            self._core.metrics.received.inc(self._transport.bytes_received)
            self._core.metrics.rounds.inc(self._transport.traffic.rounds)

    def _abort(self, run_id: str, error: Exception, blamed: str) -> None:
        """End a run that failed: tell the other nodes, drop what was computed, say why.

        ``blamed``: the node whose link was awaited, if it failed before all links stood.
        """
        expected = isinstance(error, EXPECTED)
        reason = (
            str(error) if expected else f"internal failure at {self._core.entry.id} ({type(error).__name__})"
        )
        if not isinstance(error, EngineError | GovernanceError):
            log.error("run failed", run=run_id, error=type(error).__name__, where=_where(error))
        detected = isinstance(
            error, ProtocolAbort
        )  # a check failed, or another node did: not for this one's fault
        who = blamed if detected else self._core.entry.id
        if self._transport is not None:
            self._transport.abort(reason, who, kind=_kind_of(error))
            who = self._transport.blamed or who
        log.warning("run given up", run=run_id, kind=_kind_of(error), who=who)
        self._end(run_id, "aborted", reason, who)

    def _end(self, run_id: str, state: str, reason: str = "", who: str = "") -> None:
        finish_run(self._core, run_id, state, reason, who)
        self._live.pop(run_id, None)
        self._why.pop(run_id, None)


def _kind_of(error: Exception) -> AbortKind:
    """The kind of an error, as the other nodes are told."""
    if isinstance(error, ProtocolAbort):
        return error.kind
    return AbortKind.NOT_PERMITTED if isinstance(error, GovernanceError) else AbortKind.FAILED


def _where(error: BaseException) -> list[str]:
    """Files and lines of a failure; not its message, which could quote a value."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-6:]
