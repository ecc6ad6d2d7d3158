"""The shared tables of a comparison of two treatments and how a site fills them. In the clear, at the site.

``people`` has a row a person, because weights follow from a score over all hospitals; ``summary`` what adds up without it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.coded import measured, require_codes
from mpc_backend.analyses.comparative_parameters import ComparativeParameters, Covariate
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import Ints, level_codes, one_hot, times_and_events
from mpc_backend.tables import Arrays, Column, TableSpec

COVARIATE_SCALE = 16
LARGEST_COVARIATE = 16.0
"""Of a number's distance from its centre, in its scales."""
SUM_BITS = 48
"""A sum of 2^20 squares below 2^8 at COVARIATE_SCALE lies below 2^44."""
COUNT_BITS = 27
LARGEST_TABLE = 2**24
"""Cells of the one-hot times of one hospital: 128 MiB a share."""


def people_spec(parameters: ComparativeParameters) -> TableSpec:
    """One row a person: arm, covariates, and for each endpoint a flag of failure and the time as a one-hot row."""
    width = len(parameters.columns)
    columns = [
        Column(name="valid", kind="int", bits=2),
        Column(name="treated", kind="int", bits=2),
        Column(name="covariates", kind="fixed", bits=COVARIATE_SCALE + 6, scale=COVARIATE_SCALE, width=width),
    ]
    for place in range(len(parameters.endpoints)):
        columns += [
            Column(name=f"failed{place}", kind="int", bits=2),
            Column(name=f"exit{place}", kind="int", bits=2, width=parameters.bins),
        ]
    return TableSpec(name="people", level="rows", columns=tuple(columns))


def summary_spec(parameters: ComparativeParameters) -> TableSpec:
    """A row an arm: persons; by endpoint, events before tau and persons at risk at tau; by covariate column, sum, sum of
    squares, and persons with the level; persons of each code of a number."""
    width, endpoints = len(parameters.columns), len(parameters.endpoints)
    counts = [("persons", 1), ("events", endpoints), ("at_risk", endpoints), ("levels", width)]
    if any(parameters.codes):
        counts.append(("codes", sum(parameters.codes)))
    columns = [Column(name=name, kind="int", bits=COUNT_BITS, width=size) for name, size in counts]
    columns += [
        Column(name=name, kind="fixed", bits=SUM_BITS, scale=COVARIATE_SCALE, width=width)
        for name in ("sums", "squares")
    ]
    return TableSpec(name="summary", level="aggregate", columns=tuple(columns), rows=2)


def local_tables(parameters: ComparativeParameters, site: SiteData) -> dict[str, Arrays]:
    """Both tables of one site; persons with a missing fact do not count."""
    frame = site.frame.reset_index(drop=True)
    arms = level_codes(frame, parameters.arm, parameters.arms)
    parts = [_columns(covariate, site) for covariate in parameters.all_covariates]
    endpoints = [
        times_and_events(frame, name, parameters.time_unit, parameters.unit, parameters.tau)
        for name in parameters.endpoints
    ]
    known = (arms >= 0) & np.all([each[2] for each in endpoints], axis=0)
    for _, present, _ in parts:
        known &= present
    if int(known.sum()) * parameters.bins > LARGEST_TABLE:
        raise LocalDataError(
            f"more than {LARGEST_TABLE // parameters.bins} persons by {parameters.bins} times, the most cells from one "
            "hospital: take a coarser unit"
        )
    counted = [(each.variable, each.codes) for each in parameters.all_covariates if each.levels is None]
    require_codes(frame[known], counted)
    covariates = np.concatenate([values for values, _, _ in parts], axis=1)[known]
    people: Arrays = {
        "valid": np.ones(int(known.sum()), dtype=np.int64),
        "treated": arms[known],
        "covariates": covariates,
    }
    for place, (times, events, _) in enumerate(endpoints):
        people[f"failed{place}"] = events[known]
        people[f"exit{place}"] = one_hot(times[known], parameters.bins)
    codes = np.concatenate([hot for _, _, hot in parts], axis=1)[known]
    return {"people": people, "summary": _summary(parameters, people, codes)}


def _columns(
    covariate: Covariate, site: SiteData
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], Ints]:
    """The columns of a covariate (rows, columns), where it is known, and which of its codes each row has."""
    frame = site.frame.reset_index(drop=True)
    if covariate.levels is not None:
        codes = level_codes(frame, covariate.variable, covariate.levels)
        hot = one_hot(codes, len(covariate.levels)).astype(np.float64)
        return hot[:, -len(covariate.labels) :], codes >= 0, np.zeros((len(frame), 0), dtype=np.int64)
    assert covariate.centre is not None and covariate.scale is not None
    read, hot_codes = measured(frame, covariate.variable, covariate.codes)
    values = (read - covariate.centre) / covariate.scale
    known = ~np.isnan(values)
    if (np.abs(values[known]) > LARGEST_COVARIATE).any():
        raise LocalDataError(
            f"column {covariate.variable} holds numbers more than {LARGEST_COVARIATE:g} scales ({covariate.scale:g}) "
            f"from its centre {covariate.centre:g}; declare centre and scale near mean and standard deviation, or correct the "
            "outliers"
        )
    return np.where(known, values, 0.0)[:, None], known, hot_codes


def _summary(parameters: ComparativeParameters, people: Arrays, codes: Ints) -> Arrays:
    """What the rows add up to, by arm; ``codes`` (rows, codes)."""
    flags = one_hot(np.asarray(people["treated"], dtype=np.int64), 2).T
    covariates = np.asarray(people["covariates"], dtype=np.float64)
    levels = np.zeros((2, covariates.shape[1]), dtype=np.int64)
    places = list(parameters.level_places)
    levels[:, places] = flags @ covariates[:, places].astype(np.int64)
    events, at_risk = np.zeros((2, 0), dtype=np.int64), np.zeros((2, 0), dtype=np.int64)
    for place in range(len(parameters.endpoints)):
        exits: Ints = np.asarray(people[f"exit{place}"], dtype=np.int64)
        failed = np.asarray(people[f"failed{place}"], dtype=np.int64) * (1 - exits[:, -1])
        events = np.column_stack([events, flags @ failed])
        at_risk = np.column_stack([at_risk, flags @ exits[:, -1]])
    coded = {"codes": flags @ codes} if codes.shape[1] else {}
    return {
        **coded,
        "persons": flags.sum(axis=1),
        "events": events,
        "at_risk": at_risk,
        "levels": levels,
        "sums": flags @ covariates,
        "squares": flags @ covariates**2,
    }
