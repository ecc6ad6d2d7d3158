"""The plan of a study: every step, who does it, in the clear or on shares, what leaves, and what it costs.

What depends on one hospital's rows alone is done there in the clear; only what mixes hospitals, or must stay hidden from
them, is done on shares. Everything here follows from the signed document; costs are counted, not guessed (see `cost`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from governance.study import StudyAnalysis, StudyProtocol
from mpc_backend.analyses.base import Analysis, Parameters, Released, rows_of
from mpc_backend.analyses.cost import Cost, Counting
from mpc_backend.analyses.registry import resolve
from mpc_backend.kernels.arrays import ring_type
from mpc_backend.kernels.planes import word_count
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import Session, value_of
from mpc_backend.tables import Column, TableSpec, bucket
from mpc_backend.values import SecretValue

Where = Literal[
    "hospital, in the clear", "requester, in the clear", "nodes, on shares", "recipient, in the clear"
]
DEFAULT_ROWS = 6_667
EVERYBODY = " for every person here, under tokens of the study"
LINKED = "; from a row a person of every hospital, each person once"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PlannedColumn(_Part):
    """One column that leaves as shares; ``bits`` its ring (1 for truth values), ``width`` numbers per row."""

    name: str
    kind: str
    bits: int
    width: int


class PlanStep(_Part):
    """One step. ``rounds`` and ``bytes_per_node``: messages deep and sent; None where nothing is sent between nodes.
    ``upload_bytes``: what one hospital (or requester) sends to all nodes together, sealing aside."""

    analysis: str
    where: Where
    what: str
    table: str | None = None
    level: str | None = None
    rows: int | None = None
    columns: tuple[PlannedColumn, ...] = ()
    upload_bytes: int | None = None
    rounds: int | None = None
    bytes_per_node: int | None = None


class Plan(_Part):
    """All steps of a study. ``rows_per_site``: assumed persons per hospital for tables of persons."""

    protocol: str
    sites: tuple[str, ...]
    rows_per_site: int
    steps: tuple[PlanStep, ...]
    notes: tuple[str, ...]


def plan(study: StudyProtocol, *, rows_per_site: int = DEFAULT_ROWS, cohort: str | None = None) -> Plan:
    """The plan of a study; ``cohort`` is the text to count for a feasibility study.

    Raises:
        AnalysisError: an analysis cannot be planned; names it.
        cohort_lang.CohortError: a cohort's text is at fault.
    """
    steps = [step for entry in study.analyses for step in _steps(study, entry, rows_per_site, cohort)]
    return Plan(
        protocol=study.protocol,
        sites=study.sites,
        rows_per_site=rows_per_site,
        steps=tuple(steps),
        notes=(
            f"Tables of persons are planned for {rows_per_site:,} persons a hospital, padded to {bucket(rows_per_site):,}.",
            "Rounds and bytes are estimates counted on empty tables of this shape; framing and sealing come on top.",
        ),
    )


def _steps(study: StudyProtocol, entry: StudyAnalysis, rows: int, cohort: str | None) -> list[PlanStep]:
    found, parameters = resolve(study, entry.id, None if cohort is None else {"cohort": cohort})
    specs, linked = found.tables(parameters), entry.parameters.get("linkage") is True
    released = Released(study.disclosure, study.sites, receiving_sites(study)[:1])
    cost = counted(found, parameters, released, rows, study.protocol)
    return [
        *(_upload(study.protocol, entry.id, spec, rows, linked=linked) for spec in specs),
        PlanStep(
            analysis=entry.id, where="nodes, on shares", what=_computed(found) + (LINKED if linked else ""),
            rounds=cost.rounds, bytes_per_node=cost.bytes_per_node,
        ),
        PlanStep(analysis=entry.id, where="recipient, in the clear", what="open the released numbers and finish the answer"),
    ]  # fmt: skip


def receiving_sites(study: StudyProtocol) -> tuple[str, ...]:
    """Hospitals at which a recipient sits, in the study's order; they could subtract their own rows."""
    named = {person.site for person in study.recipients}
    return tuple(site for site in study.sites if site in named)


def _computed(found: Analysis[Any]) -> str:
    """The analysis in one sentence: the first of its module's description."""
    text = inspect.getdoc(inspect.getmodule(type(found))) or found.kind
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def _upload(protocol: str, analysis: str, spec: TableSpec, rows: int, *, linked: bool) -> PlanStep:
    length = spec.rows if spec.rows is not None else bucket(rows)
    query = spec.level == "query"
    return PlanStep(
        analysis=analysis,
        where="requester, in the clear" if query else "hospital, in the clear",
        what="the patient's facts, as shares"
        if query
        else f"evaluate the cohort{EVERYBODY if linked else ''}, keep these columns, share them",
        table=spec.name,
        level=spec.level,
        rows=length,
        columns=tuple(_column(column) for column in spec.columns),
        upload_bytes=sum(_bytes(column, length) for column in spec.columns) * copies(protocol),
    )


def copies(protocol: str) -> int:
    """How many nodes receive the one share that is not grown from a seed."""
    shared = layout(protocol)
    return len(shared.holders(shared.shares - 1))


def _column(column: Column) -> PlannedColumn:
    bits = 1 if column.kind == "bit" else column.ring
    return PlannedColumn(name=column.name, kind=column.kind, bits=bits, width=column.width)


def _bytes(column: Column, rows: int) -> int:
    size = rows * column.width
    return word_count(size) * 8 if column.kind == "bit" else size * column.ring // 8


def counted(
    found: Analysis[Any],
    parameters: Parameters,
    released: Released,
    rows: int,
    protocol: str,
    earlier: int = 0,
) -> Cost:
    """Rounds and bytes of one run, by running it on empty tables of this shape. ``earlier``: so many answers that the same
    requester got before."""
    counting = Counting(protocol)
    inputs: dict[str, Mapping[str, Mapping[str, SecretValue]]] = {}
    for spec in found.tables(parameters):
        owners = ("query",) if spec.level == "query" else released.sites
        inputs[spec.name] = {owner: _empty(counting, spec, rows) for owner in owners}
    kept = found.remembered(parameters, released, rows_of(inputs)) if earlier else None
    if kept is not None:
        inputs[kept.name] = {str(run): _empty(counting, kept, 1) for run in range(earlier)}
    found.compute(Session(counting), parameters, released, inputs)
    return counting.cost


def _empty(protocol: Counting, spec: TableSpec, rows: int) -> dict[str, SecretValue]:
    length = spec.rows if spec.rows is not None else bucket(rows)
    return {column.name: _zeros(protocol, column, length) for column in spec.columns}


def _zeros(protocol: Counting, column: Column, rows: int) -> SecretValue:
    if column.kind == "bit":
        return value_of(protocol, column, rows, np.zeros((1, word_count(rows * column.width)), ring_type(64)))
    shape = (1, rows) if column.width == 1 else (1, rows, column.width)
    return value_of(protocol, column, rows, np.zeros(shape, ring_type(column.ring)))
