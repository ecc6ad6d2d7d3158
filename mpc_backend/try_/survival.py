"""`tessera try survival`: Kaplan-Meier, restricted means and log-rank tests by arm, Cox regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.cox_parameters import Ties
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import Unit, coarsen, column
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.survival_parameters import LONGEST_FOLLOW_UP, SurvivalParameters, too_many
from mpc_backend.analyses.survival_result import ArmSurvival, SurvivalResult
from mpc_backend.try_ import cox
from mpc_backend.try_.data import by_site, complete, ends, levels, outcome_columns
from mpc_backend.try_.linking import followed_sites, index_days, put_together, tokens_of
from mpc_backend.try_.output import cell_words
from mpc_backend.try_.running import Answer, Setting, answer
from mpc_backend.try_.survival_output import as_json

__all__ = ["SurvivalChoice", "as_json", "in_words", "survival"]
MOST_ARMS = 12
MOST_STRATA = 20
MOST_TIMES = 12
"""Times of the at-risk table that fit into a line."""


@dataclass(frozen=True)
class SurvivalChoice:
    """The options of the command; ``times`` and ``tau`` count units of ``grid``. ``link``: columns by which a person is
    recognised at every hospital, whose rows start on ``index_day``.
    """

    time: str
    event: str
    arm: str
    strata: tuple[str, ...]
    times: tuple[int, ...]
    tau: int | None
    rho: float
    unit: Unit
    grid: Unit
    site: str | None
    covariates: tuple[str, ...] = ()
    ties: Ties = "efron"
    cluster: str | None = None
    link: tuple[str, ...] = ()
    index_day: str | None = None


def survival(frame: pd.DataFrame, choice: SurvivalChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing time, event or arm do not count.

    ``strata`` add the stratified test, and stratify the Cox regression, among the persons whose strata are known;
    everything else is as without them.
    """
    _check_link(choice)
    if not choice.strata:
        return _run(frame, choice, setting)
    done = _run(frame, replace(choice, strata=(), covariates=(), cluster=None), setting)
    stratified = _run(frame, choice, setting)
    assert isinstance(done.result, SurvivalResult) and isinstance(stratified.result, SurvivalResult)
    more = stratified.result
    test: dict[str, Any] = {"stratified_log_rank": more.stratified_log_rank, "cox": more.cox}
    test["suppressed"] = [
        *done.result.suppressed,
        *(each for each in more.suppressed if _of_strata(each.what)),
    ]
    test["notes"] = [*done.result.notes, *(note for note in more.notes if note not in done.result.notes)]
    return Answer(done.result.model_copy(update=test), done.protocol, done.seconds + stratified.seconds)


def _of_strata(what: str) -> bool:
    return what == "stratified_log_rank" or what.startswith("Cox regression")


def _run(frame: pd.DataFrame, choice: SurvivalChoice, setting: Setting) -> Answer:
    ready = pd.DataFrame(
        {"arm": column(frame, choice.arm), **outcome_columns(frame, choice.time, choice.event)}
    )
    names = [f"stratum{number}" for number in range(len(choice.strata))]
    for name, source in zip(names, choice.strata, strict=True):
        ready[name] = column(frame, source)
    known = complete(ready)
    columns, regression = cox.prepared(frame, choice.covariates, choice.ties, choice.cluster, choice.site)
    ready = ready.assign(**columns)
    if known.empty:
        raise LocalDataError("no row knows its time, event, arm and strata")
    strata = [
        {"variable": name, "levels": list(levels(frame, source, MOST_STRATA))}
        for name, source in zip(names, choice.strata, strict=True)
    ]
    linked: dict[str, Any] = {}
    sites = by_site(ready, frame, choice.site) if not choice.link else None
    if sites is None:
        sites, known, linked = _linked(frame, ready, choice)
    grid = coarsen(known["outcome_time"].to_numpy(dtype=np.int64), choice.unit, choice.grid)
    parameters = parse_parameters(
        "survival",
        {
            "outcome": "outcome", "arm": "arm", "arms": list(levels(frame, choice.arm, MOST_ARMS)),
            "strata": strata, "adjust": False, "rho": choice.rho, "time_unit": choice.unit, "unit": choice.grid,
            "times": list(choice.times), "cox": regression, **linked,
            **ends(grid, known["arm"].to_numpy(), choice.times, choice.tau, setting.smallest_cell, choice.grid),
        },
    )  # fmt: skip
    assert isinstance(parameters, SurvivalParameters)
    if choice.link and (refusal := too_many(parameters, len(sites))):
        raise ParametersRefused(refusal)
    back = {
        **dict(zip(names, choice.strata, strict=True)),
        **cox.columns_of(choice.covariates, choice.cluster),
    }
    done = answer(analysis("survival"), parameters, setting, sites, names=back)
    return done if regression is None else _named(done, choice, regression)


