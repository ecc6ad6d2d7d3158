"""The result of competing risks from opened outputs, exact or under thresholds. In the clear, at the recipient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import aalen_johansen as aj
from mpc_backend.analyses.base import Opened, Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount
from mpc_backend.analyses.competing_parameters import CompetingParameters
from mpc_backend.analyses.competing_result import (
    CauseCurve,
    CompetingArm,
    CompetingResult,
    CompetingRow,
    Risk,
    TimeLost,
    contrasts,
)
from mpc_backend.analyses.competing_secret import (
    FEW,
    RARE,
    SHORT,
    SHOWN,
    finest_lost,
)
from mpc_backend.analyses.curve_display import DISPLAY, table_cells
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, ONE, step_of
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.life_table import log_log_interval
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.log_rank_scores import chi_square_test
from mpc_backend.analyses.secret_curves import error_of, mean_decimals
from mpc_backend.analyses.secret_tests import CHI2_DECIMALS
from mpc_backend.analyses.survival_exact import exact_cell
from mpc_backend.analyses.survival_result import CurvePoint, Test, number, p_value, test_of

TOGETHER = "fewer than {k} events of it, or of another reason that its number would tell"
LABEL = "cumulative incidence, with the other causes competing; crude, not adjusted for anything"
Floats = NDArray[np.float64]


def exact_result(
    parameters: CompetingParameters, policy: DisclosurePolicy, opened: Opened
) -> CompetingResult:
    """Everything from the full tables."""
    shape = (len(parameters.arms), parameters.reasons, parameters.bins)
    exits = np.asarray(opened["exits"], dtype=np.int64).reshape(shape)
    arms = [_exact_arm(parameters, policy, arm, exits[i]) for i, arm in enumerate(parameters.arms)]
    tests: dict[str, Test | None] = {}
    for place, cause in enumerate(parameters.causes):
        score = np.asarray(opened["score"], dtype=np.float64)[place]
        variance = np.asarray(opened["variance"], dtype=np.float64)[place].reshape(len(score), len(score))
        outcome = chi_square_test(score, variance) if len(score) > 1 else None
        tests[cause] = test_of(outcome, 0.0, "hospital")
    return _result(parameters, policy, arms, tests)


def released_result(
    parameters: CompetingParameters, policy: DisclosurePolicy, opened: Opened
) -> CompetingResult:
    """From rounded and masked outputs."""
    arms = [_arm(parameters, policy, opened, place) for place in range(len(parameters.arms))]
    tests = {cause: _test(parameters, opened, place) for place, cause in enumerate(parameters.causes)}
    return _result(parameters, policy, arms, tests)


def _result(
    parameters: CompetingParameters,
    policy: DisclosurePolicy,
    arms: list[CompetingArm],
    tests: dict[str, Test | None],
) -> CompetingResult:
    notes = [UNLINKED] + (["Crude comparison: not adjusted for anything."] if len(arms) > 1 else [])
    if policy.release != "exact":
        notes.append("Curves are " + DISPLAY.format(k=policy.minimum_cell) + ".")
    causes = ", ".join(parameters.causes)
    return CompetingResult(
        estimand=f"probability of having failed of each of {causes} by {parameters.arm}, each in the presence of the "
        f"others, and mean time lost to it up to {parameters.restricted_at} {parameters.unit}s",
        unit=parameters.unit,
        horizon=parameters.horizon,
        confidence=parameters.confidence,
        causes=list(parameters.causes),
        arms=arms,
        contrasts=contrasts(arms, parameters.confidence),
        log_rank=tests,
        suppressed=[] if policy.release == "exact" else _withheld(policy, arms, tests),
        notes=notes,
        release=policy.footnote(),
    )


def _exact_arm(
    parameters: CompetingParameters, policy: DisclosurePolicy, arm: str, exits: Ints
) -> CompetingArm:
    found = aj.incidence(exits)
    gone = exits.cumsum(axis=1)
    times = parameters.times or tuple(int(time) for time in np.flatnonzero(exits.sum(axis=0)))
    rows = [
        CompetingRow(
            time=time,
            at_risk=exact_cell(int(found.at_risk[time]), policy),
            events={
                cause: exact_cell(int(gone[place, time]), policy)
                for place, cause in enumerate(parameters.causes)
            },
            censored=exact_cell(int(gone[-1, time]), policy),
        )
        for time in times
    ]
    curves = [
        _exact_curve(parameters, policy, exits, found, place) for place in range(len(parameters.causes))
    ]
    return CompetingArm(arm=arm, n=exact_cell(int(exits.sum()), policy), causes=curves, table=rows)


def _exact_curve(
    parameters: CompetingParameters, policy: DisclosurePolicy, exits: Ints, found: aj.Incidence, place: int
) -> CauseCurve:
    tau = parameters.restricted_at
    followed = np.flatnonzero(found.at_risk)
    last = int(followed[-1]) if followed.size else 0
    times = {0, *np.flatnonzero(exits[place]).tolist(), *(time for time in parameters.times if time <= last)}
    curve, error = found.curve[place], np.sqrt(found.variance[place])
    over = found.at_risk[tau] > 0 or bool(found.curve[:, tau].sum() > 1 - 1e-12)
    lost, spread = aj.time_lost(exits, tau)
    return CauseCurve(
        cause=parameters.causes[place],
        label=LABEL,
        events=exact_cell(int(exits[place].sum()), policy),
        steps=_points(parameters, sorted(times), curve[sorted(times)], error[sorted(times)]),
        cut_at=last,
        at_tau=_risk(parameters, float(curve[tau]), float(error[tau])) if over else None,
        time_lost=TimeLost(tau=tau, estimate=float(lost[place]), se=float(np.sqrt(spread[place])))
        if over
        else None,
        why_not=None if over else "follow-up too short",
    )


def _points(
    parameters: CompetingParameters, times: list[int], height: Floats, error: Floats
) -> list[CurvePoint]:
    lower, upper = _interval(height, error, parameters.confidence)
    return [
        CurvePoint(
            time=time,
            estimate=float(height[i]),
            se=float(error[i]),
            lower=number(lower[i]),
            upper=number(upper[i]),
        )
        for i, time in enumerate(times)
    ]


def _interval(height: Floats, error: Floats, confidence: float) -> tuple[Floats, Floats]:
    """F^exp(+-z SE / (F |log F|)), as R's ``conf.type = "log-log"``."""
    safe = np.where(height > 0, height, 1.0)
    ended = np.where(height > 1 - 1e-12, 1.0, height)  # a sum of jumps may miss 1 by a rounding error
    return log_log_interval(ended, (error / safe) ** 2, confidence)


