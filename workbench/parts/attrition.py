"""A cohort count on a page: how many patients are left after each step, hidden numbers shown as hidden."""

from __future__ import annotations

import altair as alt
import pandas as pd

from mpc_backend.analyses.cells import ReleasedCount
from mpc_backend.analyses.cohort_count import CountResult
from workbench.parts.cells import HIDDEN, band_text, cell_text, share_text

BAR, HATCH = "#0072B2", "#b7c3cc"


def attrition_table(result: CountResult) -> pd.DataFrame:
    """One row per step: its label, the patients left, the share of those who entered."""
    rows = [
        {
            "Step": "All patients of the hospitals",
            "Patients left": cell_text(result.population),
            "Of those who entered": "–",
        }
    ]
    entered = result.steps[0].count if result.steps else result.population
    rows += [
        {
            "Step": step.label,
            "Patients left": cell_text(step.count),
            "Of those who entered": share_text(step.count, entered),
        }
        for step in result.steps
    ]
    return pd.DataFrame(rows).set_index("Step")


def attrition_chart(result: CountResult) -> alt.LayerChart:
    """One bar per step, entry event first; a hidden step is a hatched stub with the word, never an empty row."""
    frame = pd.DataFrame(
        {
            "step": [f"{place + 1}. {step.label}" for place, step in enumerate(result.steps)],
            "patients": [
                step.count.value if isinstance(step.count, ReleasedCount) else 0 for step in result.steps
            ],
            "hidden": [not isinstance(step.count, ReleasedCount) for step in result.steps],
            "text": [cell_text(step.count) for step in result.steps],
        }
    )
    most = max(frame["patients"].max(), 1)
    frame["length"] = frame["patients"].where(~frame["hidden"], most * 0.04)
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "step:N",
            sort=None,
            title=None,
            axis=alt.Axis(labelLimit=380, labelFontSize=12, labelColor="#34444f", domain=False),
        )
    )
    axis = alt.X("length:Q", axis=None, scale=alt.Scale(domain=[0, most * 1.15]))
    bars = base.mark_bar(height=18, cornerRadiusEnd=2).encode(
        x=axis,
        color=alt.condition("datum.hidden", alt.value(HATCH), alt.value(BAR)),
        tooltip=[alt.Tooltip("step:N", title="Step"), alt.Tooltip("text:N", title="Patients left")],
    )
    words = base.mark_text(align="left", dx=6, fontSize=12).encode(x=axis, text="text:N")
    chart: alt.LayerChart = (bars + words).properties(height=alt.Step(30)).configure_view(stroke=None)
    return chart


def headline(result: CountResult) -> str:
    """The first line: the number of patients, or that it is hidden and why."""
    if isinstance(result.count, ReleasedCount):
        return f"{band_text(result.count)} patients are in the cohort."
    return f"The number of patients is {band_text(result.count)}."


def csv_table(result: CountResult) -> pd.DataFrame:
    """The attrition for a download: value and band where shown, the word where hidden."""
    named = [("population", result.population), *((step.label, step.count) for step in result.steps)]
    return pd.DataFrame(
        [
            {
                "step": label,
                "state": count.state,
                "persons": count.value if isinstance(count, ReleasedCount) else HIDDEN,
                "from": count.band[0] if isinstance(count, ReleasedCount) else None,
                "to": count.band[1] if isinstance(count, ReleasedCount) else None,
            }
            for label, count in named
        ]
    )
