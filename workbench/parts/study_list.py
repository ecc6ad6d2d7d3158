"""Studies and runs as lists: states with their colours, the words beside them."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from workbench.consortium import Snapshot, StudyView
from workbench.parts.states import State, partial

COLOURS = {
    "awaiting approval": "orange",
    "approved": "green",
    "declined": "red",
    "withdrawn": "red",
    "replaced": "gray",
    "expired": "gray",
    "not yet valid": "gray",
    "refused": "red",
    "draft": "blue",
    "waiting": "orange",
    "running": "blue",
    "done": "green",
    "failed": "red",
}
SIGNED = {
    "waiting": "not yet signed",
    "approved": "approved",
    "declined": "declined",
    "withdrawn": "withdrawn",
}
STALE_SECONDS = 60


def approvals(view: StudyView) -> str:
    """How far the signatures are."""
    return f"{view.signed} of {len(view.study.sites)} hospitals signed"


def approval_table(view: StudyView) -> pd.DataFrame:
    """One row per signer: state, when, reason."""
    submission = view.statements.submission
    rows = [
        {
            "Who": f"Investigator ({view.study.investigator.organisation})",
            "State": "submitted" if submission else "not submitted",
            "When": _when(submission.submitted_at if submission else None),
            "Reason": "",
        }
    ]
    for site in view.study.sites:
        decision = view.statements.decisions.get(site)
        withdrawal = view.statements.withdrawals.get(site)
        last = withdrawal or decision
        moment = withdrawal.withdrawn_at if withdrawal else decision.decided_at if decision else None
        rows.append(
            {
                "Who": f"Hospital {site}",
                "State": SIGNED[view.statements.state_of(site)],
                "When": _when(moment),
                "Reason": last.reason if last else "",
            }
        )
    return pd.DataFrame(rows).set_index("Who")


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def network_state(snapshot: Snapshot | None, moment: datetime) -> State | None:
    """What to say of the connection to the nodes, or None when all is well."""
    if snapshot is None:
        return State("info", "The nodes have not answered yet; this page shows studies as soon as they do.")
    if snapshot.problems:
        return partial(snapshot.silent, len(snapshot.nodes), snapshot.at, snapshot.problems)
    age = (moment - snapshot.at).total_seconds()
    if age > STALE_SECONDS:
        return State("warning", f"Last seen {round(age / 60)} minutes ago; the nodes do not answer since.")
    return None
