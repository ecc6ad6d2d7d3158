"""Starting a run from a page: who may, and the work a job does until the answer is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from governance.errors import UnknownRequester
from governance.study import StudyAnalysis
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.client.errors import NoUsableAnswer
from mpc_backend.client.runs import pause_after
from workbench.accounts import SignIn
from workbench.client import Answer, Client, Run
from workbench.consortium import StudyView
from workbench.context import Workbench
from workbench.errors import REFUSED, JobError
from workbench.identities import load_identity
from workbench.jobs import Later, Outcome, Reporter, Request, Work
from workbench.store import JobRow, now

Role = Literal["researcher", "physician"]
WITH_QUERY = ("treatment_ranking",)
LONGEST_PAUSE = 5.0
PATIENCE_HOURS = 26
"""Nodes end a run that waits for a day; only nodes that give no answer keep a page waiting for longer."""


def can_run(view: StudyView, entry: StudyAnalysis, key: str, role: Role) -> str | None:
    """Why this person may not run this analysis now, or None if they may."""
    if entry.kind in WITH_QUERY and role != "physician":
        return "Asked by physicians, for one patient, at the workbench inside their hospital."
    if entry.cohort is None and view.study.feasibility is not None:
        return "Counts cohorts you write: open “Count patients”."
    try:
        recipient = view.study.recipient(key)
    except UnknownRequester:
        return "You are not among the study's recipients."
    if recipient.role != role:
        return f"The study names you as {recipient.role}, not as {role}."
    return None if view.state == "approved" else f"The study is {view.state}."


def start_run(
    bench: Workbench,
    person: SignIn,
    view: StudyView,
    entry: StudyAnalysis,
    *,
    parameters: Mapping[str, Any] | None = None,
    facts: Mapping[str, object] | None = None,
    set_aside: Sequence[str] = (),
) -> str:
    """Begin a job that asks for the run and waits for it; returns the job's id at once.

    ``facts``: a patient's, held by the worker's memory alone until the request is sent. ``set_aside``:
    treatments this patient cannot receive, taken out of the answer before anyone reads it.
    """
    client = bench.client(person)
    given = dict(parameters or {})

    def work(report: Reporter) -> Outcome | Later:
        run = client.study(view.digest).ask(entry.id, parameters=given, facts=facts)
        report("Sent to the nodes", 0.0, run_id=run.run_id)
        return _watching(run, now(), set_aside)(report)

    request = Request(
        account=person.account,
        role="physician" if facts is not None else "researcher",
        study_digest=view.digest,
        analysis=entry.id,
        kind=entry.kind,
        public=given,
    )
    return bench.jobs.start(request, work)


def take_up_again(bench: Workbench) -> None:
    """After a start: wait again for the runs that were under way when the workbench stopped."""
    for job in bench.jobs.recover():
        client = Client(bench.federation, load_identity(bench.settings.identities / job.account))

        def work(report: Reporter, client: Client = client, job: JobRow = job) -> Outcome | Later:
            run = Run(client.study(job.study_digest), str(job.run_id))
            return _watching(run, job.created_at)(report)

        bench.jobs.resume(job.id, work)


def _watching(run: Run, since: datetime, set_aside: Sequence[str] = ()) -> Work:
    """Work that looks at a run once and, until there is an answer, goes on later.

    Nodes that do not answer for a while end nothing: the run may go on there.
    """

    def step(report: Reporter) -> Outcome | Later:
        try:
            seen = run.look(report)
        except NoUsableAnswer as error:
            if error.exit_code == REFUSED:
                raise
            seen = "No node answers"
            report(seen, 0.0)
        if isinstance(seen, Answer):
            return outcome(seen, set_aside)
        waited = (now() - since).total_seconds()
        if waited > PATIENCE_HOURS * 3600:
            raise JobError(
                f"no result after {PATIENCE_HOURS} hours. Last seen: {seen}. The administrators of those that are "
                "waited for know more; ask again once they answer."
            )
        return Later(step, pause_after(waited, LONGEST_PAUSE))

    return step


def outcome(answer: Answer, set_aside: Sequence[str] = ()) -> Outcome:
    """A finished run as a job keeps it."""
    result = answer.result
    if set_aside and isinstance(result, RankingResult):
        result = result.without(set_aside)
    return Outcome(result.model_dump(mode="json"), answer.receipt.model_dump(mode="json"))
