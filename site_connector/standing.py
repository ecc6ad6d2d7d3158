"""Where a study stands, as one hospital sees it, from verified statements and the time alone."""

from __future__ import annotations

from datetime import datetime

from governance.approval import Statements
from governance.study import StudyProtocol
from site_connector.models import StudyState


def state_of(
    study: StudyProtocol, said: Statements, site: str, now: datetime, *, replaced: bool
) -> StudyState:
    """The study's state; an expired study is expired whatever was said. ``replaced``: an amendment is in force."""
    states = {one: said.state_of(one) for one in study.sites}
    ours, everybody = states[site], set(states.values())
    remaining = sum(state == "approved" for state in states.values())
    first_that_holds = (
        (now > study.validity.not_after, StudyState.EXPIRED),
        (ours == "withdrawn", StudyState.WITHDRAWN),
        (ours == "declined", StudyState.DECLINED),
        (replaced, StudyState.REPLACED),
        ("declined" in everybody, StudyState.DECLINED_ELSEWHERE),
        (ours == "waiting", StudyState.WAITING_FOR_US),
        ("waiting" in everybody or said.submission is None, StudyState.WAITING_FOR_OTHERS),
        (remaining < study.disclosure.minimum_sites, StudyState.TOO_FEW_SITES),
        (now < study.validity.not_before, StudyState.NOT_YET_VALID),
    )
    return next((state for holds, state in first_that_holds if holds), StudyState.ACTIVE)