def _risk(parameters: CompetingParameters, estimate: float, se: float) -> Risk:
    lower, upper = _interval(np.array([estimate]), np.array([se]), parameters.confidence)
    return Risk(
        time=parameters.restricted_at,
        estimate=estimate,
        se=se,
        lower=number(lower[0]),
        upper=number(upper[0]),
    )


def _arm(parameters: CompetingParameters, policy: DisclosurePolicy, opened: Opened, arm: int) -> CompetingArm:
    times = parameters.table_times
    table = table_cells(policy, opened, arm, times, parameters.horizon)
    gone = [_row(policy, *each) for each in zip(table.all_gone, table.gone, strict=True)]
    rows = [
        CompetingRow(
            time=time,
            at_risk=table.at_risk[i],
            events={cause: gone[place][1][i] for place, cause in enumerate(parameters.causes)},
            censored=gone[-1][1][i],
        )
        for i, time in enumerate(times)
    ]
    curves = [
        _curve(parameters, policy, opened, arm, place, table.persons, gone[place][0])
        for place in range(len(parameters.causes))
    ]
    return CompetingArm(arm=parameters.arms[arm], n=table.persons, causes=curves, table=rows)


def _row(policy: DisclosurePolicy, total: Cell, cells: list[Cell]) -> tuple[Cell, list[Cell]]:
    """The total of a reason and its cells by time; of one that is withheld whole, with what that may be for."""
    if not isinstance(total, HiddenCount):
        return total, cells
    hidden = HiddenCount(state="suppressed", why=TOGETHER.format(k=policy.minimum_cell))
    return hidden, [hidden] * len(cells)


