"""Treatment ranking for one secret patient: similar patients are found on shares, or the answer of its cell in a table, each
treatment's restricted mean time is standardised over declared strata, and only supported treatments' numbers can be opened.

In mode ``neighbours`` one matrix product finds the similar set, one counts events and exits by treatment, stratum and time,
both over row shards; the rest is work on those counts. For mode ``cells`` see `ranking_published`. The number of rounds does
not depend on the data. See docs/analyses/treatment_ranking.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses import ranking_earlier as earlier
from mpc_backend.analyses.base import (
    Analysis,
    Answer,
    Inputs,
    Opened,
    Outputs,
    Released,
    SiteData,
    shaped,
)
from mpc_backend.analyses.disclosure import require_sites
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.ranking_balance import Profile
from mpc_backend.analyses.ranking_cell_tables import (
    PUBLISHED,
    counts,
    counts_table,
    published_table,
    question,
    question_table,
)
from mpc_backend.analyses.ranking_exact import opened_exactly
from mpc_backend.analyses.ranking_opened import opened_ranking
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_published import looked_up, published, width
from mpc_backend.analyses.ranking_release import released_answer
from mpc_backend.analyses.ranking_result import (
    RankingResult,
    ranking_result,
)
from mpc_backend.analyses.ranking_support import by_outcome, enough
from mpc_backend.analyses.ranking_tables import patient, people, people_table, query_table, times_of
from mpc_backend.analyses.secret_curves import parts
from mpc_backend.analyses.similarity import Columns, first_supported, joined, similar
from mpc_backend.operations import concatenate, stack
from mpc_backend.session import Session
from mpc_backend.shards import Total, over_shards
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretBits, SecretInt, SecretValue


class TreatmentRanking(Analysis[RankingParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "treatment_ranking"
    parameters = RankingParameters
    result = RankingResult

    def tables(self, parameters: RankingParameters) -> tuple[TableSpec, ...]:
        if parameters.cells is not None:
            return counts_table(parameters), question_table(parameters)
        return people_table(parameters), query_table(parameters)

    def local(self, parameters: RankingParameters, site: SiteData) -> dict[str, Arrays]:
        if parameters.cells is not None:
            return {"counts": counts(parameters, site)}
        return {"people": shaped(people_table(parameters), people(parameters, site))}

    def query(self, parameters: RankingParameters, facts: Mapping[str, object]) -> dict[str, Arrays]:
        if parameters.cells is not None:
            return {"patient": shaped(question_table(parameters), question(parameters, facts))}
        return {"patient": shaped(query_table(parameters), patient(parameters, facts))}

    def published(self, parameters: RankingParameters, released: Released) -> TableSpec | None:
        if parameters.cells is None:
            return None
        return published_table(parameters, width(parameters, released))

    def publish(
        self, session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
    ) -> dict[str, SecretValue]:
        require_sites(released)
        return {"numbers": published(session, parameters, released, inputs["counts"])}

    def remembered(
        self, parameters: RankingParameters, released: Released, rows: Mapping[str, int]
    ) -> TableSpec | None:
        """Cells are the same for every question; an exact release hides no difference."""
        if parameters.cells is not None or released.policy.release == "exact":
            return None
        return earlier.record_table(parameters, rows["people"])

    def answer(
        self, session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
    ) -> Answer:
        require_sites(released)
        if parameters.cells is not None:
            return Answer(self._looked_up(session, parameters, released, inputs))
        return _neighbours(session, parameters, released, inputs)

    def compute(
        self, session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        return self.answer(session, parameters, released, inputs).outputs

    def _looked_up(
        self, session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        """From the table that nodes keep, or made now where there is none."""
        kept = inputs.get(PUBLISHED)
        columns = kept["nodes"] if kept else self.publish(session, parameters, released, inputs)
        table, asked = columns["numbers"], inputs["patient"]["query"]["question"]
        assert isinstance(table, SecretInt) and isinstance(asked, SecretBits)
        return looked_up(parameters, released, table, asked)

    def finish(self, parameters: RankingParameters, released: Released, opened: Opened) -> RankingResult:
        if released.policy.release == "exact":
            return ranking_result(parameters, opened_exactly(parameters, opened), released.policy.footnote())
        return ranking_result(
            parameters, opened_ranking(parameters, released, opened), released.policy.footnote()
        )


def _neighbours(
    session: Session, parameters: RankingParameters, released: Released, inputs: Inputs
) -> Answer:
    rows, query, before = inputs["people"], inputs["patient"]["query"], earlier.members(inputs)
    _check_capacity(parameters, rows)
    people = {name: joined(rows, name) for name in next(iter(rows.values()))}
    table = [*people.values(), *_slices(released, rows)]
    find, count = (partial(work, parameters, tuple(people)) for work in (_similar_rows, _counted_rows))
    near, found = over_shards(session, find, table, query)
    session.progress("similar patients found", 0.4)
    chosen, none = first_supported(enough(parameters, released, *_supports(parameters, released, found)))
    tier = concatenate([chosen, none], axis=0).to_int() @ np.arange(len(parameters.tiers) + 1)
    member, *counted = over_shards(
        session,
        partial(count, before is not None),
        [*table, near, *(() if before is None else (before,))],
        chosen.to_int(parameters.ring),
    )
    answers = 0 if before is None else before.shape[1]
    cells, own, profile, seen = _cells(parameters, released, answers, *counted)
    session.progress("patients counted by treatment, stratum and time", 0.8)
    if released.policy.release == "exact":
        levels = {} if profile is None else {"balance": profile.counts[0]}
        return Answer({"tier": tier, "cells": cells, **levels})
    held = None if before is None else earlier.Earlier.of(inputs, seen)
    outputs, told = released_answer(parameters, released, cells[None], own[:, None], profile, held)
    return Answer(
        {"tier": tier, **{name: value[0] for name, value in outputs.items()}},
        earlier.record(member, told[0]),
    )


def _check_capacity(parameters: RankingParameters, rows: Mapping[str, Columns]) -> None:
    found = sum(len(columns["valid"]) for columns in rows.values())
    if found > parameters.capacity:
        raise InputsRefused(
            f"{found} rows with padding; the study's capacity is {parameters.capacity}: amend it"
        )


def _matrix(column: SecretValue) -> SecretInt:
    """A column of numbers as a matrix (rows, width)."""
    assert isinstance(column, SecretInt)
    return column.reshape(len(column), -1)


def _similar_rows(
    parameters: RankingParameters, names: tuple[str, ...], _: Session, *given: Any
) -> tuple[SecretInt, Total]:
    """Of some rows: whether each is similar, (rows, tiers) in the small ring; and their part of how many are, by arm and
    stratum (arms x strata, (1 + places x 2) x tiers): followed to tau or to their event; in all and followed to tau,
    everywhere and in each place of ``slices``.
    """
    people, slices, (query,) = _parted(names, given, 1)
    near = similar(parameters, {"": people}, query).to_int(parameters.ring)
    followed = (1 - _matrix(people["exit"]).sum(1)).with_bits(2)
    ends = stack([followed, followed + _matrix(people["event"]).sum(1)]).with_bits(2)
    ended = near[None] * ends[:, :, None]
    both = concatenate([near, ended[0]], axis=1)
    columns = concatenate([ended[1], both, *(both * here for here in slices)], axis=1)
    return near, Total(_matrix(people["cell"]).T @ columns)


def _parted(names: tuple[str, ...], given: tuple[Any, ...], others: int) -> tuple[Columns, Any, Any]:
    """What a shard is given: columns by name, the public slices, and what is not of the table."""
    last = len(given) - others
    return dict(zip(names, given, strict=False)), given[len(names) : last], given[last:]


def _supports(
    parameters: RankingParameters, released: Released, found: SecretInt
) -> tuple[SecretInt, SecretInt, SecretInt]:
    """The counts of `_similar_rows` as `enough` reads them, ring 64."""
    tiers, places = len(parameters.tiers), 1 + len(released.receiving_sites)
    by_stratum = found.reshape(len(parameters.treatments), parameters.strata_count, -1)
    complete, everyone = by_stratum[..., :tiers], by_stratum[..., tiers : 2 * tiers]
    by_arm = by_stratum[..., tiers:].sum(1)
    every = [by_arm, everyone, complete]
    counts, *strata = parts(_wide(parameters, concatenate([each.ravel() for each in every])), every)
    return counts.reshape(-1, places, 2, tiers), strata[0], strata[1]


def _wide(parameters: RankingParameters, counts: SecretInt) -> SecretInt:
    """Counts below 2^ring in ring 64: widening is signed, so they are shifted to be centred on zero."""
    half = 1 << (parameters.ring - 1)
    return ((counts - half).widen(64) + half).with_bits(parameters.capacity.bit_length() + 1)


def _counted_rows(
    parameters: RankingParameters, names: tuple[str, ...], remembering: bool, _: Session, *given: Any
) -> list[SecretInt | Total]:
    """Of some rows: whether each is similar in the chosen tier; their part of the counts that `_cells` reads, by treatment and
    stratum; and, with covariates to judge for balance, of those by level on any treatment in each place of ``slices`` (places,
    levels). ``remembering``: who was similar in earlier answers is the last column of rows."""
    people, slices, (near, *last, chosen) = _parted(names, given, 3 if remembering else 2)
    tau, weight = parameters.tau, near @ chosen
    times = concatenate([_matrix(people[name]) for name in times_of(parameters)], axis=1)
    levels = [_matrix(people["balance"])] if parameters.balance else []
    beside = [times, *levels, *last]
    among = concatenate(beside, axis=1) * weight[:, None]
    widths = np.cumsum([0, *(each.shape[1] for each in beside)])
    counted, *more = (among[:, int(a) : int(b)] for a, b in pairwise(widths))
    spans = [counted[:, start : start + tau].sum(1) for start in range(0, times.shape[1], tau)]
    sums = stack([*spans, weight], axis=1)
    again = earlier.counted(more.pop(), last[0], slices) if last else []
    columns = concatenate(
        [counted, weight[:, None], *(sums * here for here in slices), *more, *again], axis=1
    )
    found = [weight, Total(_matrix(people["cell"]).T @ columns)]
    if levels and slices:
        found.append(Total(stack([(more[0] * here).sum(0) for here in slices])))
    return found


def _cells(
    parameters: RankingParameters,
    released: Released,
    answers: int,
    counted: SecretInt,
    own_levels: SecretInt | None = None,
) -> tuple[SecretInt, SecretInt, Profile | None, SecretInt]:
    """Similar patients by outcome, treatment and stratum (outcomes, treatments, strata, 2 tau + 1), and those of each
    hospital that receives the answer (receiving, outcomes, treatments, strata, 3); ring 64. And by level of the covariates
    that are judged for balance, where the study names any. And by treatment those of earlier ``answers`` (treatments,
    (1 + receiving) x 2 x answers; see `ranking_earlier.counted`).

    The first: events before tau by time, then events and censorings before tau by time, then all. The second: events
    before tau, events and censorings before tau, all. A hospital's rows are a known slice, so that its own patients are
    a few more columns of the same matrix product, and so is the harm outcome: its rounds are those of the benefit.
    """
    arms, outcomes, levels = (
        len(parameters.treatments),
        len(parameters.outcomes),
        sum(parameters.balance_levels),
    )
    width, places = 2 * parameters.tau * outcomes + 1, len(released.receiving_sites)
    found = counted.reshape(arms, parameters.strata_count, -1)
    last = found.shape[2] - 2 * answers * (1 + places)
    end = last - levels
    whole, own, by_level = found[..., :width], found[..., width:end], found[..., end:last]
    none = by_level[:0]
    every = [whole, own, by_level, none if own_levels is None else own_levels, found[..., last:].sum(1)]
    wide = _wide(parameters, concatenate([each.ravel() for each in every], axis=0))
    whole, own, by_level, own_level, seen = parts(wide, every)
    apart = own.reshape(arms, parameters.strata_count, places, 2 * outcomes + 1)
    profile = Profile(by_level[None], own_level.reshape(places, 1, levels)) if levels else None
    return (
        by_outcome(whole, outcomes),
        by_outcome(apart.rearranged(lambda words: np.moveaxis(words, 2, 0)), outcomes, axis=1),
        profile,
        seen,
    )


def _slices(released: Released, rows: Mapping[str, Columns]) -> list[NDArray[np.int64]]:
    """Which rows (rows, 1) are those of each hospital that receives the answer; public."""
    names = np.repeat(list(rows), [len(columns["valid"]) for columns in rows.values()])
    return [(names == site).astype(np.int64)[:, None] for site in released.receiving_sites]
