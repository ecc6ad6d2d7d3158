"""The consortium of the demonstration: who takes part, where everything of theirs lies, and its set-up."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance.federation import Federation, InvestigatorEntry
from governance.files import write_new
from mpc_backend.node.local import NODE_IDS, init_local_nodes
from site_connector.directory import SiteDirectory
from site_connector.setup import init_site, pin_federation
from workbench.demo.population import HOSPITALS
from workbench.identities import Identity, create_identity

OPERATORS: Final = ("University A", "Statistics Office B", "Patient Foundation C", "Computing Centre D")
HOSPITAL_WITH_WORKBENCH: Final = "north"
RESEARCHER, PHYSICIAN, STEWARD = "researcher", "physician", "steward"


@dataclass(frozen=True)
class Layout:
    """Folders of one demonstration under ``root``."""

    root: Path

    @property
    def federation_file(self) -> Path:
        """The file every party pins."""
        return self.root / "federation.json"

    @property
    def nodes(self) -> Path:
        """One folder per node."""
        return self.root / "nodes"

    @property
    def logs(self) -> Path:
        """Output of connectors, loads and workbenches."""
        return self.root / "logs"

    @property
    def vocabulary(self) -> Path:
        """The synthetic vocabulary export all hospitals load."""
        return self.root / "vocabulary"

    @property
    def passphrase_file(self) -> Path:
        """The stewards' passphrase, which a person would keep in mind."""
        return self.root / "steward-passphrase"

    def extract(self, hospital: str) -> Path:
        """What the hospital's systems export."""
        return self.root / "extracts" / hospital

    def site(self, hospital: str) -> SiteDirectory:
        """The hospital's site directory."""
        return SiteDirectory(self.root / "sites" / hospital)

    def workbench(self, kind: str) -> Path:
        """State of the researchers' or the hospital's workbench."""
        return self.root / f"workbench-{kind}"

    def account_identity(self, kind: str, account: str) -> Identity:
        """Keys of an account of a workbench, made if there are none."""
        return create_identity(self.workbench(kind) / "identities" / account)

    def identity(self, person: str) -> Identity:
        """A person's keys; those with an account have them where their workbench looks for them."""
        if person == RESEARCHER:
            return self.account_identity("research", RESEARCHER)
        if person == f"{PHYSICIAN}-{HOSPITAL_WITH_WORKBENCH}":
            return self.account_identity("hospital", PHYSICIAN)
        return create_identity(self.root / "people" / person)


def set_up(layout: Layout) -> Federation:
    """Make every node and site, agree on the federation file, and pin it at the sites."""
    layout.root.mkdir(parents=True, exist_ok=True)
    passphrase = secrets.token_urlsafe(18)
    write_new(layout.passphrase_file, passphrase.encode())
    entries = [
        init_site(
            layout.site(hospital).path,
            site_id=hospital,
            name=f"Hospital {hospital.capitalize()}",
            passphrase=passphrase.encode(),
            synthetic=True,
        )
        for hospital in HOSPITALS
    ]
    federation = Federation(
        name="Demonstration consortium",
        version=1,
        protocol="rep4",
        nodes=tuple(init_local_nodes(layout.nodes, OPERATORS, NODE_IDS)),
        sites=tuple(entries),
        investigators=(
            InvestigatorEntry(
                id=RESEARCHER,
                organisation="Research Institute",
                signing_key=layout.identity(RESEARCHER).signing.public,
            ),
        ),
    )
    federation.save(layout.federation_file)
    for hospital in HOSPITALS:
        pin_federation(layout.site(hospital), layout.federation_file, federation.digest)
    return federation


def people(layout: Layout) -> dict[str, Identity]:
    """Keys of every recipient of the example studies, by the recipient's id."""
    names = [RESEARCHER, *(f"{PHYSICIAN}-{hospital}" for hospital in HOSPITALS)]
    return {name: layout.identity(name) for name in names}
