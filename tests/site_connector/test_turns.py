"""What a connector does with many studies and with what is dated ahead: turns among investigators, and patience."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from governance.approval import InvestigatorSubmission, SiteDecision
from governance.envelope import sign_document
from governance.federation import InvestigatorEntry
from governance.keys import SigningKey
from governance.study import StudyProtocol
from site_connector import intake, patience
from site_connector.intake import Intake
from site_connector.models import StudyState
from site_connector.turns import Turns
from tests.site_connector.consortium import PASSPHRASE, Consortium, LocalNode


def studies(*keys: str) -> list[StudyProtocol]:
    made = [
        SimpleNamespace(investigator=SimpleNamespace(key=key), place=place) for place, key in enumerate(keys)
    ]
    return cast("list[StudyProtocol]", made)


def places(taken: Sequence[Any]) -> list[int]:
    return [one.place for one in taken]


def test_investigators_take_turns() -> None:
    waiting = studies(*"aaaabac")
    assert places(list(Turns().take(waiting, 5))) == [0, 4, 6, 1, 2]
    assert places(list(Turns().take(waiting, 99))) == [0, 4, 6, 1, 2, 3, 5]
    assert places(list(Turns().take([], 5))) == []


def test_turns_go_on_from_round_to_round() -> None:
    """With fewer places in a round than investigators, everybody's turn comes, whoever floods."""
    turns, waiting, served = Turns(), studies(*"aaaaaaaabbbbbbbbcde"), []
    for _ in range(3):
        taken = list(turns.take(waiting, 2))
        served += [one.investigator.key for one in taken]
        waiting = [one for one in waiting if one not in taken]
    assert served == ["a", "b", "c", "d", "e", "a"]


def submitted(consortium: Consortium, key: SigningKey, **changes: object) -> StudyProtocol:
    person = {"role": "PI", "organisation": "University", "key": key.public}
    study = consortium.study(investigator=person, **changes)
    said = InvestigatorSubmission(study_digest=study.digest, submitted_at=consortium.now)
    for node in consortium.nodes:
        node.studies_held[study.digest] = study
        node.said[study.digest] = [sign_document(said, key)]
    return study


def test_a_flood_of_studies_does_not_keep_anothers_from_its_dry_run(loaded: Consortium) -> None:
    flooder, other = SigningKey.generate(), SigningKey.generate()
    settings = loaded.north.settings_file
    settings.write_text(settings.read_text() + "dry_runs_per_round = 2\n")
    flood = [submitted(loaded, flooder, short_name=f"flood-{number}") for number in range(4)]
    wanted = submitted(loaded, other, short_name="wanted")

    def tried(mailbox: Any) -> set[str]:
        return {item.study.short_name for item in mailbox.inbox(loaded.now) if item.dry_run is not None}

    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        assert tried(mailbox) == {"flood-0", "wanted"}
        connector.round()
        assert len(tried(mailbox)) == 4
        connector.round()
        assert tried(mailbox) == {wanted.short_name, *(study.short_name for study in flood)}


def test_no_dry_run_is_made_of_what_has_expired(loaded: Consortium) -> None:
    submitted(loaded, loaded.investigator)
    loaded.now += timedelta(days=365)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        (item,) = mailbox.inbox(loaded.now)
        assert (item.state, item.dry_run) == (StudyState.EXPIRED, None)


def test_a_study_of_somebody_who_is_not_listed_never_reaches_the_inbox(consortium: Consortium) -> None:
    person = SigningKey.generate()
    listed = [
        InvestigatorEntry(id=name, organisation="University", signing_key=key.public)
        for name, key in (("investigator", consortium.investigator), ("researcher", consortium.researcher))
    ]
    consortium.federation = consortium.federation.model_copy(update={"investigators": tuple(listed)})
    study, foreign = submitted(consortium, consortium.investigator), submitted(consortium, person)
    with consortium.mailbox() as mailbox, capture_logs() as logs:
        taking = Intake(consortium.federation, "north", mailbox)
        for node in consortium.nodes:
            taking.take(node, consortium.now)
        assert list(taking.studies) == [study.digest]
    why = [line["why"] for line in logs if line.get("what") == foreign.digest]
    assert why
    assert "none of the investigators" in why[0]


@pytest.fixture
def ahead(consortium: Consortium) -> tuple[StudyProtocol, Any]:
    """A study, and an approval by south that is dated six minutes ahead of the clock."""
    study = consortium.submit(consortium.study())
    later = consortium.now + timedelta(minutes=6)
    said = SiteDecision(study_digest=study.digest, site="south", decision="approve", decided_at=later)
    return study, sign_document(said, consortium.sites["south"].steward(PASSPHRASE))


