"""The shared tables of a Cox regression and how a site fills them. In the clear, at the site.

Rows are sorted by stratum and time before they are shared, so that risk sets are runs of rows. What a hospital can
work out alone leaves as one row of sums: its score and information with all coefficients zero, and those of its own fit,
from which the pooled fit starts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.coded import counted_values, measured
from mpc_backend.analyses.cox_clear import Rows, centred, likelihood, ordered, own_fit
from mpc_backend.analyses.cox_parameters import PERSON, CoxCovariate, CoxParameters
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import (
    Ints,
    column,
    level_codes,
    level_text,
    numbers,
    one_hot,
    strata_codes,
    times_and_events,
)
from mpc_backend.analyses.survival_parameters import SurvivalParameters
from mpc_backend.tables import Arrays, Column, TableSpec

if TYPE_CHECKING:
    import pandas as pd

X_SCALE = 20
X_BITS = 28
LARGEST_X = 100.0
"""A covariate lies at most this many of its scales from the mean: products of two stay in range."""
PART_SCALE = 22
SUM_SCALE = 24
SUM_BITS = 60
KEY_BITS = 62
LARGEST_COEFFICIENT = 12.0
"""Where coefficients (per scale) are held; beyond 10 one is not estimable."""
Floats = NDArray[np.float64]


def rows_spec(parameters: SurvivalParameters, cox: CoxParameters) -> TableSpec:
    """One row a person, in the order of risk sets.

    ``x``: covariates from their mean in the stratum, by their scale; ``deaths``: 1 for a death (Efron), or at the last of
    tied deaths their number (Breslow); ``event``; ``tied``: goes on with the tied deaths of the row before; ``part``: k / d
    for the k-th of d tied deaths, from 0; ``share``: 1 / d. ``early``: 1 - S just before the time.
    """
    columns = [
        Column(name="valid", kind="bit"),
        Column(name="x", kind="fixed", bits=X_BITS, ring=64, scale=X_SCALE, width=len(cox.terms)),
        Column(name="deaths", kind="int", bits=28, ring=64),
        Column(name="event", kind="int", bits=2, ring=64),
        Column(name="tied", kind="int", bits=2, ring=64),
        Column(name="share", kind="fixed", bits=PART_SCALE + 2, ring=64, scale=PART_SCALE),
    ]
    if cox.ties == "efron":
        columns.append(Column(name="part", kind="fixed", bits=PART_SCALE + 2, ring=64, scale=PART_SCALE))
    if cox.ph:
        columns.append(Column(name="bin", kind="int", bits=16, ring=64))
        columns.append(Column(name="early", kind="fixed", bits=PART_SCALE + 2, ring=64, scale=PART_SCALE))
    if parameters.strata_count > 1:
        columns.append(Column(name="stratum", kind="int", bits=2, ring=64, width=parameters.strata_count))
    if cox.cluster is not None:
        columns.append(Column(name="cluster", kind="int", bits=KEY_BITS, ring=64))
    return TableSpec(name="cox_rows", level="rows", columns=tuple(columns))


def sums_spec(cox: CoxParameters) -> TableSpec:
    """One row of sums: persons and events, in all and by level or code of covariates that have some; events' covariates;
    score, information and log likelihood at zero; information of the hospital's own fit, and information times
    coefficients plus score there."""
    p = len(cox.terms)
    real = {
        "event_x": p, "null_score": p, "null_information": p * p, "null_likelihood": 1,
        "own_information": p * p, "own_target": p,
    }  # fmt: skip
    columns = [
        Column(name=name, kind="fixed", bits=SUM_BITS, ring=64, scale=SUM_SCALE, width=width)
        for name, width in real.items()
    ]
    widths = {"": 1} if not cox.level_count else {"": 1, "level_": cox.level_count}
    counts = [
        Column(name=prefix + name, kind="int", bits=28, ring=64, width=width)
        for prefix, width in widths.items()
        for name in ("persons", "events")
    ]
    return TableSpec(name="cox_sums", level="aggregate", columns=(*counts, *columns), rows=1)


def times_spec(parameters: SurvivalParameters) -> TableSpec:
    """Deaths and exits of those rows at each time of the grid: the pooled curve of the proportional hazards test."""
    columns = tuple(
        Column(name=name, kind="int", bits=28, ring=64, width=parameters.bins) for name in ("deaths", "exits")
    )
    return TableSpec(name="cox_times", level="aggregate", columns=columns, rows=1)


def specs(parameters: SurvivalParameters, cox: CoxParameters) -> tuple[TableSpec, ...]:
    """Every table of a Cox regression."""
    times = (times_spec(parameters),) if cox.ph else ()
    return rows_spec(parameters, cox), sums_spec(cox), *times


def local_tables(parameters: SurvivalParameters, cox: CoxParameters, site: SiteData) -> dict[str, Arrays]:
    """The tables of one site, from persons who have no missing fact."""
    frame = site.frame.reset_index(drop=True)
    x, complete = _design(frame, cox)
    strata = strata_codes(frame, parameters.strata)
    bins, events, known = times_and_events(
        frame, parameters.outcome, parameters.time_unit, parameters.unit, parameters.horizon
    )
    complete &= known & (strata >= 0)
    keys = None
    if cox.cluster is not None:
        keys, identified = _keys(_identifiers(frame, cox.cluster, site))
        complete &= identified
    kept = np.flatnonzero(complete)
    for each in cox.covariates:
        if each.levels is None:
            measured(frame.iloc[kept], each.variable, each.codes)
    rows = ordered(_scaled(x[kept], strata[kept], cox), bins[kept], events[kept], strata[kept])
    early = _early(rows)
    tables = {"cox_rows": _row_columns(parameters, cox, rows, early), "cox_sums": _sums(cox, rows)}
    if cox.level_count:
        tables["cox_sums"] |= _level_counts(cox, frame.iloc[kept], events[kept])
    if cox.ph:
        exits = np.bincount(rows.time, minlength=parameters.bins)[None]
        deaths = np.bincount(rows.time[rows.event == 1], minlength=parameters.bins)[None]
        tables["cox_times"] = {"deaths": deaths.astype(np.int64), "exits": exits.astype(np.int64)}
    if keys is not None:
        tables["cox_rows"]["cluster"] = keys[kept][rows.order]
    return tables


def _design(frame: pd.DataFrame, cox: CoxParameters) -> tuple[Floats, NDArray[np.bool_]]:
    """Covariates (rows, terms), and the rows in which all are known."""
    parts, known = [], np.ones(len(frame), dtype=bool)
    for covariate in cox.covariates:
        values, present = _columns(frame, covariate)
        parts.append(values)
        known &= present
    return np.concatenate(parts, axis=1), known


def _columns(frame: pd.DataFrame, covariate: CoxCovariate) -> tuple[Floats, NDArray[np.bool_]]:
    if covariate.levels is None:
        values = numbers(frame, covariate.variable)
        return values[:, None], ~np.isnan(values)
    codes = level_codes(frame, covariate.variable, covariate.levels)
    return one_hot(codes - 1, len(covariate.levels) - 1).astype(np.float64), codes >= 0


def _scaled(x: Floats, strata: Ints, cox: CoxParameters) -> Floats:
    """Covariates as they are shared, on the grid of `X_SCALE`."""
    scaled = centred(x, strata) / np.array(cox.scales)
    far = [
        name for name, values in zip(cox.terms, scaled.T, strict=True) if (np.abs(values) > LARGEST_X).any()
    ]
    if far:
        raise LocalDataError(
            f"covariate {', '.join(far)} holds numbers more than {LARGEST_X:g} times its scale from the mean; "
            "declare a scale near the standard deviation, or correct the outliers"
        )
    return np.asarray(np.rint(scaled * 2.0**X_SCALE) / 2.0**X_SCALE)


def _identifiers(frame: pd.DataFrame, name: str, site: SiteData) -> pd.Series:
    if name != PERSON or name in frame.columns:
        return column(frame, name)
    persons = np.arange(len(frame)) if site.persons is None else site.persons
    return frame.assign(**{PERSON: persons})[PERSON]


def _keys(given: pd.Series) -> tuple[Ints, NDArray[np.bool_]]:
    """A number for each identifier (a digest of its text, so that equal texts agree everywhere), and which are known."""
    texts = [level_text(value) for value in given]
    digests = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]
    largest = (1 << (KEY_BITS - 2)) - 1
    keys = np.array([int.from_bytes(digest, "big") & largest for digest in digests], dtype=np.int64)
    return keys, ~given.isna().to_numpy()


def _early(rows: Rows) -> Floats:
    """1 - S(t-) of the hospital's own pooled Kaplan-Meier curve, at each row."""
    if not len(rows.x):
        return np.zeros(0)
    width = int(rows.time.max()) + 1
    failed = np.bincount(rows.time, rows.event, minlength=width)
    table = km.life_table(failed, np.bincount(rows.time, minlength=width) - failed)
    return np.asarray(1 - np.concatenate([[1.0], table.survival])[rows.time])