def _curve(
    parameters: CompetingParameters,
    policy: DisclosurePolicy,
    opened: Opened,
    arm: int,
    place: int,
    persons: Cell,
    events: Cell,
) -> CauseCurve:
    tau, places = parameters.restricted_at, mean_decimals(parameters.restricted_at)
    unit, lost_unit = (step_of(persons.value or 0, least) / ONE for least in (1, finest_lost(tau)))
    state, row = int(opened["state"][arm, place]), arm * len(parameters.causes) + place
    followed = int(opened["followed"][row])
    where = np.flatnonzero(np.asarray(opened["step"][row], dtype=bool))
    height = np.round(np.asarray(opened["height"][row], dtype=np.float64)[where] * unit, HEIGHT_DECIMALS)
    error = error_of(opened["height_variance"][row], HEIGHT_DECIMALS)[where]
    start = [CurvePoint(time=0, estimate=0.0, se=0.0, lower=None, upper=None)]
    times = [parameters.display_times[i] for i in where]
    risk = lost = None
    if state == SHOWN:
        se = float(error_of(opened["risk_variance"][arm, place], HEIGHT_DECIMALS))
        risk = _risk(parameters, round(float(opened["risk"][arm, place]) * unit, HEIGHT_DECIMALS), se)
        spread = float(error_of(opened["lost_variance"][arm, place], places))
        time = round(float(opened["lost"][arm, place]) * lost_unit, HEIGHT_DECIMALS)
        lost = TimeLost(tau=tau, estimate=time, se=spread)
    return CauseCurve(
        cause=parameters.causes[place],
        label=f"{LABEL}; {DISPLAY.format(k=policy.minimum_cell)}",
        events=events,
        steps=[] if state == FEW else start + _points(parameters, times, height, error),
        cut_at=parameters.display_times[followed - 1] if followed else None,
        at_tau=risk,
        time_lost=lost,
        why_not=_why(state, policy),
    )


def _why(state: int, policy: DisclosurePolicy) -> str | None:
    return {
        SHOWN: None,
        FEW: f"fewer than {policy.minimum_cell} persons",
        SHORT: "follow-up too short",
        RARE: TOGETHER.format(k=policy.minimum_cell),
    }[state]


def _test(parameters: CompetingParameters, opened: Opened, place: int) -> Test | None:
    if len(parameters.arms) < 2 or not bool(opened["test_shown"][place]) or int(opened["df"][place]) == 0:
        return None
    chi2, df = float(opened["chi2"][place]) / 10.0**CHI2_DECIMALS, int(opened["df"][place])
    return Test(chi2=chi2, df=df, p=p_value(chi2, df), rho=0.0, stratified_by="hospital")


def _withheld(
    policy: DisclosurePolicy, arms: list[CompetingArm], tests: dict[str, Test | None]
) -> list[Suppressed]:
    found = []
    for arm in arms:
        if isinstance(arm.n, HiddenCount):
            found.append(Suppressed(what=f"{arm.arm}: persons", why=arm.n.why))
        for curve in arm.causes:
            if isinstance(curve.events, HiddenCount):
                found.append(Suppressed(what=f"{arm.arm}: {curve.cause}: events", why=curve.events.why))
            if curve.why_not:
                what = f"{arm.arm}: {curve.cause}: risk and time lost at tau"
                found.append(Suppressed(what=what, why=curve.why_not))
    if len(arms) > 1:
        why = f"an arm has fewer than {policy.minimum_cell} persons, or its events of the cause are withheld"
        found += [
            Suppressed(what=f"log-rank of {cause}", why=why) for cause, test in tests.items() if test is None
        ]
    return found
