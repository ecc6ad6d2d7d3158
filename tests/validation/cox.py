"""Cox regressions: R's coxph and cox.zph (golden/cox.R), with ties, strata, hospitals and clusters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.cox_result import CoxResult, CoxTerm
from mpc_backend.analyses.distributions import normal_reach, two_sided
from mpc_backend.analyses.grid import level_text
from mpc_backend.analyses.survival_result import SurvivalResult
from tests.validation.lines import ROBUST, SHARED, Line, golden, near, same, tail, within
from tests.validation.sets import answered, by_column, data

TITLE = "Cox regression"
Numbers = pd.Series
Given = float | list[str]
"""A covariate's scale, or its levels."""

COLON: dict[str, Given] = {"rx": ["Obs", "Lev", "Lev+5FU"], "age": 10, "nodes": 4}
ROSSI: dict[str, Given] = {
    "fin": 0.5, "age": 6, "race": 0.3, "wexp": 0.5, "mar": 0.3, "paro": 0.5, "prio": 3,
}  # fmt: skip
RECURRENCES: dict[str, Given] = {
    "rx": COLON["rx"], "sex": 0.5, "age": 10, "obstruct": 0.4, "perfor": 0.2, "adhere": 0.4, "nodes": 4, "differ": 0.5,
    "extent": 0.5,
}  # fmt: skip
GBSG2: dict[str, Given] = {
    "hormon": 0.5, "age": 10, "meno": 0.5, "size": 14, "grade": ["1", "2", "3"], "nodes": 5, "pgr": 200, "er": 150,
}  # fmt: skip
RELAPSE = {"time": "rfstime"}
WHAS500: dict[str, Given] = {"age": 14, "gender": 0.5, "hr": 23, "diasbp": 21, "bmi": 5, "chf": 0.5}
FOLLOWED = {"time": "lenfol", "status": "fstat"}
CELLS = ["squamous", "smallcell", "adeno", "large"]
ECOG = {"ph.ecog": ["0", "1", "2", "3"]}
AGE_SEX: dict[str, Given] = {"age": 10, "sex": 0.5}
CASES: dict[str, tuple[str, dict[str, Given], dict[str, Any]]] = {
    "lung": ("cox_lung", AGE_SEX, {}),
    "lung breslow": ("cox_lung", AGE_SEX, {"ties": "breslow"}),
    "lung by ecog": ("cox_lung", {**AGE_SEX, "wt.loss": 10}, {"strata": ECOG}),
    "lung by hospital": ("cox_lung", {**AGE_SEX, "ph.karno": 10}, {"site": "hospital"}),
    "lung by hospital and ecog": ("cox_lung", AGE_SEX, {"site": "hospital", "strata": ECOG}),
    "lung quarters": ("cox_lung", AGE_SEX, {"time": "year"}),
    "lung quarters breslow": ("cox_lung", AGE_SEX, {"time": "year", "ties": "breslow"}),
    "ovarian": ("cox_ovarian", {"age": 10, "rx": 0.5, "resid.ds": 0.5}, {"time": "futime", "status": "fustat"}),
    "veteran": ("cox_veteran", {"trt": 0.5, "celltype": CELLS, "karno": 20, "age": 10}, {}),
    "veteran by trt": ("cox_veteran", {"karno": 20, "diagtime": 10}, {"strata": {"trt": ["1", "2"]}}),
    "colon by person": ("cox_colon", COLON, {"strata": {"etype": ["1", "2"]}, "cluster": "id"}),
    "colon recurrences": ("cox_colon", RECURRENCES, {"only": ("etype", 1)}),
    "colon by hospital": (
        "cox_colon", {"age": 10, "nodes": 4, "sex": 0.5}, {"site": "hospital", "cluster": "id"},
    ),
    "gbsg2": ("gbsg", GBSG2, RELAPSE),
    "gbsg2 breslow": ("gbsg", GBSG2, {**RELAPSE, "ties": "breslow"}),
    "gbsg2 by hospital and grade": (
        "gbsg", {"hormon": 0.5, "age": 10, "nodes": 5},
        {**RELAPSE, "site": "hospital", "strata": {"grade": ["1", "2", "3"]}},
    ),
    "whas500": ("whas500", WHAS500, FOLLOWED),
    "whas500 breslow": ("whas500", WHAS500, {**FOLLOWED, "ties": "breslow"}),
    "rossi": ("rossi", ROSSI, {"time": "week", "status": "arrest"}),
    "rossi breslow": ("rossi", ROSSI, {"time": "week", "status": "arrest", "ties": "breslow"}),
}  # fmt: skip


