"""What others wrote is shown as they wrote it: no page reads Markdown, HTML or formulas in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from governance.approval import SiteDecision
from governance.envelope import sign_document
from governance.study import StudyProtocol
from site_connector.directory import SiteDirectory
from site_connector.mailbox import Mailbox
from site_connector.models import AttritionStep, CohortPreview, DryRun, UnmappedCode
from site_connector.review import review_page
from site_connector.review_text import review_markdown
from tests.workbench.conftest import Benches, Consortium
from tests.workbench.foreign import (
    DESCRIPTION,
    LABEL,
    MARKS,
    ORGANISATION,
    TITLE,
    shown,
    tempting,
    with_foreign_texts,
)
from tests.workbench.samples import estimate, ranking
from tests.workbench.test_pages import answer_with, press, seen, view, wait
from workbench.store import now
from workbench.study_words import explain_study

READ_AS_MARKDOWN = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success")


def markdown_of(test: AppTest) -> Iterator[str]:
    """Everything on a page that Streamlit reads as Markdown, cells and labels of tables included."""
    for kind in READ_AS_MARKDOWN:
        yield from (str(element.value) for element in getattr(test, kind))
    yield from (expander.label for expander in test.expander)
    for table in test.table:
        frame = table.value
        yield from (str(one) for one in [*frame.columns, *frame.index, *frame.to_numpy().flatten()])


def check(test: AppTest, *expected: str) -> None:
    """Nothing of a foreign text is live, and every expected one is shown whole."""
    assert not test.exception
    found = list(markdown_of(test))
    for one in found:
        assert tempting(one) == [], one
    said = [*map(shown, found), *(str(element.value) for element in test.text)]
    for text in expected:
        assert any(text in one for one in said), text


@pytest.fixture
def study(consortium: Consortium) -> StudyProtocol:
    return with_foreign_texts(consortium.study("survival"))


@pytest.fixture
def mailbox(consortium: Consortium, study: StudyProtocol) -> Iterator[Mailbox]:
    """The hospital's mailbox with the study, a decision from elsewhere, a dry run, and a note."""
    directory = SiteDirectory(consortium.folder / "north")
    step = AttritionStep(label=LABEL, persons=0)
    code = UnmappedCode(domain="condition", code=MARKS, records=1, persons=1)
    here = CohortPreview(
        name=next(iter(study.cohorts)),
        population=9,
        attrition=(step,),
        emptied_by=LABEL,
        note=MARKS,
        sought=(MARKS,),
        unmapped=(code,),
    )
    declined = SiteDecision(
        study_digest=study.digest, site="south", decision="decline", reason=ORGANISATION, decided_at=now()
    )
    with Mailbox(directory.mailbox, consortium.federation, "north") as opened:
        opened.put_study(study, now())
        envelopes = consortium.envelopes(study, by=())
        for envelope in [*envelopes, sign_document(declined, consortium.stewards["south"])]:
            opened.put_statement(study.digest, envelope, now())
        problems = (f"cohort x: {MARKS}",)
        opened.put_dry_run(
            study.digest, DryRun(snapshot="s", made_at=now(), cohorts=(here,), problems=problems)
        )
        opened.put_note(study.digest, f"node-b: {MARKS}")
        yield opened
    directory.mailbox.unlink()


def test_the_stewards_pages(make_bench: Benches, mailbox: Mailbox, study: StudyProtocol) -> None:
    bench = make_bench("hospital")
    check(view(bench, "steward", "approvals"), TITLE, ORGANISATION)
    page = view(bench, "steward", "review", study=study.digest)
    said = (TITLE, DESCRIPTION.strip(), MARKS, f"> {MARKS}", LABEL, ORGANISATION, f"1. {LABEL}")
    check(
        page, *said, f"node-b: {MARKS}", f"cohort x: {MARKS}", f"Nobody is left after: **{LABEL}** ({MARKS})"
    )


def test_the_printed_page(mailbox: Mailbox, consortium: Consortium, study: StudyProtocol) -> None:
    settings = SiteDirectory(consortium.folder / "north").settings()
    item = mailbox.item(study.digest, now())
    text = review_markdown(
        review_page(consortium.federation, settings, item, mailbox.spent(item.digest), now())
    )
    assert tempting(text) == []
    for expected in (
        f"# {TITLE}",
        f"## {MARKS}",
        f"Ethics: > {MARKS}",
        f": {ORGANISATION}",
        f"| {LABEL} | 0 |",
    ):
        assert expected in shown(text), expected
    (row,) = [line for line in text.splitlines() if line.endswith("| 0 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3, "two cells"
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 12, "none but ours"


def test_the_researchers_pages(make_bench: Benches, consortium: Consortium, study: StudyProtocol) -> None:
    bench = make_bench()
    consortium.show(consortium.view(study, by=("north",)))
    seen(bench)
    check(view(bench, "researcher", "studies"), TITLE)
    check(view(bench, "researcher", "study", id=study.digest), TITLE, MARKS, LABEL, ORGANISATION)
    draft = bench.drafts.create("researcher", TITLE, study.to_yaml())
    check(view(bench, "researcher", "draft", id=draft), TITLE, MARKS, LABEL)
    check(view(bench, "researcher", "studies"), TITLE)
    assert tempting(explain_study(study, consortium.federation)) == []


def test_the_physicians_pages(
    make_bench: Benches, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench("hospital")
    study = with_foreign_texts(consortium.study("ranking"))
    consortium.show(consortium.view(study))
    seen(bench)
    result = ranking(estimate(LABEL, 21.4, best=True), estimate("b", 20.0, best=False), tier=MARKS)
    answer_with(monkeypatch, result.model_dump(mode="json"))
    page = view(bench, "physician", "patient")
    check(page, TITLE)
    page.number_input[0].set_value(61)
    press(page, "Find comparable patients")
    evidence = view(bench, "physician", "evidence", job=wait(bench, "physician"))
    check(evidence, LABEL, f"matched as “{MARKS}”")


def test_an_error_that_quotes_others(make_bench: Benches, consortium: Consortium) -> None:
    bench = make_bench()
    text = (
        consortium.study("count")
        .to_yaml()
        .replace("kind: cohort_count", f'kind: cohort_count\n  "{MARKS[:20]}": 1')
    )
    check(view(bench, "researcher", "draft", id=bench.drafts.create("researcher", "Draft", text)), MARKS[:20])
