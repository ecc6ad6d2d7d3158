"""Uploads on their way: neither a crash nor a node that is down or refuses repeats or halves one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mpc_backend.client.errors import NodeRefused
from site_connector.errors import (
    NodesUnreachable,
    UploadRefused,
)
from tests.site_connector.consortium import NODES, Consortium, ready
from tests.site_connector.extract import ADULTS_ON_METFORMIN, PERSONS


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_node_that_is_down_gets_the_same_bytes_later(loaded: Consortium, lost: str) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    last = loaded.nodes[3]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        last.down, last.lose_answers = lost == "request", int(lost == "answer")
        with pytest.raises(NodesUnreachable, match="node-d did not take it"):
            connector.upload(study)
        (first,) = mailbox.uploads(study.digest)
        assert first.state == "prepared"
        assert first.delivered_to == NODES[:3]
        connector.round()
        assert ("node-d does not answer" in mailbox.status().nodes[3].problem) == last.down
    last.down = False
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        (upload,) = mailbox.uploads(study.digest)
        assert (upload.upload_id, upload.state) == (first.upload_id, "delivered")
        assert mailbox.status().nodes[3].problem == ""
        assert mailbox.pending() == []
    assert loaded.reconstructed(study)["ranking/people/valid"].sum() == ADULTS_ON_METFORMIN


@pytest.mark.parametrize("where", ["_keep", "log", "_shared"])
def test_a_crash_while_preparing_leaves_nothing_behind(
    loaded: Consortium, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from site_connector.uploading import Uploader

    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Uploader, where, crash)
            with pytest.raises(KeyboardInterrupt):
                connector.round()
        assert mailbox.uploads() == []
    assert not loaded.nodes[0].uploads
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        assert not any(loaded.north.outbox.iterdir())
        assert not any(loaded.north.snapshots.iterdir())
        connector.round()
        assert [one.state for one in mailbox.uploads()] == ["delivered"]


def test_a_crash_between_nodes_resumes_with_the_same_upload(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(loaded.nodes[2], "upload", crash)
            with pytest.raises(KeyboardInterrupt):
                connector.round()
        (first,) = mailbox.uploads()
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        (upload,) = mailbox.uploads()
        assert (upload.upload_id, upload.state) == (first.upload_id, "delivered")
    assert loaded.reconstructed(study)["count/attrition/persons"][0] == PERSONS


def test_nothing_more_leaves_after_a_withdrawal(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    last = loaded.nodes[3]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        last.down = True
        with pytest.raises(NodesUnreachable):
            connector.upload(study)
        loaded.desk(mailbox).withdraw(study.digest, loaded.steward, loaded.now, reason="patients objected")
        last.down = False
        connector.round()
        assert not last.uploads, "sealed before the withdrawal, and held back since"
        (upload,) = mailbox.uploads(study.digest)
        assert upload.delivered_to == NODES[:3]


@pytest.mark.parametrize("clock", ["after the last day", "before the first day"])
def test_what_was_sealed_in_time_is_never_offered_out_of_time(
    loaded: Consortium, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the study has expired the upload is given up; a clock that is merely slow makes it wait."""
    offered: list[str] = []
    last = loaded.nodes[3]
    with loaded.mailbox() as mailbox:
        study, connector = ready(loaded, mailbox)
        last.down = True
        with pytest.raises(NodesUnreachable):
            connector.upload(study)
        last.down = False
        then, expired = loaded.now, clock == "after the last day"
        loaded.now += timedelta(days=365 if expired else -365)
        with monkeypatch.context() as patch:
            patch.setattr(last, "upload", lambda *_: offered.append("an upload"))
            for _ in range(2):
                connector.round()
        item = mailbox.item(study.digest, loaded.now)
        (upload,) = item.uploads
        assert offered == []
        assert upload.state == ("refused" if expired else "prepared")
        assert ("was valid until 2026-12-31 00:00Z" in upload.reason) == expired
        assert item.note == upload.reason
        assert any(loaded.north.outbox.iterdir()) != expired
        with loaded.north.ledger() as ledger:
            said = [entry["kind"] for entry in ledger.entries()]
        assert said.count("upload given up") == int(expired)
        loaded.now = then
        connector.round()
        assert mailbox.uploads()[0].state == ("refused" if expired else "delivered"), "given up for good"
    assert bool(last.uploads) != expired


@pytest.mark.parametrize("problem", ["withdrawn", "not-permitted", "tables-mismatch", "shares-mismatch"])
def test_an_upload_refused_for_good_is_given_up(
    loaded: Consortium, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def refuses(*_: object) -> None:
        tries.append(problem)
        raise NodeRefused("node-b", problem, "not with us", {})

    with loaded.mailbox() as mailbox:
        study, connector = ready(loaded, mailbox)
        monkeypatch.setattr(loaded.nodes[1], "upload", refuses)
        with pytest.raises(UploadRefused, match="given up, since node-b: not with us") as caught:
            connector.upload(study)
        assert caught.value.exit_code == 2
        for _ in range(2):
            connector.round()
        item = mailbox.item(study.digest, loaded.now)
        assert [(one.state, one.reason) for one in item.uploads] == [("refused", "node-b: not with us")]
        assert item.note == "node-b: not with us"
        with pytest.raises(UploadRefused, match="Amend the study"):
            mailbox.check_not_uploaded(study.digest, None)
    assert len(tries) == 1
    assert not any(loaded.north.outbox.iterdir())
    with loaded.north.ledger() as ledger:
        assert ledger.entries()[-1]["kind"] == "upload given up"


@pytest.mark.parametrize("problem", ["not-approved", "stopping", "internal", "malformed", "expired"])
def test_an_upload_refused_for_now_is_sent_again(
    loaded: Consortium, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise NodeRefused("node-b", problem, "not now", {})

    with loaded.mailbox() as mailbox:
        study, connector = ready(loaded, mailbox)
        with monkeypatch.context() as patch:
            patch.setattr(loaded.nodes[1], "upload", refuses)
            connector.round()
        assert [one.state for one in mailbox.uploads(study.digest)] == ["prepared"]
        connector.round()
        assert [one.state for one in mailbox.uploads(study.digest)] == ["delivered"]
