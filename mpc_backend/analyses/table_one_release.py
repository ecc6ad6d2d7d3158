"""What a description of groups may open, decided and rounded on shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Outputs, Released
from mpc_backend.analyses.disclosure import all_of, at_least, masked, rounded, runs, views
from mpc_backend.analyses.significant import rounded_to
from mpc_backend.analyses.suppression import shown_cells
from mpc_backend.analyses.table_one_parameters import TableOneParameters
from mpc_backend.analyses.table_one_secret import (
    COUNT_BITS,
    Moments,
    level_differences,
    moments,
    number_differences,
    quartiles,
)
from mpc_backend.operations import concatenate, floor_divide, select, stack
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt

SHOWN, FEW, UNSOLVED = 0, 1, 2
DECIMALS = 6
MEAN_STEP = 1_000
VARIANCE_DIGITS = 4
DIFFERENCE_DECIMALS = 3
EXACT_DECIMALS = 7


@dataclass(frozen=True)
class GroupTables:
    """Persons in all and in every cell (groups, 1 + cells) by hospital; sums and counts on the grid of each number."""

    cells: Mapping[str, SecretInt]
    sums: Sequence[SecretFixed]
    bins: Sequence[SecretInt]


@dataclass(frozen=True)
class _Shown:
    """Persons and cells (groups, variables, cells) in every view and in all, and which of them may be shown."""

    groups: SecretBits
    persons: SecretInt
    cells: SecretInt
    visible: SecretBits
    known: SecretBits
    """Numbers of which k persons are known, and k of each code (groups, numbers)."""


def released_outputs(
    session: Session, parameters: TableOneParameters, released: Released, tables: GroupTables
) -> Outputs:
    """Every output; what is hidden opens to zero."""
    exact = released.policy.release == "exact"
    shown = _shown(parameters, released, tables)
    step = 1 if exact else released.policy.rounding
    out: Outputs = {
        "group_shown": shown.groups,
        "persons": masked(shown.groups, rounded(shown.persons, step)),
        "cell_shown": shown.visible,
        "cells": masked(shown.visible, rounded(shown.cells, step)),
    }
    found: Moments | None = None
    if parameters.numbers:
        found = moments(stack(list(tables.sums), axis=1), shown.cells[:, : len(parameters.numbers), 0])
        out |= _numbers(parameters, shown, found, quartiles(tables.bins), exact)
    session.progress("means, deviations and quartiles", 0.5)
    if len(parameters.groups) > 1:
        out |= _differences(parameters, shown, found, exact)
    return out


def _places(parameters: TableOneParameters) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the cells of each variable lie among all (variables, cells), and which exist."""
    widest = max(len(labels) for _, labels in parameters.rows)
    places = np.zeros((len(parameters.rows), widest), dtype=np.int64)
    exists, first = np.zeros(places.shape, dtype=bool), 1
    for row, (_, labels) in enumerate(parameters.rows):
        places[row, : len(labels)] = np.arange(first, first + len(labels))
        exists[row, : len(labels)] = True
        first += len(labels)
    return places, exists


def _adding(
    parameters: TableOneParameters, exists: NDArray[np.bool_], policy: DisclosurePolicy
) -> NDArray[np.bool_]:
    """Cells (variables, cells) that add up to a number that is shown: the levels of a category, the known of a number.

    Where counts are rounded to k or more, their sum is known no closer than that, and the missing need not be of them.
    """
    adding = exists.copy()
    if policy.rounding >= policy.minimum_cell:
        adding[: len(parameters.numbers)] = False
        for row, kinds in enumerate(parameters.categories, start=len(parameters.numbers)):
            adding[row, len(kinds.levels)] = False
    return adding


