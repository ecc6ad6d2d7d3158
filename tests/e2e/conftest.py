"""Chromium, and workbenches as real processes: without nodes for what needs none, with a whole consortium else."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, expect, sync_playwright

from mpc_backend.node.local import free_addresses
from workbench.accounts import accounts_of
from workbench.demo.layout import Layout, people, set_up
from workbench.demo.processes import Processes
from workbench.identities import create_identity
from workbench.settings import WorkbenchSettings, write_settings
from workbench.store import open_store

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_MS = 60_000
AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"
"""A page that is drawn to its end. A change of page that meets a redraw can leave the new page empty."""


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """A machine that runs other work beside the tests is slow to start processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.demo.processes.READY_SECONDS", 280.0)
        patch.setattr("mpc_backend.node.local.START_SECONDS", 280.0)
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ends with the module: while Playwright is open, its event loop is the thread's, and no other test could run one."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """One person's browser. ``hosts``: every host any page asked for anything."""

    base: str
    context: BrowserContext
    page: Page
    hosts: set[str] = field(default_factory=set)

    def sign_in(self, name: str, password: str, path: str = "/") -> None:
        """Sign in by the form and wait for the first page."""
        self.page.goto(self.base + path)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.heading()

    def go(self, path: str) -> None:
        """Open an address of the workbench."""
        self.page.goto(self.base + path)
        self.heading()

    def heading(self) -> str:
        """The page's title, once it is drawn."""
        first = self.page.locator("h1").first
        first.wait_for()
        return first.inner_text()

    def sees(self, text: str) -> None:
        """Wait until the page shows a text."""
        try:
            self.page.get_by_text(text).first.wait_for()
        except TimeoutError as error:
            shown = self.page.locator("body").inner_text()
            raise AssertionError(f"{self.page.url} does not show {text!r}, but: {shown}") from error

    def looks_until(self, text: str, rounds: int = 60) -> None:
        """Press “Look again” until the page shows a text, and wait until it is drawn to its end."""
        for _ in range(rounds):
            try:
                self.page.get_by_text(text).first.wait_for(timeout=2_000)
            except TimeoutError:
                self.page.get_by_role("button", name="Look again").click()
            else:
                break
        self.sees(text)
        self.page.locator(AT_REST).wait_for()

    def shot(self, name: str) -> None:
        """A screenshot, where the environment names a folder for them."""
        if SHOTS is None:
            return
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PATIENCE_MS)
        self.page.wait_for_timeout(600)
        self.page.screenshot(path=str(SHOTS / f"{name}.png"))


SHOTS: Path | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shots", default=None, help="folder for screenshots of the browser tests")


def pytest_configure(config: pytest.Config) -> None:
    global SHOTS  # noqa: PLW0603
    given = config.getoption("--shots", default=None)
    SHOTS = Path(given) if given else None


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[[str], Visitor]]:
    """Open a browser on a workbench; afterwards no host but the workbench may have been asked for anything."""
    visitors: list[Visitor] = []

    def start(base: str) -> Visitor:
        context = chromium.new_context(viewport={"width": 1280, "height": 1100}, ignore_https_errors=True)
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(base, context, context.new_page())
        visitor.page.on("request", lambda request: visitor.hosts.add(urlsplit(request.url).netloc))
        visitors.append(visitor)
        return visitor

    yield start
    for visitor in visitors:
        visitor.context.close()
        assert visitor.hosts <= {urlsplit(visitor.base).netloc, ""}, "a page asked a foreign host"


@dataclass(frozen=True)
class Account:
    """How one person signs in, and where."""

    url: str
    name: str
    password: str


@pytest.fixture(scope="module")
def on_paper(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A consortium that is set up, and of which nothing runs."""
    layout = Layout(tmp_path_factory.mktemp("without-nodes") / "root")
    set_up(layout)
    people(layout)
    return layout


@pytest.fixture(scope="module")
def without_nodes(on_paper: Layout) -> Iterator[dict[str, Account]]:
    """Both workbenches, as processes; the federation's nodes exist on paper only. Accounts by role."""
    layout = on_paper
    accounts: dict[str, Account] = {}
    with Processes(layout.logs) as processes:
        for kind, roles in (
            ("research", ["researcher", "administrator"]),
            ("hospital", ["physician", "steward"]),
        ):
            port = int(free_addresses(1)[0].rpartition(":")[2])
            settings = WorkbenchSettings(
                kind=kind,
                title="Example",
                state_dir=layout.workbench(kind),
                federation=layout.federation_file,
                site_dir=layout.site("north").path if kind == "hospital" else None,
                examples_dir=EXAMPLES,
                port=port,
            )
            made = accounts_of(open_store(settings.database), settings)
            for role in roles:
                account = Account(f"http://127.0.0.1:{port}", role, secrets.token_urlsafe(12))
                made.add(role, account.password, [role], role.capitalize())
                create_identity(settings.identities / role)
                accounts[role] = account
            file = settings.state_dir / "settings.toml"
            write_settings(file, settings)
            processes.start(f"workbench-{kind}", ["workbench", "--settings", str(file)])
        for account in {account.url: account for account in accounts.values()}.values():
            kind = "research" if account.name in ("researcher", "administrator") else "hospital"
            processes.await_page(f"workbench-{kind}", f"{account.url}/_stcore/health")
        yield accounts
