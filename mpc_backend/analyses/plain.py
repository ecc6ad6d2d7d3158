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
from mpc_backend.testing import Shared, World

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


Memory = list[Arrays]
"""One requester's earlier answers over the same tables, the oldest first: what nodes keep as shares, here in the clear."""


def opened_outputs(
    world: World,
    analysis: Analysis[Any],
    parameters: Parameters,
    released: Released,
    tables: SiteTables,
    query: Mapping[str, Arrays] | None = None,
    memory: Memory | None = None,
) -> Opened:
    """What the recipient would open, from plaintext tables by site; with ``memory`` held against the answers in it, and
    put there."""
    inputs = shared_inputs(world, analysis, parameters, tables, query)
    rows = {name: sum(_rows(columns) for columns in found.values()) for name, found in inputs.items()}
    spec = None if memory is None else analysis.remembered(parameters, released, rows)
    if spec is None or memory is None:
        plain: Opened = world.run(
            lambda session, given: analysis.compute(session, parameters, released, given), inputs
        )
        return plain
    inputs[spec.name] = {str(run): _shared(world, spec, record) for run, record in enumerate(memory)}

    def program(session: Session, given: Any) -> Any:
        found = analysis.answer(session, parameters, released, given)
        return found.outputs, dict(found.record or {})

    opened, record = world.run(program, inputs)
    memory.append({name: values.astype(np.int64) for name, values in record.items()})
    outputs: Opened = opened
    return outputs


def _rows(columns: Mapping[str, Shared]) -> int:
    return next(iter(columns.values())).rows


def run_here(
    analysis: Analysis[Any],
    parameters: Parameters,
    released: Released,
    sites: Mapping[str, SiteData],
    *,
    facts: Mapping[str, object] | None = None,
    protocol: str = "plain",
    memory: Memory | None = None,
) -> Result:
    """The whole path in this process: local tables, sharing, compute, opening, result. ``memory``: the requester's earlier
    answers, to which this one is added."""
    tables = {site: analysis.local(parameters, data) for site, data in sites.items()}
    query = None if facts is None else analysis.query(parameters, facts)
    with World(protocol) as world:
        opened = opened_outputs(world, analysis, parameters, released, tables, query, memory)
    return analysis.finish(parameters, released, opened)
