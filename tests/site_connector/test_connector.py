"""The connector from study to upload: what it believes, what leaves, and what it says of what goes wrong."""

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
from governance.run_request import Spent
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.client.sharing import seal_tables
from mpc_backend.planned import PlannedTable
from mpc_backend.tables import SMALLEST_BUCKET, Column, TableSpec
from site_connector.errors import (
    AlreadyUploaded,
    EvaluationFailed,
)
from site_connector.evaluated import Evaluated
from site_connector.evaluation import site_data
from site_connector.loading import last_report
from site_connector.models import StudyState
from site_connector.plain import literal
from site_connector.review import review_page
from site_connector.review_text import review_markdown
from site_connector.snapshot import facts
from tests.site_connector.consortium import NODES, RANKING, Consortium, approved, ready
from tests.site_connector.extract import ADULTS_ON_METFORMIN, PERSONS, write_extract


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
    assert manifest.data == facts(last_report(loaded.north))
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


def test_a_steward_is_told_what_another_study_would_tell_beside_this_one(loaded: Consortium) -> None:
    approved(loaded)
    near = loaded.study(
        short_name="metformin-again",
        analyses=[
            {
                "id": "later",
                "kind": "treatment_ranking",
                "cohort": "treated",
                "parameters": {**RANKING, "tau": 11},
            }
        ],
    )
    loaded.submit(near)
    with loaded.mailbox() as mailbox:
        loaded.connector(mailbox).round()
        first, second = (mailbox.item(one, loaded.now) for one in ("metformin", "metformin-again"))
        assert first.dry_run is not None and first.dry_run.beside == ()
        page = review_page(loaded.federation, loaded.north.settings(), second, Spent(), loaded.now)
    (said,) = page.beside
    assert (
        "'later' here and 'ranking' of study metformin" in said and "tau of 334.812 and 365.25 days" in said
    )
    assert page.may_approve and literal(said) in review_markdown(page)
