"""Every page for every role, run as Streamlit runs it: what is there, what is denied, what each state says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from site_connector.directory import SiteDirectory
from site_connector.models import Upload
from site_connector.review_text import review_markdown
from tests.workbench.conftest import EXAMPLES, PASSWORD, Benches, Consortium
from tests.workbench.samples import in_own_words, ranking, survival
from tests.workbench.test_parts import count
from workbench.context import Workbench
from workbench.jobs import DONE, Outcome, Request
from workbench.parts.ranking import WARNING
from workbench.parts.sitemap import SITEMAP
from workbench.steward import Hospital
from workbench.store import now
from workbench.study_check import template

APP = Path(__file__).parents[2] / "workbench" / "parts" / "app.py"
ROLES = ("researcher", "physician", "steward", "administrator")
AT_HOSPITAL = {"patient", "evidence", "approvals", "review", "ledger"}


def view(bench: Workbench, account: str, path: str, **query: str) -> AppTest:
    """A page as one account sees it."""
    _, person = bench.accounts.sign_in(account, PASSWORD, "127.0.0.1")
    test = AppTest.from_file(str(APP), default_timeout=20)
    test.user = {"sign_in": person.id}
    for name, value in query.items():
        test.query_params[name] = value
    test._page_hash = calc_hash(path)  # AppTest itself can only go to pages that are files
    return test.run()


def words(test: AppTest) -> str:
    """All text of a page."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(test, kind))


def press(test: AppTest, label: str) -> None:
    """Press the one button with this label."""
    (button,) = [button for button in test.button if button.label == label]
    button.click().run()


def seen(bench: Workbench) -> None:
    """Wait for the first look at the nodes."""
    bench.network.refresh_soon()
    for _ in range(200):
        if bench.network.snapshot is not None:
            return
        import time

        time.sleep(0.01)
    raise AssertionError("no snapshot")


# ---- who may open what


@pytest.mark.parametrize("kind", ["research", "hospital"])
@pytest.mark.parametrize("role", ROLES)
def test_every_page_opens_for_its_role_and_explains_itself_to_others(
    make_bench: Benches, kind: str, role: str
) -> None:
    bench = make_bench(kind)
    for entry in SITEMAP:
        test = view(bench, role, entry.path)
        assert not test.exception
        said = words(test)
        if kind == "research" and entry.path in AT_HOSPITAL:
            assert "exists only at a hospital's own workbench" in said, entry.path
        elif entry.role != role:
            assert f"is for the role {entry.role}" in said, entry.path
        else:
            assert "is for the role" not in said, entry.path
            assert "fault of the workbench" not in said, entry.path


def test_without_a_sign_in_nothing_is_shown(make_bench: Benches) -> None:
    make_bench("hospital")
    for user in ({}, {"sign_in": "0" * 32}, {"sign_in": None}):
        test = AppTest.from_file(str(APP), default_timeout=20)
        test.user = user
        test.run()
        assert [title.value for title in test.title] == ["Signed out"]
        assert not test.button


def test_a_sign_in_that_ended_stops_the_next_run(make_bench: Benches) -> None:
    bench = make_bench("hospital")
    test = view(bench, "steward", "approvals")
    assert test.title[0].value == "Approvals"
    bench.accounts.sign_out(str(test.user["sign_in"]))
    assert test.run().title[0].value == "Signed out"


# ---- researcher


def test_an_empty_list_offers_worked_examples_and_a_copy_becomes_a_draft(
    make_bench: Benches, consortium: Consortium
) -> None:
    bench = make_bench()
    test = view(bench, "researcher", "studies")
    assert "not answered yet" in words(test)
    consortium.show()
    seen(bench)
    test = view(bench, "researcher", "studies")
    assert "worked examples" in words(test)
    test.button(key="example-survival").click().run()
    (draft,) = bench.drafts.listing("researcher")
    assert "Heart failure" in draft.title


