"""Whether analyses of a study, put side by side, would tell times that none of them tells.

A restricted mean at tau less one at the next tau is the curve between, and three of them give how many fail in one unit of
time; so do curves, and tables of persons at risk, whose steps fall at different times. Each may be made of many failures,
and their differences of one. So analyses that follow the same arms of the same cohort to the same outcome keep to one grid,
and their horizons tau are the same or lie well apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from governance.study import StudyAnalysis
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.grid import DAYS

APART = Fraction(1, 4)
"""Of the later of two tau."""
ARMS = {
    "survival": "arm",
    "competing_risks": "arm",
    "comparative_effectiveness": "arm",
    "treatment_ranking": "treatment",
}
CURVES = ("survival", "competing_risks")
"""Kinds that release curves and tables by time."""


@dataclass(frozen=True)
class _Followed:
    """What an analysis follows: the arms' variable, the outcomes, tau in days, and grid, horizon and times of its curves."""

    arm: str
    outcomes: frozenset[str]
    tau: Fraction
    grid: tuple[object, ...] | None


def check_horizons(
    entry: StudyAnalysis, others: list[StudyAnalysis], same_cohort: Callable[[StudyAnalysis], bool]
) -> None:
    """Whether ``entry`` and the other analyses of its study may stand side by side.

    Raises:
        ParametersRefused: names the other analysis, and both horizons or grids.
    """
    mine = _followed(entry, str)
    if mine is None:
        return
    for other in others:
        theirs = _followed(other, str)
        if theirs is None or not _same_persons(mine, theirs) or not same_cohort(other):
            continue
        if _near(mine, theirs):
            raise ParametersRefused(
                f"analyses {entry.id!r} and {other.id!r} follow the same arms of the same cohort to tau of "
                f"{float(mine.tau):g} and {float(theirs.tau):g} days: the difference of two such means would tell when single "
                "persons failed; take the same tau, or tau at least a quarter of the later one apart"
            )
        if _off_grid(mine, theirs):
            raise ParametersRefused(
                f"analyses {entry.id!r} and {other.id!r} show curves of the same arms of the same cohort with different "
                "unit, horizon or times: side by side their steps would tell when single persons failed; take the same"
            )


def beside(
    entry: StudyAnalysis, other: StudyAnalysis, mine_of: Callable[[str], str], theirs_of: Callable[[str], str]
) -> str | None:
    """What numbers of an analysis of one study tell beside those of another study's, of the same cohort; None: nothing.

    ``mine_of`` and ``theirs_of``: what a variable of either study is, whatever it is called there.
    """
    mine, theirs = _followed(entry, mine_of), _followed(other, theirs_of)
    if mine is None or theirs is None or not _same_persons(mine, theirs):
        return None
    if _near(mine, theirs):
        return f"tau of {float(mine.tau):g} and {float(theirs.tau):g} days"
    return "curves with different unit, horizon or times" if _off_grid(mine, theirs) else None


def _same_persons(mine: _Followed, theirs: _Followed) -> bool:
    return mine.arm == theirs.arm and bool(mine.outcomes & theirs.outcomes)


def _near(mine: _Followed, theirs: _Followed) -> bool:
    return 0 < abs(mine.tau - theirs.tau) < APART * max(mine.tau, theirs.tau)


def _off_grid(mine: _Followed, theirs: _Followed) -> bool:
    return mine.grid is not None and theirs.grid is not None and mine.grid != theirs.grid


def _followed(entry: StudyAnalysis, named: Callable[[str], str]) -> _Followed | None:
    """None for analyses without times, or whose parameters are refused elsewhere. ``named``: what a variable stands for."""
    given: dict[str, Any] = dict(entry.parameters)
    tau = given.get("tau") or given.get("horizon")
    unit = given.get("unit", "month")
    arm = given.get(ARMS.get(entry.kind, ""))
    if not isinstance(tau, int) or unit not in DAYS or not isinstance(arm, str):
        return None
    causes = given.get("causes")
    names = [given.get(name) for name in ("outcome", "harm", "negative_control")]
    names += causes if isinstance(causes, list) else []
    grid = (unit, given.get("horizon"), str(given.get("times") or [])) if entry.kind in CURVES else None
    outcomes = frozenset(named(name) for name in names if isinstance(name, str))
    return _Followed(named(arm), outcomes, tau * Fraction(*DAYS[unit]), grid)
