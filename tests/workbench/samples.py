"""Results as the analyses return them, built through their real types; numbers are made up for the screen."""

from __future__ import annotations

import math

from mpc_backend.analyses.cells import HiddenCount, ReleasedCount
from mpc_backend.analyses.ranking_arms import ArmEstimate, HiddenArm, conclusion
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.survival_result import (
    ArmSurvival,
    Contrast,
    Curve,
    CurvePoint,
    Median,
    RestrictedMean,
    SurvivalResult,
    TableRow,
    Test,
)
from workbench.study_check import TEMPLATE_TEXTS

HIDDEN = HiddenCount(state="suppressed", why="fewer than 10 persons")
MERGED = HiddenCount(state="merged", why="fewer than 10 persons apart from the last number shown")


def in_own_words(text: str) -> str:
    """The template of a study as its investigator would write it."""
    for ours in TEMPLATE_TEXTS.values():
        text = text.replace(ours, "Words of my own")
    return text


def shown(value: int, rounding: int = 10) -> ReleasedCount:
    """A released count."""
    return ReleasedCount(value=value, band=(value - rounding // 2, value + rounding // 2 - 1))


def curve(label: str, hazard: float, cut_at: int | None = None) -> Curve:
    """An exponential curve, every third month a step."""
    steps = []
    for month in range(3, (cut_at or 60) + 1, 3):
        estimate = math.exp(-hazard * month)
        steps.append(
            CurvePoint(
                time=month, estimate=estimate, se=0.03, lower=estimate - 0.05, upper=min(1, estimate + 0.05)
            )
        )
    return Curve(
        label=label,
        steps=steps,
        cut_at=cut_at,
        median=Median(estimate=round(math.log(2) / hazard), lower=30, upper=None),
        rmst=RestrictedMean(tau=60, estimate=(1 - math.exp(-60 * hazard)) / hazard, se=0.8),
    )


def arm(name: str, hazard: float, n: int, cut_at: int | None = None) -> ArmSurvival:
    """One group of a survival result."""
    table = [
        TableRow(
            time=month,
            at_risk=shown(round(n * math.exp(-hazard * month), -1)) if month < 60 else HIDDEN,
            events=shown(round(n * (1 - math.exp(-hazard * month)), -1)) if month < 60 else MERGED,
            censored=shown(10 * month),
        )
        for month in (12, 24, 36, 48, 60)
    ]
    return ArmSurvival(
        arm=name,
        n=shown(n),
        events=shown(n // 3),
        curve=curve("adjusted", hazard, cut_at),
        crude=curve("crude", hazard * 1.3, cut_at),
        table=table,
    )


def survival() -> SurvivalResult:
    """Two groups, adjusted, with every number a page shows."""
    return SurvivalResult(
        estimand="time to heart failure or death, adjusted",
        unit="month",
        horizon=60,
        confidence=0.95,
        arms=[arm("sulfonylurea", 0.018, 1840), arm("DPP-4 inhibitor", 0.012, 1210, cut_at=51)],
        rmst_contrasts=[
            Contrast(
                arm="DPP-4 inhibitor", reference="sulfonylurea", tau=60, difference=5.3, se=1.1,
                lower=3.1, upper=7.5, p=0.0000015, ratio=1.14, ratio_lower=1.08, ratio_upper=1.2,
            )
        ],
        log_rank=Test(chi2=18.2, df=1, p=0.00002, stratified_by="hospital"),
        stratified_log_rank=Test(chi2=21.7, df=1, p=0.000003, stratified_by="hospital and strata"),
        release="Numbers below 10 are withheld; others are rounded to multiples of 10.",
        notes=["History judged per hospital; persons may be counted at more than one."],
    )  # fmt: skip


def estimate(name: str, value: float, *, best: bool, n: int = 40, few: bool = False) -> ArmEstimate:
    """One supported treatment."""
    return ArmEstimate(
        treatment=name,
        estimate=value,
        standard_error=1.0,
        lower=value - 2,
        upper=value + 2,
        shrunken=value - 0.3,
        size=(n, n + 9),
        effective_size=n - 5,
        fewer_than_ten_failures=few,
        cannot_be_ruled_out=best,
    )


def ranking(
    *arms: ArmEstimate, hidden: int = 97, tier: str | None = "same stage, up to 4 markers differ"
) -> RankingResult:
    """A ranking with these arms, and so many hidden ones."""
    given = list(arms) or [
        estimate("regimen 014", 21.4, best=True),
        estimate("regimen 052", 20.9, best=True, few=True),
        estimate("regimen 003", 14.2, best=False, n=60),
    ]
    reasons = ["too few comparable patients"] * (hidden - 1) + ["follow-up too short"] * min(hidden, 1)
    return RankingResult(
        measure="standardised restricted mean time to failure, 24 months",
        unit="month",
        tau=24,
        alpha=0.05,
        tier=tier,
        relaxed=["up to 4 markers may differ instead of 2"],
        arms=given,
        hidden=[HiddenArm(treatment=f"hidden {at:03}", reason=reason) for at, reason in enumerate(reasons)],
        hidden_count=hidden,
        total=(340, 349),
        adjusted_for=["index_year under 2015, severe 0", "index_year under 2015, severe 1"],
        notes=[
            "Research use only. Not a medical device; not for choosing treatment.",
            "Observational; not a trial.",
        ],
        release="Numbers below 10 are withheld; others are rounded to multiples of 10.",
        **conclusion(given),
    )
