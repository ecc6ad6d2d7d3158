"""The example studies made into real ones: keys, federation and validity filled in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from governance.federation import Federation
from governance.study import StudyProtocol
from workbench.demo.examples import examples_folder
from workbench.identities import Identity

NAMES = ("count", "survival", "ranking", "feasibility")
DAYS_VALID = 90


def example_study(
    name: str,
    federation: Federation,
    investigator: Identity,
    recipients: Mapping[str, Identity],
    now: datetime | None = None,
) -> StudyProtocol:
    """The example ``name`` for this federation, valid from an hour ago for `DAYS_VALID` days.

    ``recipients``: keys by the recipients' ids in the file; one whose keys are not given is left out.

    Raises:
        governance.errors.DocumentError: the file is no study.
    """
    text = (examples_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    fields: dict[str, Any] = yaml.safe_load(text)
    start = (now or datetime.now(UTC)) - timedelta(hours=1)
    return StudyProtocol.from_yaml(
        text,
        investigator={**fields["investigator"], "key": investigator.signing.public},
        federation=federation.digest,
        recipients=[
            _keyed(one, recipients[one["id"]]) for one in fields["recipients"] if one["id"] in recipients
        ],
        validity={"not_before": start, "not_after": start + timedelta(days=DAYS_VALID)},
    )


def _keyed(recipient: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    return {
        **recipient,
        "signing_key": identity.signing.public,
        "sealing_key": identity.sealing.public,
    }