def _check_link(choice: SurvivalChoice) -> None:
    if bool(choice.link) != (choice.index_day is not None):
        raise LocalDataError(
            "--link and --index-day go together: who a row is of, and on which day its time starts"
        )
    if choice.link and (choice.site is None or choice.unit != "day"):
        raise LocalDataError(
            "--link recognises persons of several hospitals: it needs --site, and times in days"
        )
    if choice.link and choice.covariates:
        raise LocalDataError(
            "--covariates go without --link: with it nobody has a person's covariates beside the time"
        )


def _linked(
    frame: pd.DataFrame, ready: pd.DataFrame, choice: SurvivalChoice
) -> tuple[dict[str, SiteData], pd.DataFrame, dict[str, Any]]:
    """Rows by hospital, persons put together in the clear (for the ends of curves alone), and parameters."""
    assert choice.site is not None and choice.index_day is not None
    tokens, index = tokens_of(frame, choice.link), index_days(frame, choice.index_day)
    persons = put_together(ready, tokens, index)
    if persons.empty:
        raise LocalDataError(
            f"{choice.arm}: nobody has it in the row of their first {choice.index_day}, whose arm is a person's"
        )
    sites = followed_sites(ready, frame, choice.site, tokens, index)
    followed = max(1, int(persons["outcome_time"].max()))
    if followed > LONGEST_FOLLOW_UP:
        raise LocalDataError(
            f"somebody is followed for {followed} days from their first {choice.index_day}, and --link follows for at most "
            f"{LONGEST_FOLLOW_UP}; correct {choice.time} or {choice.index_day}"
        )
    parameters = {
        "linkage": True,
        "steps": [f"first {choice.index_day}"],
        "linked": [{"how": "entry"}],
        "follow_up_days": followed,
    }
    return sites, persons, parameters


def _named(done: Answer, choice: SurvivalChoice, regression: dict[str, Any]) -> Answer:
    """The answer with the file's own names of coefficients."""
    result = done.result
    assert isinstance(result, SurvivalResult) and result.cox is not None
    found = cox.named(result.cox, choice.covariates, regression)
    names = {
        f"Cox regression: {old.name}": f"Cox regression: {new.name}"
        for old, new in zip(result.cox.terms, found.terms, strict=True)
    }
    withheld = [
        each.model_copy(update={"what": names.get(each.what, each.what)}) for each in result.suppressed
    ]
    return replace(done, result=result.model_copy(update={"cox": found, "suppressed": withheld}))


def in_words(result: SurvivalResult) -> list[str]:
    """One line per arm and test, and the at-risk table."""
    lines = [result.estimand]
    for arm in result.arms:
        mean = arm.curve.rmst
        restricted = (
            f"hidden ({arm.curve.why_not})"
            if mean is None
            else f"{mean.estimate:.4g} (SE {mean.se:.3g}) up to {mean.tau}"
        )
        lines.append(
            f"{arm.arm:<24} n {cell_words(arm.n)}, events {cell_words(arm.events)}, median {_median(arm)}, mean {restricted}"
        )
    lines += _at_risk(result)
    for name in ("log_rank", "stratified_log_rank", "weighted_log_rank"):
        test = getattr(result, name)
        if test is not None:
            lines.append(f"{name.replace('_', ' ')}: chi2 {test.chi2:.4g} on {test.df} df, p {test.p:.3g}")
    return lines if result.cox is None else [*lines, *cox.in_words(result.cox)]


def _median(arm: ArmSurvival) -> str:
    median = arm.curve.median
    if median is None:
        return f"hidden ({arm.curve.why_not})"
    return "not reached" if median.estimate is None else f"{median.estimate:g}"


def _at_risk(result: SurvivalResult) -> list[str]:
    """Persons at risk just before each time, an arm a line; a pointer where the times are too many for a line."""
    times = [row.time for row in result.arms[0].table]
    if len(times) > MOST_TIMES:
        return [f"at-risk table: {len(times)} times; choose some with --times, or print all with --json"]
    lines = [f"{f'at risk at {result.unit}':<24} " + " ".join(f"{time:>8}" for time in times)]
    return lines + [
        f"{arm.arm:<24} " + " ".join(f"{cell_words(row.at_risk):>8}" for row in arm.table)
        for arm in result.arms
    ]
