"""Tessera from Python: connect, pick a study, run an analysis, get numbers.

from workbench.client import connect

consortium = connect("federation.json", "keys/")
answer = consortium.study("second-line").run("comparison")
answer.table           # pandas
answer.result          # the typed result, with what was suppressed and why
answer.receipt         # signed by every node; `tessera verify` checks it offline
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from governance.approval import InvestigatorSubmission, check_study
from governance.envelope import peek_document, sign_document
from governance.federation import Federation
from governance.receipt import Receipt
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Result
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.ranking_tables import missing_facts
from mpc_backend.client.errors import ResultRefused
from mpc_backend.client.nodes import NodeSet
from mpc_backend.client.runs import (
    Views,
    look_at_run,
    open_run,
    post_run,
    prepare_run,
    stage_of,
    wait_for_run,
)
from workbench.asking import look
from workbench.consortium import Snapshot, StudyView
from workbench.errors import ClientError
from workbench.frames import table_of
from workbench.identities import Identity, load_identity, pinned_federation
from workbench.jobs import Reporter
from workbench.store import now
from workbench.study_check import unwritten

PATIENCE_SECONDS = 3600.0


@dataclass(frozen=True)
class Answer:
    """A finished run: the typed result, its receipt (verified against the federation), and the run's id."""

    result: Result
    receipt: Receipt
    run_id: str

    @property
    def table(self) -> pd.DataFrame:
        """The main numbers as pandas; see `workbench.frames.table_of`."""
        return table_of(self.result)


class Client:
    """A consortium as one person uses it. Opens connections per call, so it may be kept and shared by threads."""

    def __init__(self, federation: Federation, identity: Identity) -> None:
        self.federation = federation
        self.identity = identity

    def look(self) -> Snapshot:
        """Every study the nodes hold, judged from its signatures, and what is wrong with what nodes say.

        Raises:
            NoUsableAnswer: no node gives an answer that can be used.
        """
        with NodeSet(self.federation) as nodes:
            return look(nodes, now())

    def studies(self) -> list[StudyView]:
        """The studies of `look`."""
        return list(self.look().studies)

    def study(self, which: str) -> Study:
        """The study with this digest, beginning of a digest, or short name.

        A short name finds only what its investigator signed: anyone may give nodes a study that nobody signed.

        Raises:
            ClientError: none, or several (an amended study keeps its short name: use the digest).
        """
        seen = self.look()
        views = [
            view
            for view in seen.studies
            if view.digest.startswith(which)
            or (view.study.short_name == which and view.statements.submission is not None)
        ]
        if len(views) != 1:
            found = ", ".join(view.digest[:12] for view in views) or "none"
            said = "; ".join(["use the digest", *seen.problems])
            raise ClientError(f"study {which!r}: one is wanted, found {found}; {said}")
        return Study(self, views[0])

    def submit(self, study: StudyProtocol) -> None:
        """Sign a study as its investigator and give it to every node.

        Raises:
            governance.errors.GovernanceError: the study cannot be proposed in this federation.
            ClientError: this identity is not the study's investigator, or words of the template are left.
            mpc_backend.client.errors.ClientError: a node did not take it; submitting again is safe.
        """
        check_study(self.federation, study)
        if study.investigator.key != self.identity.signing.public:
            raise ClientError(
                f"study {study.short_name} names another investigator's key; only they can submit it"
            )
        for one in unwritten(study):
            raise ClientError(f"study {study.short_name}: {one.where}: {one.text}")
        said = sign_document(
            InvestigatorSubmission(study_digest=study.digest, submitted_at=now()), self.identity.signing
        )
        with NodeSet(self.federation) as nodes:
            nodes.submit(study, said)


