"""The table of answers of a treatment ranking in mode ``cells``, on shares: what every question would be told, made once of
all hospitals' counts, and the look-up of one question in it.

The table holds released numbers after disclosure control; nobody sees it, and a question opens one row of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.disclosure import sum_of
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.ranking_balance import Profile, packed, packed_width
from mpc_backend.analyses.ranking_cells import Unions, cell_count, question_bits, question_count, unions
from mpc_backend.analyses.ranking_parameters import RankingParameters
from mpc_backend.analyses.ranking_release import released_outputs
from mpc_backend.analyses.ranking_result import FEW
from mpc_backend.analyses.ranking_support import by_outcome, enough
from mpc_backend.analyses.ranking_tables import times_of
from mpc_backend.analyses.similarity import first_supported
from mpc_backend.operations import concatenate, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretInt, SecretValue

AT_ONCE = 400_000
"""Numbers by treatment, stratum and time that are worked on at once: bounds the memory of a large table."""
BY_ARM = ("state", "few", "coarse", "estimate", "variance", "spread")
PAIRS = ("imbalanced", "unjudged")
"""Verdicts on balance by pair of treatments."""
PRODUCT_BITS = 62

Columns = Mapping[str, SecretValue]


def layout(parameters: RankingParameters, released: Released) -> dict[str, tuple[int, ...]]:
    """The shape of each output in a row of the table, in the order in which they stand there."""
    arms = len(parameters.treatments)
    if released.policy.release == "exact":
        shape = (len(parameters.outcomes), arms, parameters.strata_count, 2 * parameters.tau + 1)
        levels = (arms, parameters.strata_count, sum(parameters.balance_levels))
        return {"tier": (), "cells": shape, **({"balance": levels} if parameters.balance else {})}
    of_all = [f"{begin}{name}" for begin in parameters.outcome_names for name in BY_ARM]
    numbers = dict.fromkeys((*of_all, "risk", "risk_variance", "size"), (arms,))
    return {"tier": (), **numbers, "total": (), "total_shown": (), **_balance_layout(parameters)}


def _balance_layout(parameters: RankingParameters) -> dict[str, tuple[int, ...]]:
    """Verdicts by pair and by covariate, many to a number."""
    if not parameters.balance:
        return {}
    sizes = dict.fromkeys(PAIRS, parameters.pairs_count) | {"out_of_balance": len(parameters.balance)}
    return {name: (packed_width(size),) for name, size in sizes.items()}


def width(parameters: RankingParameters, released: Released) -> int:
    """Numbers in a row of the table."""
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in layout(parameters, released).values())


def published(
    session: Session, parameters: RankingParameters, released: Released, counts: Mapping[str, Columns]
) -> SecretInt:
    """The whole table (questions, width) from each hospital's counts. Opens nothing."""
    if (
        released.policy.release == "exact"
        and question_count(parameters) * width(parameters, released) > 2**25
    ):
        raise InputsRefused(
            "an exact release keeps all counts of every question; that is too much here: ask with k=10, or for fewer cells"
        )
    found = unions(parameters)
    # Each hospital counts at most ``capacity`` persons: their sum needs so many bits more.
    bits = parameters.capacity.bit_length() + 1 + len(counts).bit_length()
    cells = _by_cell(parameters, list(counts.values()), bits)
    own = [_by_cell(parameters, [counts[site]], bits) for site in released.receiving_sites]
    places = stack([_united(found.members, _sizes(parameters, place)) for place in (cells, *own)])
    levels = _profiles(parameters, released, counts, found, bits)
    del own
    supported = enough(parameters, released, *_supports(places))
    session.progress("cells counted", 0.1)
    if released.policy.release == "exact":
        all_of = [_united(found.members, cells), *([] if levels is None else [levels.counts])]
        answers = concatenate([each.reshape(len(found.members), -1) for each in all_of], axis=1)
    else:
        answers = _answers(session, parameters, released, found.members, cells, places[1:], levels)
    return _chosen(parameters, released, found, supported, answers)


def _by_cell(parameters: RankingParameters, hospitals: Sequence[Columns], bits: int) -> SecretInt:
    """All counts of these hospitals together: (cells, outcomes, treatments, strata, 2 tau + 1)."""
    numbers = []
    for name in (*times_of(parameters), "everyone"):
        column = sum_of([_column(columns, name) for columns in hospitals])
        numbers.append(column.reshape(len(column), -1))
    rows = concatenate(numbers, axis=1).with_bits(bits)
    cells = rows.reshape(cell_count(parameters), len(parameters.treatments), parameters.strata_count, -1)
    return by_outcome(cells, len(parameters.outcomes), axis=1)


def _profiles(
    parameters: RankingParameters, released: Released, counts: Mapping[str, Columns], found: Unions, bits: int
) -> Profile | None:
    """Persons of each union by level of the covariates whose balance is judged; None where the study names none."""
    if not parameters.balance:
        return None
    shape = (cell_count(parameters), len(parameters.treatments), parameters.strata_count, -1)
    levels = (
        sum_of([_column(columns, "balance") for columns in counts.values()]).with_bits(bits).reshape(shape)
    )
    own = [
        _united(found.members, _column(counts[site], "balance").reshape(shape).sum(2).sum(1).with_bits(bits))
        for site in released.receiving_sites
    ]
    united = _united(found.members, levels)
    return Profile(united, stack(own) if own else united[:, 0, 0][None][:0])


