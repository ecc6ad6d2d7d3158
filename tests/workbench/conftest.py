"""A workbench without running nodes: real accounts, drafts, jobs, signatures and a site directory; what the
nodes would say is what the test put in place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
import yaml
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.approval import InvestigatorSubmission, SiteDecision
from governance.envelope import Envelope, sign_document
from governance.federation import Federation, NodeEntry, SiteEntry
from governance.keys import SealingKey, SigningKey
from governance.study import StudyProtocol
from mpc_backend.transport.certificates import node_uri, self_signed
from site_connector.directory import SiteDirectory
from site_connector.setup import init_site, pin_federation
from workbench import context
from workbench.accounts import Accounts
from workbench.consortium import NodeView, Snapshot, StudyView, view_study
from workbench.context import Workbench
from workbench.drafts import Drafts
from workbench.identities import Identity, create_identity
from workbench.jobs import Jobs
from workbench.network import Network
from workbench.settings import Kind, WorkbenchSettings
from workbench.store import now, open_store
from workbench.study_check import complete_study

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSWORD = "correct horse battery"
PASSPHRASE = "steward passphrase"
PEOPLE = {
    "researcher": "researcher",
    "physician": "physician",
    "steward": "steward",
    "administrator": "administrator",
}


@dataclass
class Consortium:
    """A federation with the keys of everybody in it, and what its nodes would show."""

    folder: Path
    federation: Federation
    stewards: dict[str, SigningKey]
    researcher: Identity
    physician: Identity
    snapshot: Snapshot | None = None

    def study(self, name: str) -> StudyProtocol:
        """A worked example, completed for this federation."""
        draft = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
        for person in draft["recipients"]:
            if person["role"] == "physician":
                keys = self.physician if person["site"] == "north" else None
                person["signing_key"] = keys.signing.public if keys else SigningKey.generate().public
                person["sealing_key"] = keys.sealing.public if keys else SealingKey.generate().public
        return complete_study(yaml.safe_dump(draft), self.federation, self.researcher)

    def envelopes(self, study: StudyProtocol, *, by: tuple[str, ...]) -> list[Envelope]:
        """The investigator's signature and those of these hospitals."""
        said = InvestigatorSubmission(study_digest=study.digest, submitted_at=now())
        found = [sign_document(said, self.researcher.signing)]
        for site in by:
            decision = SiteDecision(
                study_digest=study.digest, site=site, decision="approve", decided_at=now()
            )
            found.append(sign_document(decision, self.stewards[site]))
        return found

    def view(self, study: StudyProtocol, *, by: tuple[str, ...] = ("north", "south", "west")) -> StudyView:
        """A study as the workbench sees it."""
        return view_study(self.federation, study, self.envelopes(study, by=by), now(), lambda _: ())

    def show(self, *views: StudyView, silent: tuple[str, ...] = ()) -> None:
        """Let the nodes show these studies."""
        nodes = tuple(
            NodeView(node.id, node.organisation, node.id not in silent, "no answer" * (node.id in silent))
            for node in self.federation.nodes
        )
        self.snapshot = Snapshot(self.federation, now(), nodes, views)


@pytest.fixture(scope="session")
def consortium_keys(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    folder = tmp_path_factory.mktemp("consortium")
    passphrase = PASSPHRASE.encode()
    north = init_site(folder / "north", site_id="north", name="Northern hospital", passphrase=passphrase)
    stewards = {site: SigningKey.generate() for site in ("south", "west")}
    sites = [north]
    for site, steward in stewards.items():
        connector = SigningKey.generate().public
        sites.append(SiteEntry(id=site, name=site, connector_key=connector, steward_key=steward.public))
    federation = Federation(
        name="Example consortium",
        version=1,
        protocol="rep4",
        nodes=tuple(_node(at) for at in range(4)),
        sites=tuple(sites),
    )
    federation.save(folder / "federation.json")
    directory = SiteDirectory(folder / "north")
    pin_federation(directory, folder / "federation.json")
    stewards["north"] = directory.steward(passphrase)
    return Consortium(
        folder,
        federation,
        stewards,
        create_identity(folder / "researcher"),
        create_identity(folder / "physician"),
    )


def _node(index: int) -> NodeEntry:
    name = f"node-{'abcd'[index]}"
    return NodeEntry(
        index=index,
        id=name,
        organisation=f"Operator {index + 1}",
        control_url=f"https://127.0.0.1:{9000 + index}",
        data_address=f"127.0.0.1:{9100 + index}",
        identity_key=SigningKey.generate().public,
        sealing_key=SealingKey.generate().public,
        tls_certificate=self_signed(node_uri(name), ["127.0.0.1"], Ed25519PrivateKey.generate()),
    )


@pytest.fixture
def consortium(consortium_keys: Consortium) -> Consortium:
    consortium_keys.snapshot = None
    return consortium_keys


@pytest.fixture(autouse=True)
def no_component_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's test runner reads the metadata of every installed package on every run; there is nothing
    to find.
    """
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A command that serves sets up logs on the standard error of its moment, which ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Benches:
    """Makes workbenches and puts one in the place of the process' own."""

    def __init__(self, folder: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._consortium, self._monkeypatch = folder, consortium, monkeypatch
        self._made: list[Workbench] = []

    def __call__(self, kind: Kind = "research") -> Workbench:
        """A workbench of this kind, with one account per role."""
        state = self._folder / kind
        settings = WorkbenchSettings(
            kind=kind,
            title="Example",
            state_dir=state,
            federation=self._consortium.folder / "federation.json",
            site_dir=self._consortium.folder / "north" if kind == "hospital" else None,
            examples_dir=EXAMPLES,
        )
        engine = open_store(settings.database)
        accounts = Accounts(engine, hasher=PasswordHasher(1, 8, 1))
        for name, role in PEOPLE.items():
            accounts.add(name, PASSWORD, [role])
            keys = self._consortium.folder / name if name in ("researcher", "physician") else None
            _link(state / "identities" / name, keys)
        network = Network(self._consortium.federation, lambda _: lambda *_: self._seen())
        bench = Workbench(settings, engine, accounts, Drafts(engine), Jobs(engine), network)
        self._monkeypatch.setattr(context, "_opened", lambda _file: bench)
        self._made.append(bench)
        return bench

    def close(self) -> None:
        """Stop every thread."""
        for bench in self._made:
            bench.jobs.close()
            bench.network.close()
            bench.engine.dispose()

    def _seen(self) -> Snapshot:
        if self._consortium.snapshot is None:
            raise ConnectionError("no node answers in this test")
        return self._consortium.snapshot


def _link(folder: Path, keys: Path | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if keys is None:
        create_identity(folder)
    else:
        os.symlink(keys, folder)


@pytest.fixture
def make_bench(tmp_path: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> Iterator[Benches]:
    benches = Benches(tmp_path, consortium, monkeypatch)
    yield benches
    benches.close()
