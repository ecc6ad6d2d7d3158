"""What a physician reads of a treatment ranking: a sentence first, then arms with their uncertainty."""

from __future__ import annotations

import altair as alt
import pandas as pd

from mpc_backend.analyses.ranking_arms import ArmEstimate, OutcomeEstimate, RiskEstimate
from mpc_backend.analyses.ranking_result import HELD_BACK, RankingResult
from workbench.parts.patient_form import readable

WARNING = "Research use only. Not a medical device; not for choosing treatment."
MOST_NAMED = 4
BEST, OTHER = "cannot be ruled out as best", "worse than the best"
INK = "#34444f"
COLUMNS_EXPLAINED = (
    "Effective size: so many patients of equal weight would tell as much. Drawn to the average: the mean moved "
    "towards that of all treatments, the more the less is known of it, since the best of many is partly luck. "
    "E-value: something not measured would have to go with treatment and with failure by a risk ratio of this size "
    "to explain the ratio away; in brackets, to explain away that it differs from 1 at all."
)
COLOURS = {BEST: "#0072B2", OTHER: "#8a949c"}


def headline(result: RankingResult) -> str:
    """The first line: what can be said, and never a bare winner."""
    if result.tier is None or not result.arms:
        return "No comparison is possible: too few comparable patients on any two treatments."
    if len(result.arms) == 1:
        return f"Only {result.arms[0].treatment} has enough comparable patients; nothing can be compared."
    best = result.cannot_be_ruled_out
    if len(best) == len(result.arms):
        return f"No clear difference among the {len(best)} treatments with enough comparable patients."
    if len(best) == 1:
        return _only(result, best[0])
    others = len(result.arms) - len(best)
    if len(best) > MOST_NAMED:
        return f"{len(best)} treatments cannot be told apart from the best; the other {others} did worse."
    return f"No clear difference among {', '.join(best[:-1])} and {best[-1]}; the other {others} did worse."


def _only(result: RankingResult, best: str) -> str:
    """One is left; where contrasts are withheld, others may have been ruled out by another than this one."""
    if result.balance is not None and result.balance.withheld:
        return f"Among comparable patients only {best} cannot be ruled out as best."
    return f"Among comparable patients {best} did better than the other {len(result.arms) - 1} treatments."


def balance_lines(result: RankingResult) -> list[str]:
    """Which contrasts are withheld for covariates out of balance, and where balance cannot be judged."""
    if result.balance is None:
        return []
    names = {
        of: [readable(name) for name in getattr(result.balance, of)]
        for of in ("covariates", "out_of_balance")
    }
    said = result.balance.model_copy(update=names).in_words()
    if said or len(result.arms) < 2:
        return said
    return [f"Comparable patients on the treatments shown are alike in {', '.join(names['covariates'])}."]


def basis(result: RankingResult) -> str:
    """How many comparable patients, found how; what was relaxed is named."""
    if result.tier is None:
        return (
            "Patients are compared with this one strictly first, then more loosely as far as the study allows; no "
            "step finds enough of them on two treatments."
        )
    count = "a withheld number of" if result.total is None else f"about {band(result.total)}"
    relaxed = f" Relaxed for this patient: {'; '.join(result.relaxed)}." if result.relaxed else ""
    return f"Among {count} comparable patients, matched as “{result.tier}”.{relaxed}"


def band(size: tuple[int, int]) -> str:
    """A banded number of patients."""
    return f"{size[0]:,} to {size[1]:,}" if size[0] else f"up to {size[1]:,}"


def arm_table(result: RankingResult) -> pd.DataFrame:
    """One row per supported treatment, best shrunken value first; index: the treatment."""
    unit = f"{result.unit}s"
    reference = result.arms[0].estimate if result.arms else 0.0
    rows = [
        {
            "Treatment": arm.treatment,
            "Comparable patients": band(arm.size),
            "Effective size": f"{arm.effective_size:,}",
            f"Mean {unit} without failure (95% interval)": interval(arm),
            **({f"Mean {unit} without harm (95% interval)": beside(arm.harm)} if arm.harm else {}),
            **({f"Mean {unit} without the negative control": beside(arm.control)} if arm.control else {}),
            f"Drawn to the average ({unit})": f"{arm.shrunken:.1f}",
            f"Difference to the first ({unit})": "reference"
            if place == 0
            else f"{arm.estimate - reference:+.1f}",
            "Reading": BEST if arm.cannot_be_ruled_out else OTHER,
            "Risk ratio (95% interval)": risk_ratio(arm.risk),
            "E-value (of the limit)": e_value(arm.risk),
            "Failures seen": "fewer than 10" if arm.fewer_than_ten_failures else "10 or more",
        }
        for place, arm in enumerate(result.arms)
    ]
    return pd.DataFrame(rows).set_index("Treatment") if rows else pd.DataFrame()


def interval(arm: ArmEstimate) -> str:
    """Estimate with its interval."""
    return f"{arm.estimate:.1f} ({arm.lower:.1f} to {arm.upper:.1f})"


