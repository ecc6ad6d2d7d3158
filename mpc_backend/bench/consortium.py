"""The consortium of a measurement: nodes on this machine, three hospitals, and one person who asks and may read."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from governance.approval import InvestigatorSubmission, SiteDecision
from governance.envelope import Envelope, sign_document
from governance.federation import Federation, SiteEntry
from governance.keys import SealingKey, SigningKey
from governance.protocols import NODES_OF
from governance.study import StudyProtocol
from mpc_backend.analyses.registry import resolve
from mpc_backend.bench.analyses import SITES, Case
from mpc_backend.client import NodeSet, share_upload
from mpc_backend.node.local import init_local_nodes

ORGANISATIONS: Final = ("Operator A", "Operator B", "Operator C", "Operator D")
ANALYSIS: Final = "question"
COHORT: Final = """
cohort "Everybody with a record"
concept set anything: 2000000000 and descendants
enter on first observation of anything
"""


class Consortium:
    """A federation of nodes under ``folder`` and three hospitals, and the keys of everybody who signs."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.connectors = {site: SigningKey.generate() for site in SITES}
        self.stewards = {site: SigningKey.generate() for site in SITES}
        self.asking, self.sealing = SigningKey.generate(), SealingKey.generate()
        self.requesters: list[SigningKey] = []
        self.federation = Federation.model_validate(
            {
                "name": "Benchmark",
                "version": 1,
                "protocol": protocol,
                "nodes": tuple(init_local_nodes(folder, ORGANISATIONS[: NODES_OF[protocol]])),
                "sites": tuple(
                    SiteEntry(
                        id=site,
                        name=f"Hospital {site}",
                        connector_key=self.connectors[site].public,
                        steward_key=self.stewards[site].public,
                    )
                    for site in SITES
                ),
            }
        )

    def prepare(self, nodes: NodeSet, case: Case, runs: int) -> StudyProtocol:
        """Submit the study, approve it everywhere, upload every hospital's shares.

        Each run has a requester of its own, ``requesters``: none is held against an earlier answer to the same one.
        """
        self.requesters = [SigningKey.generate() for _ in range(runs)]
        study, now = self._study(case), datetime.now(UTC)
        nodes.post_study(study)
        for envelope in self._signatures(study, now):
            nodes.post_envelope(study.digest, envelope)
        chosen, parameters = resolve(study, ANALYSIS)
        for place, site in enumerate(SITES):
            tables = {ANALYSIS: chosen.local(parameters, case.rows_of(place))}
            upload = share_upload(
                self.federation,
                study,
                site,
                tables,
                key=self.connectors[site],
                snapshot="0" * 64,
                now=now,
            )
            nodes.upload(upload.manifest, upload.sealed)
        return study

    def _signatures(self, study: StudyProtocol, now: datetime) -> Sequence[Envelope]:
        submitted = InvestigatorSubmission(study_digest=study.digest, submitted_at=now)
        decisions = {
            site: SiteDecision(study_digest=study.digest, site=site, decision="approve", decided_at=now)
            for site in SITES
        }
        return [
            sign_document(submitted, self.asking),
            *(sign_document(one, self.stewards[site]) for site, one in decisions.items()),
        ]

    def _study(self, case: Case) -> StudyProtocol:
        start = datetime.now(UTC) - timedelta(hours=1)
        fields: dict[str, Any] = {
            "title": "Benchmark",
            "short_name": "benchmark",
            "purpose": {
                "use": "scientific_research",
                "description": "Measures how long an answer takes.",
                "legal_basis": "Generated rows; no person is described.",
                "ethics_reference": "Not needed for generated rows.",
            },
            "investigator": {
                "role": "engineer",
                "organisation": "Operator A",
                "key": self.asking.public,
            },
            "federation": self.federation.digest,
            "protocol": self.federation.protocol,
            "sites": list(SITES),
            "cohorts": {"everybody": COHORT},
            "variables": dict(case.variables),
            "analyses": [
                {
                    "id": ANALYSIS,
                    "kind": case.kind,
                    "cohort": "everybody",
                    "parameters": dict(case.parameters),
                }
            ],
            "recipients": [
                {
                    "id": f"asking-{number}",
                    **(
                        {"role": "researcher"}
                        if case.facts is None
                        else {"role": "physician", "site": SITES[0]}
                    ),
                    "organisation": "Operator A",
                    "signing_key": key.public,
                    "sealing_key": self.sealing.public,
                }
                for number, key in enumerate(self.requesters)
            ],
            "budget": {"runs": len(self.requesters)},
            "validity": {
                "not_before": start.isoformat(),
                "not_after": (start + timedelta(days=1)).isoformat(),
            },
            "synthetic_data": True,
            "nonce": secrets.token_hex(16),
        }
        return StudyProtocol.from_value(fields)