def _row_columns(parameters: SurvivalParameters, cox: CoxParameters, rows: Rows, early: Floats) -> Arrays:
    efron = cox.ties == "efron"
    columns: Arrays = {
        "valid": np.ones(len(rows.x), dtype=np.int64),
        "x": rows.x,
        "deaths": rows.event if efron else np.where(rows.last, rows.size, 0),
        "event": rows.event,
        "tied": (rows.slot > 0).astype(np.int64),
        "share": rows.event / rows.size,
    }
    if efron:
        columns["part"] = rows.slot / rows.size
    if cox.ph:
        columns["bin"], columns["early"] = rows.time, early
    if parameters.strata_count > 1:
        columns["stratum"] = one_hot(rows.stratum, parameters.strata_count)
    return columns


def _sums(cox: CoxParameters, rows: Rows) -> Arrays:
    p = len(cox.terms)
    deaths = rows.event == 1
    start = own_fit(rows, cox.ties, LARGEST_COEFFICIENT) if deaths.any() else np.zeros(p)
    null, own = (likelihood(rows, beta, cox.ties) for beta in (np.zeros(p), start))
    found = {
        "event_x": rows.x[deaths].sum(axis=0),
        "null_score": null.score, "null_information": null.information.ravel(),
        "null_likelihood": np.array(null.value),
        "own_information": own.information.ravel(), "own_target": own.information @ start + own.score,
    }  # fmt: skip
    columns: Arrays = {name: np.asarray(values, np.float64).reshape(1, -1) for name, values in found.items()}
    columns["persons"], columns["events"] = (
        np.array([len(rows.x)], dtype=np.int64),
        np.array([int(deaths.sum())], dtype=np.int64),
    )
    return columns


def _level_counts(cox: CoxParameters, frame: pd.DataFrame, events: Ints) -> Arrays:
    """Persons and deaths at each level or code of each covariate that has some, (1, levels) each."""
    hot = np.concatenate([counted_values(frame, each) for each in cox.covariates if each.counted], axis=1)
    return {"level_persons": hot.sum(axis=0)[None], "level_events": (events @ hot)[None]}
