"""Table one and correlations: R's mean, sd, quantile and cor.test (golden/regression.R); persons as the file has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.correlation_result import CorrelationResult
from mpc_backend.analyses.table_one_result import TableOneResult
from tests.validation.lines import SUMS, Line, golden, near, same
from tests.validation.sets import answered, data, thirds

TITLE = "Table one and correlation"
CASES = {"birthwt by smoking": "table", "birthwt, correlations": "correlation"}
NUMBERS = {"age": (20, 5), "lwt": (130, 30), "bwt": (2900, 700), "ftv": (1, 1)}
DESCRIBED: dict[str, Any] = {
    "by": "smoke", "groups": ["0", "1"],
    "numbers": [
        {"variable": "age", "centre": 23, "scale": 5, "low": 10, "high": 50},
        {"variable": "lwt", "centre": 130, "scale": 30, "low": 50, "high": 300},
        {"variable": "bwt", "centre": 3000, "scale": 700, "low": 500, "high": 5500},
    ],
    "categories": [
        {"variable": "race", "levels": ["black", "other", "white"]}, {"variable": "ht", "levels": ["0", "1"]},
    ],
}  # fmt: skip


def correlated(numbers: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """The parameters of a correlation of variables with their centres and scales."""
    variables = [{"variable": name, "centre": at, "scale": by} for name, (at, by) in numbers.items()]
    return {"variables": variables}


def lines(name: str, protocol: str = "plain") -> Iterator[Line]:
    """Every statistic of a case."""
    frame, model = data("birthwt"), CASES[name]
    r = golden("regression.csv", "model", "term", "what")[model]
    if model == "table":
        result = answered("table_one", DESCRIBED, thirds(frame), protocol)
        assert isinstance(result, TableOneResult)
        yield from _described(result, r, frame)
    else:
        result = answered("correlation", correlated(NUMBERS), thirds(frame), protocol)
        assert isinstance(result, CorrelationResult)
        yield from _correlated(result, r)


def _described(result: TableOneResult, r: pd.Series, frame: pd.DataFrame) -> Iterator[Line]:
    quartiles = {"q1": "q25", "median": "q50", "q3": "q75"}
    for row in result.numbers:
        for each in row.groups:
            of = f"{row.variable} {each.group}"
            yield near(f"{of}: mean", each.mean, r[of, "mean"], SUMS)
            yield near(f"{of}: SD", each.sd, r[of, "sd"], SUMS)
            for what, theirs in quartiles.items():
                yield same(f"{of}: {what}", getattr(each, what), r[of, theirs])
    for row in (*result.numbers, *result.categories):
        theirs = r[row.variable, "smd"]
        yield Line(
            f"{row.variable}: standardised difference",
            row.differences[0].smd,
            theirs,
            max(2e-4 * theirs, 2e-6),
        )
    counts = pd.crosstab(frame.smoke, frame.race)
    for group in result.categories[0].groups:
        for level in group.levels:
            theirs = counts.loc[int(group.group), level.level]
            yield same(f"race {level.level}, smoke {group.group}: persons", level.count.value, theirs)


def _correlated(result: CorrelationResult, r: pd.Series) -> Iterator[Line]:
    for each in result.variables:
        yield near(f"{each.name}: mean", each.mean, r[each.name, "mean"], SUMS)
        yield near(f"{each.name}: variance", each.variance, r[each.name, "variance"], SUMS)
    known = set(r.index.get_level_values("term"))
    for pair in result.pairs:
        (name,) = known & {f"{pair.first} {pair.second}", f"{pair.second} {pair.first}"}
        for what in ("covariance", "pearson", "lower", "upper", "p"):
            yield Line(
                f"{name}: {what}", getattr(pair, what), r[name, what], 2 * SUMS * max(abs(r[name, what]), 0.5)
            )
