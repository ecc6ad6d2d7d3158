"""The workbench in a browser, where no node is needed: the door, denials, cohorts in words, drafts that survive."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from governance.approval import InvestigatorSubmission
from governance.envelope import sign_document
from governance.federation import Federation
from governance.study import StudyProtocol
from site_connector.mailbox import Mailbox
from site_connector.models import AttritionStep, CohortPreview, DryRun
from site_connector.plain import JOINER
from tests.e2e.conftest import PATIENCE_MS, Account, Visitor
from tests.workbench.foreign import DESCRIPTION, LABEL, MARKS, ORGANISATION, TITLE, with_foreign_texts
from workbench.demo.layout import Layout, people
from workbench.demo.studies import example_study
from workbench.store import now

pytestmark = [pytest.mark.browser, pytest.mark.processes]

Visit = Callable[[str], Visitor]
Accounts = dict[str, Account]


def test_the_door(visit: Visit, without_nodes: Accounts) -> None:
    account = without_nodes["researcher"]
    visitor = visit(account.url)
    answer = visitor.page.goto(f"{account.url}/count")
    assert answer is not None
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "/sign-in" in visitor.page.url
    visitor.page.get_by_label("Name").fill(account.name)
    visitor.page.get_by_label("Password").fill("not the password")
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.sees("Wrong name or password.")
    visitor.shot("sign-in-refused")
    visitor.page.get_by_label("Name").fill(account.name)
    visitor.page.get_by_label("Password").fill(account.password)
    visitor.page.get_by_role("button", name="Sign in").click()
    assert visitor.heading() == "Count patients"
    (cookie,) = [one for one in visitor.context.cookies() if one["name"] == "tessera_sign_in"]
    assert cookie["httpOnly"]
    visitor.page.reload()
    assert visitor.heading() == "Count patients"
    visitor.page.get_by_role("link", name="Sign out").click()
    visitor.sees("You are signed out.")
    assert len(visitor.context.pages) == 1, "no other tab"
    visitor.page.goto(account.url)
    assert "/sign-in" in visitor.page.url


def test_a_research_workbench_refuses_physician_and_steward_pages(
    visit: Visit, without_nodes: Accounts
) -> None:
    account = without_nodes["researcher"]
    visitor = visit(account.url)
    visitor.sign_in(account.name, account.password)
    for path in ("/patient", "/evidence", "/approvals", "/review", "/ledger"):
        visitor.go(path)
        visitor.sees("exists only at a hospital's own workbench")
    visitor.shot("denied-at-research")


def test_roles_at_a_hospital(visit: Visit, without_nodes: Accounts) -> None:
    for role, foreign in (("physician", "/approvals"), ("steward", "/patient")):
        account = without_nodes[role]
        visitor = visit(account.url)
        visitor.sign_in(account.name, account.password)
        visitor.go(foreign)
        visitor.sees("is for the role")
        visitor.shot(f"denied-{role}")


def test_a_cohort_is_checked_and_said_in_words_and_survives_a_reload(
    visit: Visit, without_nodes: Accounts
) -> None:
    account = without_nodes["researcher"]
    visitor = visit(account.url)
    visitor.sign_in(account.name, account.password, "/count")
    visitor.sees("The person must have been under continuous observation for at least 365 days")
    editor = visitor.page.get_by_label("Cohort definition")
    expect(editor).not_to_have_value("", timeout=PATIENCE_MS)
    text = editor.input_value()
    editor.fill(text.replace("enter on", "enter of"))
    editor.press("Control+Enter")
    visitor.sees("line 5, column 7")
    visitor.shot("cohort-error")
    editor.fill(text.replace("365", "180"))
    editor.press("Control+Enter")
    visitor.sees("at least 180 days")
    visitor.page.reload()
    visitor.sees("at least 180 days")
    expect(visitor.page.get_by_label("Cohort definition")).to_have_value(
        text.replace("365", "180"), timeout=PATIENCE_MS
    )
    visitor.shot("cohort-in-words")


def test_a_worked_example_becomes_a_draft_in_words(visit: Visit, without_nodes: Accounts) -> None:
    account = without_nodes["researcher"]
    visitor = visit(account.url)
    visitor.sign_in(account.name, account.password, "/studies")
    visitor.looks_until("0 of 4 answered")
    visitor.shot("studies-empty")
    card = visitor.page.locator("[data-testid=stColumn]").filter(has_text="Heart failure or death")
    card.get_by_role("button", name="Copy as draft").last.click()
    visitor.sees("What leaves each hospital")
    visitor.shot("draft-in-words")
    visitor.page.get_by_text("What leaves, what it costs").click()
    visitor.sees("by each node")
    visitor.shot("draft-plan")
    visitor.go("/studies")
    visitor.looks_until("last changed")


def test_an_empty_inbox_and_a_physician_without_study(visit: Visit, without_nodes: Accounts) -> None:
    steward = without_nodes["steward"]
    visitor = visit(steward.url)
    visitor.sign_in(steward.name, steward.password)
    visitor.sees("No study has reached this hospital yet")
    visitor.shot("inbox-empty")
    physician = without_nodes["physician"]
    visitor = visit(physician.url)
    visitor.sign_in(physician.name, physician.password)
    visitor.looks_until("0 of 4 answered")
    visitor.sees("Not a medical device; not for choosing treatment.")
    visitor.shot("patient-empty")


def test_what_others_wrote_is_neither_markdown_nor_html(
    visit: Visit, without_nodes: Accounts, on_paper: Layout
) -> None:
    """As the browser shows it in the end: no link, picture, formula, heading or letter of another kind."""
    study = put_into_mailbox(on_paper)
    account = without_nodes["steward"]
    visitor = visit(account.url)
    visitor.sign_in(account.name, account.password, "/approvals")
    shows_as_written(visitor, TITLE, ORGANISATION)
    visitor.go(f"/review?study={study.digest}")
    assert visitor.heading().replace(JOINER, "") == TITLE
    visitor.sees("Who would have to collude")
    shows_as_written(visitor, TITLE, DESCRIPTION, f"> {MARKS}", LABEL, ORGANISATION, f"cohort x: {MARKS}")
    visitor.shot("review-foreign")


def put_into_mailbox(layout: Layout) -> StudyProtocol:
    """A study whose author wrote tempting texts, as the connector of the hospital would have taken it in."""
    recipients = people(layout)
    federation = Federation.load(layout.federation_file)
    study = with_foreign_texts(example_study("survival", federation, recipients["researcher"], recipients))
    said = InvestigatorSubmission(study_digest=study.digest, submitted_at=now())
    here = CohortPreview(name="second_line", population=9, attrition=(AttritionStep(label=LABEL, persons=9),))
    with Mailbox(layout.site("north").mailbox, federation, "north") as mailbox:
        mailbox.put_study(study, now())
        mailbox.put_statement(study.digest, sign_document(said, recipients["researcher"].signing), now())
        found = DryRun(snapshot="s", made_at=now(), cohorts=(here,), problems=(f"cohort x: {MARKS}",))
        mailbox.put_dry_run(study.digest, found)
    return study


def shows_as_written(visitor: Visitor, *texts: str) -> None:
    main = visitor.page.locator("[data-testid=stMain]")
    visitor.sees("big [link](http:")
    said = " ".join(main.inner_text().replace(JOINER, "").split())
    for text in texts:
        assert " ".join(text.split()) in said, text
    for made in (
        "a[href*='http://x']",
        "img[src*='http://x']",
        "[href^=mailto]",
        ".katex",
        "del",
        "em",
        "u",
        "b",
    ):
        assert main.locator(made).count() == 0, made
    ours = re.compile(r"second-line|^[0-9a-f]{64}$")
    assert main.locator("code", has_text="c").filter(has_not_text=ours).count() == 0
