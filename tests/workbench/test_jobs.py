"""Runs of a workbench: progress and answers survive the page; a patient's answer never reaches the disk."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from mpc_backend.errors import ProtocolAbort
from tests.workbench.conftest import Consortium
from workbench import context
from workbench.errors import JobError
from workbench.jobs import DONE, FAILED, FORGOTTEN, RESTARTED, Jobs, Outcome, Reporter, Request
from workbench.settings import WorkbenchSettings
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


def until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to hold")


def finished(jobs: Jobs, identifier: str) -> JobRow:
    until(lambda: jobs.get(identifier, "ada").state in (DONE, FAILED))
    return jobs.get(identifier, "ada")


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


def test_a_patients_answer_leaves_memory_after_its_time(engine: Engine) -> None:
    brief = Jobs(engine, keep=timedelta(seconds=0.2))
    outcome = Outcome({"note": SECRET})
    held = weakref.ref(outcome)
    given = [outcome]
    del outcome
    identifier = brief.start(request("physician"), lambda _: given.pop())
    assert finished(brief, identifier).result == {"note": SECRET}
    until(lambda: held() is None)
    assert brief.get(identifier, "ada").error == FORGOTTEN
    brief.close()


def test_a_sign_out_drops_the_answers_of_one_account(jobs: Jobs) -> None:
    ours, others = (
        jobs.start(replace(request("physician"), account=name), lambda _: Outcome({"note": SECRET}))
        for name in ("ada", "ben")
    )
    until(lambda: jobs.get(ours, "ada").state == jobs.get(others, "ben").state == DONE)
    jobs.forget("ada")
    assert jobs.get(ours, "ada").error == FORGOTTEN
    assert jobs.get(others, "ben").result == {"note": SECRET}


def test_a_workbench_keeps_answers_for_as_long_as_a_sign_in(
    consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = consortium.folder / "federation.json"
    settings = WorkbenchSettings(state_dir=tmp_path / "state", federation=federation, session_hours=0.5)
    kept: list[timedelta] = []
    monkeypatch.setattr(context, "Jobs", lambda _engine, *, keep: kept.append(keep))
    bench = context.open_workbench(settings)
    bench.network.close()
    bench.engine.dispose()
    assert kept == [timedelta(minutes=30)]


def test_a_job_whose_end_could_not_be_written_does_not_seem_to_go_on(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, lost = jobs._set, ["the end", "the failure"]

    def flaky(identifier: str, **values: object) -> None:
        if lost and lost.pop():
            raise OperationalError("UPDATE", {"result": SECRET}, sqlite3.OperationalError("disk full"))
        write(identifier, **values)

    monkeypatch.setattr(jobs, "_set", flaky)
    monkeypatch.setattr("workbench.jobs.WRITE_AGAIN_SECONDS", 0.01)
    with capture_logs() as logged:
        job = finished(jobs, jobs.start(request(), lambda _: Outcome({"count": 5})))
    assert (job.state, job.result, "reference" in job.error) == (FAILED, None, True)
    assert [entry["error"] for entry in logged] == ["OperationalError"] * 2
    assert SECRET not in f"{logged} {job.error}"


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
