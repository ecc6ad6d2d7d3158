"""The tables of a survival analysis from persons who are recognised at several hospitals, on shares.

Of each person's rows follow the entry, the arm and stratum at its hospital, and when time ends (see `linked_secret`). Time is
brought to the grid as hospitals bring theirs, and persons are counted by hospital of the entry, arm, stratum and time: the
very tables that hospitals share where persons are not recognised.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from mpc_backend.analyses.base import Inputs
from mpc_backend.analyses.curve_display import TOTAL_BITS, at_risk_of
from mpc_backend.analyses.grid import Unit, ratio
from mpc_backend.analyses.linked_secret import LinkedPeople, LinkedTimes, linked_people
from mpc_backend.analyses.shared_times import log_rank_scores
from mpc_backend.analyses.survival_parameters import SurvivalParameters, linked_codes
from mpc_backend.analyses.survival_secret import SurvivalTables
from mpc_backend.operations import concatenate, floor_divide, minimum, select, stack, sums_by_code
from mpc_backend.operations.categories import MOST_GROUPS
from mpc_backend.values import SecretBits, SecretFixed, SecretInt


def linked_survival(parameters: SurvivalParameters, inputs: Inputs) -> tuple[SurvivalTables, SecretBits]:
    """The tables, with a view for every contributing hospital: persons of whom it has no row itself. And whether they can be
    relied on, (); where not, nobody is counted.
    """
    arms, strata, bins = len(parameters.arms), parameters.strata_count, parameters.bins
    people = linked_people(parameters.linked, inputs, first=parameters.first, cells=arms * strata)
    sites = people.known.shape[1]
    code, counted, failed = _ended(parameters, people, sites)
    in_view = concatenate([people.persons.reshape(-1, 1), ~people.known], axis=1)
    flags = concatenate([in_view & failed.reshape(-1, 1), in_view & counted.reshape(-1, 1)], axis=1)
    found = _by_code(code, linked_codes(parameters, sites), flags)
    tables = (found * people.sound.to_int(64)).with_bits(TOTAL_BITS)
    tables = tables.reshape(2, 1 + sites, arms, strata, sites, bins)
    score, variance = _tests(parameters, tables[0, 0], tables[1, 0])
    views = tables.sum(4).with_bits(TOTAL_BITS)
    return SurvivalTables(views[0], views[1], score, variance), people.sound


def _by_code(code: SecretInt, codes: int, flags: SecretBits) -> SecretInt:
    """How many rows (n,) of each code have each flag (n, flags): (flags, codes), at most `MOST_GROUPS` codes at once."""
    size = min(codes, MOST_GROUPS)
    blocks = -(-codes // size)
    beyond = ~(code.reshape(-1, 1) < size * np.arange(1, blocks + 1))
    inside = concatenate([~beyond[:, :1], beyond[:, :-1] ^ beyond[:, 1:]], axis=1)
    place = code - (beyond.to_int(code.ring) * size).sum(1)
    chosen = (flags[:, :, None] & inside[:, None]).to_int(32)
    columns = [
        chosen[:, flag, block].with_bits(2) for flag in range(flags.shape[1]) for block in range(blocks)
    ]
    _, sums = sums_by_code(place.with_bits(size.bit_length() + 1), size, columns)
    table = stack([cast("SecretInt", each).widened(64) for each in sums])
    return table.reshape(flags.shape[1], blocks * size)[:, :codes]


def _ended(
    parameters: SurvivalParameters, people: LinkedPeople, sites: int
) -> tuple[SecretInt, SecretBits, SecretBits]:
    """Of each person (n,): hospital, cell and time as one code, whether the person counts, and whether with an event."""
    times, follow_up = people.times, parameters.follow_up_days
    assert times is not None and follow_up is not None
    last = minimum(times.last, times.entry + follow_up)
    cells = len(parameters.arms) * parameters.strata_count
    failed, counted = ~(last < times.outcome), _counted(people, times, last, sites * cells)
    days = select(failed, times.outcome, last) - times.entry
    days = select(counted, days, days * 0).with_bits(follow_up.bit_length() + 1)
    time, longest = _coarser(days, follow_up, "day", parameters.time_unit)
    time, longest = _coarser(time, longest, parameters.time_unit, parameters.unit)
    if longest > parameters.horizon:
        inside = time <= parameters.horizon
        failed, time = failed & inside, select(inside, time, time * 0 + parameters.horizon)
    code = select(counted, times.code, times.code * 0).widened(64) * parameters.bins + time.widened(64)
    return (
        code.with_bits(linked_codes(parameters, sites).bit_length() + 1),
        counted,
        failed & counted,
    )


def _counted(people: LinkedPeople, times: LinkedTimes, last: SecretInt, codes: int) -> SecretBits:
    """Whether a person passes every step, is observed on the day of entry, and has a known arm and stratum."""
    found = people.persons & ~(last < times.entry) & (times.code < codes)
    for step in people.steps:
        found = found & step
    return found


def _coarser(times: SecretInt, longest: int, source: Unit, target: Unit) -> tuple[SecretInt, int]:
    """Times in ``source`` units to ``target`` units by ceiling, as `grid.coarsen`, with the longest there may be."""
    up, down = ratio(source, target)
    if down == 1:
        return times * up, longest * up
    raised = times.widened(64) * up + (down - 1)
    longest = -(-longest * up // down)
    return floor_divide(raised, down).with_bits(longest.bit_length() + 1), longest


def _tests(
    parameters: SurvivalParameters, events: SecretInt, exits: SecretInt
) -> tuple[SecretFixed, SecretFixed]:
    """Scores and covariances of all tests, stratified by hospital of the entry: of counts (arms, strata, hospitals, bins)."""
    arms, bins = len(parameters.arms), parameters.bins
    parts = []
    for name in parameters.tests:
        if name == "stratified_log_rank":
            failed, gone = events.reshape(arms, -1, bins), exits.reshape(arms, -1, bins)
        else:
            failed, gone = events.sum(1).with_bits(TOTAL_BITS), exits.sum(1).with_bits(TOTAL_BITS)
        rho = int(parameters.rho) if name == "weighted_log_rank" else 0
        parts.append(log_rank_scores(failed, at_risk_of(gone), rho))
    return (
        stack([score for score, _ in parts]),
        stack([variance.reshape(arms * arms) for _, variance in parts]),
    )
