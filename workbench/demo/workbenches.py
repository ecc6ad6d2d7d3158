"""The two workbenches of the demonstration: the researchers' shared one, and one inside Hospital North."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mpc_backend.node.local import free_addresses
from workbench.context import open_workbench
from workbench.demo.certificates import LOOPBACK, make_certificate
from workbench.demo.examples import examples_folder
from workbench.demo.layout import HOSPITAL_WITH_WORKBENCH, PHYSICIAN, RESEARCHER, STEWARD
from workbench.demo.runner import Demonstration
from workbench.settings import Kind, WorkbenchSettings, write_settings

ROLES = {"research": (RESEARCHER,), "hospital": (PHYSICIAN, STEWARD)}


@dataclass(frozen=True)
class Account:
    """One account of the demonstration."""

    workbench: str
    url: str
    name: str
    password: str


class Workbenches:
    """Both workbenches, as processes of their own, with an account for each role. They speak TLS, as on a hospital's network.

    ``certificates``: the self-signed certificate of each, by the kind of workbench.
    """

    def __init__(self, demonstration: Demonstration) -> None:
        self._layout = demonstration.layout
        self._processes = demonstration.processes
        self.accounts: list[Account] = []
        self.certificates: dict[str, Path] = {}

    def start(self) -> None:
        """Make the accounts, start both, and wait until they answer.

        Raises:
            DemonstrationFailed: one ended, or does not answer in time.
        """
        research, hospital = (address.rpartition(":")[2] for address in free_addresses(2))
        urls = {
            "research": self._start("research", int(research)),
            "hospital": self._start("hospital", int(hospital)),
        }
        for kind, url in urls.items():
            self._processes.await_page(f"workbench-{kind}", url, self.certificates[kind])

    def lines(self) -> Iterator[str]:
        """What to open and how to sign in; and where the steward's passphrase lies."""
        for account in self.accounts:
            yield f"{account.workbench} workbench  {account.url}  {account.name} / {account.password}"
        yield f"The steward signs with the passphrase in {self._layout.passphrase_file}."
        yield "The browser warns once for each workbench, for its certificate is made for this demonstration and self-signed:"
        for kind, certificate in self.certificates.items():
            yield f"{kind} workbench  {certificate}"
        yield "Ctrl-C ends everything."

    def _start(self, kind: Kind, port: int) -> str:
        settings = self._settings(kind, port)
        accounts = open_workbench(settings).accounts
        url = f"https://{LOOPBACK}:{port}"
        for role in ROLES[kind]:
            password = secrets.token_urlsafe(12)
            accounts.add(role, password, [role], role.capitalize())
            self._layout.account_identity(kind, role)
            self.accounts.append(Account(kind, url, role, password))
        file = settings.state_dir / "settings.toml"
        write_settings(file, settings)
        self._processes.start(f"workbench-{kind}", ["workbench", "--settings", str(file)])
        return url

    def _settings(self, kind: Kind, port: int) -> WorkbenchSettings:
        hospital = self._layout.site(HOSPITAL_WITH_WORKBENCH).path if kind == "hospital" else None
        title = f"Hospital {HOSPITAL_WITH_WORKBENCH.capitalize()}" if hospital else "Research Institute"
        state = self._layout.workbench(kind)
        state.mkdir(parents=True, exist_ok=True)
        certificate, key = make_certificate(state, title)
        self.certificates[kind] = certificate
        return WorkbenchSettings(
            kind=kind,
            title=title,
            state_dir=state,
            federation=self._layout.federation_file,
            site_dir=hospital,
            examples_dir=examples_folder(),
            host=LOOPBACK,
            port=port,
            tls_certificate=certificate,
            tls_key=key,
        )
