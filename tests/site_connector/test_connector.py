"""The connector from study to upload: what it believes, what leaves, and that a crash neither repeats nor
halves it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from governance.approval import SiteDecision, Withdrawal
from governance.envelope import sign_document
from governance.errors import Expired, NotApproved
from governance.keys import SigningKey
from governance.study import StudyProtocol
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.client.errors import NodeRefused
from mpc_backend.client.sharing import seal_tables
from mpc_backend.planned import PlannedTable
from mpc_backend.tables import SMALLEST_BUCKET, Column, TableSpec
from site_connector.connector import Connector
from site_connector.errors import (
    AlreadyUploaded,
    DecisionRefused,
    EvaluationFailed,
    NodesUnreachable,
    UploadRefused,
)
from site_connector.evaluated import Evaluated
from site_connector.evaluation import site_data
from site_connector.mailbox import Mailbox
from site_connector.models import StudyState
from tests.site_connector.conftest import (
    ADULTS_ON_METFORMIN,
    COHORT,
    CONCEPT_SETS,
    NODES,
    PERSONS,
    Consortium,
    write_extract,
)


def test_from_study_to_upload(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study())
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        item = mailbox.item("metformin", loaded.now)
        assert item.state is StudyState.WAITING_FOR_US
        assert item.dry_run is not None
        assert item.dry_run.problems == ()
        loaded.desk(mailbox).approve("metformin", loaded.steward, loaded.now)
        connector.round()
        assert not loaded.nodes[0].uploads, "nothing may leave before every hospital signed"
        assert mailbox.item("metformin", loaded.now).state is StudyState.WAITING_FOR_OTHERS
        loaded.others_approve(study)
        connector.round()
        (upload,) = mailbox.uploads(study.digest)
        assert upload.state == "delivered"
        assert upload.delivered_to == NODES
        assert mailbox.item("metformin", loaded.now).state is StudyState.ACTIVE
    assert not any(loaded.north.outbox.iterdir())


def test_what_leaves_is_exactly_what_the_study_names(loaded: Consortium) -> None:
    study = approved(loaded)
    seen = loaded.reconstructed(study)
    assert set(seen) == {
        "count/attrition/persons",
        "ranking/people/valid",
        "ranking/people/cell",
        "ranking/people/event",
        "ranking/people/exit",
    }
    assert seen["count/attrition/persons"].tolist() == [PERSONS, PERSONS, 30, ADULTS_ON_METFORMIN]
    valid = seen["ranking/people/valid"]
    assert valid.shape == (SMALLEST_BUCKET,)
    assert valid.sum() == ADULTS_ON_METFORMIN
    assert not seen["ranking/people/cell"][valid == 0].any()
    arms = seen["ranking/people/cell"][valid == 1].reshape(-1, 2, 2).sum((0, 2))
    assert arms.tolist() == [0, ADULTS_ON_METFORMIN]
    deaths = seen["ranking/people/event"].sum()
    assert deaths == sum(1 for n in range(1, ADULTS_ON_METFORMIN + 1) if n % 8 == 0)
    manifest, _ = loaded.nodes[0].uploads[study.digest, "", "north"]
    assert [table.rows for table in manifest.tables] == [4, SMALLEST_BUCKET]


def approved(consortium: Consortium, **changes: object):
    """A study that every hospital signed and north uploaded for."""
    study = consortium.submit(consortium.study(**changes))
    with consortium.mailbox() as mailbox:
        connector = consortium.connector(mailbox)
        connector.round()
        consortium.desk(mailbox).approve(study.digest, consortium.steward, consortium.now)
        consortium.others_approve(study)
        connector.round()
    return study


def test_a_second_upload_is_refused(loaded: Consortium) -> None:
    study = approved(loaded)
    before = [dict(node.uploads) for node in loaded.nodes]
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        with pytest.raises(
            AlreadyUploaded, match=r"was uploaded on 2026-06-01 12:00Z .* a study uploads once"
        ):
            connector.upload(study)
        connector.round()
        assert len(mailbox.uploads(study.digest)) == 1
    assert [dict(node.uploads) for node in loaded.nodes] == before


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


def test_only_signatures_are_believed(loaded: Consortium) -> None:
    unsigned, elsewhere = (
        loaded.study(title="Unsigned"),
        loaded.study(title="Elsewhere", sites=["south", "west"], disclosure={"minimum_sites": 2}),
    )
    foreign = loaded.study(title="Foreign", federation="0" * 64)
    study = loaded.submit(loaded.study())
    for other in (elsewhere, foreign):
        loaded.submit(other)
    forged = SiteDecision(study_digest=study.digest, site="south", decision="approve", decided_at=loaded.now)
    for node in loaded.nodes:
        node.studies_held[unsigned.digest] = unsigned
        node.studies_held["f" * 64] = loaded.study(title="Another document than its digest")
        node.said[study.digest].append(sign_document(forged, SigningKey.generate()))
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        assert [item.digest for item in mailbox.inbox(loaded.now)] == [study.digest]
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        loaded.others_approve(study, "west")
        connector.round()
        assert mailbox.item(study.digest, loaded.now).state is StudyState.WAITING_FOR_OTHERS
        with pytest.raises(NotApproved, match="no signature yet from south"):
            connector.upload(study)
    assert not any(node.uploads for node in loaded.nodes)


def test_what_one_node_withholds_another_delivers(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    loaded.nodes[0].said[study.digest] = []
    del loaded.nodes[1].studies_held[study.digest]
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        assert {one.site: one.state for one in mailbox.item("metformin", loaded.now).standings} == {
            "north": "waiting",
            "south": "approved",
            "west": "approved",
        }


def test_an_expired_study_is_not_served(loaded: Consortium) -> None:
    study = loaded.submit(loaded.study())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve(study.digest, loaded.steward, loaded.now)
        loaded.now += timedelta(days=365)
        connector.round()
        assert mailbox.uploads() == []
        assert mailbox.item(study.digest, loaded.now).state is StudyState.EXPIRED
        with pytest.raises(Expired):
            connector.upload(study)


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


def test_a_withdrawal_reaches_every_node(loaded: Consortium) -> None:
    study = approved(loaded)
    with loaded.mailbox() as mailbox:
        loaded.desk(mailbox).withdraw(study.digest, loaded.steward, loaded.now, reason="patients objected")
        loaded.nodes[1].down = True
        connector = loaded.connector(mailbox)
        connector.round()
        assert mailbox.status().outgoing == 1
        loaded.nodes[1].down = False
        connector.round()
        assert mailbox.status().outgoing == 0
        assert mailbox.item(study.digest, loaded.now).state is StudyState.WITHDRAWN
    for node in loaded.nodes:
        assert sum(one.payloadType == Withdrawal.payload_type for one in node.said[study.digest]) == 1


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


def test_a_quiet_round_asks_each_node_one_thing(loaded: Consortium) -> None:
    study = approved(loaded) and loaded.submit(loaded.feasibility())
    loaded.others_approve(study)
    with loaded.mailbox() as mailbox:
        connector = loaded.connector(mailbox)
        connector.round()
        loaded.desk(mailbox).approve("feasibility", loaded.steward, loaded.now)
        loaded.request(study)
        for _ in range(3):
            connector.round()
        before = [node.calls for node in loaded.nodes]
        connector.round()
        assert [node.calls for node in loaded.nodes] == [calls + 1 for calls in before]


def test_an_upload_stays_what_it_was_when_new_data_are_loaded(loaded: Consortium, tmp_path: Path) -> None:
    study = approved(loaded)
    manifest, _ = loaded.nodes[0].uploads[study.digest, "", "north"]
    frozen = (loaded.north.snapshots / f"{study.digest}.duckdb").read_bytes()
    loaded.load(write_extract(tmp_path / "newer", metformin=1560171))
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        assert len(mailbox.uploads()) == 1
    assert (loaded.north.snapshots / f"{study.digest}.duckdb").read_bytes() == frozen
    assert loaded.nodes[0].uploads[study.digest, "", "north"][0] == manifest


def test_the_site_log_tells_what_happened(loaded: Consortium) -> None:
    study = approved(loaded)
    with loaded.north.ledger() as ledger:
        entries = ledger.entries()
    assert [entry["kind"] for entry in entries] == ["load", "approve", "upload sealed", "upload delivered"]
    assert {entry.get("study", study.digest) for entry in entries} == {study.digest}
    assert entries[2]["tables"] == ["count/attrition: 4 rows", "ranking/people: 1024 rows"]


def test_one_study_that_fails_unexpectedly_does_not_stop_the_others(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = loaded.submit(loaded.study(short_name="bad"))
    good = loaded.submit(loaded.study())
    from site_connector import connector as module

    real = module.dry_run

    def fails(study, *rest, **options):
        if study.digest == bad.digest:
            raise RuntimeError("a value of a patient")
        return real(study, *rest, **options)

    monkeypatch.setattr(module, "dry_run", fails)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        broken, sound = mailbox.item("bad", loaded.now).dry_run, mailbox.item(good.digest, loaded.now).dry_run
    assert broken is not None
    assert sound is not None
    assert sound.problems == ()
    assert "RuntimeError at test_connector.py" in broken.problems[0]
    assert "patient" not in broken.problems[0]


def ready(consortium: Consortium, mailbox: Mailbox) -> tuple[StudyProtocol, Connector]:
    """A study that every hospital signed, not uploaded yet."""
    study = consortium.submit(consortium.study())
    consortium.others_approve(study)
    connector = consortium.connector(mailbox)
    connector.round()
    consortium.desk(mailbox).approve(study.digest, consortium.steward, consortium.now)
    return study, connector


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


CELL = "Marker-7781-of-a-record"


@pytest.mark.parametrize("error", [ValueError, TypeError, duckdb.ConversionException])
def test_an_unforeseen_error_is_told_by_type_and_place_alone(
    loaded: Consortium,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object) -> None:
        raise error(f"could not convert {CELL}")

    with loaded.mailbox() as mailbox:
        study, connector = ready(loaded, mailbox)
        monkeypatch.setattr("site_connector.uploading.local_tables", fails)
        with pytest.raises(EvaluationFailed) as caught:
            connector.upload(study)
        connector.round()
        note = mailbox.item(study.digest, loaded.now).note
    for said in (str(caught.value), note):
        assert f"{error.__name__} at test_connector.py" in said
        assert CELL not in said
    assert CELL not in "".join(capsys.readouterr())
    assert not any(loaded.north.snapshots.iterdir())


def test_a_column_of_words_is_refused_without_its_words(consortium: Consortium) -> None:
    column = Column(name="dose", kind="fixed", bits=40, scale=8)
    table = PlannedTable("count", TableSpec(name="t", level="aggregate", columns=(column,), rows=1))
    with pytest.raises(InputsRefused, match="column dose: expected numbers, found object"):
        seal_tables(
            consortium.federation, "0" * 64, "north", "0" * 32, [(table, {"dose": np.array([CELL], object)})]
        )
    with pytest.raises(InputsRefused, match="column dose: a value is not finite"):
        seal_tables(
            consortium.federation, "0" * 64, "north", "0" * 32, [(table, {"dose": np.array([np.inf])})]
        )


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


def test_what_the_dry_run_computed_is_not_computed_again_for_the_upload(
    loaded: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def counted(*args: Any) -> SiteData:
        seen.append(args[1])
        return site_data(*args)

    monkeypatch.setattr("site_connector.dry_run.site_data", counted)
    monkeypatch.setattr("site_connector.tables.site_data", counted)
    study = approved(loaded)
    assert (study.digest, "", "north") in loaded.nodes[0].uploads
    assert len(seen) == 1
    again = loaded.submit(loaded.study(title="Another"))
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        loaded.desk(mailbox).approve(again.digest, loaded.steward, loaded.now)
        loaded.others_approve(again)
        loaded.connector(mailbox).round()
    assert (again.digest, "", "north") in loaded.nodes[0].uploads
    assert len(seen) == 3, "a connector that was started anew has nothing to go by"


def test_rows_of_another_load_are_not_used() -> None:
    kept, rows = Evaluated(), {"cohort": SiteData(pd.DataFrame())}
    kept.keep("study", "old", rows)
    assert kept.take("study", "new") is None
    assert kept.take("study", "old") is None, "forgotten either way"
    for number in range(9):
        kept.keep(f"study-{number}", "load", rows)
    assert [kept.take(f"study-{number}", "load") is rows for number in range(9)] == [False] + [True] * 8
