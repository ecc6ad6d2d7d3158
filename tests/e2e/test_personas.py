"""The whole of it: `tessera demo` as a user starts it, and all three personas in a browser against what it serves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from mpc_backend.node.local import NODE_IDS
from tests.e2e.conftest import PATIENCE_MS, Account, Visitor
from tests.e2e.demonstrating import AtTerminal, processes_of
from workbench.demo.population import HOSPITALS
from workbench.parts.patient_form import readable

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(900)]
browser = pytest.mark.browser

Visit = Callable[[str], Visitor]
WORDS = (
    "--patients",
    "6000",
    "--patient",
    "advanced",
    "--patient",
    "missing-facts",
    "--patient",
    "common-genotype",
)
AGE = 46
PRESENT = [f"marker_{number:02}" for number in (2, 10, 12, 13, 14, 16, 20, 21, 22)]
SET_ASIDE = "regimen 002"
WARNING = "Research use only. Not a medical device; not for choosing treatment."
RUN_MS = 240_000
CHART = "[data-testid=stVegaLiteChart] :is(canvas, svg)"


@dataclass(frozen=True)
class World:
    """The consortium, and how its people sign in."""

    demo: AtTerminal
    accounts: dict[str, Account]
    logs: Path

    @property
    def passphrase(self) -> str:
        """The stewards' passphrase."""
        return self.demo.layout.passphrase_file.read_text()

    def approve_elsewhere(self, digest: str) -> None:
        """Let the stewards of the two hospitals without a workbench sign."""
        self.demo.approve(["south", "west"], digest, self.logs)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("consortium")
    with AtTerminal(folder / "root", folder / "said", WORDS) as demo:
        demo.await_answers()
        accounts = {name: Account(url, name, password) for url, name, password in demo.accounts()}
        yield World(demo, accounts, folder / "logs")


def test_the_demonstration_answers_every_question(world: World) -> None:
    report = world.demo.report
    assert report["agrees"]
    assert [story["differences"] for story in report["stories"]] == [[]] * 6
    assert {story["result"]["kind"] for story in report["stories"]} == {
        "cohort_count",
        "survival",
        "treatment_ranking",
    }
    assert set(report["peak_mib"]) == {
        "demonstration",
        *(f"{kind}-{hospital}" for kind in ("load", "site") for hospital in HOSPITALS),
        *NODE_IDS,
    }
    for name, mib in report["peak_mib"].items():
        assert 20 < mib < 1024, (name, mib)
    assert set(world.accounts) == {"researcher", "physician", "steward"}


def enter(visit: Visit, world: World, name: str, path: str = "/") -> Visitor:
    account = world.accounts[name]
    visitor = visit(account.url)
    visitor.sign_in(account.name, account.password, path)
    return visitor


@browser
def test_a_study_from_draft_over_three_signatures_to_its_count(visit: Visit, world: World) -> None:
    researcher = enter(visit, world, "researcher", "/studies")
    digest = submit_example(researcher, "Adults with type 2 diabetes on metformin")
    sign_as_steward(enter(visit, world, "steward"), world, digest)
    world.approve_elsewhere(digest)

    researcher.go(f"/study?id={digest}")
    researcher.looks_until("20 runs left")
    researcher.shot("study-approved")
    researcher.page.get_by_role("button", name="Run").click()
    researcher.page.wait_for_url("**/result?job=*")
    researcher.shot("run-progress")
    researcher.page.reload()
    researcher.page.get_by_text("patients are in the cohort").wait_for(timeout=RUN_MS)
    researcher.page.locator(CHART).first.wait_for()
    researcher.shot("count-attrition")
    researcher.page.get_by_role("tab", name="Provenance").click()
    researcher.sees("4 independent nodes attest the same run")
    researcher.shot("count-provenance")


