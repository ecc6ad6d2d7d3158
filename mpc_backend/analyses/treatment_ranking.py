"""Treatment ranking for one secret patient, mode ``neighbours``: similar patients are found on shares, each treatment's
restricted mean time is standardised over declared strata, and only supported treatments' numbers can be opened.

One matrix product finds the similar set, one counts events and exits by treatment, stratum and time; the rest is work on
those counts. The number of rounds does not depend on the data. See docs/analyses/treatment_ranking.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.disclosure import masked, require_sites
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.ranking_exact import opened_exactly
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_result import (
    FEW_FAILURES,
    SHOWN,
    OpenedRanking,
    RankingResult,
    ranking_result,
)
from mpc_backend.analyses.ranking_tables import patient, people, people_table, query_table
from mpc_backend.analyses.secret_curves import (
    VARIANCE_SCALE,
    Means,
    hazards,
    restricted_means,
    root,
    weighted_variance,
    weights,
)
from mpc_backend.analyses.similarity import Columns, first_supported, joined, similar
from mpc_backend.operations import concatenate, floor_divide, reciprocal
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

INFORMATION_STEP = 5
SPREAD_SCALE = 28
PERSONS_SCALE = 10
PERSONS_ROUNDING = 2.0**-7
"""Added before rounding down, so that a whole number stays itself."""
UNFINISHED = 2.0**-16
"""A stratum's curve above this at tau, with nobody left to follow, is unfinished."""


