"""What `tessera try survival --json` prints."""

from __future__ import annotations

from typing import Any, Literal

from mpc_backend.analyses.cox_result import ChiSquare, CoxResult, CoxTerm
from mpc_backend.analyses.survival_result import (
    ArmSurvival,
    Contrast,
    Median,
    RestrictedMean,
    SurvivalResult,
    Test,
)
from mpc_backend.try_.output import (
    TAIL,
    CurveRow,
    Output,
    OutputPart,
    StepOutput,
    TestOutput,
    curve_row,
    number,
)


class SurvivalArm(OutputPart):
    """One arm."""

    arm: str
    n: int | None
    events: int | None
    median: Median | None
    survival: list[CurveRow]
    steps: list[StepOutput]
    rmst: RestrictedMean | None
    why_not: str | None


class WeightedTest(TestOutput):
    """A G^rho test."""

    rho: float


class CoxTestsOutput(OutputPart):
    """Chi-square statistics on ``df`` degrees of freedom."""

    wald: float | None
    score: float | None
    lr: float | None
    df: int | None


class CoxOutput(OutputPart):
    """A Cox regression; limits are those of the hazard ratio."""

    ties: Literal["efron", "breslow"]
    n: int | None
    events: int | None
    stratified_by: str
    clustered: bool
    terms: list[CoxTerm]
    tests: CoxTestsOutput
    ph: ChiSquare | None


class SurvivalOutput(Output):
    """What `tessera try survival --json` prints."""

    arms: list[SurvivalArm]
    rmst_contrast: Contrast | None
    rmst_contrasts: list[Contrast]
    log_rank: TestOutput | None
    stratified_log_rank: TestOutput | None
    weighted_log_rank: WeightedTest | None
    cox: CoxOutput | None


def as_json(result: SurvivalResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-survival.json), without what every object ends with."""
    weighted = result.weighted_log_rank
    output = SurvivalOutput(
        arms=[_arm(arm) for arm in result.arms],
        rmst_contrast=result.rmst_contrasts[0] if result.rmst_contrasts else None,
        rmst_contrasts=result.rmst_contrasts,
        log_rank=_test(result.log_rank),
        stratified_log_rank=_test(result.stratified_log_rank),
        weighted_log_rank=None
        if weighted is None
        else WeightedTest(rho=weighted.rho, chi2=weighted.chi2, df=weighted.df, p=weighted.p),
        cox=None if result.cox is None else _cox(result.cox),
    )
    return output.model_dump(exclude=set(TAIL))


def _test(test: Test | None) -> TestOutput | None:
    return None if test is None else TestOutput(chi2=test.chi2, df=test.df, p=test.p)


def _cox(result: CoxResult) -> CoxOutput:
    tests = result.tests
    return CoxOutput(
        ties=result.ties, n=result.n, events=result.events, stratified_by=result.stratified_by,
        clustered=result.clustered, terms=result.terms, ph=result.ph,
        tests=CoxTestsOutput(wald=None, score=None, lr=None, df=None)
        if tests is None
        else CoxTestsOutput(wald=tests.wald, score=tests.score, lr=tests.lr, df=tests.df),
    )  # fmt: skip


def _arm(arm: ArmSurvival) -> SurvivalArm:
    curve = arm.curve
    return SurvivalArm(
        arm=arm.arm,
        n=number(arm.n),
        events=number(arm.events),
        median=curve.median,
        survival=[
            curve_row(curve.steps, curve.cut_at, row.time, row.at_risk, row.events, row.censored, end=0)
            for row in arm.table
        ],
        steps=[StepOutput(**step.model_dump()) for step in curve.steps],
        rmst=curve.rmst,
        why_not=curve.why_not,
    )