def submit_example(visitor: Visitor, title: str) -> str:
    """Copy a worked example, sign and submit it; returns the study's digest."""
    page = visitor.page
    visitor.looks_until("second-line")
    page.get_by_test_id("stExpander").get_by_text("Worked examples").click()
    card = page.locator("[data-testid=stColumn]").filter(has_text=title)
    card.get_by_role("button", name="Copy as draft").last.click()
    visitor.sees("What leaves each hospital")
    page.get_by_role("radio", name="Submit").or_(page.get_by_role("button", name="Submit")).first.click()
    page.get_by_text("I will use the results for the stated purpose only").click()
    visitor.shot("draft-submit")
    page.get_by_role("button", name="Sign and submit").click()
    page.wait_for_url("**/study?id=*")
    visitor.sees("Waiting for the signature of Hospital North, Hospital South, Hospital West.")
    (digest,) = parse_qs(urlsplit(page.url).query)["id"]
    return digest


def sign_as_steward(visitor: Visitor, world: World, digest: str) -> None:
    """Review the study on the one page and sign it, after a refusal for a wrong passphrase."""
    page = visitor.page
    visitor.looks_until("waiting for your decision,")
    visitor.shot("inbox")
    for _ in range(60):  # the connector tries the study on the hospital's data first
        visitor.go(f"/review?study={digest}")
        visitor.page.wait_for_timeout(1_500)
        if page.get_by_text("persons in the data").count():
            break
    visitor.sees("Who would have to collude")
    visitor.shot("review")
    page.get_by_role("textbox", name="type the study's short name").fill("diabetes-count")
    page.get_by_label("Passphrase of your signing key").fill("not the passphrase")
    page.get_by_role("button", name="Approve and sign").click()
    visitor.sees("passphrase is wrong")
    page.get_by_label("Passphrase of your signing key").fill(world.passphrase)
    page.get_by_role("button", name="Approve and sign").click()
    visitor.sees("Signed: approve")
    visitor.go("/ledger")
    visitor.sees("entries, in a chain")
    visitor.shot("ledger")


@browser
def test_survival_curves_with_their_table(visit: Visit, world: World) -> None:
    visitor = enter(visit, world, "researcher", f"/study?id={world.demo.digest('second-line')}")
    page = visitor.page
    visitor.looks_until("runs left")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("months without the event than").wait_for(timeout=RUN_MS)
    page.locator(CHART).first.wait_for()
    visitor.shot("survival-curves")
    page.get_by_text("Crude curves").click()
    visitor.sees("differences may come from who got which treatment")
    visitor.shot("survival-crude")
    page.get_by_role("tab", name="Numbers and tests").click()
    visitor.sees("Log-rank")
    visitor.shot("survival-numbers")
    page.get_by_role("tab", name="At-risk table").click()
    visitor.shot("survival-at-risk")


@browser
def test_a_feasibility_count_shows_counts_left_and_staleness(visit: Visit, world: World) -> None:
    visitor = enter(visit, world, "researcher", "/count")
    page = visitor.page
    visitor.looks_until("Concept sets this study allows")
    visitor.sees("49 counts left")
    page.get_by_role("button", name="Count patients").click()
    page.get_by_text("patients are in the cohort").wait_for(timeout=RUN_MS)
    page.locator(CHART).first.wait_for()
    visitor.shot("feasibility-count")
    editor = page.get_by_label("Cohort definition")
    expect(editor).not_to_have_value("", timeout=PATIENCE_MS)
    editor.fill(editor.input_value().replace("18 or more", "65 or more"))
    editor.press("Control+Enter")
    visitor.sees("edited since last count")
    visitor.looks_until("48 counts left")