class TreatmentRanking(Analysis[RankingParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "treatment_ranking"
    parameters = RankingParameters

    def tables(self, parameters: RankingParameters) -> tuple[TableSpec, ...]:
        return people_table(parameters), query_table(parameters)

    def local(self, parameters: RankingParameters, site: SiteData) -> dict[str, Arrays]:
        return {"people": shaped(people_table(parameters), people(parameters, site))}

    def query(self, parameters: RankingParameters, facts: Mapping[str, object]) -> dict[str, Arrays]:
        return {"patient": shaped(query_table(parameters), patient(parameters, facts))}

    def compute(
        self, session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        rows, query = inputs["people"], inputs["patient"]["query"]
        _check_capacity(parameters, rows)
        near = similar(parameters, rows, query).to_int(parameters.ring)
        session.progress("similar patients found", 0.4)
        chosen, none = first_supported(_enough(parameters, released, rows, near))
        tier = concatenate([chosen, none], axis=0).to_int() @ np.arange(len(parameters.tiers) + 1)
        cells = _cells(parameters, rows, near @ chosen.to_int(parameters.ring))
        session.progress("patients counted by treatment, stratum and time", 0.8)
        if released.policy.release == "exact":
            return {"tier": tier, "cells": cells}
        return {"tier": tier, **_estimates(parameters, released, cells)}

    def finish(self, parameters: RankingParameters, released: Released, opened: Opened) -> RankingResult:
        if released.policy.release == "exact":
            return ranking_result(parameters, opened_exactly(parameters, opened), released.policy.footnote())
        scale = 10.0 ** decimals(parameters)
        numbers = OpenedRanking(
            tier=int(opened["tier"]),
            state=opened["state"].astype(np.int64),
            estimate=opened["estimate"] / scale,
            standard_error=opened["standard_error"] / (10 * scale),
            information=opened["information"].astype(np.int64),
            few=opened["few"].astype(bool),
            size=opened["size"].astype(np.int64),
            total=int(opened["total"]) if opened["total_shown"] else None,
            band=band(released),
        )
        return ranking_result(parameters, numbers, released.policy.footnote())


def decimals(parameters: RankingParameters) -> int:
    """Decimals of a released time: three significant digits of tau; its standard error has one more."""
    return max(0, 2 - math.floor(math.log10(parameters.tau)))


def band(released: Released) -> int:
    """Width of the bands in which numbers of patients are told."""
    return max(10, released.policy.rounding)


def minimum(parameters: RankingParameters, released: Released) -> int:
    """Patients a treatment needs to be shown."""
    return max(released.policy.minimum_cell, parameters.minimum_support)


def _check_capacity(parameters: RankingParameters, rows: Mapping[str, Columns]) -> None:
    found = sum(len(columns["valid"]) for columns in rows.values())
    if found > parameters.capacity:
        raise InputsRefused(
            f"{found} rows with padding; the study's capacity is {parameters.capacity}: amend it"
        )


def _integers(columns: Columns, name: str) -> SecretInt:
    values = columns[name]
    assert isinstance(values, SecretInt)
    return values


def _matrix(rows: Mapping[str, Columns], name: str) -> SecretInt:
    """A column of all hospitals as a matrix (rows, width)."""
    column = joined(rows, name)
    assert isinstance(column, SecretInt)
    return column.reshape(len(column), -1)


def _arms(parameters: RankingParameters, columns: Columns) -> SecretInt:
    """One-hot treatment of each row (rows, treatments), from the one-hot cells; free."""
    cell = _integers(columns, "cell")
    shape = (len(cell), len(parameters.treatments), parameters.strata_count)
    return cell.reshape(shape).sum(2)


def _enough(
    parameters: RankingParameters, released: Released, rows: Mapping[str, Columns], near: SecretInt
) -> SecretBits:
    """Whether each tier (tiers,) has at least two supported treatments."""
    found, start = {}, 0
    for site, columns in rows.items():
        end = start + len(columns["valid"])
        found[site] = near[start:end].T @ _arms(parameters, columns)
        start = end
    counts = _wide(parameters, concatenate([each[None] for each in found.values()], axis=0))
    by_site = {site: counts[index] for index, site in enumerate(found)}
    whole = counts.sum(0)
    supported = whole >= minimum(parameters, released)
    for site in released.receiving_sites:
        supported = supported & (whole - by_site[site] >= released.policy.minimum_cell)
    return supported.to_int(32).sum(1) >= 2


def _wide(parameters: RankingParameters, counts: SecretInt) -> SecretInt:
    """Counts below 2^ring in ring 64: widening is signed, so they are shifted to be centred on zero."""
    half = 1 << (parameters.ring - 1)
    return ((counts - half).widen(64) + half).with_bits(parameters.capacity.bit_length() + 1)


def _cells(parameters: RankingParameters, rows: Mapping[str, Columns], weight: SecretInt) -> SecretInt:
    """Similar patients by treatment and stratum: (treatments, strata, 2 tau + 1), ring 64.

    Events before tau by time, then events and censorings before tau by time, then all.
    """
    times = concatenate([_matrix(rows, name) for name in ("event", "exit")], axis=1)
    counted = concatenate([times * weight[:, None], weight[:, None]], axis=1)
    cell = _matrix(rows, "cell")
    shape = (len(parameters.treatments), parameters.strata_count, 2 * parameters.tau + 1)
    return _wide(parameters, (cell.T @ counted).reshape(shape))


def _estimates(parameters: RankingParameters, released: Released, cells: SecretInt) -> Outputs:
    """States and, for supported treatments only, numbers; everything else opens to zero."""
    tau = parameters.tau
    events, exits, everyone = cells[..., :tau], cells[..., tau : 2 * tau], cells[..., 2 * tau]
    before = exits.cumsum(2) - exits
    at_risk = (everyone[:, :, None] - before).with_bits(cells.bits)
    followed = (everyone - exits.sum(2)).with_bits(cells.bits)
    found = hazards(events, at_risk)
    share = weights(everyone.sum(0))
    ended = found.survival[..., tau - 1] <= UNFINISHED
    state = _states(parameters, released, everyone, followed, ended)
    means = restricted_means(found, share, tau)
    complete = followed + events.sum(2)
    size = everyone.sum(1)
    shown = state == SHOWN
    numbers = {
        **_times(parameters, means),
        "information": _information(complete, share),
        "size": floor_divide(size, band(released)) * band(released),
    }
    few = shown & (events.sum(2).sum(1) < FEW_FAILURES)
    masks = {name: masked(shown, value) for name, value in numbers.items()}
    return {"state": state, "few": few, **masks, **_total(released, size, shown)}


def _states(
    parameters: RankingParameters,
    released: Released,
    everyone: SecretInt,
    followed: SecretInt,
    ended: SecretBits,
) -> SecretInt:
    """SHOWN, FEW, NO_OVERLAP or SHORT by treatment, from counts (treatments, strata) of all and of those at risk at tau;
    ``ended``: strata whose curve has come down to zero before tau."""
    k = released.policy.minimum_cell
    needed = (everyone.sum(0) > 0)[None, :]
    empty, unfollowed = everyone == 0, followed == 0
    problems = concatenate([(needed & empty)[None], (needed & unfollowed & ~ended)[None]], axis=0).any(axis=2)
    few = everyone.sum(1) < minimum(parameters, released)
    short = (followed.sum(1) < k) | problems[1]
    lacks = ~few & problems[0]
    late = ~few & ~problems[0] & short
    return few.to_int() + lacks.to_int() * 2 + late.to_int() * 3


def _times(parameters: RankingParameters, means: Means) -> dict[str, SecretInt]:
    """Restricted mean and its standard error in units of the grid, rounded, as integers of their last decimal."""
    places, tau = decimals(parameters), parameters.tau
    error = root(means.variance)
    return {
        "estimate": (means.mean * tau).exact_round(places),
        "standard_error": (error * tau).exact_round(places + 1),
    }


def _information(complete: SecretInt, share: SecretFixed) -> SecretInt:
    """Effective number of persons followed completely, 1 / sum_g w_g^2 / c_g, rounded down (treatments,).

    ``complete``: persons c_g followed to tau or to their event (treatments, strata).
    """
    spread = weighted_variance(reciprocal(complete, VARIANCE_SCALE), share).rescaled(SPREAD_SCALE)
    persons = (reciprocal(spread.with_bits(SPREAD_SCALE + 2), PERSONS_SCALE) + PERSONS_ROUNDING).floor()
    return floor_divide(persons.with_bits(32), INFORMATION_STEP) * INFORMATION_STEP


def _total(released: Released, size: SecretInt, shown: SecretBits) -> Outputs:
    """All comparable patients in a band; withheld where exactly one treatment is hidden, which it would disclose."""
    step = band(released)
    whole = size.sum(0).reshape(1)
    hidden = (~shown).to_int().sum(0).reshape(1)
    visible = (hidden != 1) & (whole >= released.policy.minimum_cell)
    return {"total": masked(visible, floor_divide(whole, step) * step)[0], "total_shown": visible[0]}
