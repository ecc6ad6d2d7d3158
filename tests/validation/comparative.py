"""Comparative effectiveness: R's glm and survfit, MatchIt and survey (golden/comparative_*.R)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.comparative_result import ComparativeResult, WeightedArm
from tests.validation.lines import Line, near, same
from tests.validation.sets import GOLDEN, HERE, answered, data, thirds

TITLE = "Comparative effectiveness"
KIND = "comparative_effectiveness"
PACKAGES = "by MatchIt and survey"
STUDY: dict[str, Any] = {
    "outcome": "death", "arm": "hormon", "arms": ["0", "1"], "hospital": False, "tau": 60, "allow_crude": True,
    "period": {"variable": "year", "centre": 1988, "scale": 3},
    "score": [
        {"variable": "age", "centre": 55, "scale": 13},
        {"variable": "size", "levels": ["<=20", "20-50", ">50"]},
        {"variable": "grade", "levels": ["2", "3"]},
        {"variable": "nodes", "centre": 2.7, "scale": 4.4},
    ],
    "balance": [{"variable": "chemo", "levels": ["0", "1"]}],
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "rotterdam, iptw": ("iptw", {"weights": "iptw"}),
    "rotterdam, iptw, scores cut at 0.05": ("iptw05", {"weights": "iptw", "truncation": 0.05}),
    "rotterdam, overlap": ("overlap", {"weights": "overlap"}),
    "rotterdam, strata": ("strata", {"weights": "strata"}),
    "rotterdam, none": ("none", {"weights": "none"}),
    "rotterdam, scores beyond 0.01": ("extreme0.01", {"truncation": 0.01}),
    "rotterdam, scores beyond 0.05": ("extreme0.05", {"truncation": 0.05}),
    **{
        f"rotterdam, {weights}, {PACKAGES}": (weights, {"weights": weights})
        for weights in ("iptw", "overlap", "strata")
    },
}
"""Name -> the name in R's file, and what differs from the study."""
MEAN = 3e-5
"""Of the standard error."""
ERROR = 1e-5
"""Relative, of a robust standard error."""
SMD = 2e-5
JACKKNIFE = 3e-2
"""Of a standard error that survey finds by leaving out one person after the other: in an arm of effective size 73, that is
larger than the infinitesimal jackknife by one or two of them."""
SAMPLE = 1.5e-3
"""Of a standardised difference: MatchIt divides by a deviation with n - 1 of an arm, of 339 and 2,643."""


def rotterdam() -> pd.DataFrame:
    """2,982 women with breast cancer, 339 on hormonal treatment, who were older and had more positive nodes."""
    names = {
        "days": "death_time", "death": "death_event", "recur_days": "recur_time", "recur": "recur_event",
    }  # fmt: skip
    return data("rotterdam").rename(columns=names)


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    method, changes = CASES[name]
    sites = {HERE: rotterdam()} if method.startswith("extreme") else thirds(rotterdam())
    result = answered(KIND, {**STUDY, **changes}, sites, protocol)
    assert isinstance(result, ComparativeResult)
    yield from compared(result, name)


def by_packages(result: ComparativeResult, method: str) -> Iterator[Line]:
    """A comparison beside those of packages that were made for it."""
    r = pd.read_csv(GOLDEN / "comparative_packages.csv")
    for place, arm in enumerate(result.primary.arms):
        numbers, of = r[(r.weights == method) & (r.arm == place)].set_index("what").value, f"hormon {arm.arm}"
        assert arm.rmst is not None and arm.risk is not None and arm.effective_size is not None
        for what, found, name in (("RMST(60)", arm.rmst, "mean"), ("risk(60)", arm.risk, "risk")):
            error = numbers[f"{name}_se"]
            yield Line(f"{of}: {what}", found.estimate, numbers[name], MEAN * error)
            yield near(f"{of}: SE {what} by leaving one out", found.se, error, JACKKNIFE)
        if "effective" in numbers:
            effective = round(numbers["effective"])
            yield same(f"{of}: effective size, a whole number", arm.effective_size[0], effective)
    if method == "strata":
        for line in _balance(result, _smd(r, "none"), _smd(r, "strata")):
            yield Line(line.statistic, line.ours, line.theirs, SMD + SAMPLE * abs(line.theirs))


def compared(result: ComparativeResult, name: str) -> Iterator[Line]:
    """A comparison beside R's of that case."""
    method, _ = CASES[name]
    if name.endswith(PACKAGES):
        yield from by_packages(result, method)
        return
    r = pd.read_csv(GOLDEN / "comparative_effectiveness.csv")
    extreme = method.startswith("extreme")
    for place, arm in enumerate(result.primary.arms):
        numbers, of = r[(r.weights == method) & (r.arm == place)].set_index("what").value, f"hormon {arm.arm}"
        if extreme:
            assert arm.extreme is not None
            yield same(f"{of}: persons beyond", arm.extreme.value, numbers["extreme"])
        else:
            yield from _arm(arm, of, numbers)
    if not extreme:
        yield from _balance(result, _smd(r, "none"), _smd(r, method))


def _balance(result: ComparativeResult, before: pd.Series, after: pd.Series) -> Iterator[Line]:
    for each, (name, unweighted), weighted in zip(result.balance, before.items(), after, strict=True):
        what = f"{str(name).removeprefix('smd:')}: standardised difference"
        yield Line(f"{what}, before", each.before, unweighted, SMD)
        yield Line(f"{what}, after", each.after, weighted, SMD)


def _smd(r: pd.DataFrame, method: str) -> pd.Series:
    return r[(r.weights == method) & r.arm.isna()].set_index("what").value


def _arm(arm: WeightedArm, of: str, r: pd.Series) -> Iterator[Line]:
    assert arm.rmst is not None
    assert arm.risk is not None
    assert arm.effective_size is not None
    yield Line(f"{of}: RMST(60)", arm.rmst.estimate, r["mean"], MEAN * r["mean_se"])
    yield near(f"{of}: SE RMST(60)", arm.rmst.se, r["mean_se"], ERROR)
    yield Line(f"{of}: risk(60)", arm.risk.estimate, r["risk"], MEAN * r["risk_se"])
    yield near(f"{of}: SE risk(60)", arm.risk.se, r["risk_se"], ERROR)
    yield same(f"{of}: effective size, a whole number", arm.effective_size[0], round(r["effective"]))