def test_a_draft_shows_errors_by_field_and_in_words_once_it_reads(
    make_bench: Benches, consortium: Consortium
) -> None:
    bench = make_bench()
    study = consortium.study("survival")
    identifier = bench.drafts.create("researcher", "Draft", study.to_yaml())
    test = view(bench, "researcher", "draft", id=identifier)
    assert "can be submitted" in words(test)
    assert "one row per patient" in words(test) or "sums over" in words(test)
    broken = study.to_yaml().replace("minimum_cell: 10", "minimum_cell: 2")
    test.text_area[0].set_value(broken).run()
    assert "disclosure" in words(test)
    assert bench.drafts.get(identifier, "researcher").text == broken


def test_a_new_study_cannot_be_submitted_with_the_words_of_the_template(make_bench: Benches) -> None:
    bench = make_bench()
    text = template(now(), bench.federation)
    identifier = bench.drafts.create("researcher", "New study", text)
    said = words(view(bench, "researcher", "draft", id=identifier)).replace("\\", "")
    assert "title, purpose.description, purpose.legal_basis" in said
    assert "still the text of the template" in said
    assert "can be submitted" not in said
    bench.drafts.save(identifier, "researcher", "Mine", in_own_words(text))
    assert "can be submitted" in words(view(bench, "researcher", "draft", id=identifier))


def test_a_draft_is_deleted_once_that_is_confirmed(make_bench: Benches, consortium: Consortium) -> None:
    bench = make_bench()
    text = consortium.study("count").to_yaml()
    kept, gone = (bench.drafts.create("researcher", name, text) for name in ("Kept", "Gone"))
    test = view(bench, "researcher", "draft", id=gone)
    assert len(bench.drafts.listing("researcher")) == 2
    press(test, "Delete it")
    assert [draft.id for draft in bench.drafts.listing("researcher")] == [kept]
    assert test.title[0].value == "Studies"


def test_another_persons_draft_and_result_are_refused(make_bench: Benches) -> None:
    bench = make_bench()
    identifier = bench.drafts.create("administrator", "Draft", "x")
    assert "No draft with this address is yours" in words(view(bench, "researcher", "draft", id=identifier))
    job = bench.jobs.start(
        Request("administrator", "researcher", "f" * 64, "a", "survival"), lambda _: Outcome({})
    )
    assert "No run with this address is yours" in words(view(bench, "researcher", "result", job=job))


def test_a_study_that_waits_names_the_hospitals_and_cannot_run(
    make_bench: Benches, consortium: Consortium
) -> None:
    bench = make_bench()
    study = consortium.study("survival")
    consortium.show(consortium.view(study, by=("north",)), silent=("node-d",))
    seen(bench)
    test = view(bench, "researcher", "study", id=study.digest)
    said = words(test)
    names = [consortium.federation.site(site).name for site in ("south", "west")]
    assert f"Waiting for the signature of {', '.join(names)}." in said
    assert "data stewards review and sign it" in said
    assert "3 of 4 answered" in said
    assert "The study is awaiting approval." in said
    assert not [button for button in test.button if button.label == "Run"]


