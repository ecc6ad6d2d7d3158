"""A survival result from opened outputs, in the clear at the recipient."""

from __future__ import annotations

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses import survival_exact as exact
from mpc_backend.analyses.base import Opened, Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount
from mpc_backend.analyses.curve_display import DISPLAY, table_cells
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, ONE, step_of
from mpc_backend.analyses.linked_words import REPEATED, UNLINKED, linked_note
from mpc_backend.analyses.secret_curves import error_of, mean_decimals
from mpc_backend.analyses.secret_tests import CHI2_DECIMALS
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.analyses.survival_result import (
    ArmSurvival,
    Curve,
    CurvePoint,
    Median,
    RestrictedMean,
    SurvivalResult,
    TableRow,
    Test,
    number,
    p_value,
)
from mpc_backend.analyses.survival_secret import (
    FEW,
    NO_OVERLAP,
    RARE,
    SHORT,
    SHOWN,
    UNEVEN,
)

FOLLOWED = "Arm and strata are those at the hospital of the entry; events, deaths and observation those of all hospitals."
UNTESTABLE = (
    "the arms can be told apart at no failure: nobody fails, all at risk do, or one arm alone is at risk"
)
UNADJUSTED = "Crude comparison: not adjusted for anything."


def exact_result(parameters: SurvivalParameters, policy: DisclosurePolicy, opened: Opened) -> SurvivalResult:
    """Everything from the full tables."""
    arms = exact.exact_arms(parameters, policy, *exact.opened_tables(parameters, opened))
    tests = exact.exact_tests(parameters, np.asarray(opened["score"]), np.asarray(opened["variance"]))
    return _result(parameters, policy, arms, tests, _untested(arms, tests, UNTESTABLE), opened)


def released_result(
    parameters: SurvivalParameters, policy: DisclosurePolicy, opened: Opened
) -> SurvivalResult:
    """From rounded and masked outputs."""
    arms = [_arm(parameters, policy, opened, index) for index in range(len(parameters.arms))]
    tests = {name: _test(parameters, opened, index) for index, name in enumerate(parameters.tests)}
    enough = len(arms) > 1 and bool(np.asarray(opened["test_shown"]).all())
    withheld = _withheld(policy, arms, tests, enough=enough)
    return _result(parameters, policy, arms, tests, withheld, opened)


def _result(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    arms: list[ArmSurvival],
    tests: dict[str, Test | None],
    withheld: list[Suppressed],
    opened: Opened,
) -> SurvivalResult:
    adjusted = f", {exact.ADJUSTED}" if parameters.standardised else ""
    notes = _whose(parameters, opened) + ([] if parameters.standardised or len(arms) < 2 else [UNADJUSTED])
    if policy.release != "exact":
        notes.append("Curves are " + DISPLAY.format(k=policy.minimum_cell) + ".")
    return SurvivalResult(
        estimand=f"time to {parameters.outcome} by {parameters.arm}, restricted at "
        f"{parameters.restricted_at} {parameters.unit}s{adjusted}",
        unit=parameters.unit,
        horizon=parameters.horizon,
        confidence=parameters.confidence,
        arms=arms,
        rmst_contrasts=exact.contrasts(arms, parameters.confidence),
        suppressed=withheld,
        notes=notes,
        release=policy.footnote(),
        log_rank=tests.get("log_rank"),
        stratified_log_rank=tests.get("stratified_log_rank"),
        weighted_log_rank=tests.get("weighted_log_rank"),
    )


def _whose(parameters: SurvivalParameters, opened: Opened) -> list[str]:
    """Whether persons of several hospitals count once, and whose records say what."""
    if not parameters.linkage:
        return [UNLINKED]
    said = f"{linked_note(parameters.steps, parameters.linked, first=parameters.first)} {FOLLOWED}"
    return [said, *([] if opened.get("sound", True) else [REPEATED])]


def _arm(parameters: SurvivalParameters, policy: DisclosurePolicy, opened: Opened, index: int) -> ArmSurvival:
    arms, times = len(parameters.arms), parameters.table_times
    table = table_cells(policy, opened, index, times, parameters.horizon)
    events, censored = table.gone
    main = exact.ADJUSTED if parameters.standardised else exact.CRUDE
    return ArmSurvival(
        arm=parameters.arms[index],
        n=table.persons,
        events=table.all_gone[0],
        curve=_curve(parameters, policy, opened, index, index, main, table.persons),
        crude=_curve(parameters, policy, opened, index, arms + index, exact.CRUDE, table.persons)
        if parameters.standardised
        else None,
        table=[
            TableRow(time=time, at_risk=table.at_risk[i], events=events[i], censored=censored[i])
            for i, time in enumerate(times)
        ],
    )


def _why(state: int, policy: DisclosurePolicy) -> str | None:
    return {
        SHOWN: None,
        FEW: f"fewer than {policy.minimum_cell} persons",
        NO_OVERLAP: "no overlap: no person in some stratum",
        SHORT: "follow-up too short",
        RARE: f"fewer than {policy.minimum_cell} events",
        UNEVEN: f"one person or event would weigh more than 1/{policy.minimum_cell} of all in the adjusted curve",
    }[state]


