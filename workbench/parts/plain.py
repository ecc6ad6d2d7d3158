"""Tables whose cells others wrote. Streamlit reads each cell as Markdown; these show them as they stand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from site_connector.plain import literal


def plain_table(frame: pd.DataFrame, *, hide_index: bool = False) -> None:
    """Put a table on the page."""
    st.table(literal_frame(frame), hide_index=hide_index)


def literal_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells and labels as Markdown that shows them as they stand."""
    return frame.map(_literal).rename(index=_literal, columns=_literal)


def _literal(value: Any) -> Any:
    return literal(value) if isinstance(value, str) else value
