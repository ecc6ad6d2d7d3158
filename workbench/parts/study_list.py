"""Studies and runs as lists: states with their colours, the words beside them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import pandas as pd

from governance.federation import Federation
from workbench.consortium import Snapshot, StudyView
from workbench.parts.moments import moment_text
from workbench.parts.states import State, not_approved, partial

Colour = Literal["red", "orange", "green", "blue", "gray"]
COLOURS: dict[str, Colour] = {
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
NOTHING = "–"


def badge(state: str) -> str:
    """A state as a coloured mark within a line of Markdown."""
    return f":{COLOURS[state]}-badge[{state}]"


def approvals(view: StudyView) -> str:
    """How far the signatures are."""
    return f"{view.signed} of {len(view.study.sites)} hospitals signed"


def summary(view: StudyView) -> str:
    """One line that tells studies of the same title apart: short name, since when, signatures."""
    submission = view.statements.submission
    since = f"submitted {moment_text(submission.submitted_at)}" if submission else "not submitted"
    return f"{view.study.short_name} · {since} · {approvals(view)}"


def newest_first(views: Iterable[StudyView]) -> list[StudyView]:
    """Studies as a list shows them: the last submitted on top."""
    return sorted(views, key=_submitted, reverse=True)


def _submitted(view: StudyView) -> float:
    submission = view.statements.submission
    return submission.submitted_at.timestamp() if submission else 0.0


def why_not(view: StudyView, federation: Federation) -> State | None:
    """Why a study may not run, with the hospitals it waits for by name; None if it may."""
    if not view.why:
        return None
    if view.state not in ("awaiting approval", "declined"):
        return State("warning", view.why)
    by_state: dict[str, list[str]] = {}
    for site in view.study.sites:
        by_state.setdefault(view.statements.state_of(site), []).append(federation.site(site).name)
    return not_approved(by_state.get("waiting", []), by_state.get("declined", []))


def approval_table(view: StudyView, federation: Federation) -> pd.DataFrame:
    """One row per signer: state, when, reason."""
    submission = view.statements.submission
    rows = [
        {
            "Who": f"Investigator ({view.study.investigator.organisation})",
            "State": "submitted" if submission else "not submitted",
            "When": _when(submission.submitted_at if submission else None),
            "Reason": NOTHING,
        }
    ]
    for site in view.study.sites:
        decision = view.statements.decisions.get(site)
        withdrawal = view.statements.withdrawals.get(site)
        last = withdrawal or decision
        moment = withdrawal.withdrawn_at if withdrawal else decision.decided_at if decision else None
        rows.append(
            {
                "Who": federation.site(site).name,
                "State": SIGNED[view.statements.state_of(site)],
                "When": _when(moment),
                "Reason": last.reason or NOTHING if last else NOTHING,
            }
        )
    return pd.DataFrame(rows).set_index("Who")


def _when(moment: datetime | None) -> str:
    return NOTHING if moment is None else moment_text(moment)


def network_state(snapshot: Snapshot | None, moment: datetime) -> State | None:
    """What to say of the connection to the nodes, or None when all is well."""
    if snapshot is None:
        return State("info", "The nodes have not answered yet; this page shows studies as soon as they do.")
    if snapshot.problems:
        silent = [node.problem for node in snapshot.nodes if not node.answered and node.problem]
        said = [problem for problem in snapshot.problems if problem not in silent]
        return partial(snapshot.silent, len(snapshot.nodes), snapshot.at, said, silent)
    age = (moment - snapshot.at).total_seconds()
    if age > STALE_SECONDS:
        return State("warning", f"Last seen {round(age / 60)} minutes ago; the nodes do not answer since.")
    return None
