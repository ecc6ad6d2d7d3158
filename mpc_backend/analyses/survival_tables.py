"""The shared tables of a survival analysis and how a site fills them. In the clear, at the site."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import log_rank_scores as log_rank
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import Ints, level_codes, strata_codes, times_and_events
from mpc_backend.analyses.linked_steps import Followed, linked_columns, linked_rows_of
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.tables import Arrays, Column, TableSpec

COUNT_BITS = 27
TEST_SCALE = 20
TEST_BITS = 60


def life_table_spec(parameters: SurvivalParameters) -> TableSpec:
    """Events and censorings: one row per arm x stratum (stratum fastest), one entry per time 0..horizon."""
    columns = tuple(
        Column(name=name, kind="int", bits=COUNT_BITS, ring=64, width=parameters.bins)
        for name in ("events", "censored")
    )
    rows = len(parameters.arms) * parameters.strata_count
    return TableSpec(name="life_table", level="aggregate", columns=columns, rows=rows)


def tests_spec(parameters: SurvivalParameters) -> TableSpec:
    """One row per log-rank test."""
    return log_rank_spec(len(parameters.arms), len(parameters.tests))


def log_rank_spec(arms: int, tests: int) -> TableSpec:
    """One row per log-rank test: the hospital's observed minus expected per arm, and its covariance matrix."""
    columns = tuple(
        Column(name=name, kind="fixed", bits=TEST_BITS, ring=64, scale=TEST_SCALE, width=width)
        for name, width in (("score", arms), ("variance", arms * arms))
    )
    return TableSpec(name="tests", level="aggregate", columns=columns, rows=tests)


def counts(parameters: SurvivalParameters, site: SiteData) -> tuple[Ints, Ints]:
    """Events and censorings (arms, strata, bins) of one site; persons with a missing fact do not count."""
    frame = site.frame.reset_index(drop=True)
    arms = level_codes(frame, parameters.arm, parameters.arms)
    strata = strata_codes(frame, parameters.strata)
    bins, events, complete = times_and_events(
        frame, parameters.outcome, parameters.time_unit, parameters.unit, parameters.horizon
    )
    complete &= (arms >= 0) & (strata >= 0)
    shape = (len(parameters.arms), parameters.strata_count, parameters.bins)
    failed, left = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    where = (arms[complete], strata[complete], bins[complete])
    np.add.at(failed, where, events[complete])
    np.add.at(left, where, 1 - events[complete])
    return failed, left


def local_tables(parameters: SurvivalParameters, site: SiteData) -> dict[str, Arrays]:
    """Both tables of one site."""
    failed, left = counts(parameters, site)
    rows = (len(parameters.arms) * parameters.strata_count, parameters.bins)
    results = [_test(name, parameters, failed, left) for name in parameters.tests]
    return {
        "life_table": {"events": failed.reshape(rows), "censored": left.reshape(rows)},
        "tests": {
            "score": np.stack([score for score, _ in results]),
            "variance": np.stack([variance.ravel() for _, variance in results]),
        },
    }


def _test(
    name: str, parameters: SurvivalParameters, failed: Ints, left: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score and covariance of one test within the hospital."""
    if name != "stratified_log_rank":
        failed, left = failed.sum(axis=1, keepdims=True), left.sum(axis=1, keepdims=True)
    return log_rank.scores(failed, left, parameters.rho if name == "weighted_log_rank" else 0.0)


def require_linked(parameters: SurvivalParameters) -> None:
    """Raises ParametersRefused where a study's cohort and outcome have not been put into the parameters yet."""
    if not parameters.linked or parameters.follow_up_days is None:
        raise ParametersRefused(
            "linked and follow_up_days: none announced; resolve the parameters with the study's cohort and outcome first"
        )


def linked_persons(parameters: SurvivalParameters, site: SiteData) -> dict[str, Arrays]:
    """With linkage: a row for each person, with arm and stratum at the entry here, and what ends their times."""
    rows = linked_rows_of(site, parameters.linked)
    if rows.facts is None or parameters.outcome not in rows.ends:
        raise LocalDataError(
            f"no arm of persons, or no days of outcome {parameters.outcome}, were taken here"
        )
    facts = rows.facts.reset_index(drop=True)
    arms = level_codes(facts, parameters.arm, parameters.arms)
    strata, known = strata_codes(facts, parameters.strata), len(parameters.arms) * parameters.strata_count
    cells = np.where((arms < 0) | (strata < 0), known, arms * parameters.strata_count + strata)
    return linked_columns(parameters.linked, rows, Followed(cells, rows.ends[parameters.outcome]))