@browser
def test_a_physician_asks_for_one_patient_of_whom_nothing_is_kept(visit: Visit, world: World) -> None:
    visitor = enter(visit, world, "physician")
    page = visitor.page
    visitor.sees(WARNING)
    visitor.looks_until("questions left under this study")
    describe(page)
    visitor.shot("patient")
    page.get_by_role("button", name="Find comparable patients").click()
    page.wait_for_url("**/evidence?job=*")
    page.get_by_text("comparable patients, matched as").wait_for(timeout=RUN_MS)
    visitor.sees(WARNING)
    visitor.sees("treatments show no number")
    visitor.shot("evidence")
    page.reload()
    page.get_by_text("comparable patients, matched as").wait_for()
    page.get_by_role("tab", name="How this was found").click()
    visitor.sees("Observational")
    visitor.sees("Not matched on, since missing for this patient: Marker 24.")
    visitor.sees(f"Set aside as not possible for this patient: {SET_ASIDE}.")
    visitor.shot("evidence-how")
    page.get_by_role("link", name="All answers").click()
    page.get_by_text("asked", exact=False).first.click()
    visitor.sees("comparable patients, matched as")
    assert traces(world.demo.layout.root) == []


def describe(page: Page) -> None:
    """Type in a patient: age, stage, genotype, a marker that is not known, a treatment that is not possible."""
    page.get_by_label("Age", exact=True).fill(str(AGE))
    pick(page, "Stage", "B")
    page.get_by_text("tested", exact=True).click()
    for marker in PRESENT:
        pick(page, "Markers present", readable(marker))
    pick(page, "Markers not known", readable("marker_24"))
    pick(page, "Treatments this patient cannot receive", SET_ASIDE)
    for marker in PRESENT:
        expect(page.get_by_test_id("stMultiSelect").filter(has_text="Markers present")).to_contain_text(
            readable(marker)
        )


def pick(page: Page, label: str, option: str) -> None:
    """Choose an option of a menu."""
    page.get_by_role("combobox", name=label).fill(option)
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def traces(root: Path) -> list[str]:
    """Files that hold a fact that was typed, or the answer: as JSON, as keyword arguments, as a list of markers.

    Names of variables, markers and treatments alone are no traces: the signed study holds them all.
    """
    first, second = (name[-2:].encode() for name in PRESENT[:2])
    spellings = (
        rb"\b(age|stage|marker_\d\d)[\"'\\]*\s*[:=]\s*[\"'\\]*(%d|B|[01])\b" % AGE,
        rb"(?i:marker.%s\W{1,6}marker.%s)" % (first, second),
        rb"cannot_be_ruled_out|not_matched_on|cannot_receive",
    )
    sought = re.compile(b"|".join(spellings))
    files = [file for file in root.rglob("*") if file.is_file()]
    assert {"nodes", "sites", "logs", "workbench-hospital"} <= {
        file.relative_to(root).parts[0] for file in files
    }
    found = {file: sought.search(file.read_bytes()) for file in files}
    return [f"{file.relative_to(root)}: {hit[0]!r}" for file, hit in found.items() if hit]


def test_interrupted_while_it_serves_it_ends_everything(world: World) -> None:
    """The last test with the consortium."""
    root = world.demo.layout.root
    assert len(processes_of(root)) > len(NODE_IDS) + len(HOSPITALS)
    assert world.demo.interrupt() == 0
    assert "Traceback" not in world.demo.said()
    assert processes_of(root) == []


@pytest.mark.parametrize(
    "kept",
    [
        '{"age": 46}',
        '\\"age\\":46',
        "facts={'marker_02': 1}",
        "age=46 stage=None",
        '["marker_02", "marker_10"]',
        "Marker 02, Marker 10",
        '{"cannot_receive": ["regimen 002"]}',
    ],
)
def test_traces_are_found_where_there_are_any(kept: str, tmp_path: Path) -> None:
    for folder in ("nodes", "sites", "logs", "workbench-hospital"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clean").write_text(
            '"age": {"kind": "age"}, "stage", ["marker_01", "marker_02"]'
        )
    assert traces(tmp_path) == []
    (tmp_path / "logs" / "one.log").write_text(kept)
    assert len(traces(tmp_path)) == 1
