"""`tessera try competing-risks`: cumulative incidence and time lost by cause and arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.competing_result import (
    CauseContrast,
    CauseCurve,
    CompetingArm,
    CompetingResult,
    Risk,
    TimeLost,
)
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import LONGEST_TIME, Unit, coarsen, column, whole_numbers
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.try_.data import by_site, complete, ends, levels
from mpc_backend.try_.output import (
    TAIL,
    CurveRow,
    Output,
    OutputPart,
    StepOutput,
    TestOutput,
    cell_words,
    curve_row,
    number,
    p_words,
)
from mpc_backend.try_.running import Answer, Setting, answer

MOST_ARMS = 12
MOST_CAUSES = 6


@dataclass(frozen=True)
class CompetingChoice:
    """The options of the command; ``times`` and ``tau`` count units of ``grid``."""

    time: str
    event: str
    arm: str
    times: tuple[int, ...]
    tau: int | None
    unit: Unit
    grid: Unit
    site: str | None


class CauseOutput(OutputPart):
    """One cause in one arm."""

    cause: str
    events: int | None
    incidence: list[CurveRow]
    steps: list[StepOutput]
    at_tau: Risk | None
    time_lost: TimeLost | None
    why_not: str | None


class ArmOutput(OutputPart):
    """One arm."""

    arm: str
    n: int | None
    causes: list[CauseOutput]


class CompetingOutput(Output):
    """What `tessera try competing-risks --json` prints."""

    causes: list[str]
    arms: list[ArmOutput]
    contrasts: list[CauseContrast]
    log_rank: dict[str, TestOutput | None]


def competing_risks(frame: pd.DataFrame, choice: CompetingChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing time, event or arm do not count."""
    times, timed = whole_numbers(frame, choice.time, 0, LONGEST_TIME)
    events, judged = whole_numbers(frame, choice.event, 0, MOST_CAUSES)
    known = timed & judged
    if not events[known].any():
        raise LocalDataError(
            f"column {choice.event} holds no event; 0 is censored, 1 to {MOST_CAUSES} are causes"
        )
    causes = [f"cause_{number}" for number in range(1, int(events[known].max()) + 1)]
    ready = pd.DataFrame({"arm": column(frame, choice.arm).reset_index(drop=True)})
    for place, cause in enumerate(causes, start=1):
        for name, values in ((f"{cause}_time", times), (f"{cause}_event", events == place)):
            ready[name] = pd.Series(values, dtype="Int64").mask(~known)
    parameters = parse_parameters(
        "competing_risks",
        {
            "causes": causes, "arm": "arm", "arms": list(levels(frame, choice.arm, MOST_ARMS)),
            "time_unit": choice.unit, "unit": choice.grid, "times": list(choice.times), **_ends(ready, choice, setting),
        },
    )  # fmt: skip
    sites = by_site(ready, frame, choice.site)
    return answer(analysis("competing_risks"), parameters, setting, sites)


def _ends(ready: pd.DataFrame, choice: CompetingChoice, setting: Setting) -> dict[str, int]:
    known = complete(ready)
    if known.empty:
        raise LocalDataError("no row knows its time, event and arm")
    grid = coarsen(known["cause_1_time"].to_numpy(dtype=np.int64), choice.unit, choice.grid)
    return ends(grid, known["arm"].to_numpy(), choice.times, choice.tau, setting.smallest_cell, choice.grid)


def as_json(result: CompetingResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-competing-risks.json), without what every object ends with."""
    tests = {
        _cause(cause): None if test is None else TestOutput(chi2=test.chi2, df=test.df, p=test.p)
        for cause, test in result.log_rank.items()
    }
    output = CompetingOutput(
        causes=[_cause(cause) for cause in result.causes],
        arms=[_arm(arm) for arm in result.arms],
        contrasts=[each.model_copy(update={"cause": _cause(each.cause)}) for each in result.contrasts],
        log_rank=tests,
    )
    return output.model_dump(exclude=set(TAIL))


def _cause(name: str) -> str:
    """The code of the file's event column."""
    return name.removeprefix("cause_")


def _arm(arm: CompetingArm) -> ArmOutput:
    return ArmOutput(arm=arm.arm, n=number(arm.n), causes=[_curve(arm, curve) for curve in arm.causes])


def _curve(arm: CompetingArm, curve: CauseCurve) -> CauseOutput:
    rows = [
        curve_row(curve.steps, curve.cut_at, row.time, row.at_risk, row.events[curve.cause], row.censored)
        for row in arm.table
    ]
    return CauseOutput(
        cause=_cause(curve.cause),
        events=number(curve.events),
        incidence=rows,
        steps=[StepOutput.model_validate(step.model_dump()) for step in curve.steps],
        at_tau=curve.at_tau,
        time_lost=curve.time_lost,
        why_not=curve.why_not,
    )


def in_words(result: CompetingResult) -> list[str]:
    """One line per arm and cause, then contrasts and tests."""
    lines = [result.estimand]
    for arm in result.arms:
        for curve in arm.causes:
            lines.append(
                f"{arm.arm:<20} cause {_cause(curve.cause)}: events {cell_words(curve.events)}, {_numbers(curve)}"
            )
    for each in result.contrasts:
        what = "risk" if each.measure == "risk" else "time lost"
        lines.append(
            f"cause {_cause(each.cause)}, {what}, {each.arm} less {each.reference}: {each.difference:.4g} "
            f"({each.lower:.4g} to {each.upper:.4g}){p_words(each.p)}"
        )
    for cause, test in result.log_rank.items():
        if test is not None:
            lines.append(
                f"cause {_cause(cause)}, log rank: chi2 {test.chi2:.4g} on {test.df} df, p {test.p:.3g}"
            )
    return lines


def _numbers(curve: CauseCurve) -> str:
    risk, lost = curve.at_tau, curve.time_lost
    if risk is None or lost is None:
        return f"risk and time lost hidden ({curve.why_not})"
    limits = "" if risk.lower is None or risk.upper is None else f" ({risk.lower:.4g} to {risk.upper:.4g})"
    return (
        f"risk at {risk.time} {risk.estimate:.4g}{limits}, time lost {lost.estimate:.4g} (SE {lost.se:.3g})"
    )
