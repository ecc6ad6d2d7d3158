"""A consortium in one process: three sites' directories, four nodes that check and keep what real nodes do."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from governance.approval import InvestigatorSubmission, SiteDecision, read_statement
from governance.canonical import sha256_hex
from governance.envelope import Envelope, sign_document
from governance.errors import GovernanceError
from governance.federation import Federation, NodeEntry, SiteEntry
from governance.keys import SealingKey, SigningKey
from governance.manifest import UploadManifest, check_manifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.client.errors import BadAnswer, NodeRefused, NodeUnreachable
from mpc_backend.packages import SealContext, decode_package, unseal_chunks
from mpc_backend.planned import planned_tables
from mpc_backend.protocols.sharing import assemble
from site_connector.connector import Connector
from site_connector.decisions import StewardDesk
from site_connector.directory import SiteDirectory
from site_connector.loading import Extract, load
from site_connector.mailbox import Mailbox
from site_connector.nodes import StudyNews
from site_connector.setup import init_site, pin_federation
from tests.governance.conftest import certificate
from tests.site_connector.extract import DIABETES, GLIPIZIDE, METFORMIN

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PASSPHRASE = b"a long passphrase"
NODES = ("node-a", "node-b", "node-c", "node-d")
SITES = ("north", "south", "west")
CONCEPT_SETS = f"""concept set Diabetes:
  {DIABETES} "Type 2 diabetes mellitus" and descendants
concept set Metformin: {METFORMIN} "metformin" and descendants
concept set Glipizide: {GLIPIZIDE} "glipizide" and descendants
"""
COHORT = f"""cohort "Type 2 diabetes on treatment"

{CONCEPT_SETS}
enter on first condition of Diabetes
  with 100 days of prior observation
