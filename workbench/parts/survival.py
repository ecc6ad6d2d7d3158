"""A survival result on a page: the Kaplan-Meier chart with its at-risk table, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from mpc_backend.analyses.cells import HiddenCount
from mpc_backend.analyses.survival_result import ArmSurvival, Curve, SurvivalResult, Test
from workbench.parts.cells import HIDDEN, MERGED, cell_text

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 3), (2, 2), (8, 2, 2, 2), (4, 2), (10, 4), (1, 3))
INK = "#34444f"
CHART_HEIGHT = 360
ROW_HEIGHT = 22
TABLE_TOP = 72
LABEL_GAP = 46
LABEL_LIMIT = 160
AT_RISK = "At risk (events so far)"
NOT_REACHED = "not reached"


def curve_frame(result: SurvivalResult, *, crude: bool = False) -> pd.DataFrame:
    """The steps to draw, one row each: arm, time, estimate, lower, upper. Every curve starts at (0, 1) and
    is held flat to where it may be shown; a missing limit stays missing.
    """
    rows: list[dict[str, object]] = []
    for arm in result.arms:
        curve = arm.crude if crude else arm.curve
        if curve is not None and curve.steps:
            rows += _steps(arm.arm, curve, result.horizon)
    return pd.DataFrame(rows, columns=["arm", "time", "estimate", "lower", "upper"])


def _steps(arm: str, curve: Curve, horizon: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    if curve.steps[0].time > 0:
        rows.append({"arm": arm, "time": 0, "estimate": 1.0, "lower": None, "upper": None})
    rows += [
        {"arm": arm, "time": step.time, "estimate": step.estimate, "lower": step.lower, "upper": step.upper}
        for step in curve.steps
    ]
    end = horizon if curve.cut_at is None else curve.cut_at
    if rows[-1]["time"] != end:
        rows.append({**rows[-1], "time": end})
    return rows


def at_risk_frame(result: SurvivalResult) -> pd.DataFrame:
    """The extended at-risk table, one row per arm and time, counts as text."""
    rows = [
        {
            "arm": arm.arm,
            "time": row.time,
            "at risk": cell_text(row.at_risk),
            "events": cell_text(row.events),
            "censored": cell_text(row.censored),
        }
        for arm in result.arms
        for row in arm.table
    ]
    return pd.DataFrame(rows, columns=["arm", "time", "at risk", "events", "censored"])


def at_risk_table(result: SurvivalResult) -> pd.DataFrame:
    """The at-risk table to read: column names in words, with the unit of time."""
    named = {
        "arm": "Group",
        "time": f"{result.unit.capitalize()}s",
        "at risk": "At risk",
        "events": "Events so far",
        "censored": "Censored so far",
    }
    return at_risk_frame(result).replace(MERGED, HIDDEN).rename(columns=named)


def hidden_note(result: SurvivalResult) -> str | None:
    """Why cells of the at-risk table are hidden, or None where none is."""
    cells = [cell for arm in result.arms for row in arm.table for cell in (row.at_risk, row.events)]
    reasons = dict.fromkeys(cell.why for cell in cells if isinstance(cell, HiddenCount))
    return f"Hidden: {'; or '.join(reasons)}." if reasons else None


def km_chart(
    result: SurvivalResult, *, crude: bool = False, band: bool = True, failures: bool = False
) -> alt.LayerChart:
    """Kaplan-Meier curves with the at-risk table below them: one view, so that both keep one time axis at any width.

    ``failures``: draw 1 - S(t), the cumulative incidence, instead.
    """
    frame = curve_frame(result, crude=crude)
    if failures:
        frame = frame.assign(
            estimate=1 - frame["estimate"], lower=1 - frame["upper"], upper=1 - frame["lower"]
        )
    curves = _curves(frame, result, band=band, failures=failures)
    table = TABLE_TOP + ROW_HEIGHT * (len(result.arms) + 1)
    chart: alt.LayerChart = (
        alt.layer(*curves, *_table(result))
        .properties(
            height=CHART_HEIGHT + table,
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
            padding={"left": 4, "right": 4, "top": 4, "bottom": 4},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=INK,
            titleColor=INK,
            gridColor="#eceff1",
        )
        .resolve_legend(color="shared")
        .configure_legend(labelFontSize=12, labelColor=INK, labelLimit=320, symbolSize=300)
    )
    return chart


def arm_scales(arms: Sequence[str]) -> tuple[alt.Scale, alt.Scale]:
    """Colour and dash by arm: told apart in print and without colour vision."""
    colours = [OKABE_ITO[index % len(OKABE_ITO)] for index in range(len(arms))]
    dashes = [list(DASHES[index % len(DASHES)]) for index in range(len(arms))]
    return alt.Scale(domain=list(arms), range=colours), alt.Scale(domain=list(arms), range=dashes)


def _time_axis(result: SurvivalResult) -> alt.X:
    times = sorted({row.time for arm in result.arms for row in arm.table} | {0})
    axis = alt.Axis(values=times, title=f"{result.unit.capitalize()}s since the index date", format="d")
    return alt.X("time:Q", scale=alt.Scale(domain=[0, result.horizon], nice=False), axis=axis)


def _curves(
    frame: pd.DataFrame, result: SurvivalResult, *, band: bool, failures: bool
) -> list[alt.Chart | alt.LayerChart]:
    colour, dash = arm_scales([arm.arm for arm in result.arms])
    title = "Patients with the event" if failures else "Patients without the event"
    y = alt.Y("estimate:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))
    base = alt.Chart(frame).encode(x=_time_axis(result))
    legend = alt.Legend(title=None, orient="top")
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.2).encode(
        y=y,
        color=alt.Color("arm:N", scale=colour, legend=legend),
        strokeDash=alt.StrokeDash("arm:N", scale=dash, legend=legend),
        tooltip=[
            alt.Tooltip("arm:N", title="Group"),
            alt.Tooltip("time:Q", title=result.unit.capitalize()),
            alt.Tooltip("estimate:Q", format=".1%", title=title),
            alt.Tooltip("lower:Q", format=".1%", title="from"),
            alt.Tooltip("upper:Q", format=".1%", title="to"),
        ],
    )
    if not band:
        return [lines]
    area = base.mark_area(interpolate="step-after", opacity=0.15).encode(
        y=alt.Y("lower:Q"), y2="upper:Q", color=alt.Color("arm:N", scale=colour, legend=None)
    )
    return [lines, area.transform_filter("isValid(datum.lower)")]


def _table(result: SurvivalResult) -> list[alt.Chart]:
    """The at-risk table: one row of text per arm at a fixed distance below the time axis, and a heading."""
    colour, _ = arm_scales([arm.arm for arm in result.arms])
    rows = at_risk_frame(result)
    texts = [_at_risk_text(*both) for both in zip(rows["at risk"], rows["events"], strict=True)]
    frame = rows.assign(text=texts)[["arm", "time", "text"]]
    drawn = [_beside(AT_RISK, TABLE_TOP, bold=True)]
    for place, arm in enumerate(result.arms, start=1):
        top = TABLE_TOP + ROW_HEIGHT * place
        numbers = alt.Chart(frame[frame["arm"] == arm.arm]).mark_text(fontSize=12)
        drawn += [
            _beside(arm.arm, top),
            numbers.encode(
                x=_time_axis(result),
                y=_below(top),
                text="text:N",
                color=alt.Color("arm:N", scale=colour, legend=None),
            ),
        ]
    return drawn


def _at_risk_text(at_risk: str, events: str) -> str:
    hidden = [HIDDEN if text == MERGED else text for text in (at_risk, events)]
    return HIDDEN if hidden == [HIDDEN, HIDDEN] else f"{hidden[0]} ({hidden[1]})"


def _beside(text: str, top: int, *, bold: bool = False) -> alt.Chart:
    """A word left of the table; the heading begins at the axis, since it is longer than the column of names."""
    mark = alt.Chart(pd.DataFrame({"name": [text]})).mark_text(
        fontSize=12,
        color=INK,
        align="left" if bold else "right",
        fontWeight="bold" if bold else "normal",
        limit=0 if bold else LABEL_LIMIT,
    )
    chart: alt.Chart = mark.encode(x=alt.value(0 if bold else -LABEL_GAP), y=_below(top), text="name:N")
    return chart


def _below(top: int) -> alt.YValue:
    return alt.YValue(alt.ExprRef(expr=f"height + {top}"))  # type: ignore[no-untyped-call]


def headline(result: SurvivalResult) -> str:
    """The first line of the page: group sizes and the restricted means' difference, in words."""
    sizes = "; ".join(
        f"{arm.arm}: {cell_text(arm.n)} patients, {cell_text(arm.events)} events" for arm in result.arms
    )
    if not result.rmst_contrasts:
        return sizes
    one = result.rmst_contrasts[0]
    more = "more" if one.difference >= 0 else "fewer"
    unit = f"{result.unit}s"
    clear = "" if one.lower > 0 or one.upper < 0 else " The interval includes no difference."
    return (
        f"Over {one.tau} {unit}, {one.arm} had {abs(one.difference):.1f} {more} {unit} without the event "
        f"than {one.reference} (95% interval {one.lower:.1f} to {one.upper:.1f}).{clear}"
    )


