"""A survival result from the full pooled tables, in the clear: exact release, and the oracle of the secret one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses import log_rank_scores as log_rank
from mpc_backend.analyses.cells import RELEASED, ReleasedCount, cell
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.analyses.survival_result import (
    ArmSurvival,
    Contrast,
    Curve,
    CurvePoint,
    Median,
    RestrictedMean,
    TableRow,
    Test,
    contrast,
    number,
    test_of,
)

CRUDE = "crude, not adjusted for anything"
ADJUSTED = "standardised to the pooled mix of the declared strata"


def exact_arms(
    parameters: SurvivalParameters, policy: DisclosurePolicy, failed: Ints, left: Ints
) -> list[ArmSurvival]:
    """Arms from pooled counts (arms, strata, bins)."""
    persons = (failed + left).sum(axis=2)
    weights = persons.sum(axis=0) / max(1, int(persons.sum()))
    return [
        _arm(parameters, policy, index, failed[index], left[index], weights)
        for index in range(len(parameters.arms))
    ]


def _arm(
    parameters: SurvivalParameters,
    policy: DisclosurePolicy,
    index: int,
    failed: Ints,
    left: Ints,
    weights: NDArray[np.float64],
) -> ArmSurvival:
    pooled = km.life_table(failed.sum(axis=0), left.sum(axis=0))
    crude = _crude(parameters, pooled)
    main = _standardised(parameters, failed, left, weights) if parameters.standardised else crude
    return ArmSurvival(
        arm=parameters.arms[index],
        n=exact_cell(int((failed + left).sum()), policy),
        events=exact_cell(int(failed.sum()), policy),
        curve=main,
        crude=crude if parameters.standardised else None,
        table=[_row(pooled, time, policy) for time in _table_times(parameters, pooled)],
    )


def exact_cell(value: int, policy: DisclosurePolicy) -> ReleasedCount:
    """A count shown as it is."""
    shown = cell(RELEASED, value, policy, 1)
    assert isinstance(shown, ReleasedCount)
    return shown


def _table_times(parameters: SurvivalParameters, pooled: km.LifeTable) -> list[int]:
    """The declared times; without any, every time at which somebody failed or left."""
    if parameters.times:
        return list(parameters.times)
    return [int(time) for time in np.flatnonzero(pooled.events + pooled.censored)]


def _row(pooled: km.LifeTable, time: int, policy: DisclosurePolicy) -> TableRow:
    return TableRow(
        time=time,
        at_risk=exact_cell(int(pooled.at_risk[time]), policy),
        events=exact_cell(int(pooled.events[: time + 1].sum()), policy),
        censored=exact_cell(int(pooled.censored[: time + 1].sum()), policy),
    )


def _crude(parameters: SurvivalParameters, pooled: km.LifeTable) -> Curve:
    tau = parameters.restricted_at
    mean, variance = km.restricted_mean(pooled.survival, tau), km.restricted_mean_variance(pooled, tau)
    why = None if pooled.at_risk[tau] > 0 or pooled.survival[tau] == 0 else "follow-up too short"
    rmst = None if why else RestrictedMean(tau=tau, estimate=float(mean), se=float(np.sqrt(variance)))
    return _curve(CRUDE, parameters, pooled.survival, pooled.log_variance, pooled, rmst, why)


def _standardised(
    parameters: SurvivalParameters, failed: Ints, left: Ints, weights: NDArray[np.float64]
) -> Curve:
    tau = parameters.restricted_at
    table = km.life_table(failed, left)
    mixed = km.standardise(table, weights, tau)
    why = overlap_problem(table, weights, tau)
    rmst = (
        None
        if why
        else RestrictedMean(tau=tau, estimate=float(mixed.mean), se=float(np.sqrt(mixed.mean_variance)))
    )
    pooled = km.life_table(failed.sum(axis=0), left.sum(axis=0))
    return _curve(ADJUSTED, parameters, mixed.survival, mixed.log_variance, pooled, rmst, why)


def overlap_problem(table: km.LifeTable, weights: NDArray[np.float64], tau: int) -> str | None:
    """Why an arm cannot be standardised: a stratum without patients, or one not followed to tau."""
    needed = weights > 0
    if (table.at_risk[needed, 0] == 0).any():
        return "no overlap"
    unfinished = (table.at_risk[:, tau] == 0) & (table.survival[:, tau - 1] > 0)
    return "follow-up too short" if unfinished[needed].any() else None


def _curve(
    label: str,
    parameters: SurvivalParameters,
    survival: NDArray[np.float64],
    log_variance: NDArray[np.float64],
    pooled: km.LifeTable,
    rmst: RestrictedMean | None,
    why: str | None,
) -> Curve:
    lower, upper = km.log_log_interval(survival, log_variance, parameters.confidence)
    followed = np.flatnonzero(pooled.at_risk)
    last = int(followed[-1]) if followed.size else 0
    with np.errstate(invalid="ignore"):
        errors = np.where(survival > 0, survival * np.sqrt(log_variance), np.nan)
    wanted = sorted({0, *np.flatnonzero(pooled.events).tolist(), *(t for t in parameters.times if t <= last)})
    steps = [
        CurvePoint(
            time=time, estimate=float(survival[time]), se=number(errors[time]),
            lower=number(lower[time]), upper=number(upper[time]),
        )
        for time in wanted
    ]  # fmt: skip
    median = Median(
        estimate=km.crossing(survival, last), lower=km.crossing(lower, last), upper=km.crossing(upper, last)
    )
    return Curve(
        label=label,
        steps=steps,
        cut_at=last,
        median=None if why == "no overlap" else median,
        rmst=rmst,
        why_not=why,
    )


def exact_tests(
    parameters: SurvivalParameters, score: NDArray[np.float64], variance: NDArray[np.float64]
) -> dict[str, Test | None]:
    """Tests from summed scores (tests, arms) and covariances (tests, arms * arms)."""
    arms = len(parameters.arms)
    results: dict[str, Test | None] = {}
    for index, name in enumerate(parameters.tests):
        outcome = (
            log_rank.chi_square_test(score[index], variance[index].reshape(arms, arms)) if arms > 1 else None
        )
        rho = parameters.rho if name == "weighted_log_rank" else 0.0
        results[name] = test_of(outcome, rho, stratified_by(name))
    return results


def stratified_by(name: str) -> str:
    """What a test is stratified by, in words."""
    return "hospital and declared strata" if name == "stratified_log_rank" else "hospital"


def contrasts(arms: list[ArmSurvival], confidence: float) -> list[Contrast]:
    """Every arm against the first, where both restricted means are shown."""
    first = arms[0]
    if first.curve.rmst is None:
        return []
    return [
        contrast(arm.arm, first.arm, arm.curve.rmst, first.curve.rmst, confidence)
        for arm in arms[1:]
        if arm.curve.rmst is not None
    ]


def opened_tables(
    parameters: SurvivalParameters, opened: Mapping[str, NDArray[np.generic]]
) -> tuple[Ints, Ints]:
    """The opened counts in the shape (arms, strata, bins)."""
    shape = (len(parameters.arms), parameters.strata_count, parameters.bins)
    failed, left = (
        np.asarray(opened[name], dtype=np.int64).reshape(shape) for name in ("events", "censored")
    )
    return failed, left