def test_an_approved_study_runs_and_leads_to_its_result(
    make_bench: Benches, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    study = consortium.study("survival")
    consortium.show(consortium.view(study))
    seen(bench)
    asked = answer_with(monkeypatch, survival().model_dump(mode="json"))
    test = view(bench, "researcher", "study", id=study.digest)
    press(test, "Run")
    assert asked[0]["analysis"] == study.analyses[0].id
    job = wait(bench, "researcher")
    said = words(view(bench, "researcher", "result", job=job))
    assert "5.3 more months" in said
    assert "hidden" not in said.split("At risk")[0]
    assert "none saw a patient" in said


def test_a_count_shows_hidden_steps_and_when_it_is_stale(
    make_bench: Benches, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    study = consortium.study("feasibility")
    consortium.show(consortium.view(study))
    seen(bench)
    asked = answer_with(monkeypatch, count().model_dump(mode="json"))
    test = view(bench, "researcher", "count")
    assert "50 counts left" in words(test)
    assert "365 days" in words(test)
    press(test, "Count patients")
    assert "cohort" in asked[0]["parameters"]
    job = wait(bench, "researcher")
    test = view(bench, "researcher", "count", job=job)
    assert "hidden: fewer than 10" in words(test)
    assert "edited since" not in words(test)
    text = test.text_area[0].value
    test.text_area[0].set_value(text.replace("18 or more", "65 or more")).run()
    assert "edited since last count" in words(test)
    test.text_area[0].set_value(text.replace("enter on", "enter of")).run()
    assert "Line 5, column 7: 'of' cannot stand here; expected on" in words(test).replace("\\", "")
    assert [line.strip() for line in test.code[0].value.splitlines()][-1] == "^"
    assert [button.disabled for button in test.button if button.label == "Count patients"] == [True]


def test_a_cohort_is_picked_counted_on_and_made_into_a_study(
    make_bench: Benches, consortium: Consortium
) -> None:
    bench = make_bench()
    study = consortium.study("survival")
    consortium.show(consortium.view(study))
    seen(bench)
    drafted = consortium.study("count").to_yaml()
    bench.drafts.create("researcher", "Mine", drafted)
    bench.drafts.create("researcher", "Not YAML", "a: [")
    test = view(bench, "researcher", "count")
    own = test.text_area[0].value + "\n# mine\n"
    test.text_area[0].set_value(own).run()
    menu = test.selectbox(key="picked-cohort")
    kinds = [option.partition(" ")[0] for option in menu.options]
    assert kinds == ["Study"] * len(study.cohorts) + ["Draft", "Example:", "Example:", "Example:"]
    for label, text in [
        (menu.options[0], next(iter(study.cohorts.values()))),
        ("Example: hiv regimen", (EXAMPLES / "cohorts" / "hiv-regimen.cohort").read_text()),
        ("What you wrote before", own),
        ("Example: hiv regimen", (EXAMPLES / "cohorts" / "hiv-regimen.cohort").read_text()),
    ]:
        test.selectbox(key="picked-cohort").select(label).run()
        assert not test.exception
        assert test.text_area[0].value == text
        assert bench.drafts.kept_cohort("researcher") == text
    press(test, "Make a study of this cohort")
    (made, *_) = bench.drafts.listing("researcher")
    assert yaml.safe_load(made.text)["cohorts"] == {"patients": text}
    test.text_area[0].set_value("cohort of nothing").run()
    broken = view(bench, "researcher", "count")
    broken.text_area[0].set_value("cohort of nothing").run()
    assert [one.disabled for one in broken.button if one.label.startswith("Make a study")] == [True]


# ---- physician


def test_a_physician_reads_the_warning_before_and_after(
    make_bench: Benches, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("hospital")
    study = consortium.study("ranking")
    consortium.show(consortium.view(study))
    seen(bench)
    result = ranking()
    asked = answer_with(monkeypatch, result.model_dump(mode="json"))
    test = view(bench, "physician", "patient")
    assert WARNING in words(test)
    test.number_input[0].set_value(61)
    test.selectbox[0].set_value("B")
    test.radio[0].set_value("tested")
    test.multiselect(key="present").set_value(["marker_02"])
    assert sent_by_its_buttons_alone(test)
    press(test, "Find comparable patients")
    asked_facts = asked[0]["facts"]
    assert (asked_facts["age"], asked_facts["stage"]) == (61, "B")
    assert (asked_facts["marker_01"], asked_facts["marker_02"], len(asked_facts)) == (0, 1, 26)
    job = wait(bench, "physician")
    said = words(view(bench, "physician", "evidence", job=job))
    assert WARNING in said
    assert "No clear difference among regimen 014 and regimen 052" in said
    assert "97 treatments show no number" in said
    assert "same stage, up to 4 markers differ" in said
    assert "gone 8 hours after it came, or earlier if you sign out" in said
    kept = view(bench, "physician", "evidence")
    assert "answer is still in this server's memory" in words(kept)
    assert [badge.value for badge in kept.markdown if "done" in str(badge.value)]
    stored = bench.settings.database.read_bytes()
    assert b"regimen 014" not in stored


def test_a_physician_whom_no_study_names_is_told_so(make_bench: Benches, consortium: Consortium) -> None:
    bench = make_bench("hospital")
    consortium.show()
    seen(bench)
    assert "No study names you" in words(view(bench, "physician", "patient"))


# ---- steward


def test_an_inbox_without_studies_says_what_it_is_for(make_bench: Benches) -> None:
    bench = make_bench("hospital")
    said = words(view(bench, "steward", "approvals"))
    assert "No study has reached this hospital yet" in said
    assert "connector has not run yet" in said


def test_a_steward_reads_every_analysis_before_signing(
    make_bench: Benches, consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("hospital")
    study = consortium.study("ranking")
    upload = Upload(upload_id="u-1", study=study.digest, run=None, state="prepared", created_at=now())
    hospital = Hospital(SiteDirectory(shutil.copytree(consortium.folder / "north", tmp_path / "site")))
    with hospital.mailbox() as mailbox:
        mailbox.put_study(study, now())
        mailbox.put_statement(study.digest, consortium.envelopes(study, by=())[0], now())
    page = hospital.page(study.digest, now()).model_copy(update={"amends": "a" * 64, "uploads": (upload,)})
    monkeypatch.setattr(Hospital, "page", lambda *_: page)
    test = view(bench, "steward", "review", study=study.digest)
    said = words(test).replace("\\", "")
    (analysis,) = study.analyses
    printed = review_markdown(page)
    (line,) = [line for line in printed.splitlines() if line.startswith(f"- {analysis.id}: ")]
    assert "treatment ranking of cohort" in line
    assert all(f"{name} = " in line for name in ("tau", "treatments", "tiers"))
    assert line.partition(": ")[2] in said
    assert "treatments = 100: regimen 001 ... regimen 100; " in line
    (every,) = [line for line in printed.splitlines() if line.startswith("  - treatments, in full: ")]
    assert "regimen 056, regimen 057, regimen 058" in every
    assert every.strip(" -") in said
    assert "Replaces `aaaa" in said
    assert "declares its data synthetic" in said
    assert "upload u-1: " in said
    assert sent_by_its_buttons_alone(test)
    (variables,) = test.expander
    assert variables.proto.expanded
    order = [said.index(heading) for heading in ("Replaces", "Purpose:", "Analyses", "upload u-1")]
    assert order == sorted(order)


# ---- helpers


def sent_by_its_buttons_alone(test: AppTest) -> bool:
    """Whether Enter in a field of the page's form does nothing: it would press the form's first button."""
    (form,) = test.get("form")
    return not form.proto.form.enter_to_submit


def answer_with(monkeypatch: pytest.MonkeyPatch, result: dict) -> list[dict]:
    """Let every run be answered at once with this result; returns what was asked."""
    from workbench import runs

    asked: list[dict] = []

    def start_run(bench, person, view, entry, *, parameters=None, facts=None, set_aside=()):
        asked.append({"analysis": entry.id, "parameters": parameters, "facts": facts})
        role = "physician" if facts is not None else "researcher"
        request = Request(person.account, role, view.digest, entry.id, entry.kind, dict(parameters or {}))
        return bench.jobs.start(request, lambda _: Outcome(result))

    for module in ("study", "count", "patient"):
        monkeypatch.setattr(f"workbench.pages.{module}.start_run", start_run)
    assert runs.start_run is not start_run
    return asked


def wait(bench: Workbench, account: str) -> str:
    """The id of the account's latest job, once it is done."""
    import time

    for _ in range(300):
        jobs = bench.jobs.listing(account)
        if jobs and jobs[0].state == DONE:
            return jobs[0].id
        time.sleep(0.01)
    raise AssertionError("the job did not end")
