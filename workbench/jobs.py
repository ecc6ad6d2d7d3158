"""Runs asked for by people of this workbench: what state each is in, and its answer.

The run itself happens at the nodes. Here a few worker threads look at it from time to time, write its
progress to the database and fetch the answer, so that a page only ever reads one row: it never blocks, and a
reload loses nothing. No worker waits: a run that waits at the nodes keeps none from others. A physician's
patient is known to the worker's memory alone, and so is the answer: both are gone when the workbench stops.
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

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from workbench.errors import JobError, exit_status, message_of
from workbench.store import JobRow, now

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
UNFINISHED = (WAITING, RUNNING)
WORKERS = 8
RESTARTED = "The workbench was restarted before the run was sent; ask again."
FORGOTTEN = "The answer was kept in memory only and the workbench was restarted since; ask again."


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
    """A run somebody asks for. ``in_memory``: the answer is about a patient and never reaches the disk."""

    account: str
    role: str
    study_digest: str
    analysis: str
    kind: str
    public: dict[str, Any] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether the answer stays in memory."""
        return self.role == "physician"


class Jobs:
    """The jobs of one workbench.

    Args:
        engine: the workbench's database.
        clock: the present.
        keep: an answer in memory is dropped after this long.
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
        self._answers: dict[str, tuple[datetime, Outcome]] = {}
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
        self._go_on(identifier, request.in_memory, work)
        return identifier

    def resume(self, identifier: str, work: Work) -> None:
        """Wait again for a run that was under way when the workbench stopped."""
        self._go_on(identifier, False, work)

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

    def close(self) -> None:
        """Stop accepting jobs; what is under way at the nodes goes on there."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._alarm.call_soon_threadsafe(self._alarm.stop)
        self._ringing.join()
        self._alarm.close()

    def _go_on(self, identifier: str, in_memory: bool, work: Work, seconds: float = 0.0) -> None:
        def begin() -> None:
            with self._lock:
                if not self._closed:
                    self._pool.submit(self._work, identifier, in_memory, work)

        with self._lock:
            if not self._closed:
                self._alarm.call_soon_threadsafe(self._alarm.call_later, seconds, begin)

    def _work(self, identifier: str, in_memory: bool, work: Work) -> None:
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
            self._go_on(identifier, in_memory, outcome.step, outcome.seconds)
        elif in_memory:
            self._remember(identifier, outcome)
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

    def _remember(self, identifier: str, outcome: Outcome) -> None:
        moment = self._clock()
        with self._lock:
            self._answers = {
                key: (at, kept) for key, (at, kept) in self._answers.items() if moment - at < self._keep
            }
            self._answers[identifier] = (moment, outcome)

    def _with_answer(self, row: JobRow) -> JobRow:
        if row.role != "physician" or row.state != DONE:
            return row
        with self._lock:
            at, outcome = self._answers.get(row.id, (None, None))
        if at is None or outcome is None or self._clock() - at >= self._keep:
            row.state, row.error = FAILED, FORGOTTEN
        else:
            row.result, row.receipt = outcome.result, outcome.receipt
        return row