def _curve(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    opened: Opened,
    arm: int,
    row: int,
    label: str,
    persons: Cell,
) -> Curve:
    state = int(opened["state"][arm])
    followed = int(opened["followed"][arm])
    tau, places = parameters.restricted_at, mean_decimals(parameters.restricted_at)
    countable = state not in (FEW, NO_OVERLAP)
    frequent, even = bool(opened["frequent"][arm]), bool(opened["even"][arm])
    why = _why(state, policy)
    if state == SHORT and not (frequent and even):
        why = f"{why}; {_why(UNEVEN if frequent else RARE, policy)}"
    if state == RARE and frequent:
        why = f"{why} before {tau}"
    rmst = None
    if state == SHOWN:
        error = error_of(opened["mean_variance"][row], places)
        rmst = RestrictedMean(tau=tau, estimate=float(opened["mean"][row]) / 10.0**places, se=float(error))
    return Curve(
        label=f"{label}; {DISPLAY.format(k=policy.minimum_cell)}",
        steps=_steps(parameters, opened, arm, row, step_of(persons.value or 0))
        if countable and followed
        else [],
        cut_at=parameters.display_times[followed - 1] if followed else None,
        median=_median(parameters, opened, row) if countable and frequent and even else None,
        rmst=rmst,
        why_not=why,
    )


def _steps(parameters: SurvivalParameters, opened: Opened, arm: int, row: int, unit: int) -> list[CurvePoint]:
    """Heights are opened as how many times ``unit``, in units of the last decimal."""
    where = np.flatnonzero(np.asarray(opened["step"][arm], dtype=bool))
    height = np.round(np.asarray(opened["height"][row])[where] * (unit / ONE), HEIGHT_DECIMALS)
    error = error_of(opened["height_variance"][row], HEIGHT_DECIMALS)[where]
    safe = np.where(height > 0, height, 1.0)
    lower, upper = km.log_log_interval(height, (error / safe) ** 2, parameters.confidence)
    points = [CurvePoint(time=0, estimate=1.0, se=0.0, lower=None, upper=None)]
    return points + [
        CurvePoint(
            time=parameters.display_times[place], estimate=float(height[i]),
            se=float(error[i]) if height[i] > 0 else None, lower=number(lower[i]), upper=number(upper[i]),
        )
        for i, place in enumerate(where)
    ]  # fmt: skip


def _median(parameters: SurvivalParameters, opened: Opened, row: int) -> Median:
    twice = np.asarray(opened["median"], dtype=np.int64)[:, row]
    estimate, lower, upper = (
        None if value >= 2 * parameters.bins else float(value) / 2 for value in (int(v) for v in twice)
    )
    return Median(estimate=estimate, lower=lower, upper=upper)


def _test(parameters: SurvivalParameters, opened: Opened, index: int) -> Test | None:
    if len(parameters.arms) < 2 or not bool(opened["test_shown"][index]) or int(opened["df"][index]) == 0:
        return None
    name = parameters.tests[index]
    chi2, df = float(opened["chi2"][index]) / 10.0**CHI2_DECIMALS, int(opened["df"][index])
    rho = parameters.rho if name == "weighted_log_rank" else 0.0
    return Test(chi2=chi2, df=df, p=p_value(chi2, df), rho=rho, stratified_by=exact.stratified_by(name))


def _withheld(
    policy: DisclosurePolicy, arms: list[ArmSurvival], tests: dict[str, Test | None], *, enough: bool
) -> list[Suppressed]:
    """What is not there, and why; ``enough``: every arm has the persons and events that tests need."""
    found = []
    for arm in arms:
        found += [
            Suppressed(what=f"{arm.arm}: {what}", why=count.why)
            for what, count in (("persons", arm.n), ("events", arm.events))
            if isinstance(count, HiddenCount)
        ]
        if arm.curve.why_not:
            found.append(Suppressed(what=f"{arm.arm}: restricted mean", why=arm.curve.why_not))
            if arm.curve.median is None:
                found.append(Suppressed(what=f"{arm.arm}: median", why=arm.curve.why_not))
    found += [
        Suppressed(
            what=f"{arm.arm} against {arms[0].arm}: restricted means",
            why="the restricted mean of one of them is withheld",
        )
        for arm in arms[1:]
        if arm.curve.rmst is None or arms[0].curve.rmst is None
    ]
    few = f"an arm has fewer than {policy.minimum_cell} persons or events"
    return found + _untested(arms, tests, UNTESTABLE if enough else few)


def _untested(arms: list[ArmSurvival], tests: dict[str, Test | None], why: str) -> list[Suppressed]:
    if len(arms) < 2:
        return []
    return [Suppressed(what=name, why=why) for name, test in tests.items() if test is None]
