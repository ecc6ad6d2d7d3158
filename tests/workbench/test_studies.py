"""Drafts become studies; studies are judged from signatures; studies are said in words."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from governance.errors import DocumentError
from governance.federation import Federation
from governance.study import StudyProtocol
from mpc_backend.client.answers import RunLine
from tests.workbench.answering import run_line
from tests.workbench.conftest import EXAMPLES, Consortium
from tests.workbench.samples import in_own_words
from workbench import client
from workbench.asking import spent_of
from workbench.client import Client
from workbench.consortium import Snapshot
from workbench.drafts import LONGEST_DRAFT, Drafts
from workbench.errors import ClientError, DraftError
from workbench.examples import examples
from workbench.network import Network
from workbench.parts.cohort_text import read_cohort, starting_text
from workbench.parts.study_list import approval_table, approvals, network_state
from workbench.store import AccountRow, now, open_store
from workbench.study_check import check, complete_study, template
from workbench.study_words import analysis_words, explain_study


def test_every_example_is_completed_checked_and_explained(consortium: Consortium) -> None:
    found = examples(EXAMPLES)
    assert [one.path.stem for one in found] == ["count", "ranking", "survival", "feasibility"]
    for one in found:
        study = consortium.study(one.path.stem)
        assert study.federation == consortium.federation.digest
        assert [
            finding for finding in check(study, now(), consortium.federation) if finding.level == "error"
        ] == []
        words = explain_study(study, consortium.federation)
        assert study.title in words
        assert "Operator 1, Operator 2, Operator 3 and Operator 4" in words
        assert "FILLED IN" not in words


def test_the_client_is_described_with_an_example_that_exists(consortium: Consortium) -> None:
    study = consortium.study("survival")
    page = (EXAMPLES.parent / "docs" / "workbench.md").read_text(encoding="utf-8")
    for text in (client.__doc__ or "", page):
        (called,) = re.findall(r'consortium\.study\("(.+?)"\)\.run\("(.+?)"\)', text)
        assert called == (study.short_name, study.analyses[0].id)


def test_the_words_of_the_ranking_name_what_leaves_and_spare_the_reader_sixty_markers(
    consortium: Consortium,
) -> None:
    words = explain_study(consortium.study("ranking"), consortium.federation)
    assert words.count("marker") < 12
    assert "one row per patient, without name, number or date" in words
    assert "100 treatments" in words
    assert (
        "; adjusted for index year (cut at 2018) and cd4 (cut at 200); where sex, age are out of balance"
        in words
    )


def test_the_words_of_a_linked_count_say_how_persons_are_recognised_and_what_leaves(
    consortium: Consortium,
) -> None:
    fields = consortium.study("count").model_dump(mode="json")
    fields["linkage"] = {
        "key": "0123456789abcdef0123456789abcdef",
        "identifiers": ["family_name", "given_name", "birth_date"],
    }
    fields["analyses"][0]["parameters"] = {"linkage": True}
    study = StudyProtocol.from_value(fields)
    words = explain_study(study, consortium.federation)
    assert "a patient of several hospitals counted once" in words
    assert "Who agrees in family name, given name and birth date at several hospitals is one person." in words
    assert "one row for every person in the hospital's data, without name or number: a token" in words
    assert [
        finding for finding in check(study, now(), consortium.federation) if finding.level == "error"
    ] == []
    assert "How persons are recognised" not in explain_study(consortium.study("count"), consortium.federation)


def test_the_words_of_linked_survival_say_what_leaves_of_every_person(consortium: Consortium) -> None:
    fields = consortium.study("survival").model_dump(mode="json")
    fields["linkage"] = {"key": "0123456789abcdef0123456789abcdef", "identifiers": ["national_id"]}
    fields["disclosure"]["rounding"] = max(
        fields["disclosure"]["rounding"], fields["disclosure"]["minimum_cell"]
    )
    fields["analyses"][0]["parameters"] |= {"linkage": True}
    fields["analyses"][0]["parameters"].pop("cox", None)
    study = StudyProtocol.from_value(fields)
    assert "months, a patient of several hospitals counted once: Kaplan-Meier" in explain_study(study)
    assert "one row for every day of an outcome, for every period of observation" in explain_study(study)


def test_the_words_of_a_survival_analysis_name_what_it_adjusts_for(consortium: Consortium) -> None:
    study = consortium.study("survival")
    (entry,) = study.analyses
    strata = "kidney disease (0, 1), hba1c (cut at 8.5) and index year (cut at 2018)"
    assert f"log-rank test; adjusted for {strata}." in analysis_words(study, entry)
    for change, said in (
        ({"adjust": False}, f"; curves not adjusted, tests also stratified by {strata}."),
        ({"strata": []}, "; not adjusted for anything."),
    ):
        other = entry.model_copy(update={"parameters": {**entry.parameters, **change}})
        assert said in analysis_words(study, other)


def test_a_physicians_keys_must_come_from_the_hospital(consortium: Consortium) -> None:
    text = (EXAMPLES / "ranking.yaml").read_text(encoding="utf-8")
    with pytest.raises(DraftError, match="physician"):
        complete_study(text, consortium.federation, consortium.researcher)


@pytest.mark.parametrize(
    ("text", "error"),
    [("title: [", DocumentError), ("just words", DocumentError), ("title: a\ntitle: b", DocumentError)],
)
def test_what_is_no_study_is_refused_with_a_reason(
    consortium: Consortium, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        complete_study(text, consortium.federation, consortium.researcher)


def test_the_template_is_submitted_in_own_words_alone(consortium: Consortium) -> None:
    text = template(now(), consortium.federation)
    study, ours = (
        complete_study(words, consortium.federation, consortium.researcher)
        for words in (text, in_own_words(text))
    )
    (found,) = check(study, now(), consortium.federation)
    assert (found.level, "still the text of the template" in found.text) == ("error", True)
    assert "recipients.researcher.organisation" in found.where
    with pytest.raises(ClientError, match=r"title, purpose.description, .*: still the text of the template"):
        Client(consortium.federation, consortium.researcher).submit(study)
    assert check(ours, now(), consortium.federation) == []
    assert ours.investigator.key == consortium.researcher.signing.public


def test_an_unchanged_draft_keeps_its_digest_and_others_differ(consortium: Consortium) -> None:
    text = (EXAMPLES / "count.yaml").read_text(encoding="utf-8")
    given = (text, consortium.federation, consortium.researcher)
    first, again = (complete_study(*given, nonce="a" * 32) for _ in range(2))
    assert first.digest == again.digest
    assert complete_study(*given, nonce="b" * 32).digest != first.digest
    assert complete_study(*given).digest != complete_study(*given).digest


def test_errors_in_cohorts_parameters_and_policy_are_found_together(consortium: Consortium) -> None:
    study = consortium.study("survival")
    broken = study.model_copy(
        update={
            "federation": "0" * 64,
            "cohorts": {name: text.replace("require", "reqire", 1) for name, text in study.cohorts.items()},
            "analyses": (study.analyses[0].model_copy(update={"parameters": {"outcome": "x"}}),),
        }
    )
    found = {finding.where: finding for finding in check(broken, now(), consortium.federation)}
    assert set(found) == {"federation", "cohorts.second_line", f"analyses.{study.analyses[0].id}"}
    assert "line " in found["cohorts.second_line"].text
    assert all(finding.level == "error" for finding in found.values())


def test_a_study_that_is_over_is_found_and_one_that_begins_later_may_be_submitted(
    consortium: Consortium,
) -> None:
    study = consortium.study("survival")
    first, last = study.validity.not_before, study.validity.not_after
    assert check(study, last, consortium.federation) == []
    (found,) = check(study, last + timedelta(minutes=1), consortium.federation)
    assert (found.level, found.where) == ("error", "validity.not_after")
    assert (
        f"it is {last + timedelta(minutes=1):%Y-%m-%d %H:%M}Z: submit a study that ends later" in found.text
    )
    assert check(study, first - timedelta(days=3), consortium.federation) == []


def test_a_feasibility_study_whose_runs_cannot_be_planned_is_found(consortium: Consortium) -> None:
    study = consortium.study("feasibility")
    (entry,) = study.analyses
    broken = study.model_copy(
        update={"analyses": (entry.model_copy(update={"parameters": {"steps": ["Entry event"]}}),)}
    )
    (found,) = check(broken, now(), consortium.federation)
    assert (found.level, found.where) == ("error", f"analyses.{entry.id}")


def test_a_study_is_judged_from_its_signatures(consortium: Consortium) -> None:
    study = consortium.study("count")
    waiting = consortium.view(study, by=("north",))
    assert (waiting.state, waiting.signed, approvals(waiting)) == (
        "awaiting approval",
        1,
        "1 of 3 hospitals signed",
    )
    assert "south, west" in waiting.why
    assert list(approval_table(waiting, consortium.federation)["State"]) == [
        "submitted",
        "approved",
        "not yet signed",
        "not yet signed",
    ]
    approved = consortium.view(study)
    assert (approved.state, approved.why) == ("approved", "")
    assert approved.runs_left(consortium.researcher.signing.public) == study.budget.runs


def test_runs_that_wait_are_not_offered_again(consortium: Consortium) -> None:
    study = consortium.study("count")
    lines = [
        run_line(study, run_id="1" * 64, state="waiting"),
        run_line(study, run_id="2" * 64, state="refused", reason="waited in vain"),
        run_line(study, run_id="3" * 64, state="aborted", started_at="2026-01-01T00:00:00Z"),
    ]
    said = tuple(RunLine.model_validate(line) for line in lines)
    view = replace(consortium.view(study), spent=spent_of(study, {"node-a": said, "node-b": said[:1]}))
    assert view.runs_left(consortium.researcher.signing.public) == study.budget.runs - 2


def test_studies_are_shown_to_those_they_name(consortium: Consortium) -> None:
    study = consortium.study("count")
    consortium.show(consortium.view(study))
    assert consortium.snapshot is not None
    assert consortium.snapshot.concerning(consortium.researcher.signing.public)
    assert not consortium.snapshot.concerning(consortium.physician.signing.public)


def test_the_network_says_loading_partial_and_stale(consortium: Consortium) -> None:
    loading = network_state(None, now())
    assert loading is not None
    assert "not answered yet" in loading.text
    consortium.show(silent=("node-c",))
    assert consortium.snapshot is not None
    partly = network_state(consortium.snapshot, now())
    assert partly is not None
    assert "3 of 4 answered" in partly.text
    consortium.show()
    assert network_state(consortium.snapshot, now()) is None
    old = replace(consortium.snapshot, at=consortium.snapshot.at.replace(year=2020))
    stale = network_state(old, now())
    assert stale is not None
    assert "minutes ago" in stale.text


def test_who_asks_for_another_look_waits_for_one_that_begins_then(consortium: Consortium) -> None:
    begun, may_end = threading.Semaphore(0), threading.Semaphore(0)

    def look(federation: Federation, moment: datetime) -> Snapshot:
        begun.release()
        assert may_end.acquire(timeout=20)
        return Snapshot(federation, moment, ())

    network = Network(consortium.federation, lambda _: look)
    assert network.snapshot is None
    assert begun.acquire(timeout=20)
    network.refresh_soon()
    may_end.release()
    assert begun.acquire(timeout=20), "the first look has ended and the next begun"
    assert network.snapshot is not None
    assert not network.wait(0.05), "the first look began before the other was asked for"
    may_end.release()
    assert network.wait(20)
    network.close()
    may_end.release()


# ---- cohorts on the count page


def test_a_cohort_is_read_with_line_and_column(consortium: Consortium) -> None:
    bounds = feasibility(consortium.study("feasibility"))
    good = read_cohort(starting_text(bounds), bounds)
    assert good.problem is None
    assert "365 days" in good.words
    bad = read_cohort('cohort "x"\n\nenter on frist condition of a\n', bounds)
    assert (bad.line, bad.column) == (3, 10)
    outside = read_cohort(starting_text("concept set asthma: 317009 and descendants"), bounds)
    assert outside.problem is not None
    assert "asthma" in outside.problem
    assert outside.words


def feasibility(study: StudyProtocol) -> str:
    assert study.feasibility is not None
    return study.feasibility.concept_sets


# ---- drafts


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    engine = open_store(tmp_path / "workbench.sqlite")
    with Session(engine) as session, session.begin():
        for name in ("ada", "ben"):
            session.add(
                AccountRow(name=name, display_name=name, roles=[], password_hash="", created_at=now())
            )
    return Drafts(engine)


def test_drafts_are_kept_and_private(drafts: Drafts) -> None:
    identifier = drafts.create("ada", "First", "text")
    drafts.save(identifier, "ada", "Second", "more")
    assert (drafts.get(identifier, "ada").title, drafts.get(identifier, "ada").text) == ("Second", "more")
    for act in (drafts.get, drafts.remove):
        with pytest.raises(DraftError):
            act(identifier, "ben")
    assert drafts.listing("ben") == []
    drafts.submitted(identifier, "ada", "f" * 64)
    assert drafts.listing("ada")[0].submitted_digest == "f" * 64
    drafts.remove(identifier, "ada")
    assert drafts.listing("ada") == []


def test_a_kept_cohort_is_no_study_draft(drafts: Drafts) -> None:
    drafts.keep_cohort("ada", "cohort one")
    drafts.keep_cohort("ada", "cohort two")
    assert (drafts.kept_cohort("ada"), drafts.kept_cohort("ben")) == ("cohort two", None)
    assert drafts.listing("ada") == []


def test_an_endless_draft_is_refused(drafts: Drafts) -> None:
    with pytest.raises(DraftError, match="at most"):
        drafts.create("ada", "long", "x" * (LONGEST_DRAFT + 1))
