"""A run on its way: what to say, in words and numbers. The page polls; the work goes on without it."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import streamlit as st

from site_connector.plain import literal
from workbench.parts.plain import plain_table
from workbench.store import JobRow

POLL_SECONDS = 1.5


def stage_text(job: JobRow, moment: datetime) -> str:
    """Stage, elapsed time, and that leaving is safe."""
    seconds = max(0, round((moment - job.created_at).total_seconds()))
    elapsed = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
    return f"{job.stage or 'Working'} · {elapsed}"


def party_table(parties: dict[str, str]) -> pd.DataFrame:
    """One row per hospital and node: whom the run waits for."""
    return pd.DataFrame({"Who": list(parties), "State": list(parties.values())})


def show_progress(job: JobRow, moment: datetime) -> None:
    """Draw the progress of a run."""
    st.progress(job.fraction, text=literal(stage_text(job, moment)))
    where = "under Evidence" if job.role == "physician" else "with its study"
    st.caption(f"You can leave or reload this page; the run goes on and is listed {where}.")
    if job.parties:
        plain_table(party_table(job.parties), hide_index=True)
