"""Administration: who may sign in. Accounts are made with `tessera workbench users`, where keys are made too."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from workbench.parts.plain import plain_table
from workbench.parts.shell import page_person


def render() -> None:
    """Draw the page."""
    bench, _ = page_person("administrator")
    st.title("Accounts")
    rows = bench.accounts.listing()
    table = pd.DataFrame(
        {
            "Name": [row.name for row in rows],
            "Shown as": [row.display_name for row in rows],
            "Roles": [", ".join(row.roles) for row in rows],
            "State": ["disabled" if row.disabled else "active" for row in rows],
        }
    )
    plain_table(table.set_index("Name"))
    st.caption(
        "Accounts are added, disabled and given new passwords by `tessera workbench users` on the server."
    )
