"""An analysis from sites' plaintext columns, all nodes in this process: the plain twin, or any protocol.

The same `compute` that nodes run. Under ``plain`` it works on cleartext words; under any other protocol on shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mpc_backend.analyses.base import Analysis, Opened, Parameters, Released, Result, SiteData
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.session import Session
from mpc_backend.tables import Array, Arrays, TableSpec, bucket
from mpc_backend.testing import World

SiteTables = Mapping[str, Mapping[str, Arrays]]
"""Plaintext columns: tables[site][table][column]."""


def padded(spec: TableSpec, columns: Arrays) -> Arrays:
    """The columns as they are shared: a table of persons is filled with zero rows up to its bucket.

    Raises:
        InputsRefused: missing or foreign columns, or a fixed number of rows that is not met.
    """
    expected = {column.name for column in spec.columns}
    if set(columns) != expected:
        raise InputsRefused(f"table {spec.name} has columns {sorted(columns)}, expected {sorted(expected)}")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise InputsRefused(f"table {spec.name}: columns of different lengths {sorted(lengths)}")
    rows = lengths.pop()
    if spec.rows is not None:
        if rows != spec.rows:
            raise InputsRefused(f"table {spec.name} has {rows} rows, expected {spec.rows}")
        return columns
    ready: Arrays = {name: _filled(values, bucket(rows)) for name, values in columns.items()}
    return ready


def _filled(values: Array, rows: int) -> Array:
    """The column with zero rows appended up to ``rows``."""
    empty = np.zeros((rows - len(values), *values.shape[1:]), dtype=values.dtype)
    return np.concatenate([values, empty])


def shared_inputs(
    world: World,
    analysis: Analysis[Any],
    parameters: Parameters,
    tables: SiteTables,
    query: Mapping[str, Arrays] | None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Share every table as its site would: inputs[table][site][column]."""
    inputs: dict[str, dict[str, dict[str, Any]]] = {}
    for spec in analysis.tables(parameters):
        if spec.level == "query":
            if query is None:
                raise InputsRefused(f"analysis {analysis.kind} needs a query")
            sources: Mapping[str, Arrays] = {"query": query[spec.name]}
        else:
            sources = {site: given[spec.name] for site, given in tables.items()}
        inputs[spec.name] = {site: _shared(world, spec, columns) for site, columns in sources.items()}
    return inputs


def _shared(world: World, spec: TableSpec, columns: Arrays) -> dict[str, Any]:
    ready = padded(spec, columns)
    return {column.name: world.share_column(column, ready[column.name]) for column in spec.columns}


def opened_outputs(
    world: World,
    analysis: Analysis[Any],
    parameters: Parameters,
    released: Released,
    tables: SiteTables,
    query: Mapping[str, Arrays] | None = None,
) -> Opened:
    """What the recipient would open, from plaintext tables by site."""
    inputs = shared_inputs(world, analysis, parameters, tables, query)

    def program(session: Session, given: Any) -> Any:
        return analysis.compute(session, parameters, released, given)

    opened: Opened = world.run(program, inputs)
    return opened


def run_here(
    analysis: Analysis[Any],
    parameters: Parameters,
    released: Released,
    sites: Mapping[str, SiteData],
    *,
    facts: Mapping[str, object] | None = None,
    protocol: str = "plain",
) -> Result:
    """The whole path in this process: local tables, sharing, compute, opening, result."""
    tables = {site: analysis.local(parameters, data) for site, data in sites.items()}
    query = None if facts is None else analysis.query(parameters, facts)
    with World(protocol) as world:
        opened = opened_outputs(world, analysis, parameters, released, tables, query)
    return analysis.finish(parameters, released, opened)
