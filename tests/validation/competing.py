"""Competing risks: R's multi-state survfit, survdiff of each cause, and cmprsk (golden/competing_risks.R)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.competing_result import CauseCurve, CompetingResult
from tests.validation.lines import CLEAR, SHARED, Line, near
from tests.validation.sets import GOLDEN, HERE, answered, data, thirds

TITLE = "Competing risks"
CASES = ("mgus2 by sex",)
CAUSES = ("pcm", "death")
STUDY = {
    "causes": CAUSES, "arm": "sex", "arms": ["F", "M"], "time_unit": "month", "unit": "month", "horizon": 424, "tau": 240,
    "times": [60, 120, 240],
}  # fmt: skip
GRAY = 8e-3
"""cmprsk estimates the same variance in another way."""


def mgus() -> pd.DataFrame:
    """1,384 persons with monoclonal gammopathy: months to malignancy (pcm) or to death without it."""
    rows = data("mgus2")
    outcomes = {"pcm_time": rows.time, "death_time": rows.time}
    events = {"pcm_event": (rows.event == 1).astype(int), "death_event": (rows.event == 2).astype(int)}
    return pd.DataFrame({"sex": rows.sex, **outcomes, **events})


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    assert name in CASES
    r = pd.read_csv(GOLDEN / "competing_risks.csv")
    result = _result(thirds(mgus()), protocol)
    for row in r[r.what.isin(("incidence", "time_lost", "cmprsk"))].itertuples():
        curve = result.arms["FM".index(row.sex)].causes[row.cause - 1]
        yield from _shown(curve, f"{row.sex}, {curve.cause}", row)
    together = _result({HERE: mgus()}, protocol)
    for row in r[r.what == "log_rank"].itertuples():
        cause = CAUSES[row.cause - 1]
        test = together.log_rank[cause]
        yield near(f"{cause}: log-rank chi-square", test and test.chi2, row.estimate, SHARED)


def _result(sites: dict[str, pd.DataFrame], protocol: str) -> CompetingResult:
    result = answered("competing_risks", STUDY, sites, protocol)
    assert isinstance(result, CompetingResult)
    return result


def _shown(curve: CauseCurve, of: str, row: Any) -> Iterator[Line]:
    """One row of R's beside the step, or the time lost, that it is of."""
    if row.what == "time_lost":
        assert curve.time_lost is not None
        yield near(f"{of}: time lost by {row.time}", curve.time_lost.estimate, row.estimate, CLEAR)
        yield near(f"{of}: SE of time lost by {row.time}", curve.time_lost.se, row.se, CLEAR)
        return
    (step,) = [each for each in curve.steps if each.time == row.time]
    at, error = ("incidence by", CLEAR) if row.what == "incidence" else ("incidence (cmprsk) by", GRAY)
    yield near(f"{of}: {at} {row.time}", step.estimate, row.estimate, CLEAR)
    yield near(f"{of}: SE of {at} {row.time}", step.se, row.se, error)
    if row.what == "incidence":
        yield near(f"{of}: lower limit of {at} {row.time}", step.lower, row.lower, CLEAR)
        yield near(f"{of}: upper limit of {at} {row.time}", step.upper, row.upper, CLEAR)
