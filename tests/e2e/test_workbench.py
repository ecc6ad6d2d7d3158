"""The workbench in a browser, where no node is needed: the door, denials, cohorts in words, drafts that survive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Account, Visitor

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
    expect(editor).not_to_have_value("")
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
    expect(visitor.page.get_by_label("Cohort definition")).to_have_value(text.replace("365", "180"))
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
