"""A run that all nodes begin now: its links, its computation, and exactly one final state."""

from __future__ import annotations

import time

import structlog

from governance.envelope import Envelope, peek_document
from governance.errors import GovernanceError
from governance.run_request import RunRequest
from mpc_backend.errors import AbortKind, EngineError, PeerLost, ProtocolAbort
from mpc_backend.memory import give_back_memory
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import RunRow, utc_now
from mpc_backend.node.execution import Execution, Job
from mpc_backend.node.faults import where_of
from mpc_backend.node.problems import EXPECTED
from mpc_backend.node.rendezvous import Gathering, LinkAnswer, LinkGreeting
from mpc_backend.node.runs import finish_run, uploads_for
from mpc_backend.node.studies import find_study, standing_of
from mpc_backend.node.turn import Progress, Turn
from mpc_backend.node.working import NodeWorkers
from mpc_backend.transport.greeting import Connection, Dialer
from mpc_backend.transport.tls import TlsTransport

IDLE_SECONDS = 20.0

log = structlog.get_logger()


class Computation:
    """Computes a run whose turn it is."""

    def __init__(
        self, core: NodeCore, dialer: Dialer, turn: Turn, progress: Progress, workers: NodeWorkers
    ) -> None:
        self._core = core
        self._workers = workers
        self._dialer = dialer
        self._turn = turn
        self._progress = progress
        self._unsettled: dict[str, tuple[str, str, str]] = {}
        self._idle_since: float | None = None

    def compute(self, run_id: str, gathering: Gathering) -> None:
        """Compute a run that all nodes begin now, give it its final state, and end its turn."""
        began = time.monotonic()
        self._core.metrics.running.inc()
        try:
            job = self._begin(run_id, gathering)
            self._connect(gathering)
            transport = self._take_links(gathering)
            shards = self._workers.begin(self._core, gathering)
            Execution(self._core, job, transport, shards, lambda *at: self._progress.at(run_id, *at)).run()
            self.end(run_id, "done")
            self._workers.close()
            transport.close()
        except Exception as error:
            self._abort(run_id, error, gathering.blamed)
        finally:
            self._count_traffic(self._workers.release())
            self._turn.release(gathering)
            self._idle_since = time.monotonic()
            self._core.metrics.running.dec()
            seconds = round(time.monotonic() - began, 3)
            log.info("run ended", run=run_id, seconds=seconds, workers=gathering.workers)

    def rest(self) -> None:
        """Return freed memory to the kernel once nothing was computed for `IDLE_SECONDS`; questions often come in rows."""
        since = self._idle_since
        if since is not None and time.monotonic() - since >= IDLE_SECONDS and self._turn.current is None:
            self._idle_since = None
            give_back_memory()

    def end(self, run_id: str, state: str, reason: str = "", who: str = "") -> None:
        """Give a run its final state, the first one that it is given; see `settle`."""
        self._unsettled.setdefault(run_id, (state, reason, who))
        self.settle()

    def settle(self) -> None:
        """Keep the final states of runs that have ended. What the database does not take is tried again later."""
        for run_id, (state, reason, who) in list(self._unsettled.items()):
            try:
                finish_run(self._core, run_id, state, reason, who)
            except Exception as error:
                log.error(
                    "final state not kept", run=run_id, error=type(error).__name__, where=where_of(error)
                )
            else:
                self._unsettled.pop(run_id, None)
                self._progress.forget(run_id)

    def _begin(self, run_id: str, gathering: Gathering) -> Job:
        if run_id in self._unsettled:
            raise ProtocolAbort(f"the run has ended at {self._core.entry.id}")
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
        self._progress.at(run_id, "connecting", 0.0)
        self._core.record("run begun", study=study.digest, run=run_id, epoch=gathering.terms.epoch)
        return Job(study, request, gathering.terms, gathering.charged, gathering.workers, uploads)

    def _connect(self, gathering: Gathering) -> None:
        """Open this node's links to all nodes it has none to, and wait for theirs."""
        seconds, me = self._core.settings.greeting_seconds, self._core.index
        peers = {peer for peer in range(len(self._core.names)) if peer != me}
        for peer in sorted(peers - set(gathering.outgoing)):
            gathering.outgoing[peer] = self._dialled(gathering, peer, seconds)
            self._greet(gathering, gathering.outgoing[peer], seconds)
        for shard in gathering.shards:
            for peer in sorted(peers):
                connection = gathering.shards_outgoing[shard, peer] = self._dialled(gathering, peer, seconds)
                self._greet(gathering, connection, seconds, shard)
        gathering.await_incoming(peers, self._core.names, seconds)
        gathering.blamed = ""

    def _dialled(self, gathering: Gathering, peer: int, seconds: float) -> Connection:
        gathering.blamed = self._core.names[peer]
        return self._dialer.dial(peer, self._core.federation.nodes[peer].data_address, seconds)

    def _greet(self, gathering: Gathering, connection: Connection, seconds: float, shard: int = 0) -> None:
        """Say what a link is for, and see that the peer takes it."""
        connection.say(LinkGreeting(terms=gathering.terms, shard=shard).model_dump(mode="json"))
        answer: LinkAnswer = LinkAnswer.read(connection.hear(seconds))
        if answer.answer != "ready":
            raise PeerLost(f"{self._core.names[connection.peer]} does not begin the run: {answer.why}")

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
        self._turn.connected(transport)
        return transport

    def _count_traffic(self, received_by_shards: int) -> None:
        transport = self._turn.transport
        if transport is not None:
            self._core.metrics.sent.inc(transport.traffic.bytes_sent)
            self._core.metrics.received.inc(transport.bytes_received + received_by_shards)
            self._core.metrics.rounds.inc(transport.traffic.rounds)

    def _abort(self, run_id: str, error: Exception, blamed: str) -> None:
        """End a run that failed: tell the other nodes, drop what was computed, say why.

        ``blamed``: the node whose link was awaited, if it failed before all links stood.
        """
        expected, me = isinstance(error, EXPECTED), self._core.entry.id
        reason = str(error) if expected else f"internal failure at {me} ({type(error).__name__})"
        if not isinstance(error, EngineError | GovernanceError):
            log.error("run failed", run=run_id, error=type(error).__name__, where=where_of(error))
        # A failed check, of this node or another, is not this one's fault.
        who = blamed if isinstance(error, ProtocolAbort) else me
        transport = self._turn.transport
        if transport is not None:
            transport.abort(reason, who, kind=_kind_of(error))
            who = transport.blamed or who
        log.warning("run given up", run=run_id, kind=_kind_of(error), who=who)
        self.end(run_id, "aborted", reason, who)


def _kind_of(error: Exception) -> AbortKind:
    """The kind of an error, as the other nodes are told."""
    if isinstance(error, ProtocolAbort):
        return error.kind
    return AbortKind.NOT_PERMITTED if isinstance(error, GovernanceError) else AbortKind.FAILED
