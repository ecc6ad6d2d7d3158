"""Runs of a workbench: progress and answers survive the page; a patient's answer never reaches the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mpc_backend.errors import ProtocolAbort
from workbench.errors import JobError
from workbench.jobs import DONE, FAILED, FORGOTTEN, RESTARTED, Jobs, Outcome, Reporter, Request
from workbench.store import AccountRow, JobRow, now, open_store

SECRET = "a fact of one patient"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = open_store(tmp_path / "workbench.sqlite")
    with Session(made) as session, session.begin():
        for name in ("ada", "ben"):
            session.add(
                AccountRow(name=name, display_name=name, roles=[], password_hash="", created_at=now())
            )
    return made


@pytest.fixture
def jobs(engine: Engine) -> Iterator[Jobs]:
    made = Jobs(engine)
    yield made
    made.close()


def request(role: str = "researcher") -> Request:
    return Request("ada", role, "f" * 64, "attrition", "cohort_count", {"cohort": "text"})


def finished(jobs: Jobs, identifier: str) -> JobRow:
    for _ in range(200):
        job = jobs.get(identifier, "ada")
        if job.state in (DONE, FAILED):
            return job
        time.sleep(0.01)
    raise AssertionError("the job did not end")


def test_progress_is_written_while_the_work_goes_on(jobs: Jobs) -> None:
    middle, go_on = threading.Event(), threading.Event()

    def work(report: Reporter) -> Outcome:
        report("Computing", 0.5, run_id="run-1", parties={"north": "uploaded", "node-a": "running"})
        middle.set()
        go_on.wait(5)
        return Outcome({"count": 5}, {"receipt": 1})

    identifier = jobs.start(request(), work)
    assert middle.wait(5)
    job = jobs.get(identifier, "ada")
    assert (job.state, job.stage, job.fraction, job.run_id) == ("running", "Computing", 0.5, "run-1")
    assert job.parties == {"north": "uploaded", "node-a": "running"}
    go_on.set()
    done = finished(jobs, identifier)
    assert (done.state, done.result, done.receipt, done.fraction) == (DONE, {"count": 5}, {"receipt": 1}, 1.0)


def test_a_failure_is_kept_in_words(jobs: Jobs) -> None:
    def work(_: Reporter) -> Outcome:
        raise ProtocolAbort("node-b deviated")

    job = finished(jobs, jobs.start(request(), work))
    assert (job.state, job.error) == (FAILED, "node-b deviated")


def test_an_unexpected_failure_shows_a_reference_only(jobs: Jobs) -> None:
    def work(_: Reporter) -> Outcome:
        raise ZeroDivisionError(SECRET)

    job = finished(jobs, jobs.start(request(), work))
    assert "reference" in job.error
    assert SECRET not in job.error


def test_jobs_are_private(jobs: Jobs) -> None:
    identifier = jobs.start(request(), lambda _: Outcome({}))
    with pytest.raises(JobError):
        jobs.get(identifier, "ben")
    with pytest.raises(JobError):
        jobs.get("0" * 32, "ada")
    assert jobs.listing("ben") == []
    assert [job.id for job in jobs.listing("ada")] == [identifier]


def test_a_patients_answer_stays_in_memory_and_goes(jobs: Jobs, engine: Engine, tmp_path: Path) -> None:
    identifier = jobs.start(request("physician"), lambda _: Outcome({"note": SECRET}))
    assert finished(jobs, identifier).result == {"note": SECRET}
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert SECRET.encode() not in stored
    restarted = Jobs(engine)
    job = restarted.get(identifier, "ada")
    assert (job.state, job.result, job.error) == (FAILED, None, FORGOTTEN)
    restarted.close()


def test_a_patients_answer_is_dropped_after_its_time(engine: Engine) -> None:
    brief = Jobs(engine, keep=timedelta(seconds=-1))
    identifier = brief.start(request("physician"), lambda _: Outcome({"note": SECRET}))
    assert finished(brief, identifier).result is None
    brief.close()


def test_after_a_restart_sent_runs_are_taken_up_and_others_fail(engine: Engine) -> None:
    stop = threading.Event()
    first = Jobs(engine)

    def sent(report: Reporter) -> Outcome:
        report("Computing", 0.2, run_id="run-7")
        stop.wait(10)
        return Outcome({})

    kept = first.start(request(), sent)
    lost = first.start(request(), lambda _: (stop.wait(10), Outcome({}))[1])
    patient = first.start(request("physician"), sent)
    for _ in range(200):
        if first.get(kept, "ada").run_id and first.get(patient, "ada").run_id:
            break
        time.sleep(0.01)
    second = Jobs(engine)
    assert [job.id for job in second.recover()] == [kept]
    assert [second.get(one, "ada").error for one in (lost, patient)] == [RESTARTED, RESTARTED]
    stop.set()
    second.resume(kept, lambda _: Outcome({"count": 3}))
    first.close()
    assert finished(second, kept).state == DONE
    second.close()