def summary_table(result: SurvivalResult, *, crude: bool = False) -> pd.DataFrame:
    """One row per group: patients, events, median, restricted mean."""
    rows = []
    for arm in result.arms:
        curve = arm.crude if crude and arm.crude is not None else arm.curve
        rows.append(
            {
                "Group": arm.arm,
                "Patients": cell_text(arm.n),
                "Events": cell_text(arm.events),
                f"Median {result.unit}s to the event (95% interval)": median_text(curve),
                f"Mean {result.unit}s without the event (95% interval)": restricted_text(curve, result.unit),
            }
        )
    return pd.DataFrame(rows).set_index("Group")


def median_text(curve: Curve) -> str:
    """Median with interval; an end that is not reached says so."""
    if curve.median is None:
        return f"not shown: {curve.why_not}" if curve.why_not else "not shown"
    middle, *ends = map(_reached, (curve.median.estimate, curve.median.lower, curve.median.upper))
    return middle if {middle, *ends} == {NOT_REACHED} else f"{middle} ({ends[0]} to {ends[1]})"


def _reached(value: float | None) -> str:
    return NOT_REACHED if value is None else f"{value:g}"


def restricted_text(curve: Curve, unit: str) -> str:
    """Mean time up to tau with a 95% interval."""
    mean = curve.rmst
    if mean is None:
        return f"not shown: {curve.why_not}" if curve.why_not else "not shown"
    low, high = mean.estimate - 1.96 * mean.se, mean.estimate + 1.96 * mean.se
    return f"{mean.estimate:.1f} ({low:.1f} to {high:.1f}) of the first {mean.tau} {unit}s"