def column(name: str) -> str:
    """The name of a variable in a study."""
    return name.replace(".", "_")


def prepared(frame: pd.DataFrame, time: str = "time", status: str = "status") -> pd.DataFrame:
    """Rows with the outcome o, and an arm of everybody."""
    found = frame.rename(columns=column)
    return found.assign(o_time=found[time], o_event=found[status], everybody="all")


def covariate(name: str, given: Given, frame: pd.DataFrame) -> dict[str, Any]:
    """A covariate with its levels, or its scale and, where it has no more than two values, its codes."""
    if isinstance(given, list):
        return {"variable": name, "levels": given}
    known = frame[name].dropna().unique() if name in frame else ()
    codes = {"codes": [level_text(value) for value in known]} if 0 < len(known) <= 2 else {}
    return {"variable": name, "scale": given, **codes}


def parameters(covariates: dict[str, Given], frame: pd.DataFrame, **choice: Any) -> dict[str, Any]:
    """Of an analysis of frame's o_time and o_event; a covariate has its scale or its levels."""
    named = ("ties", "cluster", "shared_ids", "ph", "iterations")
    cox = {
        "covariates": [covariate(column(name), given, frame) for name, given in covariates.items()],
        **{name: choice[name] for name in named if name in choice},
    }
    strata = [
        {"variable": column(name), "levels": levels} for name, levels in choice.get("strata", {}).items()
    ]
    return {
        "outcome": "o", "arm": "everybody", "arms": ["all"], "unit": "day", "horizon": int(frame.o_time.max()),
        "strata": strata, "adjust": False, "cox": cox,
    }  # fmt: skip


def fitted(name: str, protocol: str = "plain") -> CoxResult:
    """The regression of a case."""
    source, covariates, options = CASES[name]
    choice, frame = dict(options), data(source)
    if "only" in choice:
        kept, value = choice.pop("only")
        frame = frame[frame[kept] == value]
    frame = prepared(frame, choice.pop("time", "time"), choice.pop("status", "status"))
    shared = by_column(frame, choice.pop("site", None))
    result = answered("survival", parameters(covariates, frame, shared_ids=True, **choice), shared, protocol)
    assert isinstance(result, SurvivalResult)
    assert result.cox is not None
    return result.cox


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    yield from compared(fitted(name, protocol), name)


def compared(found: CoxResult, name: str) -> Iterator[Line]:
    """A regression beside R's of that case."""
    r = golden("cox.csv", "model", "quantity", "name")[name]
    assert found.tests is not None
    assert found.ph is not None
    yield same("persons", found.n, r["n", "all"])
    yield same("events", found.events, r["events", "all"])
    for term in found.terms:
        yield from _term(term, r, ROBUST if found.clustered else SHARED)
    yield near("Wald chi-square", found.tests.wald, r["wald", "all"], ROBUST if found.clustered else SHARED)
    yield near("score chi-square", found.tests.score, r["score", "all"], SHARED)
    yield near("likelihood ratio chi-square", found.tests.lr, r["lr", "all"], SHARED)
    yield near("proportional hazards chi-square", found.ph.chi2, r["ph", "all"], SHARED)


def _term(term: CoxTerm, r: Numbers, part: float) -> Iterator[Line]:
    """``part``: how far the error that limits and p come from may be off."""
    index = r["coef"].index
    name = term.name if term.name in index else term.name.replace("_", ".")
    coef, se, robust = (r[what, name] for what in ("coef", "se", "robust_se"))
    yield within(f"{name}: coefficient", term.coef, coef, se)
    yield near(f"{name}: SE", term.se, se, SHARED)
    yield near(f"{name}: robust SE", term.robust_se, robust, ROBUST)
    used = robust if part == ROBUST else se
    lower = r["lower", name]
    slack = SHARED * max(abs(coef), se) + part * normal_reach(0.95) * used
    yield Line(f"{name}: lower limit of the hazard ratio", term.lower, lower, lower * math.expm1(slack))
    yield tail(f"{name}: p", term.p, r["p", name], two_sided, coef / used, SHARED + part)
