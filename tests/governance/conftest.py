"""One small federation, an approved study and everybody's keys, built fresh for each test session."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from governance.approval import Amendments, InvestigatorSubmission, SiteDecision
from governance.envelope import Envelope, sign_document
from governance.federation import Federation, NodeEntry, SiteEntry
from governance.keys import SealingKey, SigningKey
from governance.run_request import RunRequest
from governance.study import StudyProtocol

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
UNAMENDED: Amendments = lambda _: ()  # noqa: E731
NODES = ("node-a", "node-b", "node-c", "node-d")
SITES = ("north", "south", "west")
COHORT = """cohort "Type 2 diabetes"

concept set Diabetes:
  201826 "Type 2 diabetes mellitus" and descendants

enter on first condition of Diabetes
  with 365 days of prior observation
"""


def certificate() -> str:
    """A throw-away certificate in PEM."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=365))
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(key, None).public_bytes(Encoding.PEM).decode()


@dataclass
class Parties:
    """Every key of the federation, by whose it is."""

    nodes: dict[str, SigningKey] = field(default_factory=lambda: {n: SigningKey.generate() for n in NODES})
    connectors: dict[str, SigningKey] = field(
        default_factory=lambda: {s: SigningKey.generate() for s in SITES}
    )
    stewards: dict[str, SigningKey] = field(default_factory=lambda: {s: SigningKey.generate() for s in SITES})
    investigator: SigningKey = field(default_factory=SigningKey.generate)
    researcher: SigningKey = field(default_factory=SigningKey.generate)
    physician: SigningKey = field(default_factory=SigningKey.generate)
    sealing: SealingKey = field(default_factory=SealingKey.generate)

    def federation(self, **changes: object) -> Federation:
        fields: dict[str, object] = {
            "name": "Example consortium",
            "version": 1,
            "protocol": "rep4",
            "nodes": [self._node(index, node) for index, node in enumerate(NODES)],
            "sites": [self._site(site) for site in SITES],
        }
        return Federation.from_value({**fields, **changes})

    def _node(self, index: int, node: str) -> NodeEntry:
        return NodeEntry(
            index=index,
            id=node,
            organisation=f"Operator {index}",
            control_url=f"https://127.0.0.1:{9000 + index}",
            data_address=f"127.0.0.1:{9100 + index}",
            identity_key=self.nodes[node].public,
            sealing_key=SealingKey.generate().public,
            tls_certificate=certificate(),
        )

    def _site(self, site: str) -> SiteEntry:
        return SiteEntry(
            id=site,
            name=f"Hospital {site}",
            connector_key=self.connectors[site].public,
            steward_key=self.stewards[site].public,
        )

    def study_fields(self, federation: Federation) -> dict[str, object]:
        """A study as a mapping, to be changed by tests."""
        person = {"organisation": "University", "sealing_key": self.sealing.public}
        return {
            "title": "Metformin in type 2 diabetes",
            "short_name": "metformin",
            "purpose": {
                "use": "scientific_research",
                "description": "How many persons take metformin.",
                "legal_basis": "GDPR 9(2)(j)",
                "ethics_reference": "2026-17",
            },
            "investigator": {
                "role": "principal investigator",
                "organisation": "University",
                "key": self.investigator.public,
            },
            "federation": federation.digest,
            "protocol": "rep4",
            "sites": list(SITES),
            "cohorts": {"diabetes": COHORT},
            "variables": {"age": {"kind": "age"}},
            "analyses": [{"id": "persons", "kind": "cohort_count", "cohort": "diabetes"}],
            "recipients": [
                {"id": "researcher", "role": "researcher", "signing_key": self.researcher.public, **person},
                {
                    "id": "physician",
                    "role": "physician",
                    "site": "north",
                    "signing_key": self.physician.public,
                    **person,
                },
            ],
            "budget": {"runs": 3, "runs_per_requester": 2},
            "validity": {"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-12-31T00:00:00Z"},
            "nonce": "00112233445566778899aabbccddeeff",
        }

    def study(self, federation: Federation, /, **changes: object) -> StudyProtocol:
        return StudyProtocol.from_value({**self.study_fields(federation), **changes})

    def submission(self, study: StudyProtocol) -> Envelope:
        said = InvestigatorSubmission(study_digest=study.digest, submitted_at=NOW)
        return sign_document(said, self.investigator)

    def decision(self, study: StudyProtocol, site: str, **changes: object) -> Envelope:
        said = {"study_digest": study.digest, "site": site, "decision": "approve", "decided_at": NOW}
        return sign_document(SiteDecision.from_value({**said, **changes}), self.stewards[site])

    def approvals(self, study: StudyProtocol) -> list[Envelope]:
        return [self.submission(study), *(self.decision(study, site) for site in SITES)]

    def request(self, study: StudyProtocol, by: str = "researcher", **changes: object) -> Envelope:
        key: SigningKey = getattr(self, by)
        said = {
            "study_digest": study.digest,
            "analysis": study.analyses[0].id,
            "nonce": secrets.token_hex(16),
            "created_at": NOW,
            "requester_key": key.public,
            "recipient": by,
        }
        return sign_document(RunRequest.from_value({**said, **changes}), key)


@pytest.fixture(scope="session")
def parties() -> Parties:
    return Parties()


@pytest.fixture(scope="session")
def federation(parties: Parties) -> Federation:
    return parties.federation()


@pytest.fixture(scope="session")
def study(parties: Parties, federation: Federation) -> StudyProtocol:
    return parties.study(federation)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW
