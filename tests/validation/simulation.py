"""Simulations whose truth is known: how often intervals hold it, and how often one of equal arms is ruled out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.ranking_intervals import Arms, not_ruled_out

CONFOUNDING = Path(__file__).with_name("confounding.json")
"""What `mpc_backend.bench.confounding` printed, one object for each kind of weights."""
TAU = 12
Z = 1.959963984540054
PERSONS, SURVIVAL = (20, 30, 60, 150), (0.99, 0.95, 0.8, 0.5)
NULL = ((3, 0.5), (5, 0.3), (20, 0.6))
"""Number of equal arms, and their survival at tau."""
ALPHA = 0.05
Row = tuple[float, float, float, bool]


def simulate(
    rng: np.random.Generator,
    persons: int,
    survival: float,
    *,
    strata: Sequence[float] = (0.7, 1.0, 1.3),
    weights: Sequence[float] = (0.3, 0.4, 0.3),
) -> Row | None:
    """One arm: restricted mean and error as shares of tau, information, failures; None where a stratum is not followed."""
    rates = -np.log(survival) * np.array(strata) / TAU
    group = rng.choice(len(strata), persons, p=weights)
    failure = rng.exponential(1 / rates[group])
    leaving = np.where(rng.random(persons) < 0.3, rng.uniform(0, TAU, persons), 3 * TAU)
    time = np.minimum(np.ceil(np.minimum(failure, leaving)).astype(int), TAU)
    event = (failure <= leaving) & (np.ceil(failure) <= TAU)
    failed, left = np.zeros((len(strata), TAU + 1)), np.zeros((len(strata), TAU + 1))
    np.add.at(failed, (group[event], time[event]), 1)
    np.add.at(left, (group[~event], time[~event]), 1)
    table = km.life_table(failed, left)
    if (table.at_risk[:, TAU] == 0).any():
        return None
    mixed = km.standardise(table, np.array(weights), TAU)
    before = failed[:, :TAU].sum(axis=1)
    information = 1 / (np.array(weights) ** 2 / (table.at_risk[:, TAU] + before)).sum()
    return mixed.mean / TAU, np.sqrt(mixed.mean_variance) / TAU, information, before.sum() < 10


def true_mean(survival: float) -> float:
    """The restricted mean that `simulate` draws from, as a share of tau."""
    rates = -np.log(survival) * np.array([0.7, 1.0, 1.3]) / TAU
    return float(np.array([0.3, 0.4, 0.3]) @ np.exp(-rates[:, None] * np.arange(TAU)).mean(axis=1))


def arms_of(rows: Sequence[Row]) -> Arms:
    """Rows as the arms of a ranking."""
    mean, error, information, few = (np.array(column) for column in zip(*rows, strict=True))
    return Arms(mean, error, information, few)


def covered(persons: int, survival: float) -> tuple[int, float]:
    """Of 1,000 arms those that are followed, and the share of their intervals that hold the truth."""
    rng = np.random.default_rng(persons)
    rows = [row for row in (simulate(rng, persons, survival) for _ in range(1000)) if row is not None]
    truth = true_mean(survival)
    lower, upper = arms_of(rows).interval(Z)
    return len(rows), float(((lower <= truth) & (truth <= upper)).mean())


def wrongly_ruled_out(count: int, survival: float) -> tuple[int, float]:
    """Runs, and the share in which one of ``count`` equal arms is ruled out as best."""
    rng, runs, wrong = np.random.default_rng(count), 1000, 0
    for _ in range(runs):
        rows = [
            simulate(rng, int(rng.integers(20, 80)), survival, strata=(1.0,), weights=(1.0,))
            for _ in range(count)
        ]
        kept: NDArray[np.bool_] = not_ruled_out(arms_of([row for row in rows if row is not None]), ALPHA)
        wrong += not kept.all()
    return runs, wrong / runs


def covered_row(persons: int, survival: float, found: tuple[int, float]) -> str:
    """A row of the page."""
    return f"| {persons} | {survival:g} | {found[0]} | {found[1]:.1%} |"


def ruled_out_row(count: int, survival: float, found: tuple[int, float]) -> str:
    """A row of the page."""
    return f"| {count} | {survival:g} | {found[0]} | {found[1]:.1%} |"


def confounding() -> list[dict[str, Any]]:
    """The stored results, one for each kind of weights."""
    found: list[dict[str, Any]] = json.loads(CONFOUNDING.read_text(encoding="utf-8"))
    return found


def confounding_rows() -> list[str]:
    """Rows of the page: each kind of weights, then the crude difference."""
    rows = [
        f"| {one['weights']} | {one['rmst_difference']:.2f} | {one['mean_estimate']:.2f} | {one['standard_deviation']:.2f} | "
        f"{one['mean_standard_error']:.2f} | {one['rmst_coverage']:.1%} | {one['risk_coverage']:.1%} | "
        f"{one['wrong_sign']:.1%} |"
        for one in confounding()
    ]
    crude = confounding()[0]
    return [*rows, f"| none | | {crude['mean_crude']:.2f} | | | | | {crude['wrong_sign_crude']:.1%} |"]


def section() -> list[str]:
    """The section of the page; runs what is not stored."""
    first, sizes = confounding()[0], [(persons, at) for persons in PERSONS for at in SURVIVAL]
    return [
        *INTRODUCTION.format(**first).splitlines(),
        *confounding_rows(),
        *COVERAGE.splitlines(),
        *(covered_row(*each, covered(*each)) for each in sizes),
        *RULED_OUT.splitlines(),
        *(ruled_out_row(*each, wrongly_ruled_out(*each)) for each in NULL),
    ]


TITLE = "Simulations"
INTRODUCTION = f"""
## {TITLE}

### Confounding by indication

Patients whose sicker ones are treated more often, by a treatment that lowers the rate of failure by a third. Each of
{{replicates:,}} cohorts of {{rows}} patients goes through the whole analysis `comparative_effectiveness` (protocol
`{{protocol}}`, release `{{release}}`). Intervals of 95 %, difference of restricted means at 24 months. These are stored:
`python -m mpc_backend.bench.confounding --weights overlap --rows 800` makes a row anew in some minutes, with `--protocol rep4`
and `--release k=10` on shares and under thresholds.

| weights | truth | mean estimate | its SD | mean SE | interval holds the truth | same for the risk | wrong sign |
|---|---|---|---|---|---|---|---|"""
COVERAGE = """
### Intervals of a ranking

A treatment with so many patients in three strata, some of whom leave before tau; S(tau) is its survival in the middle one. Of
1,000 arms those in which every stratum is followed to tau, and how many of their 95 % intervals hold the true restricted mean.

| persons | S(tau) | arms | interval holds the truth |
|---|---|---|---|"""
RULED_OUT = """
### Equal treatments

Treatments of 20 to 79 patients each that do not differ: the share of runs in which any is ruled out as best, at alpha 5 %
(which 1,000 runs find to within 1.4 %).

| treatments | S(tau) | runs | one is ruled out |
|---|---|---|---|"""
