"""The plan of a study as a table for people: where each step runs, what leaves, what it costs."""

from __future__ import annotations

import pandas as pd

from mpc_backend.planner import Plan, PlanStep


def plan_frame(plan: Plan) -> pd.DataFrame:
    """One row per step."""
    return pd.DataFrame(
        {
            "Analysis": [step.analysis for step in plan.steps],
            "Where": [step.where for step in plan.steps],
            "What": [_what(step) for step in plan.steps],
            "Rows": ["" if step.rows is None else f"{step.rows:,}" for step in plan.steps],
            "Rounds": ["" if step.rounds is None else f"{step.rounds:,}" for step in plan.steps],
            "Sent": [_sent(step) for step in plan.steps],
        }
    )


def _what(step: PlanStep) -> str:
    if not step.columns:
        return step.what
    columns = [one.name + (f" x {one.width}" if one.width > 1 else "") for one in step.columns]
    return f"{step.what}: {', '.join(columns)}"


def _sent(step: PlanStep) -> str:
    if step.upload_bytes is not None:
        return f"{size(step.upload_bytes)} to the nodes"
    return "" if step.bytes_per_node is None else f"{size(step.bytes_per_node)} by each node"


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