require "Adult": age at least 18
require "On metformin": at least 1 drug of Metformin within 90 days after index
"""
VARIABLES: dict[str, Any] = {
    "year": {"kind": "index_year"},
    "drug": {
        "kind": "category",
        "domain": "drug exposure",
        "levels": {"metformin": "Metformin", "glipizide": "Glipizide"},
        "window": {"start": 0, "end": 90},
    },
    "death": {"kind": "time_to_event", "events": ["death"], "horizon_days": 365, "unit": "month"},
}
RANKING = {
    "treatment": "drug",
    "treatments": ["glipizide", "metformin"],
    "outcome": "death",
    "time_unit": "month",
    "tau": 12,
    "tiers": [{"name": "everybody", "max_distance": 0}],
    "period": {"variable": "year", "cuts": [2020]},
}


@dataclass
class LocalNode:
    """One node as the connector meets it: it checks what a real node checks before it keeps anything."""

    node: str
    federation: Federation
    sealing: SealingKey
    down: bool = False
    lose_answers: int = 0
    studies_held: dict[str, StudyProtocol] = field(default_factory=dict)
    said: dict[str, list[Envelope]] = field(default_factory=dict)
    runs: dict[str, list[Envelope]] = field(default_factory=dict)
    uploads: dict[tuple[str, str, str], tuple[UploadManifest, bytearray]] = field(default_factory=dict)
    calls: int = 0

    def _up(self) -> None:
        self.calls += 1
        if self.down:
            raise NodeUnreachable(self.node, "https://127.0.0.1", "refused")

    def studies_concerning(self, site: str, known: Collection[str]) -> Sequence[StudyNews]:
        self._up()
        return [
            StudyNews(digest, str(self.said.get(digest)), tuple(self._asked(digest)))
            for digest, study in self.studies_held.items()
            if site in study.sites or study.amends in known
        ]

    def study(self, digest: str) -> tuple[StudyProtocol, Sequence[Envelope]]:
        self._up()
        if self.studies_held[digest].digest != digest:
            raise BadAnswer(self.node, "hands out another study")
        return self.studies_held[digest], list(self.said.get(digest, []))

    def post_statement(self, digest: str, envelope: Envelope) -> None:
        self._up()
        read_statement(self.federation, self.studies_held[digest], envelope)
        if envelope not in self.said.setdefault(digest, []):
            self.said[digest].append(envelope)

    def _asked(self, digest: str) -> dict[str, Envelope]:
        return {RunRequest.from_canonical(one.body).run_id: one for one in self.runs.get(digest, [])}

    def run_request(self, run_id: str) -> Envelope:
        self._up()
        return next(asked[run_id] for digest in self.runs if run_id in (asked := self._asked(digest)))

    def upload(self, manifest: Envelope, package: bytes) -> None:
        self._up()
        claimed = UploadManifest.from_canonical(manifest.body)
        study = self.studies_held[claimed.study_digest]
        try:
            said = check_manifest(self.federation, study, manifest, NOW)
        except GovernanceError as error:
            raise NodeRefused(self.node, "signature", str(error), {}) from error
        key = (said.study_digest, said.run or "", said.site)
        held = self.uploads.get(key)
        if held is not None and held[0].upload_id != said.upload_id:
            raise NodeRefused(self.node, "duplicate-upload", f"{said.site} has uploaded already", {})
        assert said.sealed[self.node] == sha256_hex(package)
        context = SealContext(study.digest, said.site, self.node, said.upload_id)
        plain = unseal_chunks(package, self.sealing, context)
        for share, digest in decode_package(plain).digests().items():
            assert said.shares[str(share)] == digest
        self.uploads[key] = (said, plain)
        if self.lose_answers:
            self.lose_answers -= 1
            raise NodeUnreachable(self.node, "https://127.0.0.1", "refused")


class Consortium:
    """Everybody's keys and directories, and what people in it do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.investigator, self.researcher = SigningKey.generate(), SigningKey.generate()
        self.reading = SealingKey.generate()
        sealing = {node: SealingKey.generate() for node in NODES}
        self.sites = {site: SiteDirectory(root / site) for site in SITES}
        entries = [
            init_site(self.sites[s].path, site_id=s, name=f"Hospital {s}", passphrase=PASSPHRASE)
            for s in SITES
        ]
        self.federation = self._federation(sealing, entries)
        self.federation.save(root / "federation.json")
        for directory in self.sites.values():
            pin_federation(directory, root / "federation.json")
        self.nodes = [LocalNode(node, self.federation, sealing[node]) for node in NODES]
        self.now = NOW
        self.north = self.sites["north"]

    @staticmethod
    def _federation(sealing: dict[str, SealingKey], sites: list[SiteEntry]) -> Federation:
        nodes = [
            NodeEntry(
                index=index,
                id=node,
                organisation=f"Operator {index}",
                control_url=f"https://127.0.0.1:{9000 + index}",
                data_address=f"127.0.0.1:{9100 + index}",
                identity_key=SigningKey.generate().public,
                sealing_key=sealing[node].public,
                tls_certificate=certificate(),
            )
            for index, node in enumerate(NODES)
        ]
        return Federation.from_value(
            {"name": "Example", "version": 1, "protocol": "rep4", "nodes": nodes, "sites": sites}
        )

    def study(self, **changes: object) -> StudyProtocol:
        fields: dict[str, object] = {
            "title": "Metformin in type 2 diabetes",
            "short_name": "metformin",
            "purpose": {
                "use": "scientific_research",
                "description": "How many persons take metformin, and what helps.",
                "legal_basis": "GDPR 9(2)(j)",
                "ethics_reference": "2026-17",
            },
            "investigator": {"role": "PI", "organisation": "University", "key": self.investigator.public},
            "federation": self.federation.digest,
            "protocol": "rep4",
            "sites": list(SITES),
            "cohorts": {"treated": COHORT},
            "variables": VARIABLES,
            "analyses": [
                {"id": "count", "kind": "cohort_count", "cohort": "treated"},
                {"id": "ranking", "kind": "treatment_ranking", "cohort": "treated", "parameters": RANKING},
            ],
            "recipients": [
                {
                    "id": "researcher",
                    "role": "researcher",
                    "organisation": "University",
                    "signing_key": self.researcher.public,
                    "sealing_key": self.reading.public,
                }
            ],
            "budget": {"runs": 5},
            "validity": {"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-12-31T00:00:00Z"},
            "nonce": secrets.token_hex(16),
        }
        return StudyProtocol.from_canonical(StudyProtocol.from_value({**fields, **changes}).canonical())

    def feasibility(self, **changes: object) -> StudyProtocol:
        return self.study(
            kind="feasibility",
            short_name="feasibility",
            cohorts={},
            variables={},
            analyses=[{"id": "count", "kind": "cohort_count"}],
            feasibility={"concept_sets": CONCEPT_SETS, "max_counts": 2},
            **changes,
        )

    def submit(self, study: StudyProtocol) -> StudyProtocol:
        said = InvestigatorSubmission(study_digest=study.digest, submitted_at=self.now)
        for node in self.nodes:
            node.studies_held[study.digest] = study
            node.said.setdefault(study.digest, []).append(sign_document(said, self.investigator))
        return study

    def others_approve(self, study: StudyProtocol, *sites: str) -> None:
        for site in sites or SITES[1:]:
            said = SiteDecision(study_digest=study.digest, site=site, decision="approve", decided_at=self.now)
            envelope = sign_document(said, self.sites[site].steward(PASSPHRASE))
            for node in self.nodes:
                node.post_statement(study.digest, envelope)

    def request(self, study: StudyProtocol, **changes: object) -> RunRequest:
        fields = {
            "study_digest": study.digest,
            "analysis": "count",
            "nonce": secrets.token_hex(16),
            "created_at": self.now,
            "requester_key": self.researcher.public,
            "recipient": "researcher",
            "parameters": {"cohort": COHORT},
        }
        request = RunRequest.from_value({**fields, **changes})
        for node in self.nodes:
            node.runs.setdefault(study.digest, []).append(sign_document(request, self.researcher))
        return request

    def load(self, folder: Path) -> None:
        load(self.north, Extract("omop", folder), self.now)

    def mailbox(self) -> Mailbox:
        return Mailbox(self.north.mailbox, self.federation, "north")

    def connector(self, mailbox: Mailbox) -> Connector:
        return Connector(self.north, self.federation, mailbox, self.nodes, lambda: self.now)

    def desk(self, mailbox: Mailbox) -> StewardDesk:
        return StewardDesk(self.north, mailbox)

    @property
    def steward(self) -> SigningKey:
        return self.north.steward(PASSPHRASE)

    def reconstructed(self, study: StudyProtocol, run: RunRequest | None = None) -> dict[str, np.ndarray]:
        """What all nodes together would see of north: plaintext columns by ``analysis/table/column``."""
        key = (study.digest, run.run_id if run else "", "north")
        rows = {f"{t.analysis}/{t.name}": t.rows for t in self.nodes[0].uploads[key][0].tables}
        shares: dict[tuple[str, str], dict[int, dict[int, bytes]]] = {}
        for index, node in enumerate(self.nodes):
            for part in decode_package(node.uploads[key][1]).parts:
                held = shares.setdefault((part.table, part.column), {}).setdefault(index, {})
                held[part.share] = bytes(part.data)
        return {
            f"{table.name}/{column.name}": assemble(
                study.protocol, column, rows[table.name], shares[table.name, column.name]
            )
            for table in planned_tables(study, run)
            for column in table.spec.columns
        }


def directory_digest(path: Path) -> str:
    """One digest over every file below a folder, to see that nothing changed."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.endswith(".lock"):
            digest.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return digest.hexdigest()


def approved(consortium: Consortium, **changes: object) -> StudyProtocol:
    """A study that every hospital signed and north uploaded for."""
    study = consortium.submit(consortium.study(**changes))
    with consortium.mailbox() as mailbox:
        connector = consortium.connector(mailbox)
        connector.round()
        consortium.desk(mailbox).approve(study.digest, consortium.steward, consortium.now)
        consortium.others_approve(study)
        connector.round()
    return study


def ready(consortium: Consortium, mailbox: Mailbox) -> tuple[StudyProtocol, Connector]:
    """A study that every hospital signed, not uploaded yet."""
    study = consortium.submit(consortium.study())
    consortium.others_approve(study)
    connector = consortium.connector(mailbox)
    connector.round()
    consortium.desk(mailbox).approve(study.digest, consortium.steward, consortium.now)
    return study, connector