def test_a_decision_dated_ahead_is_refused_until_its_time_has_come(
    consortium: Consortium, ahead: tuple[StudyProtocol, Any]
) -> None:
    study, envelope = ahead
    for node in consortium.nodes:
        node.said[study.digest].append(envelope)

    def state_of_south() -> str:
        standings = mailbox.item(study.digest, consortium.now).standings
        return next(one.state for one in standings if one.site == "south")

    with consortium.mailbox() as mailbox, capture_logs() as logs:
        connector = consortium.connector(mailbox)
        for _ in range(2):
            connector.round()
            assert state_of_south() == "waiting"
            assert envelope not in mailbox.statements(study.digest)
        refusals = [line["why"] for line in logs if line.get("what") == envelope.digest]
        assert len(refusals) == len(consortium.nodes), "each node is named once"
        assert "decision of south is dated 2026-06-01T12:06:00Z" in refusals[0]
        assert "ahead of 2026-06-01T12:00:00Z, which is what the clock here says" in refusals[0]
        consortium.now += timedelta(minutes=1)
        connector.round()
        assert state_of_south() == "approved"


def test_a_study_submitted_ahead_of_the_clock_waits(consortium: Consortium) -> None:
    consortium.now += timedelta(minutes=6)
    study = consortium.submit(consortium.study())
    consortium.now -= timedelta(minutes=6)
    with consortium.mailbox() as mailbox:
        connector = consortium.connector(mailbox)
        connector.round()
        assert mailbox.inbox(consortium.now) == []
        consortium.now += timedelta(minutes=1)
        connector.round()
        assert [item.digest for item in mailbox.inbox(consortium.now)] == [study.digest]


def test_a_clock_that_was_set_back_holds_things_up_and_ends_nothing(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        loaded.now -= timedelta(minutes=10)
        connector.round()
        assert "set the clock" in mailbox.item(study.digest, loaded.now).note
        assert mailbox.uploads() == []
        loaded.now += timedelta(minutes=10)
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered"]


def test_a_slow_node_does_not_keep_a_round_from_the_others(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        consortium.submit(consortium.study(short_name=f"study-{number}"))
    first = consortium.nodes[0]
    monkeypatch.setattr(intake, "SECONDS_FOR_A_NODE", -1.0)
    with consortium.mailbox() as mailbox:
        taking = Intake(consortium.federation, "north", mailbox)
        taking.take(first, consortium.now)
        assert (first.calls, dict(taking.studies)) == (1, {}), "the list alone was asked for"
        monkeypatch.setattr(intake, "SECONDS_FOR_A_NODE", 60.0)
        taking.take(first, consortium.now)
        assert len(taking.studies) == 3


def test_a_node_that_is_slow_to_take_things_in_has_its_time_in_each_round(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of the slow node takes 40 seconds; the third has to wait for the next round."""
    clock, slow = [0.0], loaded.nodes[1]
    monkeypatch.setattr(patience, "monotonic", lambda: clock[0])
    post, studies = slow.post_statement, [loaded.study(short_name=f"study-{at}") for at in range(3)]

    def posting(*arguments: Any) -> None:
        clock[0] += 40.0
        post(*arguments)

    monkeypatch.setattr(slow, "post_statement", posting)
    for study in studies:
        loaded.submit(study)

    def heard(node: LocalNode) -> int:
        return sum(len(node.said[study.digest]) - 1 for study in studies)

    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        for study in studies:
            loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        with capture_logs() as logs:
            connector.round()
        assert [heard(node) for node in loaded.nodes] == [3, 2, 3, 3]
        assert [line["node"] for line in logs if "is slow" in line["event"]] == ["node-b"]
        connector.round()
        assert [heard(node) for node in loaded.nodes] == [3, 3, 3, 3]


def test_uploads_wait_too_for_a_node_that_has_used_its_time(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, slow = [0.0], loaded.nodes[1]
    monkeypatch.setattr(patience, "monotonic", lambda: clock[0])
    upload, studies = slow.upload, [loaded.study(short_name=f"study-{at}") for at in range(2)]

    def uploading(*arguments: Any) -> None:
        clock[0] += 70.0
        upload(*arguments)

    monkeypatch.setattr(slow, "upload", uploading)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        for study in studies:
            loaded.submit(study)
            loaded.others_approve(study)
        connector.round()
        for study in studies:
            loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        connector.round()
        assert [len(node.uploads) for node in loaded.nodes] == [2, 1, 2, 2]
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered", "delivered"]