class Study:
    """One study at the nodes."""

    def __init__(self, client: Client, view: StudyView) -> None:
        self.client = client
        self.view = view

    def run(
        self,
        analysis: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        facts: Mapping[str, object] | None = None,
        progress: Reporter | None = None,
        timeout: float = PATIENCE_SECONDS,
    ) -> Answer:
        """Ask for a run, wait for it, and open the answer.

        Args:
            analysis: its id in the study.
            parameters: what a feasibility study leaves open: ``{"cohort": text}``.
            facts: a patient's, for a ranking; they leave this process only as shares sealed to each node.
            progress: told where the run is.
            timeout: seconds to wait; the run goes on at the nodes after that, see `wait`.

        Raises:
            governance.errors.GovernanceError: the study does not allow it.
            mpc_backend.client.errors.ClientError: a node does not answer or refuses, the run aborts or is
            late.
        """
        asked = self.ask(analysis, parameters=parameters, facts=facts)
        report = progress or _silent
        report("Sent to the nodes", 0.0, run_id=asked.run_id)
        return asked.wait(report, timeout)

    def ask(
        self,
        analysis: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> Run:
        """Ask for a run without waiting for it; see `run`. The facts are not kept."""
        prepared = prepare_run(
            self.client.federation,
            self.view.study,
            analysis,
            self.client.identity.signing,
            parameters=parameters,
            facts=facts,
        )
        with NodeSet(self.client.federation) as nodes:
            run_id = post_run(nodes, prepared)
        return Run(self, run_id, prepared.request, _missing(self.view.study, analysis, facts))

    def wait(
        self, run_id: str, progress: Reporter | None = None, timeout: float = PATIENCE_SECONDS
    ) -> Answer:
        """Take up a run that was asked for before, and open its answer.

        Raises:
            mpc_backend.client.errors.ClientError: see `run`.
        """
        return Run(self, run_id).wait(progress or _silent, timeout)


@dataclass(frozen=True)
class Run:
    """A run that the nodes have.

    Args:
        study: which it belongs to.
        run_id: its id.
        request: as it was signed; None if it was asked for by another process.
        missing: what was not known of the patient, for a ranking.
    """

    study: Study
    run_id: str
    request: RunRequest | None = None
    missing: tuple[str, ...] = ()

    def look(self, report: Reporter) -> Answer | str:
        """Look once: the answer, or where the run is.

        Raises:
            mpc_backend.client.errors.ClientError: it will give no result, or no node tells anything of it.
        """
        with NodeSet(self.study.client.federation) as nodes:
            ready, views, _ = look_at_run(nodes, self.run_id)
            _tell(nodes.federation, self.run_id, report, views, ready=ready)
            return self._open(nodes) if ready else stage_of(views)[0]

    def wait(self, report: Reporter, timeout: float) -> Answer:
        """Wait for the answer; see `Study.run`."""
        with NodeSet(self.study.client.federation) as nodes:
            await_run(nodes, self.run_id, report, timeout)
            return self._open(nodes)

    def _open(self, nodes: NodeSet) -> Answer:
        request = self.request or _request_of(nodes, self.run_id)
        opened = open_run(nodes, self.study.view.study, request, self.study.client.identity.sealing)
        result = opened.result
        if isinstance(result, RankingResult):
            result = result.model_copy(update={"not_matched_on": self.missing})
        return Answer(result, opened.receipt, opened.run_id)


def _request_of(nodes: NodeSet, run_id: str) -> RunRequest:
    """The request a run was asked with. The run's id is its digest: what a node hands out is checked by it.

    Raises:
        ResultRefused: a node hands out another run's request; names the node.
        governance.errors.DocumentError: it hands out no request at all.
    """
    node, told = next(iter(nodes.results(run_id).items()))
    request = peek_document(told.request, RunRequest)
    if request.run_id != run_id:
        raise ResultRefused(
            f"{node} hands out run {request.run_id[:12]} when asked for run {run_id[:12]}; nothing was opened, "
            "ask its operator"
        )
    return request


def await_run(nodes: NodeSet, run_id: str, report: Reporter, timeout: float) -> None:
    """Wait until every node has the result ready, telling where it is and whom it waits for.

    Raises:
        mpc_backend.client.errors.ClientError: see `mpc_backend.client.runs.wait_for_run`.
    """

    def seen(views: Views) -> None:
        _tell(nodes.federation, run_id, report, views, ready=False)

    done = wait_for_run(nodes, run_id, seen=seen, timeout=timeout)
    _tell(nodes.federation, run_id, report, done, ready=True)


def _tell(federation: Federation, run_id: str, report: Reporter, views: Views, *, ready: bool) -> None:
    stage, fraction = ("Opening the answer", 1.0) if ready else stage_of(views)
    report(stage, fraction, run_id=run_id, parties=parties_of(federation, views))


def parties_of(federation: Federation, views: Views) -> dict[str, str]:
    """A word on each hospital that is waited for and on each node."""
    missing = {site for view in views.values() for site in view.waiting_for}
    waited = {federation.site(site).name: "upload awaited" for site in sorted(missing)}
    nodes = {
        f"{node.organisation} ({node.id})": views[node.id].state if node.id in views else "gives no answer"
        for node in federation.nodes
    }
    return {**waited, **nodes}


def _missing(study: StudyProtocol, analysis: str, facts: Mapping[str, object] | None) -> tuple[str, ...]:
    """Which facts of a patient were not given; the answer says so, and only who asked knows."""
    if facts is None:
        return ()
    return missing_facts(RankingParameters.model_validate(study.analysis(analysis).parameters), facts)


def _silent(
    stage: str, fraction: float, *, run_id: str | None = None, parties: Mapping[str, str] | None = None
) -> None:
    """Reports to nobody."""


def connect(
    federation: Path | str, identity: Path | str, passphrase: bytes | None = None, *, pin: str | None = None
) -> Client:
    """A client from a federation file and a folder of keys (`tessera workbench users add` makes them).

    Raises:
        governance.errors.FederationMismatch: another file than these keys were used with before; ``pin``, the digest
            of a new version that the members agreed on, replaces the one kept.
    """
    folder = Path(identity)
    return Client(pinned_federation(Path(federation), folder, pin), load_identity(folder, passphrase))
