"""The shared tables of a description of groups and how a site fills them. In the clear, at the site."""

from __future__ import annotations

import numpy as np

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.coded import measured, require_codes
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import level_codes, one_hot
from mpc_backend.analyses.regression_tables import (
    COUNT_BITS,
    SUM_BITS,
    SUM_SCALE,
    require_persons,
    require_range,
)
from mpc_backend.analyses.table_one_parameters import Quantity, TableOneParameters
from mpc_backend.tables import Arrays, Column, TableSpec


def specs(parameters: TableOneParameters) -> tuple[TableSpec, ...]:
    """One table of counts and one a number, each with a row a group.

    ``cells``: persons, then persons in every cell of every variable, the missing included, and of every code of a number.
    ``number0`` ...: ``sums`` of the number and its square, from its centre in scales; ``bins``: persons at each value of
    its grid.
    """
    groups = len(parameters.groups)
    width = 1 + sum(len(labels) for _, labels in parameters.rows) + sum(parameters.codes)
    cells = Column(name="persons", kind="int", bits=COUNT_BITS, ring=64, width=width)
    tables = [TableSpec(name="cells", level="aggregate", columns=(cells,), rows=groups)]
    for place, each in enumerate(parameters.numbers):
        columns = (
            Column(name="sums", kind="fixed", bits=SUM_BITS, ring=64, scale=SUM_SCALE, width=2),
            Column(name="bins", kind="int", bits=COUNT_BITS, ring=64, width=each.bins),
        )
        tables.append(TableSpec(name=f"number{place}", level="aggregate", columns=columns, rows=groups))
    return tuple(tables)


def local_tables(parameters: TableOneParameters, site: SiteData) -> dict[str, Arrays]:
    """All tables of one site."""
    frame = site.frame.reset_index(drop=True)
    codes = level_codes(frame, parameters.by, parameters.groups)
    frame, members = (
        frame[codes >= 0].reset_index(drop=True),
        one_hot(codes[codes >= 0], len(parameters.groups)),
    )
    require_persons(len(frame))
    counts, coded, tables = [members.sum(axis=0)[:, None]], [], {}
    for place, each in enumerate(parameters.numbers):
        values, codes = measured(frame, each.variable, each.codes)
        known = ~np.isnan(values)
        for member in members.T:
            require_codes(frame[member == 1], [(each.variable, each.codes)])
        tables[f"number{place}"] = _number(each, values[known], members[known])
        counts += [(members.T @ known)[:, None], (members.T @ ~known)[:, None]]
        coded.append(members.T @ codes)
    for kinds in parameters.categories:
        levels = level_codes(frame, kinds.variable, kinds.levels)
        counts += [members.T @ one_hot(levels, len(kinds.levels)), (members.T @ (levels < 0))[:, None]]
    return {"cells": {"persons": np.concatenate([*counts, *coded], axis=1).astype(np.int64)}, **tables}


def _number(each: Quantity, values: np.ndarray, members: np.ndarray) -> Arrays:
    """Sums and counts on the grid of known values (n,) by group (n, groups)."""
    places = np.rint((values - each.low) / each.step).astype(np.int64)
    scaled = (values - each.centre) / each.scale
    outside = (values < each.low) | (values > each.high) | (places < 0) | (places >= each.bins)
    if outside.any():
        raise LocalDataError(
            f"column {each.variable} holds numbers outside {each.low:g} to {each.high:g}; correct them, or declare a "
            "wider grid"
        )
    require_range((each.variable,), scaled[:, None])
    bins = np.zeros((members.shape[1], each.bins), dtype=np.int64)
    np.add.at(bins, (members.argmax(axis=1), places), 1)
    return {"sums": members.T @ np.column_stack([scaled, scaled**2]), "bins": bins}
