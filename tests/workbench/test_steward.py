"""A steward's decision from the workbench: re-typed name, passphrase, reason; then mailbox and ledger."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from governance.approval import SiteDecision
from governance.envelope import peek_document
from governance.errors import KeyFileError
from site_connector.directory import SiteDirectory
from site_connector.models import ConnectorStatus, DryRun, NodeContact
from tests.workbench.conftest import PASSPHRASE, Consortium
from workbench.errors import DraftError, PageDenied
from workbench.settings import WorkbenchSettings
from workbench.steward import (
    Decision,
    Hospital,
    connector_problem,
    hospital_of,
    ledger_table,
    open_decisions,
)
from workbench.store import now


@pytest.fixture
def hospital(consortium: Consortium, tmp_path: Path) -> Hospital:
    """A hospital whose connector has received the count study and tried it."""
    shutil.copytree(consortium.folder / "north", tmp_path / "north")
    made = Hospital(SiteDirectory(tmp_path / "north"))
    study = consortium.study("count")
    with made.mailbox() as mailbox:
        mailbox.put_study(study, now())
        for envelope in consortium.envelopes(study, by=()):
            mailbox.put_statement(study.digest, envelope, now())
        mailbox.put_dry_run(study.digest, DryRun(snapshot="s1", made_at=now()))
    return made


def digest_of(hospital: Hospital) -> str:
    (item,) = hospital.inbox(now())[0]
    return item.digest


def test_an_approval_is_signed_logged_and_waits_for_the_connector(hospital: Hospital) -> None:
    page = hospital.page(digest_of(hospital), now())
    assert page.may_approve
    hospital.decide(page, "approve", now(), typed=" diabetes-count ", passphrase=PASSPHRASE, reason="")
    with hospital.mailbox() as mailbox:
        ((study, envelope, lacking),) = mailbox.pending()
    assert (study, len(lacking)) == (page.digest, 4)
    decision = peek_document(envelope, SiteDecision)
    assert (decision.decision, decision.columns) == ("approve", ("attrition/attrition/persons",))
    entries, _ = hospital.ledger_entries()
    (row,) = ledger_table(entries, {}).to_dict("records")
    assert (row["What"], row["Study"], row["Details"][:10]) == ("approve", "diabetes-count", "statement ")


def test_the_ledger_names_studies_and_ends_with_shortened_digests() -> None:
    digest, other = "a" * 64, "b" * 64
    sent = {"at": "2026-11-23T01:52:05Z", "kind": "upload sealed", "manifest": "c" * 64, "run": None}
    entries = [
        {**sent, "study": digest, "tables": ["count/attrition: 3 rows"]},
        {**sent, "study": other, "tables": []},
    ]
    first, second = ledger_table(entries, {digest: "second-line"}).to_dict("records")
    assert (first["Study"], first["Details"]) == (
        "second-line",
        "tables count/attrition: 3 rows; manifest cccccccccccc…",
    )
    assert (second["Study"], f"{second['When']:%H:%M}") == ("bbbbbbbbbbbb…", "01:52")


def test_only_what_the_desk_would_take_is_offered(hospital: Hospital) -> None:
    digest = digest_of(hospital)
    assert open_decisions(hospital.page(digest, now())) == ("approve", "decline")
    sign(hospital, "decline", minutes_ago=3)
    assert open_decisions(hospital.page(digest, now())) == ("approve",)
    sign(hospital, "approve", minutes_ago=2)
    assert open_decisions(hospital.page(digest, now())) == ("decline", "withdraw")
    sign(hospital, "withdraw", minutes_ago=1)
    assert open_decisions(hospital.page(digest, now())) == ()


def sign(hospital: Hospital, decision: Decision, *, minutes_ago: int) -> None:
    page, moment = hospital.page(digest_of(hospital), now()), now() - timedelta(minutes=minutes_ago)
    hospital.decide(page, decision, moment, typed=page.short_name, passphrase=PASSPHRASE, reason="a reason")


@pytest.mark.parametrize(
    ("decision", "typed", "passphrase", "reason", "error"),
    [
        ("approve", "another-study", PASSPHRASE, "", DraftError),
        ("approve", "diabetes-count", "not the passphrase", "", KeyFileError),
        ("decline", "diabetes-count", PASSPHRASE, "  ", DraftError),
    ],
)
def test_nothing_is_signed_after_a_slip(
    hospital: Hospital, decision, typed: str, passphrase: str, reason: str, error: type[Exception]
) -> None:
    page = hospital.page(digest_of(hospital), now())
    with pytest.raises(error):
        hospital.decide(page, decision, now(), typed=typed, passphrase=passphrase, reason=reason)
    with hospital.mailbox() as mailbox:
        assert mailbox.pending() == []
    assert hospital.ledger_entries()[0] == []


def test_a_decline_carries_its_reason(hospital: Hospital) -> None:
    page = hospital.page(digest_of(hospital), now())
    hospital.decide(
        page, "decline", now(), typed="diabetes-count", passphrase=PASSPHRASE, reason="no capacity"
    )
    (item,) = hospital.inbox(now())[0]
    assert item.state == "declined by us"
    assert [one.reason for one in item.standings if one.site == "north"] == ["no capacity"]


def test_a_silent_connector_is_named() -> None:
    assert "has not run yet" in str(connector_problem(ConnectorStatus(last_round=None), now()))
    assert connector_problem(ConnectorStatus(last_round=now()), now()) is None
    old = now().replace(year=2020)
    silent = connector_problem(ConnectorStatus(last_round=old), now())
    assert silent is not None
    assert "silent since" in silent.text
    assert "2020" in silent.text
    lost = NodeContact(
        node="node-c", last_answer=None, problem="node-c does not answer at https://c (refused)"
    )
    unreached = connector_problem(ConnectorStatus(last_round=now(), nodes=(lost,)), now())
    assert unreached is not None
    assert unreached.text == "The connector cannot reach node-c; decisions are delivered once it can."
    assert unreached.details == (lost.problem,)


def test_a_research_workbench_has_no_hospital() -> None:
    with pytest.raises(PageDenied):
        hospital_of(WorkbenchSettings())
