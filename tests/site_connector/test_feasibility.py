"""Feasibility studies at a hospital: which are approved, which runs are answered, and what a steward is told."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from governance.study import StudyProtocol
from mpc_backend.client.errors import NodeRefused
from site_connector.errors import (
    DecisionRefused,
)
from tests.site_connector.consortium import COHORT, CONCEPT_SETS, Consortium, approved
from tests.site_connector.extract import ADULTS_ON_METFORMIN, PERSONS


def test_feasibility_counts_are_answered_within_their_bounds(loaded: Consortium) -> None:
    study = approved(loaded) and loaded.submit(loaded.feasibility())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
        first = loaded.request(study)
        outside = loaded.request(study, parameters={"cohort": COHORT.replace("201826", "4")})
        connector.round()
        second, third = loaded.request(study), loaded.request(study)
        connector.round()
        connector.round()
        spent = mailbox.spent(study.digest)
        answered = {one.run for one in mailbox.uploads(study.digest)}
    assert spent.runs == 2, "max_counts is 2; refused requests cost nothing"
    assert answered == {first.run_id, second.run_id}
    assert not {outside.run_id, third.run_id} & answered
    seen = loaded.reconstructed(study, first)
    np.testing.assert_array_equal(
        seen["count/attrition/persons"], [PERSONS, PERSONS, 30, ADULTS_ON_METFORMIN]
    )
    assert [file.name for file in loaded.north.snapshots.glob("*.duckdb")] != []


def test_a_run_that_never_reached_a_node_is_given_up_after_a_while(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = loaded.submit(loaded.feasibility())
    loaded.others_approve(study)
    tries = []

    def refuses(*_: object) -> None:
        tries.append("node-b")
        raise NodeRefused("node-b", "unknown-run", "does not have the run", {})

    monkeypatch.setattr(loaded.nodes[1], "upload", refuses)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
        asked = loaded.request(study)
        connector.round()
        connector.round()
        assert [(one.run, one.state) for one in mailbox.uploads(study.digest)] == [(asked.run_id, "prepared")]
        loaded.now += timedelta(minutes=11)
        connector.round()
        tried = len(tries)
        for _ in range(2):
            connector.round()
        assert len(tries) == tried
        [given_up] = mailbox.uploads(study.digest)
        assert (given_up.state, given_up.reason) == ("refused", "node-b: does not have the run")
    assert not any(loaded.north.outbox.iterdir())


def test_a_run_refused_here_is_told_to_the_steward(loaded: Consortium) -> None:
    study = loaded.submit(loaded.feasibility())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
        assert mailbox.item("feasibility", loaded.now).note == ""
        loaded.request(study)
        bad = loaded.request(study, parameters={"cohort": COHORT.replace("201826", "4")})
        for _ in range(2):
            connector.round()
            (item,) = mailbox.inbox(loaded.now)
            assert item.note.startswith(f"run {bad.run_id[:12]} was refused here on 2026-06-01 12:00Z: ")
        loaded.now += timedelta(minutes=5)
        loaded.request(study)
        connector.round()
        assert mailbox.item("feasibility", loaded.now).note == "", "a later run was answered"


def test_a_feasibility_study_whose_runs_cannot_be_planned_is_not_approved(loaded: Consortium) -> None:
    """A node that does not check may hand it out."""
    fields = loaded.feasibility().model_dump(mode="json")
    fields["analyses"][0]["parameters"] = {"steps": ["Entry event"]}
    study = loaded.submit(StudyProtocol.from_value(fields))
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        dry_run = mailbox.item(study.digest, loaded.now).dry_run
        assert dry_run is not None
        assert "leave them out" in dry_run.problems[0]
        with pytest.raises(DecisionRefused, match="leave them out"):
            loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)


def test_a_feasibility_study_with_an_unknown_concept_is_not_approved(loaded: Consortium) -> None:
    wrong = f"{CONCEPT_SETS}concept set Insulin: 987654321 and descendants\n"
    fields = loaded.feasibility().model_dump(mode="json")
    fields["feasibility"]["concept_sets"] = wrong
    study = loaded.submit(StudyProtocol.from_value(fields))
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        dry = mailbox.item(study.digest, loaded.now).dry_run
        assert dry is not None
        assert dry.problems == (
            "feasibility.concept_sets: not in this site's vocabulary: concept 987654321; correct the definition or "
            "load a vocabulary export that contains it",
        )
        with pytest.raises(DecisionRefused, match="987654321"):
            loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
