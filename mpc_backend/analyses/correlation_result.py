"""Means, variances and correlations as their recipient reads them, with intervals made in the clear."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel

from mpc_backend.analyses.base import Opened, Released, Result, Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount, cells
from mpc_backend.analyses.correlation_parameters import CorrelationParameters
from mpc_backend.analyses.distributions import normal_reach, student_two_sided
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.regression_release import FEW, RARE, SHOWN, UNSOLVED, real
from mpc_backend.analyses.survival_exact import exact_cell

NOTE = "Persons with a missing value in any of the variables do not count."


class Moments(BaseModel):
    """One variable; null where nothing may or can be said."""

    name: str
    mean: float | None = None
    sd: float | None = None
    variance: float | None = None


class Pair(BaseModel):
    """Two variables: Pearson's correlation with Fisher's interval, and the test that it is zero."""

    first: str
    second: str
    covariance: float | None = None
    pearson: float | None = None
    lower: float | None = None
    upper: float | None = None
    p: float | None = None


class CorrelationResult(Result):
    """Result of ``correlation``. ``why_not``: why there are no numbers."""

    kind: Literal["correlation"] = "correlation"
    n: Cell
    variables: list[Moments]
    pairs: list[Pair]
    confidence: float
    why_not: str | None = None
    release: str


def correlation_result(
    parameters: CorrelationParameters, released: Released, opened: Opened
) -> CorrelationResult:
    """From opened outputs."""
    policy, exact, state = released.policy, released.policy.release == "exact", int(opened["state"])
    counts = np.asarray(opened["persons"], dtype=np.int64).reshape(-1)
    n: Cell = exact_cell(int(counts[0]), policy)
    if not exact:
        states = np.asarray(opened["persons_state"], dtype=np.int64)
        (n,) = cells(states, counts, policy, policy.rounding)
    names = parameters.covariates
    why = {
        SHOWN: None,
        FEW: f"fewer than {policy.minimum_cell} persons",
        RARE: f"fewer than {policy.minimum_cell} persons of a code, or of two codes together",
        UNSOLVED: "not estimable: fewer than two persons, or a mean or deviation far from what was declared",
    }[state]
    hidden = [Suppressed(what="persons", why=n.why)] if isinstance(n, HiddenCount) else []
    withheld = [] if why is None else [Suppressed(what="means and correlations", why=why)]
    places = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    result = CorrelationResult(
        n=n,
        variables=[Moments(name=name) for name in names],
        pairs=[Pair(first=names[i], second=names[j]) for i, j in places],
        confidence=parameters.confidence,
        why_not=why,
        suppressed=[*hidden, *withheld],
        notes=[UNLINKED, NOTE],
        release=policy.footnote(),
    )
    if why is None:
        result.variables = _variables(parameters, opened, exact)
        result.pairs = [
            _pair(parameters, opened, exact, place, i, j, n.value or 0) for place, (i, j) in enumerate(places)
        ]
    return result


def _variables(parameters: CorrelationParameters, opened: Opened, exact: bool) -> list[Moments]:
    means, variances = real(opened["mean"], exact), real(opened["variance"], exact)
    found = []
    for each, mean, variance in zip(parameters.variables, means, variances, strict=True):
        spread = max(0.0, float(variance)) * each.scale**2
        centre = each.centre + float(mean) * each.scale
        found.append(Moments(name=each.variable, mean=centre, sd=math.sqrt(spread), variance=spread))
    return found


def _pair(
    parameters: CorrelationParameters, opened: Opened, exact: bool, place: int, i: int, j: int, n: int
) -> Pair:
    first, second = parameters.variables[i], parameters.variables[j]
    covariance = float(real(opened["covariance"], exact)[place]) * first.scale * second.scale
    pair = Pair(first=first.variable, second=second.variable, covariance=covariance)
    if not (opened["varies"][i] and opened["varies"][j]):
        return pair
    pearson = float(np.clip(real(opened["pearson"], exact)[place], -1, 1))
    if n > 3 and abs(pearson) < 1:
        reach = normal_reach(parameters.confidence) / math.sqrt(n - 3)
        pair.lower, pair.upper = (math.tanh(math.atanh(pearson) + side * reach) for side in (-1, 1))
    if n > 2 and abs(pearson) < 1:
        pair.p = student_two_sided(pearson * math.sqrt((n - 2) / (1 - pearson**2)), n - 2)
    pair.pearson = pearson
    return pair