def tests_table(result: SurvivalResult) -> pd.DataFrame:
    """The log-rank tests that were made."""
    named = {
        "Log-rank": result.log_rank,
        "Log-rank within strata": result.stratified_log_rank,
        "Weighted log-rank": result.weighted_log_rank,
    }
    rows = [_test_row(name, test) for name, test in named.items() if test is not None]
    return pd.DataFrame(rows).set_index("Test") if rows else pd.DataFrame()


def _test_row(name: str, test: Test) -> dict[str, str]:
    return {
        "Test": name if not test.rho else f"{name} (rho {test.rho:g})",
        "Stratified by": test.stratified_by,
        "Chi-square": f"{test.chi2:.2f}",
        "Degrees of freedom": str(test.df),
        "p": p_text(test.p),
    }


def p_text(p: float) -> str:
    """A p-value as journals print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def has_crude(result: SurvivalResult) -> bool:
    """Whether the main curves are adjusted and the crude ones are there for comparison."""
    return any(arm.crude is not None for arm in result.arms)


def notes(arm: ArmSurvival, horizon: int, unit: str) -> list[str]:
    """What is not shown of one group's curve, and why."""
    said = []
    if arm.curve.cut_at is not None and arm.curve.cut_at < horizon:
        said.append(f"{arm.arm}: nothing is shown after {unit} {arm.curve.cut_at}; too few remain at risk.")
    if arm.curve.why_not:
        said.append(f"{arm.arm}: {arm.curve.why_not}.")
    return said
