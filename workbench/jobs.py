"""Runs asked for by people of this workbench: what state each is in, and its answer.

The run itself happens at the nodes. Here a few worker threads look at it from time to time, write its
progress to the database and fetch the answer, so that a page only ever reads one row: it never blocks, and a
reload loses nothing. No worker waits: a run that waits at the nodes keeps none from others. A physician's
patient is known to the worker's memory alone, and so is the answer: both are gone when the workbench stops,
and the answer when its physician signs out or its time is over.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from workbench.errors import JobError, exit_status, message_of
from workbench.store import JobRow, now

LOG = structlog.get_logger("tessera.workbench")

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
UNFINISHED = (WAITING, RUNNING)
WORKERS = 8
WRITE_AGAIN_SECONDS = 15.0
RESTARTED = "The workbench was restarted before the run was sent; ask again."
FORGOTTEN = (
    "The answer was kept in memory only and is gone: you signed out, its time was over, or the workbench was "
    "restarted. Ask again."
)


@dataclass(frozen=True)
class Outcome:
    """What a finished run gives: the typed result and the receipt, as JSON."""

    result: dict[str, Any]
    receipt: dict[str, Any] | None = None


class Reporter(Protocol):
    """How work tells where it is. ``parties``: a word on each hospital and node, by id."""

    def __call__(
        self,
        stage: str,
        fraction: float,
        *,
        run_id: str | None = None,
        parties: Mapping[str, str] | None = None,
    ) -> None: ...


Work = Callable[[Reporter], "Outcome | Later"]
"""A short piece of a job: it ends the job, or says what goes on later."""


@dataclass(frozen=True)
class Later:
    """A job that waits for others: ``step`` goes on with it after so many ``seconds``."""

    step: Work
    seconds: float


@dataclass(frozen=True)
class Request:
    """A run somebody asks for. ``holder``: whose patient the answer is about; it never reaches the disk then."""

    account: str
    role: str
    study_digest: str
    analysis: str
    kind: str
    public: dict[str, Any] = field(default_factory=dict)

    @property
    def holder(self) -> str | None:
        """The account for which the answer stays in memory, if it does."""
        return self.account if self.role == "physician" else None


class Jobs:
    """The jobs of one workbench.

    Args:
        engine: the workbench's database.
        clock: the present.
        keep: an answer in memory is dropped this long after it came.
    """

    def __init__(
        self, engine: Engine, *, clock: Callable[[], datetime] = now, keep: timedelta = timedelta(hours=8)
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._keep = keep
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="tessera-job")
        self._alarm = asyncio.new_event_loop()
        self._ringing = threading.Thread(target=self._alarm.run_forever, name="tessera-alarm", daemon=True)
        self._ringing.start()
        self._closed = False
        self._answers: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def start(self, request: Request, work: Work) -> str:
        """Begin a job and return its id at once."""
        identifier, moment = secrets.token_hex(16), self._clock()
        row = JobRow(
            id=identifier,
            account=request.account,
            role=request.role,
            study_digest=request.study_digest,
            analysis=request.analysis,
            kind=request.kind,
            public=request.public,
            state=WAITING,
            stage="Sending the request",
            parties={},
            created_at=moment,
            updated_at=moment,
        )
        with Session(self._engine) as session, session.begin():
            session.add(row)
        self._go_on(identifier, request.holder, work)
        return identifier

    def resume(self, identifier: str, work: Work) -> None:
        """Wait again for a run that was under way when the workbench stopped."""
        self._go_on(identifier, None, work)

    def get(self, identifier: str, account: str) -> JobRow:
        """One's own job.

        Raises:
            JobError: no such job, or another person's (the same words, so that ids cannot be probed).
        """
        with Session(self._engine, expire_on_commit=False) as session:
            row = session.get(JobRow, identifier)
        if row is None or row.account != account:
            raise JobError("No run with this address is yours. Runs are listed with their study.")
        return self._with_answer(row)

    def listing(self, account: str, study_digest: str | None = None) -> list[JobRow]:
        """One's own jobs, newest first."""
        query = select(JobRow).where(JobRow.account == account).order_by(JobRow.created_at.desc())
        if study_digest is not None:
            query = query.where(JobRow.study_digest == study_digest)
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(query.limit(200)))

    def recover(self) -> list[JobRow]:
        """After a start: fail what cannot be taken up again, and return what can."""
        with Session(self._engine, expire_on_commit=False) as session:
            rows = list(session.scalars(select(JobRow).where(JobRow.state.in_(UNFINISHED))))
        resumable = [row for row in rows if row.run_id and row.role != "physician"]
        for row in rows:
            if row not in resumable:
                self._set(row.id, state=FAILED, error=RESTARTED)
        return resumable

    def forget(self, account: str) -> None:
        """Drop the answers in memory that are one account's."""
        with self._lock:
            self._answers = {key: kept for key, kept in self._answers.items() if kept.holder != account}

    def close(self) -> None:
        """Stop accepting jobs; what is under way at the nodes goes on there."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._alarm.call_soon_threadsafe(self._alarm.stop)
        self._ringing.join()
        self._alarm.close()

    def _go_on(self, identifier: str, holder: str | None, work: Work, seconds: float = 0.0) -> None:
        def begin() -> None:
            with self._lock:
                if not self._closed:
                    self._pool.submit(self._work, identifier, holder, work)

        self._ring(seconds, begin)

    def _ring(self, seconds: float, call: Callable[[], None]) -> None:
        with self._lock:
            if not self._closed:
                self._alarm.call_soon_threadsafe(self._alarm.call_later, seconds, call)

    def _work(self, identifier: str, holder: str | None, work: Work) -> None:
        try:
            self._step(identifier, holder, work)
        except Exception as error:
            # The job's end could not be written; until it can, its page would show that it goes on.
            LOG.error("a run's end could not be written", job=identifier, error=type(error).__name__)
            self._go_on(identifier, holder, _failing(error), WRITE_AGAIN_SECONDS)

    def _step(self, identifier: str, holder: str | None, work: Work) -> None:
        def report(
            stage: str,
            fraction: float,
            *,
            run_id: str | None = None,
            parties: Mapping[str, str] | None = None,
        ) -> None:
            values = {"state": RUNNING, "stage": stage[:200], "fraction": min(max(fraction, 0.0), 1.0)}
            named = {"run_id": run_id} if run_id else {}
            told = {"parties": dict(parties)} if parties else {}
            self._set(identifier, **values, **named, **told)

        try:
            outcome = work(report)
        except Exception as error:
            self._set(identifier, state=FAILED, error=self._words(error))
            return
        if isinstance(outcome, Later):
            self._go_on(identifier, holder, outcome.step, outcome.seconds)
        elif holder is not None:
            self._remember(identifier, holder, outcome)
            self._set(identifier, state=DONE, stage="", fraction=1.0)
        else:
            self._set(
                identifier, state=DONE, stage="", fraction=1.0, result=outcome.result, receipt=outcome.receipt
            )

    def _words(self, error: Exception) -> str:
        if exit_status(error) is None:
            from workbench.parts.states import describe  # noqa: PLC0415  (Streamlit only where a page exists)

            return describe(error).text
        return message_of(error)

    def _set(self, identifier: str, **values: Any) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(
                update(JobRow).where(JobRow.id == identifier).values(updated_at=self._clock(), **values)
            )

    def _remember(self, identifier: str, holder: str, outcome: Outcome) -> None:
        with self._lock:
            self._answers[identifier] = _Kept(holder, self._clock() + self._keep, outcome)
        self._ring(self._keep.total_seconds(), lambda: self._drop(identifier))

    def _drop(self, identifier: str) -> None:
        with self._lock:
            self._answers.pop(identifier, None)

    def _with_answer(self, row: JobRow) -> JobRow:
        if row.role != "physician" or row.state != DONE:
            return row
        with self._lock:
            kept = self._answers.get(row.id)
        # The alarm stands still while the machine is suspended, so the time is looked at here too.
        if kept is None or self._clock() >= kept.until:
            row.state, row.error = FAILED, FORGOTTEN
        else:
            row.result, row.receipt = kept.outcome.result, kept.outcome.receipt
        return row


@dataclass(frozen=True)
class _Kept:
    """An answer in memory."""

    holder: str
    until: datetime
    outcome: Outcome


def _failing(error: Exception) -> Work:
    def step(_: Reporter) -> Outcome:
        raise error

    return step
