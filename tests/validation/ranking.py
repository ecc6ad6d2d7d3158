"""Treatment ranking: R's survfit by stratum, mixed as the strata of all similar patients (golden/ranking.R)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.ranking_arms import ArmEstimate, OutcomeEstimate
from mpc_backend.analyses.ranking_result import RankingResult
from tests.validation.lines import CLEAR, Line, golden, near, same
from tests.validation.sets import answered, data, thirds

TITLE = "Treatment ranking"
CASES = ("rotterdam, grade 3, 60 years",)
TREATMENTS = ("neither", "hormones", "chemotherapy")
STUDY: dict[str, Any] = {
    "treatment": "treatment", "treatments": TREATMENTS, "outcome": "death", "harm": "recur", "tau": 60, "age": "age",
    "equal": [{"variable": "grade", "levels": ["2", "3"]}],
    "tiers": [{"name": "same grade", "max_distance": 0, "age_within": 12, "equal": ["grade"]}],
    "period": {"variable": "year", "cuts": [1989]}, "strata": [{"variable": "size", "levels": ["small", "large"]}],
}  # fmt: skip
FACTS = {"age": 60, "grade": "3"}


def rotterdam() -> pd.DataFrame:
    """Women with breast cancer by adjuvant treatment; those on both are left out."""
    rows = data("rotterdam")
    treatment = rows.hormon.map({0: "neither", 1: "hormones"}).where(rows.chemo == 0, "chemotherapy")
    names = {"days": "death_time", "death": "death_event", "recur_days": "recur_time", "recur": "recur_event"}
    frame = rows.rename(columns=names).assign(treatment=treatment)
    frame["size"] = rows["size"].map({"<=20": "small"}).fillna("large")
    return frame[(rows.hormon == 0) | (rows.chemo == 0)]


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    assert name in CASES
    r = golden("ranking.csv", "outcome", "treatment", "what")
    result = answered("treatment_ranking", STUDY, thirds(rotterdam()), protocol, FACTS)
    assert isinstance(result, RankingResult)
    arms = {arm.treatment: arm for arm in result.arms}
    for treatment in TREATMENTS:
        arm = arms[treatment]
        assert arm.harm is not None
        yield same(f"{treatment}: persons", arm.size[0], r["benefit", treatment, "persons"])
        yield from _numbers(f"{treatment}, death", arm, r["benefit", treatment])
        yield from _numbers(f"{treatment}, relapse", arm.harm, r["harm", treatment])


def _numbers(of: str, found: ArmEstimate | OutcomeEstimate, r: pd.Series) -> Iterator[Line]:
    yield near(f"{of}: RMST(60)", found.estimate, r["mean"], CLEAR)
    yield near(f"{of}: SE RMST(60)", found.standard_error, r["se"], CLEAR)
    yield near(f"{of}: lower limit", found.lower, r["lower"], CLEAR)
    yield near(f"{of}: upper limit", found.upper, r["upper"], CLEAR)
    yield same(f"{of}: effective size", found.effective_size, r["effective size"])