def _column(columns: Columns, name: str) -> SecretInt:
    column = columns[name]
    assert isinstance(column, SecretInt)
    return column


def _united(members: Ints, cells: SecretInt) -> SecretInt:
    """Counts (cells, ...) of each union (unions, ...). Sums; free."""
    return stack([sum_of([cells[cell] for cell in np.flatnonzero(inside)]) for inside in members]).with_bits(
        cells.bits
    )


def _sizes(parameters: RankingParameters, counts: SecretInt) -> SecretInt:
    """Events before tau, events and censorings before tau, all: (groups, outcomes, treatments, strata, 3)."""
    tau = parameters.tau
    spans = [counts[..., :tau].sum(4), counts[..., tau : 2 * tau].sum(4), counts[..., 2 * tau]]
    return stack(spans, axis=4).with_bits(counts.bits)


def _supports(places: SecretInt) -> tuple[SecretInt, SecretInt, SecretInt]:
    """Of `_sizes` by place, those of the outcome as `enough` reads them."""
    benefit = places[:, :, 0]
    by_arm = benefit.sum(3).with_bits(benefit.bits)
    both = stack([by_arm[..., 2], by_arm[..., 2] - by_arm[..., 1]], axis=2)
    everyone = benefit[0, ..., 2]
    complete = everyone - benefit[0, ..., 1] + benefit[0, ..., 0]
    return (
        both.rearranged(lambda words: np.moveaxis(words, (0, 1, 2, 3), (1, 3, 2, 0))),
        everyone.rearranged(lambda words: np.moveaxis(words, 0, 2)),
        complete.with_bits(places.bits).rearranged(lambda words: np.moveaxis(words, 0, 2)),
    )


def _answers(
    session: Session,
    parameters: RankingParameters,
    released: Released,
    members: Ints,
    cells: SecretInt,
    own: SecretInt,
    levels: Profile | None,
) -> SecretInt:
    """What each union would be told: (unions, width - 1), in blocks of unions of a size that memory bears."""
    step = max(1, AT_ONCE // (cells[0].size // 2 + parameters.pairs_count * sum(parameters.balance_levels)))
    rows = []
    for start in range(0, len(members), step):
        there = slice(start, min(start + step, len(members)))
        near = None if levels is None else Profile(levels.counts[there], levels.own[:, there])
        rows.append(_row(parameters, released, _united(members[there], cells), own[:, there], near))
        session.progress("answers of all cells", 0.1 + 0.8 * there.stop / len(members))
    return concatenate(rows, axis=0)


def _row(
    parameters: RankingParameters,
    released: Released,
    counts: SecretInt,
    own: SecretInt,
    levels: Profile | None,
) -> SecretInt:
    outputs = released_outputs(parameters, released, counts, own, levels)
    names = [name for name in layout(parameters, released) if name != "tier"]
    numbers = []
    for name in names:
        value = outputs[name]
        whole = value.to_int() if isinstance(value, SecretBits) else value
        assert isinstance(whole, SecretInt)
        rows = whole.reshape(len(counts), -1)
        numbers.append(packed(rows) if name in (*PAIRS, "out_of_balance") else rows)
    return concatenate(numbers, axis=1).with_bits(PRODUCT_BITS)


def _chosen(
    parameters: RankingParameters,
    released: Released,
    found: Unions,
    supported: SecretBits,
    answers: SecretInt,
) -> SecretInt:
    """Each question's row: of its unions that of the strictest supported tier; without one, no number at all."""
    tiers, questions = found.asked.shape
    one, none = first_supported(supported[found.asked])
    picked, without = one.to_int(), none.to_int()
    rows = answers[found.asked.ravel()].reshape(tiers, questions, -1)
    told = (rows * picked[:, :, None]).sum(0).with_bits(PRODUCT_BITS)
    tier = (picked * np.arange(tiers)[:, None]).sum(0) + without[0] * tiers
    if released.policy.release != "exact":
        states = np.zeros(told.shape[1], dtype=np.int64)
        states[: len(parameters.treatments)] = FEW
        told = told + without.reshape(-1, 1) * states
    whole: SecretInt = concatenate([tier.reshape(-1, 1), told], axis=1).with_bits(PRODUCT_BITS)
    return whole


def looked_up(
    parameters: RankingParameters, released: Released, table: SecretInt, question: SecretBits
) -> Outputs:
    """The row of the table (questions, width) whose number is asked for in binary; messages are the same for every one."""
    numbers = np.arange(question_count(parameters))[:, None] >> np.arange(question_bits(parameters)) & 1
    place = (question.reshape(1, -1) ^ (numbers == 0)).all(axis=1).to_int()
    row = place.reshape(1, -1) @ table.reshape(len(numbers), -1)
    outputs: Outputs = {}
    start = 0
    for name, shape in layout(parameters, released).items():
        size = int(np.prod(shape, dtype=np.int64))
        outputs[name] = row[0, start : start + size].reshape(shape).with_bits(PRODUCT_BITS)
        start += size
    return outputs
