"""Which hospitals a study still waits for: what stewards are asked to read, and what investigators are bounded by."""

from __future__ import annotations

from datetime import datetime

from governance.approval import Amendments, Version, read_statements, replaced_by
from governance.federation import Federation


def undecided_by(
    federation: Federation, version: Version, amendments: Amendments, now: datetime
) -> tuple[str, ...]:
    """The hospitals whose decision is missing, in the study's order. None once a decision could change nothing, since
    a hospital has declined or an amendment has replaced the study; whether it has expired is for the caller to say.

    ``version``: with statements that were verified before.
    """
    study = version.study
    said = read_statements(federation, study, version.envelopes)
    states = {site: said.state_of(site) for site in study.sites}
    waiting = tuple(site for site, state in states.items() if state == "waiting")
    if not waiting or "declined" in states.values():
        return ()
    return waiting if replaced_by(federation, study, amendments, now) is None else ()
