"""What happened with this hospital's data: its own append-only log, newest first."""

from __future__ import annotations

import streamlit as st

from workbench.parts.shell import page_person
from workbench.steward import hospital_of, ledger_table


def render() -> None:
    """Draw the page."""
    bench, _ = page_person("steward")
    st.title("Ledger")
    entries, root = hospital_of(bench.settings).ledger_entries()
    if not entries:
        st.info("Nothing has happened yet: every load, decision, upload and withdrawal is written here.")
        return
    table = ledger_table(entries)
    st.caption(f"{len(entries)} entries, in a chain whose present root is `{root}`.")
    st.dataframe(table, hide_index=True, width="stretch")
    st.download_button("Download CSV", table.to_csv(index=False), file_name="ledger.csv", mime="text/csv")
