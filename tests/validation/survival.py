"""Curves, medians, restricted means, their differences and log-rank tests: R's survival (golden/survival.R)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from mpc_backend.analyses.distributions import chi_square_tail, two_sided
from mpc_backend.analyses.survival_result import ArmSurvival, Contrast, Curve, SurvivalResult, Test
from tests.validation.lines import CLEAR, SHARED, Line, golden, near, same, tail
from tests.validation.sets import answered, by_column, data

TITLE = "Survival"
Numbers = pd.Series


@dataclass(frozen=True)
class Case:
    """Groups of a data set on a grid; ``stratum``: of the stratified test, a column of hospitals or with its levels."""

    source: str
    group: str | None
    groups: tuple[str, ...]
    unit: str
    horizon: int
    times: tuple[int, ...]
    taus: tuple[int, ...]
    stratum: tuple[str, tuple[str, ...]] | None = None
    time: str = "time"
    status: str = "status"


CELLS = ("squamous", "smallcell", "adeno", "large")
BY_SEX = ("cox_lung", "sex", ("1", "2"))
CASES = {
    "lung, everybody": Case("cox_lung", None, ("all",), "day", 1022, (90, 365, 700), (365, 965)),
    "lung by sex": Case(*BY_SEX, "day", 1022, (90, 365, 700), (365, 965), ("ph.ecog", ("0", "1", "2", "3"))),
    "lung by sex, months": Case(*BY_SEX, "month", 34, (6, 12, 24), (12, 24), ("hospital", ())),
    "veteran by cell type": Case(
        "cox_veteran", "celltype", CELLS, "day", 999, (30, 90), (150,), ("trt", ("1", "2"))
    ),
    "gbsg2 by hormone treatment": Case(
        "gbsg",
        "hormon",
        ("0", "1"),
        "day",
        2659,
        (365, 1000, 1825),
        (1000, 1825),
        ("grade", ("1", "2", "3")),
        "rfstime",
    ),
    "whas500 by sex": Case(
        "whas500",
        "gender",
        ("0", "1"),
        "day",
        2358,
        (30, 365, 1096),
        (365, 1096),
        ("cvd", ("0", "1")),
        "lenfol",
        "fstat",
    ),
}
RHO = (1.0, 0.5)


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    case, r = CASES[name], golden("survival.csv", "model", "of", "what")[name]
    frame = data(case.source).rename(columns={case.time: "o_time", case.status: "o_event"})
    frame = frame.assign(arm=frame[case.group] if case.group else "all")
    for place, tau in enumerate(case.taus):
        result = _result(case, frame, {"tau": tau}, protocol)
        for arm in result.arms:
            yield from _arm(arm, r[arm.arm], case.times if place == 0 else (), tau)
        for contrast in result.rmst_contrasts:
            of = f"{contrast.arm} - {contrast.reference}, RMST({tau})"
            if contrast.reference == case.groups[0] and of in r.index.get_level_values("of"):
                yield from _contrast(of, contrast, r[of])
    if case.stratum is not None:
        yield from _tests(case, frame, r, protocol)


def _result(case: Case, frame: pd.DataFrame, more: dict[str, object], protocol: str) -> SurvivalResult:
    parameters = {
        "outcome": "o", "arm": "arm", "arms": case.groups, "unit": case.unit, "horizon": case.horizon,
        "times": case.times, "adjust": False, **more,
    }  # fmt: skip
    site = "hospital" if more.get("site") else None
    parameters.pop("site", None)
    result = answered("survival", parameters, by_column(frame, site), protocol)
    assert isinstance(result, SurvivalResult)
    return result


def _arm(arm: ArmSurvival, r: Numbers, times: tuple[int, ...], tau: int) -> Iterator[Line]:
    curve = arm.curve
    if times:
        yield same(f"{arm.arm}: persons", arm.n.value, r["n"])
        yield same(f"{arm.arm}: events", arm.events.value, r["events"])
        assert curve.median is not None
        for part, what in (("estimate", "median"), ("lower", "median lower"), ("upper", "median upper")):
            found = getattr(curve.median, part)
            assert (found is None) == pd.isna(r[what]), f"{arm.arm}: {what} {found}, R {r[what]}"
            if found is not None:
                yield same(f"{arm.arm}: {what}", found, r[what])
    for time, row in zip(times, arm.table, strict=False):
        assert row.time == time
        yield from _at(arm.arm, curve, time, r)
        yield same(f"{arm.arm}: at risk({time})", row.at_risk.value, r[f"at risk({time})"])
        yield same(f"{arm.arm}: events by({time})", row.events.value, r[f"events by({time})"])
    assert curve.rmst is not None
    yield near(f"{arm.arm}: RMST({tau})", curve.rmst.estimate, r[f"RMST({tau})"], CLEAR)
    yield near(f"{arm.arm}: SE RMST({tau})", curve.rmst.se, r[f"SE RMST({tau})"], CLEAR)


def _at(arm: str, curve: Curve, time: int, r: Numbers) -> Iterator[Line]:
    step = [each for each in curve.steps if each.time <= time][-1]
    for part, what in (("estimate", "S"), ("se", "SE S"), ("lower", "lower S"), ("upper", "upper S")):
        yield near(f"{arm}: {what}({time})", getattr(step, part), r[f"{what}({time})"], CLEAR)


def _contrast(of: str, found: Contrast, r: Numbers) -> Iterator[Line]:
    """A difference of two numbers may be off by more of itself than they: the tolerance counts the standard error too."""
    for what in ("difference", "se", "lower", "upper"):
        yield Line(f"{of}: {what}", getattr(found, what), r[what], 10 * CLEAR * max(abs(r[what]), r["se"]))
    yield tail(f"{of}: p", found.p, r["p"], two_sided, r["difference"] / r["se"], CLEAR * 10)
    for what, part in (("ratio", "ratio"), ("ratio lower", "ratio_lower"), ("ratio upper", "ratio_upper")):
        yield near(f"{of}: {what}", getattr(found, part), r[what], CLEAR)


def _tests(case: Case, frame: pd.DataFrame, r: Numbers, protocol: str) -> Iterator[Line]:
    assert case.stratum is not None
    column, levels = case.stratum
    for rho in RHO:
        result = _result(case, frame, {"rho": rho}, protocol)
        if rho == RHO[0]:
            yield from _test("log-rank", result.log_rank, r)
        yield from _test(f"G^{rho:g}", result.weighted_log_rank, r)
    of = f"log-rank stratified by {column}"
    if levels:
        renamed = frame.rename(columns={column: "stratum"})
        strata = {"strata": [{"variable": "stratum", "levels": levels}]}
        yield from _test(of, _result(case, renamed, strata, protocol).stratified_log_rank, r)
    else:
        yield from _test(of, _result(case, frame, {"site": True}, protocol).log_rank, r)


def _test(of: str, test: Test | None, r: Numbers) -> Iterator[Line]:
    assert test is not None
    r = r[of]
    yield near(f"{of}: chi-square", test.chi2, r["chi2"], SHARED)
    yield same(f"{of}: df", test.df, r["df"])
    yield tail(f"{of}: p", test.p, r["p"], partial(_upper, df=r["df"]), r["chi2"])


def _upper(statistic: float, df: float) -> float:
    return chi_square_tail(statistic, df)