def _shown(parameters: TableOneParameters, released: Released, tables: GroupTables) -> _Shown:
    places, exists = _places(parameters)
    groups, variables, cells = len(parameters.groups), *places.shape
    seen = views(released, tables.cells).with_bits(COUNT_BITS)
    each = seen[:, :, places.ravel()].reshape(-1, groups, variables, cells) * exists.astype(np.int64)
    each = each.with_bits(COUNT_BITS)
    existing = np.broadcast_to(exists, (groups, variables, cells))
    numbers = len(parameters.numbers)
    if released.policy.release == "exact":
        everything = (seen[0, :, 0] >= 0) | np.ones(groups, dtype=bool)
        visible = everything.reshape(groups, 1, 1).broadcast_to(each.shape[1:]) & existing
        return _Shown(everything, seen[0, :, 0], each[0], visible, visible[:, :numbers, 0])
    enough = at_least(seen[:, :, 0], released.policy)
    adding = np.broadcast_to(_adding(parameters, exists, released.policy), existing.shape)
    flat = shown_cells(
        each.reshape(len(each), -1, cells), existing.reshape(-1, cells), adding.reshape(-1, cells),
        released.policy,
    )  # fmt: skip
    visible = flat.reshape(groups, variables, cells) & enough.reshape(groups, 1, 1).broadcast_to(
        each.shape[1:]
    )
    visible = visible & _open(parameters, exists)
    known = (each[:, :, :numbers, 0] >= released.policy.minimum_cell).all(axis=0)
    if any(parameters.codes):
        large = at_least(seen[:, :, 1 + int(exists.sum()) :], released.policy)
        known = known & all_of(large, runs(parameters.codes))
    known = known & enough.reshape(groups, 1).broadcast_to((groups, numbers))
    return _Shown(enough, seen[0, :, 0], each[0], visible, known)


def _open(parameters: TableOneParameters, exists: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells (variables, cells) that may be opened: the known of a number beside the persons would tell the missing."""
    found = exists.copy()
    found[: len(parameters.numbers), 0] = False
    return found


def _numbers(
    parameters: TableOneParameters, shown: _Shown, found: Moments, quarters: SecretInt, exact: bool
) -> Outputs:
    """Means and variances in declared scales, quartiles in quarters of a grid step; states by group and number."""
    usable = shown.known & found.usable
    flags = stack([~shown.known, shown.known & ~found.usable]).to_int()
    both = stack([usable, usable, usable])
    if exact:
        real = [select(usable, value, value * 0) for value in (found.mean, found.variance)]
        known = stack([shown.known & (shown.cells[:, : len(parameters.numbers), 0] > 0)] * 3)
        return {
            "number_state": flags[0] * FEW + flags[1] * UNSOLVED, "mean": real[0], "variance": real[1],
            "quartile": masked(known, quarters),
        }  # fmt: skip
    wide = np.array([4 * each.display_steps for each in parameters.numbers])
    coarse = concatenate(
        [
            floor_divide(quarters[:, :, place : place + 1] + int(step) // 2, int(step)) * int(step)
            for place, step in enumerate(wide)
        ],
        axis=2,
    )
    values = stack([found.mean, found.variance])
    negative = values < 0
    size = select(negative, -values, values).with_bits(40).exact_round(DECIMALS).with_bits(32)
    mean = floor_divide(size[0] + MEAN_STEP // 2, MEAN_STEP) * MEAN_STEP
    variance = rounded_to(size[1].ravel(), VARIANCE_DIGITS, (1 << 31) - 1).reshape(size[1].shape)
    signed = select(negative[0], -mean, mean)
    return {
        "number_state": flags[0] * FEW + flags[1] * UNSOLVED,
        "mean": masked(usable, signed),
        "variance": masked(usable, variance),
        "quartile": masked(both, coarse),
    }


def _differences(
    parameters: TableOneParameters, shown: _Shown, found: Moments | None, exact: bool
) -> Outputs:
    """Standardised differences (groups - 1, variables) and their states."""
    _, exists = _places(parameters)
    numbers, parts = len(parameters.numbers), []
    if found is not None:
        parts.append((*number_differences(found), shown.known))
    if parameters.categories:
        counts = shown.cells[:, numbers:]
        levels = exists[numbers:].copy()
        for row, kinds in enumerate(parameters.categories):
            levels[row, len(kinds.levels)] = False  # the missing are no level
        complete = (shown.visible[:, numbers:] | ~levels).all(axis=2)
        if exact:
            complete = complete | np.ones(complete.shape, dtype=bool)
        parts.append((*level_differences(counts * levels.astype(np.int64), levels), complete))
    value = concatenate([each for each, _, _ in parts], axis=1)
    solved = concatenate([each for _, each, _ in parts], axis=1)
    may = concatenate([each for _, _, each in parts], axis=1)
    both = may[1:] & may[:1].broadcast_to((may.shape[0] - 1, may.shape[1]))
    flags = stack([~both, both & ~solved]).to_int()
    decimals = EXACT_DECIMALS if exact else DIFFERENCE_DECIMALS
    whole = value.exact_round(decimals)
    return {
        "difference_state": flags[0] * FEW + flags[1] * UNSOLVED,
        "difference": masked(both & solved, whole),
    }
