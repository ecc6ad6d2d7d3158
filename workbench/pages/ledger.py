"""What happened with this hospital's data: its own append-only log, newest first."""

from __future__ import annotations

import streamlit as st

from workbench.parts.shell import page_person
from workbench.steward import hospital_of, ledger_table
from workbench.store import now

COLUMNS = {
    "When": st.column_config.DatetimeColumn("When (UTC)", format="D MMM YYYY, HH:mm", width="small"),
    "What": st.column_config.TextColumn(width="small"),
    "Study": st.column_config.TextColumn(width="small"),
    "Details": st.column_config.TextColumn(width="large"),
}


def render() -> None:
    """Draw the page."""
    bench, _ = page_person("steward")
    st.title("Ledger")
    hospital = hospital_of(bench.settings)
    entries, root = hospital.ledger_entries()
    if not entries:
        st.info("Nothing has happened yet: every load, decision, upload and withdrawal is written here.")
        return
    table = ledger_table(entries, hospital.study_names(now()))
    st.caption(f"{len(entries)} entries, in a chain whose present root is `{root}`; newest first.")
    st.dataframe(table, hide_index=True, width="stretch", column_config=COLUMNS, height="content")
    st.download_button("Download CSV", table.to_csv(index=False), file_name="ledger.csv", mime="text/csv")
