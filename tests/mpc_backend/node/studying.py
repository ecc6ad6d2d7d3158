"""Studies, signatures and synthetic uploads for the tests of nodes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from governance.approval import InvestigatorSubmission, SiteDecision, Withdrawal
from governance.envelope import Envelope, sign_document
from governance.keys import SealingKey, SigningKey
from governance.manifest import DataFacts
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.registry import resolve
from mpc_backend.client.sharing import Upload, share_upload

from .conftest import SITES, Party

DATA = DataFacts(
    extract_date="2026-01-31",
    observation_period="from the first event to the extract date",
    death="death as recorded",
)
COHORT = """
cohort "Adults with diabetes"
concept set diabetes: 201826 and descendants
enter on first condition of diabetes
require "18 years or older": age 18 or more
require "Seen before": at least 1 visit any time before index
"""
CONCEPT_SETS = "concept set diabetes: 201826 and descendants\n"
ARMS = [f"arm {number}" for number in range(6)]
MARKERS = [f"m{number}" for number in range(8)]
VARIABLES: dict[str, Any] = {
    "treatment": {
        "kind": "category",
        "domain": "drug exposure",
        "levels": {arm: [2_000_000_000 + number] for number, arm in enumerate(ARMS)},
    },
    "failure": {"kind": "time_to_event", "events": ["death"], "horizon_days": 1000},
    "age": {"kind": "age"},
    "index_year": {"kind": "index_year"},
    **{name: {"kind": "presence", "domain": "measurement", "concepts": [3_000_000]} for name in MARKERS},
}


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class People:
    """Private keys of those who ask."""

    investigator: SigningKey = field(default_factory=SigningKey.generate)
    researcher: SigningKey = field(default_factory=SigningKey.generate)
    physician: SigningKey = field(default_factory=SigningKey.generate)
    sealing: SealingKey = field(default_factory=SealingKey.generate)


PEOPLE = People()


def study(party: Party, **changes: Any) -> StudyProtocol:
    """A count and a ranking, by a researcher and a physician at ``north``."""
    person = {"organisation": "University", "sealing_key": PEOPLE.sealing.public}
    start, end = now() - timedelta(days=1), now() + timedelta(days=30)
    fields: dict[str, Any] = {
        "title": "A study of diabetes",
        "short_name": "diabetes",
        "purpose": {
            "use": "scientific_research",
            "description": "Synthetic.",
            "legal_basis": "None needed.",
            "ethics_reference": "None needed.",
        },
        "investigator": {
            "role": "principal investigator",
            "organisation": "University",
            "key": PEOPLE.investigator.public,
        },
        "federation": party.federation.digest,
        "protocol": party.federation.protocol,
        "sites": list(SITES),
        "cohorts": {"diabetes": COHORT},
        "variables": VARIABLES,
        "analyses": [{"id": "persons", "kind": "cohort_count", "cohort": "diabetes"}],
        "recipients": [
            {"id": "researcher", "role": "researcher", "signing_key": PEOPLE.researcher.public, **person},
            {
                "id": "physician",
                "role": "physician",
                "site": "north",
                "signing_key": PEOPLE.physician.public,
                **person,
            },
        ],
        "budget": {"runs": 20},
        "validity": {"not_before": start.isoformat(), "not_after": end.isoformat()},
        "nonce": secrets.token_hex(16),
        **changes,
    }
    return StudyProtocol.from_canonical(StudyProtocol.from_value(fields).canonical())


def ranking(**changes: Any) -> dict[str, Any]:
    """An analysis entry: rank treatments for a secret patient."""
    parameters = {
        "treatment": "treatment",
        "treatments": ARMS,
        "outcome": "failure",
        "tau": 24,
        "markers": MARKERS,
        "age": "age",
        "tiers": [
            {"name": "close", "max_distance": 2, "age_within": 10},
            {"name": "wide", "max_distance": 8},
        ],
        "period": {"variable": "index_year", "cuts": [2018]},
        "capacity": 40_000,
        **changes,
    }
    return {"id": "rank", "kind": "treatment_ranking", "cohort": "diabetes", "parameters": parameters}


def by_cells(**changes: Any) -> dict[str, Any]:
    """The same by cells: two age bands, and none or any of the markers."""
    plan = {
        "age_cuts": [50],
        "marker_groups": [{"name": "any", "markers": MARKERS, "cuts": [4]}],
        "tiers": [{"name": "cell", "age_cuts": [50], "marker_cuts": {"any": [4]}}, {"name": "all"}],
    }
    return ranking(mode="cells", tiers=[], cells=plan, tau=6, **changes)


def feasibility(party: Party, **changes: Any) -> StudyProtocol:
    """A standing study that lets the researcher count within one concept set."""
    return study(
        party,
        kind="feasibility",
        short_name="feasibility",
        cohorts={},
        variables={},
        analyses=[{"id": "count", "kind": "cohort_count"}],
        feasibility={"concept_sets": CONCEPT_SETS, "max_counts": 5},
        **changes,
    )


def submission(one: StudyProtocol) -> Envelope:
    return sign_document(
        InvestigatorSubmission(study_digest=one.digest, submitted_at=now()), PEOPLE.investigator
    )


def approval(party: Party, one: StudyProtocol, site: str) -> Envelope:
    said = SiteDecision(study_digest=one.digest, site=site, decision="approve", decided_at=now())
    return sign_document(said, party.stewards[site])


def approvals(party: Party, one: StudyProtocol) -> list[Envelope]:
    return [submission(one), *(approval(party, one, site) for site in SITES)]


def withdrawal(party: Party, one: StudyProtocol, site: str) -> Envelope:
    said = Withdrawal(study_digest=one.digest, site=site, withdrawn_at=now())
    return sign_document(said, party.stewards[site])


def request(
    one: StudyProtocol, analysis: str, key: SigningKey = PEOPLE.researcher, /, **changes: Any
) -> Envelope:
    said = RunRequest(
        study_digest=one.digest,
        analysis=analysis,
        nonce=secrets.token_hex(16),
        created_at=now(),
        requester_key=key.public,
        recipient=one.recipient(key.public).id,
    )
    return sign_document(said.model_copy(update=changes), key)


def site_data(site: str, rows: int = 900) -> SiteData:
    """A hospital's rows, different for each site and the same in every test."""
    rng = np.random.default_rng(SITES.index(site) + 1)
    frame = pd.DataFrame({name: rng.integers(0, 2, rows) for name in MARKERS})
    frame["treatment"] = rng.choice(ARMS, rows)
    frame["age"] = rng.integers(30, 80, rows)
    frame["index_year"] = rng.integers(2014, 2022, rows)
    frame["failure_time"] = rng.integers(1, 1000, rows)
    frame["failure_event"] = rng.integers(0, 2, rows)
    left = (rows + 40, rows + 11 * SITES.index(site), rows)
    labels = ("Entry event", "18 years or older", "Seen before")
    return SiteData(frame, tuple(zip(labels, left, strict=True)), population=4 * rows)


def shared(
    party: Party, one: StudyProtocol, site: str, *, run: RunRequest | None = None, rows: int = 900
) -> Upload:
    """What the site's connector would upload."""
    tables: dict[str, Any] = {}
    for entry in one.analyses if run is None else (one.analysis(run.analysis),):
        analysis, parameters = resolve(one, entry.id, run.parameters if run else None)
        tables[entry.id] = analysis.local(parameters, site_data(site, rows))
    return share_upload(
        party.federation,
        one,
        site,
        tables,
        key=party.connectors[site],
        snapshot="0" * 64,
        now=now(),
        run=run,
        data=DATA,
    )


def released(one: StudyProtocol, recipient: str = "researcher") -> Released:
    at = one.recipient(recipient).site
    return Released(policy=one.disclosure, sites=SITES, receiving_sites=() if at is None else (at,))