def beside(found: OutcomeEstimate) -> str:
    """The same of the harm or of the negative control, or why there is no number."""
    if found.estimate is None:
        return f"withheld: {found.why_not}"
    return f"{found.estimate:.1f} ({found.lower:.1f} to {found.upper:.1f})"


def risk_ratio(found: RiskEstimate) -> str:
    """Ratio of risks of failure with its interval, or why there is none."""
    if found.why_not is not None:
        return f"withheld: {found.why_not}"
    return (
        "reference" if found.ratio is None else f"{found.ratio:.2f} ({found.lower:.2f} to {found.upper:.2f})"
    )


def e_value(found: RiskEstimate) -> str:
    """E-value of the ratio, and of its limit nearer to 1."""
    return "" if found.e_value is None else f"{found.e_value:.1f} ({found.e_value_limit:.1f})"


def control_line(result: RankingResult) -> str:
    """What the negative control says, as a sentence; nothing where the study names none."""
    said = "" if result.negative_control is None else f"{result.negative_control.verdict}."
    return said[:1].upper() + said[1:]


def hidden_sentence(result: RankingResult) -> str:
    """How many treatments show no number, by reason."""
    if not result.hidden_count:
        return "No treatment is withheld."
    reasons = pd.Series([arm.reason for arm in result.hidden]).value_counts()
    parts = [f"{reason} ({count})" for reason, count in reasons.items()]
    return f"{result.hidden_count} treatments show no number: {'; '.join(parts)}."


def held_back(result: RankingResult) -> list[str]:
    """What to say of treatments that are withheld for what this physician was told before."""
    return [note for note in result.notes if note.startswith(HELD_BACK)]


def hidden_by_reason(result: RankingResult) -> dict[str, list[str]]:
    """The withheld treatments by reason."""
    reasons: dict[str, list[str]] = {}
    for arm in result.hidden:
        reasons.setdefault(arm.reason, []).append(arm.treatment)
    return reasons


def arm_chart(result: RankingResult) -> alt.LayerChart:
    """Intervals of the supported treatments, in the order of the table."""
    frame = pd.DataFrame(
        {
            "treatment": [arm.treatment for arm in result.arms],
            "estimate": [arm.estimate for arm in result.arms],
            "lower": [arm.lower for arm in result.arms],
            "upper": [arm.upper for arm in result.arms],
            "reading": [BEST if arm.cannot_be_ruled_out else OTHER for arm in result.arms],
        }
    )
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    base = alt.Chart(frame).encode(
        y=alt.Y("treatment:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, labelColor=INK)),
        color=alt.Color(
            "reading:N",
            scale=scale,
            legend=alt.Legend(title=None, orient="top", labelLimit=300, labelColor=INK),
        ),
        tooltip=[
            alt.Tooltip("treatment:N", title="Treatment"),
            alt.Tooltip("estimate:Q", format=".1f", title="Estimate"),
            alt.Tooltip("lower:Q", format=".1f", title="95% from"),
            alt.Tooltip("upper:Q", format=".1f", title="to"),
        ],
    )
    title = f"Mean {result.unit}s without failure, first {result.tau} {result.unit}s"
    lines = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(
            "lower:Q",
            title=title,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=8, labelColor=INK, titleColor=INK),
        ),
        x2="upper:Q",
    )
    shape = alt.Shape(
        "reading:N", scale=alt.Scale(domain=list(COLOURS), range=["circle", "diamond"]), legend=None
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x="estimate:Q", shape=shape)
    chart: alt.LayerChart = (lines + points).properties(height=alt.Step(30))
    return chart


def caveats(result: RankingResult) -> list[str]:
    """What the reader must know beside the numbers; the warning heads the page, and `held_back` what is hidden."""
    said = [note for note in result.notes if note != WARNING and not note.startswith(HELD_BACK)]
    if result.harm_measure is not None:
        said.append(f"Harm: {result.harm_measure.replace('_', ' ')}, among the same patients.")
    if result.negative_control is not None:
        measure = result.negative_control.measure.replace("_", " ")
        said.append(
            f"Negative control, which no treatment should change: {measure}, among the same patients."
        )
    if result.adjusted_for and any(result.adjusted_for):
        said.append(
            f"Treatments are compared within {len(result.adjusted_for)} strata of {stratum_names(result)}."
        )
    if result.not_matched_on:
        missing = ", ".join(map(readable, result.not_matched_on))
        said.append(f"Not matched on, since missing for this patient: {missing}.")
    if result.cannot_receive:
        said.append(f"Set aside as not possible for this patient: {', '.join(result.cannot_receive)}.")
    return said


def stratum_names(result: RankingResult) -> str:
    """The covariates of the strata, from their labels."""
    names = [part.split(" ")[0] for part in result.adjusted_for[0].split(", ")]
    return " and ".join(name.replace("_", " ") for name in dict.fromkeys(names))
